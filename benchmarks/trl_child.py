"""Run by an interpreter that has TRL 1.12: its GRPOTrainer on the tiny policy's task, a block of steps at a time.

    python -m benchmarks.trl_child SETTINGS.json-text

What a user of TRL would write: an ``environment_factory`` whose zoom returns an image, and a reward function. The
environment behind it is ours, so that scenes, tool, rewards, and what the policy reads are the same on both sides.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, TrainerCallback
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen3_schema

from benchmarks.pace import Pace, Settings
from deepeyes_env import ToolCall, Trajectory, VisualToolboxEnv
from deepeyes_env.agents.transformers.processor import ImagePatches, ImageTextProcessor
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.trainers.grpo.metrics import rollout_metrics

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ 'user' if message.role == 'tool' else message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The tiny policy's own, with tool calls and what tools answer, which TRL asks of a template."""

OBSERVATION = 64
"""More tokens than a crop and the words around it are; TRL counts them in ``max_completion_length``."""

QUESTIONS = 10_000


class ZoomEnv:
    """One rollout: our environment as TRL wants it. Its public methods are the tools."""

    def __init__(self, max_turns: int) -> None:
        self._env = VisualToolboxEnv(dataset=pattern_search(length=QUESTIONS), max_turns=max_turns)

    def reset(self, index: int, **_: Any) -> list[dict[str, Any]]:
        """Begin an episode; TRL appends what is returned to the user's message."""
        _, info = self._env.reset(seed=index, options={"index": index})
        return _blocks(info["trajectory"].prompt)

    def image_zoom_in_tool(self, bbox_2d: list[float], label: str = "") -> list[dict[str, Any]]:
        """Zoom in on a part of the image.

        Args:
            bbox_2d: The box, [x1, y1, x2, y2].
            label: What is in it.
        """
        *_, info = self._env.step(ToolCall("image_zoom_in_tool", {"bbox_2d": bbox_2d, "label": label}))
        return _blocks(info["turn"].observation)

    def _finished(self, message: str) -> Trajectory:
        """Take the last message, of which TRL tells its environments nothing; returns the scored episode."""
        if not self._env.trajectory.done:
            self._env.step(message)
        return self._env.trajectory


def _blocks(message: Message) -> list[dict[str, Any]]:
    """Return a message as content blocks with PIL images."""
    images = iter(message.images)
    blocks: list[dict[str, Any]] = []
    for number, part in enumerate(message.text.split(IMAGE_PLACEHOLDER)):
        blocks += [{"type": "image", "image": Image.fromarray(next(images).pixels())}] if number else []
        blocks += [{"type": "text", "text": part}] if part else []
    return blocks


class Reward:
    """Lets the environments score their episodes, and keeps these for the record."""

    __name__ = "deepeyes"

    def __init__(self, tokenizer: Any) -> None:
        self.episodes: list[Trajectory] = []
        self._tokenizer = tokenizer

    def __call__(self, completion_ids: list[list[int]], environments: list[ZoomEnv], **_: Any) -> list[float]:
        texts = (self._tokenizer.decode(ids) for ids in completion_ids)
        last = (text.rsplit("<|im_start|>assistant\n")[-1].removesuffix("<|im_end|>") for text in texts)
        self.episodes = [env._finished(message) for env, message in zip(environments, last, strict=True)]
        return [episode.reward for episode in self.episodes]


class TimedTrainer(GRPOTrainer):
    """Takes the time of playing."""

    play, tokens = 0.0, 0.0

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        began = time.perf_counter()
        scored = super()._generate_and_score_completions(inputs)
        self.play = time.perf_counter() - began
        self.tokens = float((scored["completion_mask"] * scored["tool_mask"]).sum()) / len(inputs)
        return scored


class PacedCallback(TrainerCallback):
    """Waits for the parent between blocks of steps."""

    def __init__(self, pace: Pace, reward: Reward) -> None:
        self.trainer: Any = None
        self._pace, self._reward = pace, reward

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        names = ("trl", "transformers", "torch", "accelerate", "datasets")
        control.should_training_stop = not self._pace.ready({name: version(name) for name in names})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        played = rollout_metrics(self._reward.episodes) | {"response/tokens": self.trainer.tokens}
        if not self._pace.ended(self.trainer.play, played):
            control.should_training_stop = True


def config(settings: Settings, forbidden: list[int], out: str) -> GRPOConfig:
    """Return TRL's settings: the same algorithm; tuned, what only costs time is switched off."""
    messages, observations = settings.max_turns, settings.max_turns - 1
    return GRPOConfig(
        output_dir=out,
        use_cpu=True,
        **({"bf16": False, "gradient_checkpointing": False} if settings.tuned else {}),
        max_steps=10**6,
        per_device_train_batch_size=settings.micro_batch,
        gradient_accumulation_steps=settings.episodes // settings.micro_batch,
        num_generations=settings.group_size,
        max_completion_length=messages * settings.max_new_tokens + observations * OBSERVATION,
        max_tool_calling_iterations=settings.max_turns - 1,
        generation_kwargs={"max_new_tokens": settings.max_new_tokens, "suppress_tokens": forbidden},
        learning_rate=settings.lr,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def main() -> None:
    """Train until the parent hangs up."""
    settings = Settings(**json.loads(sys.argv[1]))
    pace = Pace()
    torch.set_num_threads(settings.threads)
    tokenizer = AutoTokenizer.from_pretrained(settings.model, padding_side="left")
    tokenizer.response_schema = qwen3_schema
    images = ImagePatches() if settings.tuned else Qwen2VLImageProcessorPil()
    processor = ImageTextProcessor(images, tokenizer, CHAT_TEMPLATE)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(settings.model, dtype=torch.float32)
    reward = Reward(tokenizer)
    turns = PacedCallback(pace, reward)
    _, info = VisualToolboxEnv(dataset=pattern_search(length=1)).reset(seed=0)
    prompt = [{"role": "system", "content": info["system_prompt"]}, {"role": "user", "content": ""}]
    special = [number for number in tokenizer.added_tokens_decoder if number != tokenizer.eos_token_id]
    with tempfile.TemporaryDirectory() as out:
        turns.trainer = TimedTrainer(
            model=model,
            reward_funcs=reward,
            args=config(settings, special, out),
            train_dataset=Dataset.from_dict({"prompt": [prompt] * QUESTIONS, "index": list(range(QUESTIONS))}),
            processing_class=processor,
            callbacks=[turns],
            environment_factory=lambda: ZoomEnv(settings.max_turns),
        )
        turns.trainer.train()


if __name__ == "__main__":
    main()
