"""The shipped policy, its tokenizer, and what its examples say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.data.visual_search import pattern_search  # noqa: E402
from deepeyes_env.images import ops  # noqa: E402
from deepeyes_env.trainers.grpo.config import Config, load_config  # noqa: E402
from deepeyes_env.trainers.grpo.metrics import rollout_metrics  # noqa: E402
from deepeyes_env.trainers.grpo.questions import scenes  # noqa: E402
from deepeyes_env.trainers.grpo.trainer import Trainer  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from deepeyes_env.trainers.tiny.build import Curriculum, Stage, learn, write  # noqa: E402
from deepeyes_env.trainers.tiny.examples import SceneWriter  # noqa: E402
from deepeyes_env.trainers.tiny.model import build_model, processor_settings  # noqa: E402
from deepeyes_env.trainers.tiny.phrases import phrases, zoom  # noqa: E402
from deepeyes_env.trainers.tiny.scenes import SCALE, SEED, training_scenes  # noqa: E402
from deepeyes_env.trainers.tiny.task import TASKS, TINY  # noqa: E402
from deepeyes_env.trainers.tiny.tokenizer import build_tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def policy():
    return VisionPolicy.load(BASE)


@pytest.fixture(scope="module", params=list(TASKS))
def task(request):
    return TASKS[request.param]


@pytest.fixture(scope="module")
def drawn(task):
    return list(training_scenes(3, 6, SEED, np.random.default_rng(0), task))


def test_the_shipped_policy_is_small():
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 2_000_000


def test_it_brings_what_servers_want_to_know_about_images():
    settings = json.loads((BASE / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert settings == json.loads(json.dumps(processor_settings()))


def test_what_is_built_brings_them_too(policy, tmp_path):
    for _ in range(2):
        write(policy, tmp_path / "built")
    assert (tmp_path / "built" / "preprocessor_config.json").read_bytes() == (
        BASE / "preprocessor_config.json"
    ).read_bytes()


def test_what_it_did_not_build_is_not_replaced(policy, tmp_path):
    write(policy, tmp_path / "built")
    (tmp_path / "built" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt, which no tiny policy writes"):
        write(policy, tmp_path / "built")
    assert (tmp_path / "built" / "notes.txt").read_text() == "mine"


def test_it_is_a_stock_model_that_transformers_loads():
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    model = AutoModelForImageTextToText.from_pretrained(BASE)
    assert type(model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert AutoTokenizer.from_pretrained(BASE).chat_template


def test_its_tokenizer_is_the_one_that_is_built_today(policy):
    """Otherwise prompts of the environment have changed since it was built: deepeyes build-tiny."""
    built = build_tokenizer(phrases().fragments())
    assert built.get_vocab() == policy.tokenizer.get_vocab()


def test_a_prompt_is_short(policy):
    assert len(policy.chat.prompt(phrases().opening)) < 80


@given(st.text())
def test_any_text_comes_back(policy, text):
    plain = policy.chat.plain(text)
    ids = policy.tokenizer(plain, add_special_tokens=False).input_ids
    assert policy.chat.text(ids) == plain


def test_the_default_scenes_are_the_tiny_task():
    assert scenes(Config(), "train", 5, 10) == pattern_search(length=10, seed=5)


def test_crops_are_those_of_the_environment(task, drawn):
    """Of a box that the policy can write; one of thousandths is rounded to its steps."""
    import gymnasium as gym

    sample = pattern_search(length=1, seed=SEED, objects=(3, 3), easy=0.5, size=task.size, view=task.view)[0]
    crop = drawn[0].good[0]
    env = gym.make("VisualToolbox-v2", dataset=[sample], view=task.view, frame=task.frame)
    env.reset(seed=0)
    observation, *_ = env.step(zoom("red", crop.box, task))
    (result,) = env.unwrapped.trajectory.results
    assert np.allclose(np.array(result.box) / SCALE, crop.box, atol=0.51 * task.side / task.steps)
    if task == TINY:
        assert np.array_equal(observation["images"][0], crop.image.pixels())
    view = ops.fit(sample.images[0].pixels(), task.view.fit(task.size))
    assert np.array_equal(drawn[0].view.image.pixels(), view)
    assert {side % task.cell for picture in (crop, drawn[0].view) for side in picture.image.size} == {0}


def test_cells_know_what_they_show(drawn):
    for scene in drawn:
        cells = scene.view.cells
        assert set(cells.square.tolist()) == {-1, 0, 1, 2}
        assert (cells.pattern >= 0).any() == scene.easy
        for number, square in enumerate(scene.view.squares):
            assert np.allclose(cells.box[cells.square == number], square.box)


def test_an_example_asks_what_the_environment_asks_and_points_at_the_object(task, drawn):
    tokenizer = build_tokenizer(phrases(task).fragments())
    policy = VisionPolicy(build_model(tokenizer, 0, task), tokenizer)
    assert policy.factor == task.cell
    writer = SceneWriter(policy.chat, phrases(task), np.random.default_rng(3))
    scene = drawn[0]
    example = writer.playing(scene, "good", 1.0)
    text = policy.tokenizer.decode(example.tokens.ids)
    assert "Which pattern is on the " in text
    assert '{"name": "image_zoom_in_tool", "arguments": {"label": "' in text
    assert len(example.tokens.images) == 2
    said = policy.tokenizer.decode(example.tokens.ids[example.tokens.mask])
    assert said.startswith("<think>")
    assert said.endswith("</answer><|im_end|>")
    assert (example.tokens.ids[[place for p in example.pointers for place in p.shown]] == policy.image_token).all()
    named = {policy.tokenizer.decode([int(example.tokens.ids[p.place])]) for p in example.pointers}
    assert len(named) == 1
    assert named <= {square.colour for square in scene.view.squares}


@pytest.mark.integration
def test_the_shipped_policy_reads_what_it_sees_and_seldom_zooms(tmp_path):
    """On scenes that it was not built from. Chance is one in four."""
    settings = ["rollout.backend=threads", "rollout.prompts=8", "evaluation.samples=128", f"out={tmp_path}"]
    trainer = Trainer(load_config(settings))
    try:
        metrics = trainer.evaluate()
    finally:
        trainer.close()
    assert metrics["eval/accuracy/easy"] > 0.5
    assert metrics["eval/accuracy/hard"] < 0.4
    assert 0.05 < metrics["eval/tool/rate"] < 0.45
    assert metrics["eval/reward/format"] > -0.02


def test_metrics_of_nothing_are_empty():
    assert rollout_metrics([]) == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_can_be_rebuilt(tmp_path):
    from deepeyes_env.trainers.tiny.build import build

    assert build(tmp_path / "tiny") > 0
    settings = ["rollout.backend=threads", "evaluation.samples=128", f"out={tmp_path}", f"model={tmp_path}/tiny"]
    trainer = Trainer(load_config([*settings, "data=visual_search"], Path("tiny")))
    try:
        metrics = trainer.evaluate()
    finally:
        trainer.close()
    assert metrics["eval/accuracy/easy"] > 0.5


@pytest.mark.slow
def test_two_builds_give_the_same_weights():
    """Threads that share a sum round it in another order each time, unless they are told not to."""
    groups = [list(training_scenes(number, 4, SEED, np.random.default_rng(number))) for number in (1, 2, 3)]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    built = []
    try:
        for _ in range(2):
            tokenizer = build_tokenizer(phrases().fragments())
            policy = VisionPolicy(build_model(tokenizer), tokenizer)
            curriculum = Curriculum(Stage(1, 4e-3, 8), Stage(2, 2e-3, 32), Stage(1, 1e-3, 8))
            learn(policy, groups, curriculum, np.random.default_rng(0))
            built.append(policy.model.state_dict())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(weight, built[1][name]) for name, weight in built[0].items())
