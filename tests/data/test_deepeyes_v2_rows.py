"""Rows of DeepEyesV2's RL sets: read one row group at a time, and played in its environment."""

import gymnasium as gym
import pytest

from deepeyes_env.data import load
from deepeyes_env.images import codec
from tests.conftest import pattern

SYSTEM = "Write Python in <code>, or search."


@pytest.mark.parametrize("source", ["perception_all_1", "reason", "search", "vstar_test"])
def test_rows_of_the_rl_sets_are_read_row_group_by_row_group_and_played(tmp_path, source):
    """Their columns as the original's code reads them: bytes of images, an index that is a text."""
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    rows = [
        {
            "data_source": {"perception_all_1": "perception", "vstar_test": "vstar-test"}.get(source, source),
            "prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"<image>\nHow many? {n}"}],
            "images": [{"bytes": codec.encode(pattern(40 + n, 30))}],
            "env_name": "" if n == 2 else "deepeyes_v2",
            "reward_model": {"ground_truth": str(n), "style": "model"},
            "extra_info": {"question": f"How many? {n}", "answer": str(n), "index": f"fvqa_train_{n}"},
        }
        for n in range(6)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{source}.parquet", row_group_size=2)
    dataset = load(tmp_path / f"{source}.parquet")
    assert [dataset[n].env_name for n in (5, 2, 0)] == ["deepeyes_v2", None, "deepeyes_v2"]
    env = gym.make("VisualToolbox-v2", dataset=dataset).unwrapped
    opened, info = env.reset(options={"index": 3})
    assert (info["system_prompt"], opened["text"]) == (SYSTEM, "<image>\nHow many? 3")
    assert env.trajectory.sample.metadata["index"] == "fvqa_train_3"
    env.step("<think>Three.</think><answer>3</answer>")
    assert (env.trajectory.toolbox, env.trajectory.reward) == ("DeepEyesV2-v0", 1.0)
