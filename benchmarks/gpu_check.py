"""A large random Qwen2.5-VL on one GPU: speed, memory against the plan, kernels, and whether results repeat.

    python benchmarks/gpu_check.py [--size 1b|3b] [--steps 10] [--out FILE]     under nine minutes on a GPU
    python benchmarks/gpu_check.py --tiny                                       on a CPU, for a test

No weights are needed: the model is random, and its episodes are groups of one length with images. One JSON holds what
four checks found, each with ``"ok"`` and its figures; one that raises holds the error, and the others go on:

- ``steps``: rollouts and policy updates; steps a second, tokens a second, losses that are numbers.
- ``memory``: the most bytes of rollouts and of updates by the allocator, against the plan's.
- ``kernels``: attention kernels of one step by the profiler; a step must also run where the math kernel is forbidden.
- ``repeats``: a step of the shipped tiny policy in ``float32``, twice on this device and once on the CPU: how far
  log-probabilities, gradients and weights are apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.precision import generation_copy, refresh
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.grpo.batch import Batch
from deepeyes_env.trainers.grpo.footprint import PREFILL, STEP, TOKENS, UPDATE, Load, ModelShape, Precision, footprint
from deepeyes_env.trainers.grpo.learner import Learner
from deepeyes_env.trainers.grpo.sections import AlgorithmSettings, OptimSettings
from deepeyes_env.trainers.tiny import BASE

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
_SIZES = {
    "tiny": (64, 2, 4, 128, 64, 2),
    "1b": (1536, 28, 12, 8960, 1280, 16),
    "3b": (2048, 36, 16, 11_008, 1280, 32),
}
"""Hidden size, layers, heads (two of keys), size of the MLP; hidden size and layers of the vision tower."""

LR = 1e-4
WITHIN = {
    "same device": {"logprobs": 1e-5, "gradient_norm": 1e-4, "weights": 0.01},
    "CPU": {"logprobs": 1e-3, "gradient_norm": 1e-2, "weights": 0.1},
}
"""How far apart a repetition may be: in the largest gap to the log-probabilities of sampling after a step; in the norm
of the gradient, as a share; in weights after a step, on average, in learning rates: Adam's first step is as long as one
whatever the gradient."""


class Work:
    """Groups of episodes of equal length: a prompt with an image, two messages, an observation with an image.

    Args:
        policy: Plays them.
        groups: Prompts.
        group_size: Episodes of each.
        words: Tokens of text in a prompt.
        side: Side of an image in image tokens.
        message: Tokens of a message.
    """

    def __init__(self, policy: VisionPolicy, groups: int, group_size: int, words: int, side: int, message: int) -> None:
        self.policy, self.groups, self.group_size = policy, groups, group_size
        self.words, self.side, self.message = words, side, message

    def play(self, generating: VisionPolicy, seed: int) -> Batch:
        """Play the episodes, with a copy of the policy."""
        rng = np.random.default_rng(seed)
        generator = Generator(generating, Sampling(1.0, self.message))
        parts: dict[int, list[TokenSequence]] = {}
        conversations = []
        for group in range(self.groups):
            prompt = self._context(rng, self.words, group)
            for _ in range(self.group_size):
                conversations.append(CachedConversation((seed, len(conversations)), prompt, prompt_key=group))
                parts[id(conversations[-1])] = [prompt]

        def on_finished(conversation: CachedConversation, tokens: Any) -> None:
            written = np.array(tokens.ids), np.ones(len(tokens.ids), np.bool_), np.array(tokens.logprobs, np.float32)
            parts[id(conversation)].append(TokenSequence(*written))

        generator.generate(conversations, on_finished)
        for number, conversation in enumerate(conversations):
            observation = self._context(rng, 16, 1000 + number)
            parts[id(conversation)].append(observation)
            conversation.append(observation)
        generator.generate(conversations, on_finished)
        episodes = tuple(TokenSequence.concatenated(parts[id(each)]) for each in conversations)
        rewards = np.arange(len(episodes), dtype=np.float32) ** 2
        return Batch(episodes, rewards, np.repeat(np.arange(self.groups), self.group_size))

    def load(self, micro_batch_tokens: int) -> Load:
        """What a step goes through, for the plan."""
        image, completion = self.side**2, 2 * self.message + 16 + self.side**2
        prompt = self.words + image
        pack_size = min(self.group_size, max(1, (micro_batch_tokens - prompt) // completion))
        in_all = self.groups * -(-self.group_size // pack_size)
        packs = min(in_all, max(1, micro_batch_tokens // (prompt + pack_size * completion)))
        return Load(
            self.groups, self.group_size, prompt, completion, self.message, 2 * self.message, 4 * image, 4 * image,
            16 + image, 4 * image, packs, pack_size, -(-in_all // packs),
        )  # fmt: skip

    def _context(self, rng: np.random.Generator, words: int, seed: int) -> TokenSequence:
        side = self.side * self.policy.factor
        image = ImageRef.of(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))
        ids = [
            *rng.integers(300, 400, words - 2),
            *[self.policy.image_token] * self.side**2,
            *rng.integers(300, 400, 2),
        ]
        return TokenSequence.context(np.array(ids), [image])


def random_policy(size: str, device: str, dtype: torch.dtype) -> VisionPolicy:
    """Return a random Qwen2.5-VL, whose tokenizer is that of the tiny policy: no text is read."""
    from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    hidden, layers, heads, intermediate, vision_hidden, depth = _SIZES[size]
    vocabulary = 1000 if size == "tiny" else 151_936
    half = hidden // heads // 2
    side = 3 * half // 8
    text = {
        "vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": 2, "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [half - 2 * side, side, side]},
        "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    vision = {
        "depth": depth, "hidden_size": vision_hidden, "intermediate_size": 2 * vision_hidden,
        "num_heads": 2 if size == "tiny" else 16, "out_hidden_size": hidden, "fullatt_block_indexes": [depth - 1],
    }  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(BASE, local_files_only=True)
    special = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = {name: vocabulary - 1 - number for number, name in enumerate(special)}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config).float().eval()
    policy = VisionPolicy(model, tokenizer, dtype)
    policy.stops = frozenset()  # every message is as long as it may be
    return policy


class LargeModel:
    """The random model with its learner and its work."""

    def __init__(self, size: str, device: str) -> None:
        self.on_gpu = torch.device(device).type == "cuda"
        dtype = torch.bfloat16 if self.on_gpu else torch.float32
        self.policy = random_policy(size, device, dtype)
        self.micro_batch_tokens = 16_384 if self.on_gpu else 200
        self.work = Work(self.policy, 4, 4, 256, 16, 128) if self.on_gpu else Work(self.policy, 2, 3, 12, 3, 6)
        optim = OptimSettings(lr=1e-6, gradient_checkpointing=True, micro_batch_tokens=self.micro_batch_tokens)
        self.learner = Learner(self.policy, AlgorithmSettings(), optim, 1.0)
        self.generating = generation_copy(self.policy)
        self.generating.stops = frozenset()
        self.peaks: dict[str, int] = {}

    def step(self, number: int) -> dict[str, float]:
        """Take a step; returns its metrics and times."""
        began = time.perf_counter()
        self._reset()
        batch = self.work.play(self.generating, number)
        self._note("rollouts")
        played = time.perf_counter()
        metrics = self.learner.learn(batch, np.random.default_rng(number))
        refresh(self.generating, self.policy)
        self._note("policy update")
        return {**metrics, "rollouts": played - began, "update": time.perf_counter() - played}

    def _reset(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()

    def _note(self, stage: str) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()
            self.peaks[stage] = max(self.peaks.get(stage, 0), torch.cuda.max_memory_allocated())
            torch.cuda.reset_peak_memory_stats()


def check_steps(model: LargeModel, steps: int) -> dict[str, Any]:
    """Take steps."""
    rows = [model.step(number) for number in range(steps)]
    timed = rows[1:] or rows
    rollouts, update = (float(np.median([row[name] for row in timed])) for name in ("rollouts", "update"))
    load = model.work.load(model.micro_batch_tokens)
    return {
        "ok": all(np.isfinite(row["learn/loss"]) and np.isfinite(row["learn/gradient_norm"]) for row in rows),
        "parameters": sum(weight.numel() for weight in model.policy.model.parameters()),
        "steps": steps,
        "steps_per_second": 1 / (rollouts + update),
        "rollout_seconds": rollouts,
        "update_seconds": update,
        "tokens_written_per_second": load.episodes * load.policy_tokens / rollouts,
        "largest_logprob_gap": max(row["learn/logprob_gap"] for row in rows),
    }


def check_memory(model: LargeModel) -> dict[str, Any]:
    """Compare the peaks of the allocator with the plan."""
    precision = Precision(half=model.on_gpu, checkpointing=True)
    stages = footprint(ModelShape.of(model.policy.model.config), model.work.load(model.micro_batch_tokens), precision)
    total = {stage: sum(parts.values()) for stage, parts in stages.items()}
    planned = {"rollouts": max(total[PREFILL], total[TOKENS]), "policy update": max(total[UPDATE], total[STEP])}
    found = {"planned": planned, "stages": {stage: dict(parts) for stage, parts in stages.items()}}
    if not model.on_gpu:
        return {"ok": None, **found, "why": "no GPU: its allocator has nothing to say"}
    ratios = {stage: planned[stage] / model.peaks[stage] for stage in planned}
    reserved = torch.cuda.max_memory_reserved()
    ok = all(0.85 < ratio < 1.15 for ratio in ratios.values())
    return {"ok": ok, **found, "peaks": model.peaks, "planned_by_peak": ratios, "reserved": reserved}


def check_kernels(model: LargeModel) -> dict[str, Any]:
    """Name the attention kernels of a step, then take one without the math kernel."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if model.on_gpu else [])]
    with profile(activities=kinds, acc_events=True) as profiled:
        model.step(1000)
    words = ("attention", "fmha", "flash", "sdpa")
    counted = Counter({event.key: event.count for event in profiled.key_averages()})
    kernels = {name: count for name, count in counted.items() if any(word in name.lower() for word in words)}
    with sdpa_kernel(FUSED):
        model.step(1001)
    math = [name for name in kernels if "attention_math" in name]
    return {"ok": not math, "kernels": dict(sorted(kernels.items(), key=lambda item: -item[1])[:40])}


