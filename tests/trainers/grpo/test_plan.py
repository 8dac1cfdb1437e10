"""deepeyes train --plan: what it prints before anything is loaded, and what it says would take less."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.cli.app import app  # noqa: E402
from deepeyes_env.errors import UsageError  # noqa: E402
from deepeyes_env.trainers.grpo import footprint  # noqa: E402
from deepeyes_env.trainers.grpo.config import load_config  # noqa: E402
from deepeyes_env.trainers.grpo.plan import make_plan  # noqa: E402


@pytest.fixture(scope="module")
def three_billion(tmp_path_factory):
    """The settings of a Qwen2.5-VL of 3B parameters, without weights."""
    from transformers import Qwen2_5_VLConfig

    folder = tmp_path_factory.mktemp("3b")
    Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36,
            "num_attention_heads": 16, "num_key_value_heads": 2, "max_position_embeddings": 128_000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision_config={"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
                       "out_hidden_size": 2048},
        tie_word_embeddings=True,
    ).save_pretrained(folder)  # fmt: skip
    processor = {"min_pixels": 3136, "max_pixels": 12_845_056}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def planned(folder, *overrides, memory=80.0):
    return make_plan(load_config([f"model={folder}", *overrides]), memory)


@pytest.mark.integration
def test_a_3b_on_80_gigabytes(three_billion):
    plan = planned(three_billion)
    update = plan.stages[footprint.UPDATE]
    assert update[footprint.WEIGHTS] == pytest.approx(4 * 3.7546e9, rel=1e-3), "published: 3.75 billion"
    assert update[footprint.OPTIMIZER] == 2 * update[footprint.WEIGHTS]
    assert update[footprint.COPY] * 2 == update[footprint.WEIGHTS]
    assert not plan.fits
    assert "does NOT fit" in "\n".join(plan.notes)
    assert any("weights.lora_rank=16" in note for note in plan.notes)
    adapted = planned(three_billion, "weights.lora_rank=16")
    assert adapted.fits
    said = next(note for note in plan.notes if "weights.lora_rank=16" in note)
    assert f"{adapted.peak / 1e9:.2f} GB" in said


@pytest.mark.integration
@pytest.mark.parametrize(
    ("override", "stage", "part"),
    [
        ("optim.micro_batch_tokens=4096", footprint.UPDATE, footprint.ACTIVATIONS),
        ("optim.dtype=float32", footprint.UPDATE, footprint.COPY),
        ("rollout.prompts=4", footprint.TOKENS, footprint.CACHE),
        ("rollout.max_episode_tokens=3000", footprint.TOKENS, footprint.CACHE),
        ("weights.freeze_vision=true", footprint.STEP, footprint.GRADIENTS),
        ("weights.lora_rank=8", footprint.STEP, footprint.OPTIMIZER),
    ],
)
def test_settings_take_less_of_what_they_should(three_billion, override, stage, part):
    assert planned(three_billion, override).stages[stage][part] < planned(three_billion).stages[stage][part]


@pytest.mark.integration
def test_a_reference_policy_is_counted(three_billion):
    plan = planned(three_billion, "algorithm.kl=loss")
    assert plan.stages[footprint.TOKENS][footprint.REFERENCE] == pytest.approx(2 * 3.7546e9, rel=1e-3)


def test_a_prompt_that_cannot_fit_is_told(three_billion):
    with pytest.raises(UsageError, match=r"does not fit into the 1500 tokens"):
        planned(three_billion, "rollout.max_episode_tokens=1500")


@pytest.mark.integration
def test_the_command_prints_it_and_loads_nothing(three_billion):
    done = CliRunner().invoke(app, ["train", "--plan", f"model={three_billion}", "--memory", "80"])
    assert done.exit_code == 1, done.output
    assert "KV cache" in done.stdout
    assert "does NOT fit" in done.stdout
    assert CliRunner().invoke(app, ["train", "--plan"]).exit_code == 0, "the laptop's run fits"
