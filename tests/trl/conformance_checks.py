"""The recorded episodes inside TRL, run by an interpreter that has it: what the learner is given, token by token."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration
from trl import GRPOConfig, GRPOTrainer

from deepeyes_env.trainers.conformance import ways
from deepeyes_env.trainers.conformance.directory import ModelDirectory
from deepeyes_env.trainers.conformance.recordings import RECORDINGS, play, sample_of
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.trl import EpisodeReward, environment_factory, load_processor, make_rows, with_tool_calls

torch.set_num_threads(1)
DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
MEANT = {
    "several images": "several calls in a message",
    "failed calls": "a call that cannot be read",
    "cut messages": "a call in a message that was cut",
    "native calls": "several calls in a message",
}
"""Recordings that TRL's own tool loop writes otherwise, with what docs/conformance.md says of it."""

BY_NAME = {recording.name: recording for recording in RECORDINGS}


class Replaying(GRPOTrainer):
    """Writes the messages of an episode in the place of the model, and keeps what the learner is given."""

    def replay(self, episode):
        self.messages = [list(turn.tokens.ids) for turn in episode.turns]
        self.made = []
        return self

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        ids = self.messages.pop(0)
        return [list(ids) for _ in prompt_ids], [[0.0] * len(ids) for _ in prompt_ids]

    def compute_loss(self, model, inputs, **kwargs):
        self.made.append({name: value.clone() for name, value in inputs.items() if torch.is_tensor(value)})
        return super().compute_loss(model, inputs, **kwargs)


def replayed(recording, tmp_path):
    """Return the ids and the mask that TRL trains on, the image tokens that it has pixels for, and our own encoding."""
    model = ModelDirectory.load(BASE)
    episode = play(recording, model)
    data, processor = [sample_of(recording)], with_tool_calls(load_processor(BASE))
    args = GRPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, max_steps=1, per_device_train_batch_size=2,
        num_generations=2, max_completion_length=3000, max_tool_calling_iterations=max(1, len(episode.turns) - 1),
        report_to="none", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Replaying(
        model=Qwen2_5_VLForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32),
        args=args,
        reward_funcs=EpisodeReward(processor, recording.toolbox),
        train_dataset=make_rows(data, recording.toolbox),
        processing_class=processor,
        environment_factory=environment_factory(data, recording.toolbox, view=model.view, max_turns=8),
    ).replay(episode)
    trainer.train()
    made = trainer.made[0]
    prompt = made["prompt_ids"][0][made["prompt_mask"][0].bool()].tolist()
    shown = made["completion_mask"][0].bool()
    ids = (*prompt, *made["completion_ids"][0][shown].tolist())
    mask = (*[False] * len(prompt), *made["tool_mask"][0][shown].bool().tolist())
    pixels = (made["image_grid_thw"].prod(1) // 4).tolist()
    return ids, mask, pixels[: len(pixels) // 2], ways.trained(model, episode), model


def runs(ids, pad):
    return [len(list(group)) for token, group in groupby(ids) if token == pad]


@pytest.mark.parametrize("name", ["one zoom", "texts that look like marks"])
def test_recorded_episodes_have_our_tokens(tmp_path, name):
    ids, mask, pixels, ours, model = replayed(BY_NAME[name], tmp_path)
    assert ids == ours.ids
    assert mask == ours.mask
    assert pixels == runs(ids, model.image_token)


@pytest.mark.parametrize("name", list(MEANT))
def test_where_trls_own_loop_differs_is_documented(tmp_path, name):
    ids, mask, pixels, ours, model = replayed(BY_NAME[name], tmp_path)
    assert ids != ours.ids
    assert f"| {MEANT[name]} |" in DOCS.read_text(encoding="utf-8")
    written = [token for token, own in zip(ids, mask, strict=True) if own]
    own = [token for token, own in zip(ours.ids, ours.mask, strict=True) if own]
    assert written == own[: len(written)]
    assert pixels == runs(ids, model.image_token)
