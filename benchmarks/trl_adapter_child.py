"""What our side of TRL costs beyond environment and model; run by an interpreter that has TRL.

    python -m benchmarks.trl_adapter_child MODEL SOURCE

``factory``: an environment as TRL's loop calls it, and the reward function, on a 4K image with crops of a megapixel;
``alone`` is the same episode in the environment itself. ``rollouts``: steps of ``VisionRolloutTrainer`` with the tiny
policy, of which playing the episodes is not counted.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration
from trl import GRPOConfig

from benchmarks.pace import cpu_ms, serve
from benchmarks.scripted import MOST_PIXELS, boxes, messages
from deepeyes_env import ViewBudget, VisualToolboxEnv
from deepeyes_env.agents.transformers.chat import load_chat
from deepeyes_env.core import PolicyTokens
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.trl import (
    EpisodeReward,
    EpisodeRollouts,
    VisionRolloutTrainer,
    environment_factory,
    load_processor,
    make_rows,
    with_tool_calls,
)
from deepeyes_env.trainers.trl import rollout as trl_rollout

SETTINGS = {"view": ViewBudget(max_pixels=MOST_PIXELS), "frame": "native", "max_turns": 8}


class TimedRollouts(trl_rollout.Rollouts):
    """Our own loop, which takes the time of playing."""

    played_ms = 0.0

    def play(self) -> Any:
        made: list[Any] = []
        TimedRollouts.played_ms += cpu_ms(lambda: made.append(super(TimedRollouts, self).play()))
        return made[0]


class TimedFunction(EpisodeRollouts):
    """The rollout function, which takes its time as a whole."""

    whole_ms, turns = 0.0, 0

    def __call__(self, prompts: Any, trainer: Any) -> Any:
        made: list[Any] = []
        self.whole_ms += cpu_ms(lambda: made.append(super(TimedFunction, self).__call__(prompts, trainer)))
        self.turns += sum(len(episode.turns) for episode in made[0]["episode"])
        return made[0]


def rollouts(steps: int) -> dict[str, float]:
    """Take steps with the tiny policy; returns CPU milliseconds a turn beside playing, and of playing."""
    trl_rollout.Rollouts = TimedRollouts
    data, played = pattern_search(length=64), TimedRollouts.played_ms
    processor = with_tool_calls(load_processor(BASE))
    function = TimedFunction(data, max_turns=3, max_new_tokens=32)
    with tempfile.TemporaryDirectory() as out:
        args = GRPOConfig(
            output_dir=out, use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=steps, save_strategy="no",
            per_device_train_batch_size=32, num_generations=8, max_completion_length=256, learning_rate=1e-9,
            report_to="none", disable_tqdm=True,
        )  # fmt: skip
        VisionRolloutTrainer(
            model=Qwen2_5_VLForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32),
            args=args,
            reward_funcs=EpisodeReward(processor),
            train_dataset=make_rows(data),
            processing_class=processor,
            rollout_func=function,
        ).train()
    played = TimedRollouts.played_ms - played
    return {"adapter": (function.whole_ms - played) / function.turns, "playing": played / function.turns}


class Episodes:
    """The same episode as TRL's loop has it played, and in an environment alone."""

    def __init__(self, model: str, source: str) -> None:
        processor = with_tool_calls(load_processor(model))
        self._chat = load_chat(Path(model), 28)
        self._env = VisualToolboxEnv("VisualToolbox-v2", source, **SETTINGS)
        self._factory = environment_factory(source, "VisualToolbox-v2", **SETTINGS)()
        self._reward = EpisodeReward(processor)
        self._tokenizer = processor.tokenizer
        (self._row,) = make_rows(source)

    def completion(self, seed: int, calls: int) -> list[int]:
        """Return the episode's completion as TRL has it; not timed."""
        _, info = self._env.reset(seed=0, options={"index": 0})
        so_far, end = info["trajectory"], self._chat.end_of_turn
        for text in messages(seed, calls):
            *_, info = self._env.step(text)
            ids = (*self._tokenizer(text).input_ids, end)
            so_far = so_far.extended(
                replace(info["turn"], tokens=PolicyTokens(ids, (0.0,) * len(ids), (1,) * len(ids)))
            )
        whole = self._chat.sequence(so_far).ids.tolist()
        return whole[len(self._chat.prompt(so_far)) :]

    def factory(self, seed: int, calls: int, completion: list[int]) -> None:
        """Play it as TRL's loop does."""
        self._factory.reset(**self._row)
        for box in boxes(seed, calls):
            self._factory.image_zoom_in_tool(bbox_2d=box, label="sign")
        (reward,) = self._reward(completion_ids=[completion], environments=[self._factory])
        if reward is None or len(self._reward.episodes[0].results) != calls:
            raise AssertionError("the episode was not played")

    def alone(self, seed: int, calls: int, _: list[int]) -> None:
        """Play it in the environment."""
        self._env.reset(seed=0, options={"index": 0})
        for text in messages(seed, calls):
            self._env.step(text)


def main() -> None:
    """Answer with CPU milliseconds."""
    torch.set_num_threads(1)
    episodes = Episodes(*sys.argv[1:])
    ways: dict[str, Callable[[int, int, list[int]], None]] = {"factory": episodes.factory, "alone": episodes.alone}

    def answer(request: dict[str, Any]) -> dict[str, float]:
        if request["way"] == "rollouts":
            return rollouts(request["steps"])
        calls, number = request["calls"], request["rollouts"]
        given = [(seed, calls, episodes.completion(seed, calls)) for seed in range(number)]
        return {"ms": cpu_ms(lambda: [ways[request["way"]](*each) for each in given]) / number}

    serve({name: version(name) for name in ("trl", "transformers", "torch", "pillow")}, answer)


if __name__ == "__main__":
    main()
