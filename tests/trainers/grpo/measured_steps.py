"""Steps of small models, played and learned from, with the most bytes that tensors held in each stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.grpo import footprint
from deepeyes_env.trainers.grpo.adapters import TrainedPart
from deepeyes_env.trainers.grpo.batch import Batch
from deepeyes_env.trainers.grpo.footprint import Load, ModelShape, Precision
from deepeyes_env.trainers.grpo.learner import Learner
from deepeyes_env.trainers.grpo.sections import AlgorithmSettings, OptimSettings, WeightsSettings
from tests.live_bytes import LiveBytes
from tests.small_model import byte_tokenizer, random_model


@dataclass(frozen=True)
class Case:
    """A model, and two groups of three episodes of two turns.

    Attributes:
        hidden: Its hidden size.
        layers: Its layers.
        words: Words of a prompt.
        side: Side of an image in image tokens.
        message: Tokens of a message.
        checkpointing: Activations are recomputed.
        vocabulary: Its vocabulary.
        lora_rank: Rank of adapters.
        frozen_vision: The vision tower is not trained.
        separate: Each group is a micro-batch of its own.
        family: Its family.
    """

    hidden: int
    layers: int
    words: int
    side: int
    message: int
    checkpointing: bool = False
    vocabulary: int = 320
    lora_rank: int = 0
    frozen_vision: bool = False
    separate: bool = False
    family: str = "qwen2_5_vl"


GROUPS, GROUP_SIZE, TURNS = 2, 3, 2


class MeasuredStep:
    """A policy with its learner, and what a step of it holds."""

    def __init__(self, case: Case) -> None:
        torch.set_num_threads(1)
        self.case = case
        text = {"hidden_size": case.hidden, "intermediate_size": 2 * case.hidden, "vocab_size": case.vocabulary}
        tokenizer = byte_tokenizer()
        model = random_model(tokenizer, family=case.family, num_hidden_layers=case.layers, **text)
        self.policy = VisionPolicy(model, tokenizer)
        self.policy.stops = frozenset()  # every message is as long as it may be
        self.part = TrainedPart(
            self.policy, WeightsSettings(lora_rank=case.lora_rank, freeze_vision=case.frozen_vision), 0
        )
        tokens = 1 if case.separate else 10**9
        settings = OptimSettings(gradient_checkpointing=case.checkpointing, micro_batch_tokens=tokens)
        if case.separate:
            settings = settings.model_copy(update={"micro_batch_tokens": self.load.prompt + 3 * self.load.completion})
        self.learner = Learner(self.policy, AlgorithmSettings(), settings, 1.0)

    @property
    def load(self) -> Load:
        """What the step goes through."""
        case, image = self.case, self.case.side**2
        observation = 12 + image
        return Load(
            groups=GROUPS, group_size=GROUP_SIZE, prompt=case.words + 2 + image,
            completion=TURNS * case.message + observation, message=case.message, policy_tokens=TURNS * case.message,
            prompt_patches=4 * image, completion_patches=4 * image, observation=observation,
            observation_patches=4 * image, packs=1 if case.separate else GROUPS, pack_size=GROUP_SIZE,
            microbatches=GROUPS if case.separate else 1,
        )  # fmt: skip

    @property
    def planned(self) -> dict[str, int]:
        """What the plan says of each stage, without what is there before a step begins."""
        case = self.case
        precision = Precision(False, case.checkpointing, case.lora_rank, case.frozen_vision)
        stages = footprint.footprint(ModelShape.of(self.policy.model.config), self.load, precision)
        there = (footprint.WEIGHTS, footprint.OPTIMIZER)
        return {
            stage: sum(size for part, size in parts.items() if part not in there) for stage, parts in stages.items()
        }

    def play(self) -> tuple[Batch, dict[str, int]]:
        """Play the episodes; returns them, and the most bytes of prefill and of tokens."""
        rng, case = np.random.default_rng(0), self.case
        generator = Generator(self.policy, Sampling(1.0, case.message))
        parts: dict[int, list[TokenSequence]] = {}
        conversations = []
        for group in range(GROUPS):
            prompt = self._context(rng, case.words, group)
            for _ in range(GROUP_SIZE):
                conversations.append(CachedConversation((len(conversations),), prompt, prompt_key=group))
                parts[id(conversations[-1])] = [prompt]

        def on_finished(conversation, tokens):
            written = np.array(tokens.ids), np.ones(len(tokens.ids), bool), np.array(tokens.logprobs, np.float32)
            parts[id(conversation)].append(TokenSequence(*written))

        peaks = {footprint.PREFILL: 0, footprint.TOKENS: 0}
        with LiveBytes() as live:
            for turn in range(TURNS):
                for stage in peaks:
                    live.restart()
                    if stage == footprint.PREFILL:
                        generator.prefill(conversations)
                    else:
                        generator.generate(conversations, on_finished)
                    peaks[stage] = max(peaks[stage], live.peak)
                for number, conversation in enumerate(conversations):
                    if turn + 1 < TURNS:
                        observation = self._context(rng, 10, 100 + number)
                        parts[id(conversation)].append(observation)
                        conversation.append(observation)
        episodes = tuple(TokenSequence.concatenated(parts[id(each)]) for each in conversations)
        rewards = np.tile(np.array([0, 1, 5], np.float32), GROUPS)  # none is the mean, so that all are learned from
        return Batch(episodes, rewards, np.repeat(np.arange(GROUPS), GROUP_SIZE)), peaks

    def learn(self, batch: Batch) -> int:
        """Learn from them; returns the most bytes of the second step, when the optimizer has its state."""
        self.take(batch)
        with LiveBytes() as live:
            self.take(batch)
        return live.peak

    def take(self, batch: Batch) -> None:
        """Take an optimizer step."""
        self.learner.learn(batch, np.random.default_rng(0))

    def _context(self, rng, words, seed):
        side = self.case.side
        pixels = side * self.policy.factor
        image = ImageRef.of(np.random.default_rng(seed).integers(0, 256, (pixels, pixels, 3), np.uint8))
        shown = [self.policy.image_token] * side**2
        return TokenSequence.context(
            np.array([*rng.integers(10, 60, words), *shown, *rng.integers(10, 60, 2)]), [image]
        )
