"""The parts that verl calls, each with verl's own classes and functions around it."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tensordict import TensorDict
from verl.tools.tool_registry import initialize_tools_from_config
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
from verl.utils.dataset.rl_dataset import collate_fn, get_dataset_class
from verl.utils.tensordict_utils import index_select_tensor_dict

from deepeyes_env import Sample
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.data.parquet import write_parquet
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.errors import UsageError
from deepeyes_env.tools import Tool, register_tool
from deepeyes_env.trainers.grpo.diagnosis import TrainingError
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.verl import advantage, mends
from deepeyes_env.trainers.verl.dataset import DeepEyesDataset
from deepeyes_env.trainers.verl.mends import ROWS, name_tokens_ragged
from deepeyes_env.trainers.verl.tool import DeepEyesTool
from deepeyes_env.trainers.verl.trainer import Failing, rollout_metrics

pytestmark = pytest.mark.slow


# --- mends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [(5, 7, 3), (2, 2), (2,) * 20, (4,), (4, 4), (9,), (80,) * 20, (8, 8)])
def test_positions_can_be_taken_apart_whatever_the_lengths(lengths):
    """Also those that have lost on their way which dimension is ragged."""
    sizes = [torch.Size((ROWS, length)) for length in lengths]
    wanted = [torch.arange(size.numel()).reshape(size) + 1000 * n for n, size in enumerate(sizes)]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    lost = torch.nested.nested_tensor_from_jagged(torch.cat(wanted, 1), offsets)
    for positions in (torch.nested.as_nested_tensor(wanted, layout=torch.jagged), lost):
        batch = TensorDict({"position_ids": positions}, batch_size=len(lengths))
        for _ in range(2):  # verl does it at several places
            name_tokens_ragged(batch)
            chosen = index_select_tensor_dict(batch, list(range(len(lengths))))["position_ids"]
            assert all(map(torch.equal, chosen.unbind(), wanted))


def test_a_batch_without_positions_of_images_is_left_alone():
    wanted = [torch.arange(3), torch.arange(4)]
    text = TensorDict({"position_ids": torch.nested.as_nested_tensor(wanted, layout=torch.jagged)}, 2)
    name_tokens_ragged(text)
    name_tokens_ragged(TensorDict({}, 2))
    assert all(map(torch.equal, text["position_ids"].unbind(), wanted))


def test_a_micro_batch_without_images_is_embedded_as_one_with_them():
    """The weights of the vision tower take part, with a gradient of 0."""
    model = VisionPolicy.load(BASE).model.model
    ids, mask = torch.tensor([[5, 6, 7]]), torch.ones(1, 3)
    embeds, same = mends.embed(model, ids, mask, *[None] * 4)  # as verl calls it
    assert torch.equal(embeds, model.get_input_embeddings()(ids))
    assert same is mask
    embeds.sum().backward()
    assert not any(weight.grad.any() for weight in model.visual.parameters() if weight.requires_grad)


# --- advantages ------------------------------------------------------------------------------------------------------


def table(rewards, lengths):
    mask = torch.zeros(len(rewards), max(max(lengths), 1) + 2)
    scores = torch.zeros_like(mask)
    for row, (reward, length) in enumerate(zip(rewards, lengths, strict=True)):
        mask[row, :length] = 1
        scores[row, -1] = reward  # verl puts the reward on the last token, which may be an observation's
    return scores, mask


def test_ours_equals_verls_where_rewards_differ():
    scores, mask = table([0.0, 0.8, 2.0, 0.8, -0.2, 1.0], [3, 2, 4, 1, 2, 3])
    index = np.array(["a", "a", "a", "b", "b", "b"], dtype=object)
    ours, _ = get_adv_estimator_fn("deepeyes_grpo")(scores, mask, index=index, config=None)
    theirs, _ = get_adv_estimator_fn("grpo")(scores.clone(), mask, index=index)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_equal_rewards_give_nothing_where_verl_gives_rounding():
    scores, mask = table([0.8] * 8, [3] * 8)
    index = np.array(["a"] * 8, dtype=object)
    ours, _ = get_adv_estimator_fn("deepeyes_grpo")(scores, mask, index=index)
    theirs, _ = get_adv_estimator_fn("grpo")(scores.clone(), mask, index=index)
    assert not ours.any()
    assert theirs.abs().max() > 0.01


@pytest.mark.parametrize("name", advantage.OURS)
def test_a_failed_rollout_does_not_count_in_its_group(name):
    estimate = get_adv_estimator_fn(f"deepeyes_{name}")
    scores, mask = table([0.0, 1.0, 1.0, 0.0], [3, 2, 4, 0])
    index = np.array(["a"] * 4, dtype=object)
    ours, _ = estimate(scores, mask, index=index)
    alone, _ = estimate(scores[:3], mask[:3], index=index[:3])
    assert torch.equal(ours[:3], alone)
    assert not ours[3].any()


def test_an_advantage_of_ones_own_is_registered_by_a_plugin():
    plugin = importlib.import_module("examples.advantage")
    scores, mask = table([0.0, 2.0, 1.0, 1.0, 5.0], [3, 2, 4, 1, 0])
    index = np.array(["a", "a", "b", "b", "b"], dtype=object)
    ours, _ = get_adv_estimator_fn("deepeyes_batch_scaled")(scores, mask, index=index, config=None)
    spread = torch.tensor([-1.0, 1.0, 0.0, 0.0]).std(correction=0)
    assert plugin.batch_scaled.__name__ == "batch_scaled"
    assert torch.allclose(ours[:2], mask[:2] * torch.tensor([[-1.0], [1.0]]) / spread, atol=1e-4)
    assert not ours[2:].any()


# --- rows ------------------------------------------------------------------------------------------------------------


def rows(tmp_path):
    images = [np.full((40, 60, 3), shade, np.uint8) for shade in range(3)]
    samples = [
        Sample("hard", "Which?", "a", (images[0],), ("a", "b"), data_source="vstar", metadata={"easy": False}),
        Sample("plain", "Which?", "b", (images[1],), env_name=None, data_source="thinklite_eureka"),
        Sample("own", "Which?", "c", (images[2],), env_name="VisualToolbox-v5"),
    ]
    write_parquet(samples, tmp_path / "rows.parquet")
    return str(tmp_path / "rows.parquet")


def test_verl_finds_the_data_set_and_batches_its_rows(tmp_path):
    named = {"path": "pkg://deepeyes_env.trainers.verl.dataset", "name": "DeepEyesDataset"}
    cls = get_dataset_class(OmegaConf.create({"custom_cls": named}))
    files = [rows(tmp_path), rows(tmp_path)]
    dataset = cls(data_files=files, tokenizer=None, config={}, processor=None, max_samples=-1)
    batch = collate_fn([dataset[number] for number in range(len(dataset))])
    assert len(dataset) == 6
    assert batch["data_source"].tolist()[:3] == ["vstar/hard", "thinklite_eureka", "unknown"]
    assert set(batch["agent_name"]) == {"deepeyes"}
    assert batch["index"].tolist() == list(range(6))
    assert [where["index"] for where in batch["deepeyes"]] == [0, 1, 2, 0, 1, 2]
    assert len(json.dumps(dataset[0], default=str)) < 1000  # no pixels


def test_a_row_that_cannot_be_read_is_left_to_the_environment(tmp_path):
    path = tmp_path / "rows.jsonl"
    whole = {"id": "1", "question": "?", "answer": "a", "images": ["gone.png"]}
    path.write_text(json.dumps(whole) + "\n", encoding="utf-8")
    row = DeepEyesDataset(str(path))[0]
    assert row["data_source"] == "unreadable"
    assert row["deepeyes"] == {"source": str(path), "index": 0}


def test_fewer_rows_can_be_asked_for(tmp_path):
    assert len(DeepEyesDataset(rows(tmp_path), max_samples=2)) == 2
    assert len(DeepEyesDataset("pattern_search", max_samples=5)) == 5


# --- tools -----------------------------------------------------------------------------------------------------------


def call(tool, arguments, create=None, shown=()):
    async def whole():
        name, _ = await tool.create(create_kwargs=create or {})
        try:
            return await tool.execute(name, arguments, agent_data=SimpleNamespace(image_data=list(shown)))
        finally:
            await tool.release(name)

    return asyncio.run(whole())


@pytest.fixture
def zoom(tmp_path):
    path = tmp_path / "tools.yaml"
    entry = {
        "class_name": "deepeyes_env.trainers.verl.tool.DeepEyesTool",
        "config": {"type": "native", "tool": "image_zoom_in_tool", "min_pixels": 784, "max_pixels": 112 * 112},
    }
    path.write_text(json.dumps({"tools": [entry]}), encoding="utf-8")
    (tool,) = initialize_tools_from_config(str(path))
    return tool


def test_a_tool_cuts_from_the_samples_native_pixels(zoom):
    sample = pattern_search("test", length=3)[2]
    view = Image.fromarray(sample.images[0].pixels()).resize((112, 112))
    where = {"source": "pattern_search", "index": 2}
    response, reward, metrics = call(zoom, {"bbox_2d": [28, 28, 56, 56], "label": "it"}, where, [view])
    assert zoom.name == "image_zoom_in_tool"
    assert (reward, metrics["status"]) == (1.0, "ok")
    assert tuple(metrics["box"]) == (112, 112, 224, 224)
    assert response.image[0].size == (112, 112)


def test_without_a_sample_it_cuts_from_what_was_shown(zoom):
    shown = Image.fromarray(np.arange(100 * 200 * 3, dtype=np.uint8).reshape(100, 200, 3))
    response, reward, _ = call(zoom, {"bbox_2d": [10, 10, 66, 66], "label": "it"}, shown=[shown])
    assert reward == 1.0
    assert np.array_equal(np.asarray(response.image[0]), np.asarray(shown)[10:66, 10:66])


def test_a_mistake_is_told_and_earns_nothing(zoom):
    response, reward, metrics = call(
        zoom, {"bbox_2d": [5, 5, 1, 1], "label": "it"}, {"source": "pattern_search", "index": 0}
    )
    assert (reward, metrics["status"]) == (0.0, "bad_arguments")
    assert "x1 must be less than x2" in response.text
    assert call(zoom, {"bbox_2d": [1, 1, 50, 50]})[2]["status"] == "failed"


def test_a_tool_that_keeps_state_is_refused():
    class Counter(Tool):
        """Count."""

        name = "verl_counter"

        def __call__(self) -> str:
            """Count."""
            return "1"

        def open(self, sample):
            self.count = 0

    register_tool(Counter)
    with pytest.raises(UsageError, match="agent loop 'deepeyes'"):
        DeepEyesTool({"tool": "verl_counter"})


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_steps_in_which_all_rollouts_fail_are_put_up_with_for_a_while(caplog):
    failing = Failing(patience=0.2)
    failing.note(1, played=False, errors=["JudgeError: gone"] * 3 + ["ImageError: torn"])
    assert failing
    assert "3 x JudgeError: gone; 1 x ImageError: torn" in caplog.text
    failing.note(2, played=True, errors=[])
    assert not failing
    failing.note(3, played=False, errors=[])
    time.sleep(0.3)
    with pytest.raises(TrainingError, match="no rollout was played for 0 seconds, up to step 4: 1 x torn; mend that"):
        failing.note(4, played=False, errors=["torn"])


def test_failed_rollouts_are_counted_apart():
    reports = [{"acc": 1.0, "failed": 0.0}, {"acc": 0.0, "failed": 1.0}, {"acc": 0.5, "failed": 0.0}]
    metrics = rollout_metrics(reports)
    assert metrics["deepeyes/acc"] == 0.75
    assert (metrics["deepeyes/rollouts/finished"], metrics["deepeyes/rollouts/failed"]) == (2, 1)