def check_repeats(device: str) -> dict[str, Any]:
    """Take one step of the tiny policy on the same episodes: twice on this device, and once on the CPU."""
    tiny = VisionPolicy.load(BASE)
    batch = Work(tiny, 2, 3, 12, 4, 12).play(tiny, 0)
    first, second, here = (_Stepped(batch, where) for where in (device, device, "cpu"))
    apart = {"same device": first.apart(second), "CPU": first.apart(here)}
    ok = all(apart[where][what] <= most for where, limits in WITHIN.items() for what, most in limits.items())
    return {"ok": ok, "within": WITHIN, "apart": apart}


class _Stepped:
    """The tiny policy after one step, with the log-probabilities that it then gives to the episodes."""

    def __init__(self, batch: Batch, device: str) -> None:
        policy = VisionPolicy.load(BASE, device)
        learner = Learner(policy, AlgorithmSettings(), OptimSettings(lr=LR, warmup=0), 1.0)
        self.gradient_norm = learner.learn(batch, np.random.default_rng(0))["learn/gradient_norm"]
        self.weights = torch.cat([each.detach().flatten().cpu() for each in policy.model.parameters()])
        self.logprob_gap = learner.learn(batch, np.random.default_rng(0))["learn/logprob_gap"]

    def apart(self, other: _Stepped) -> dict[str, float]:
        """Return how far two are apart."""
        return {
            "logprobs": abs(self.logprob_gap - other.logprob_gap),
            "gradient_norm": abs(self.gradient_norm / other.gradient_norm - 1),
            "weights": float((self.weights - other.weights).abs().mean()) / LR,
        }


def _checked(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        found = check()
    except Exception as error:  # a report of what failed is worth more than a traceback at minute eight
        found = {"ok": False, "error": f"{type(error).__name__}: {error}"[:2000]}
    return {**found, "seconds": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("1b", "3b"), default="1b")
    parser.add_argument("--tiny", action="store_true", help="a small model on a CPU")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu_check.json")
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU here; --tiny runs on a CPU")
    device = "cuda" if torch.cuda.is_available() and not args.tiny else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "size": "tiny" if args.tiny else args.size,
    }
    report["repeats"] = _checked(lambda: check_repeats(device))
    model = LargeModel(report["size"], device)
    report["steps"] = _checked(lambda: check_steps(model, args.steps))
    report["memory"] = _checked(lambda: check_memory(model))
    report["kernels"] = _checked(lambda: check_kernels(model))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: each for name, each in report.items() if name != "memory"}, indent=2))


if __name__ == "__main__":
    main()
