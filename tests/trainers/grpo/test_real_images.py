"""Training on a parquet made from real photographs, and on rows that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("pyarrow")
data = pytest.importorskip("skimage.data")

from gymnasium.vector import AutoresetMode  # noqa: E402
from PIL import Image as PILImage  # noqa: E402

from deepeyes_env import Sample  # noqa: E402
from deepeyes_env.agents.transformers.generator import Generator, Sampling  # noqa: E402
from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.data.photos import plant  # noqa: E402
from deepeyes_env.envs.vector import ThreadVectorEnv  # noqa: E402
from deepeyes_env.images.views import ViewBudget  # noqa: E402
from deepeyes_env.trainers.grpo.batch import make_batch  # noqa: E402
from deepeyes_env.trainers.grpo.config import load_config  # noqa: E402
from deepeyes_env.trainers.grpo.rollouts import EpisodeSpec, Rollouts  # noqa: E402
from deepeyes_env.trainers.grpo.run import run  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402

VIEW = ViewBudget(112 * 112, 112 * 112)


@pytest.mark.integration
def test_a_few_steps_on_photographs(tmp_path):
    for name in ("astronaut", "coffee"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        PILImage.fromarray(getattr(data, name)()).save(tmp_path / "photos" / f"{name}.png")
    plant(tmp_path / "photos", tmp_path / "my.parquet", samples_per_photo=6, view=ViewBudget(224 * 224, 224 * 224))
    overrides = [
        f"data={tmp_path}/my.parquet", f"model={BASE}", f"out={tmp_path}/run", "steps=2", "rollout.backend=threads",
        "rollout.prompts=2", "rollout.group_size=2", "rollout.max_new_tokens=24", "evaluation.samples=3",
        f"env.max_pixels={224 * 224}",
    ]  # fmt: skip
    outcome = run(load_config(overrides), live=False)
    assert outcome.steps == 2
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert all(row["episodes/failed"] == 0 for row in rows[1:])


def test_an_image_that_cannot_be_decoded_costs_its_group_only():
    good = Sample("good", "What?", "x", (np.zeros((224, 224, 3), np.uint8),))
    bad = Sample("bad", "What?", "x", (b"\x89PNG\r\n\x1a\nnonsense",))
    env = ThreadVectorEnv(4, group_size=2, autoreset_mode=AutoresetMode.DISABLED, dataset=[good, bad], view=VIEW)
    policy = VisionPolicy.load(BASE)
    rollouts = Rollouts(env, Generator(policy, Sampling(1.0, 16)), max_wait=1.0, max_tokens=4096)
    rollouts.begin([EpisodeSpec(0, source, (1, member), source) for source in (0, 1) for member in (0, 1)])
    played = rollouts.play()
    env.close()
    assert [bool(each.error) for each in played] == [False, False, True, True]
    assert "bad" in played[2].error
    batch = make_batch(policy, played)
    assert batch.groups.tolist() == [0, 0]
