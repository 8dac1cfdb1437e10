"""Run in vLLM's own environment: VLLMAgent plays episodes; writes what came of them as JSON.

python vllm_episodes.py MODEL NUMBER OUT
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


def main(model: str, number: int) -> None:
    from dataclasses import replace

    from deepeyes_env import VisualToolboxEnv
    from deepeyes_env.agents.transformers.generator import Sampling
    from deepeyes_env.agents.vllm_agent import VLLMAgent
    from deepeyes_env.data.visual_search import pattern_search
    from deepeyes_env.images.views import ViewBudget

    sampling = Sampling(temperature=1.0, max_new_tokens=64)
    agent = VLLMAgent(model, sampling=sampling, enforce_eager=True, dtype="float32", max_model_len=4096)
    view = ViewBudget(112 * 112, 112 * 112)
    told = []
    for _ in range(2):
        envs = [
            VisualToolboxEnv("VisualToolbox-v2", pattern_search(length=100), view=view, rubric=None)
            for _ in range(number)
        ]
        running = {}
        for seed, env in enumerate(envs):
            env.reset(seed=seed)
            running[seed] = replace(env.trajectory, metadata={"seed": seed})
        ended = {}
        while running:
            due = sorted(running)
            for seed, reply in zip(due, agent.act([running[seed] for seed in due]), strict=True):
                *_, terminated, truncated, info = envs[seed].step(reply.message)
                running[seed] = running[seed].extended(replace(info["turn"], tokens=reply.tokens))
                if terminated or truncated:
                    ended[seed] = agent.with_context_log(running.pop(seed))
        told.append([_told(ended[seed]) for seed in sorted(ended)])
    Path(sys.argv[3]).write_text(json.dumps(told), encoding="utf-8")


def _told(episode):
    return {
        "actions": [turn.action for turn in episode.turns],
        "ids": [turn.tokens.ids for turn in episode.turns],
        "logprobs": [turn.tokens.logprobs for turn in episode.turns],
        "zooms": [result.status for result in episode.results],
        "context_log": episode.metadata["context_log"],
        "digests": [image.digest for turn in episode.turns if turn.observation for image in turn.observation.images],
    }


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
