"""What tests of different servers ask for alike."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace
from typing import Any

from deepeyes_env.agents import Episode
from deepeyes_env.agents.agent import AsyncAgent
from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.context import fit_to_budget
from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.openai.requests import messages_for_server
from deepeyes_env.agents.play_async import play_async
from deepeyes_env.core import Trajectory
from tests.servers.tiny_vlm import ANSWER, BOX, TEXT, environment


def played(agent: AsyncAgent, toolbox: str, number: int = 8) -> list[Trajectory]:
    """Play episodes whose questions the model was not fitted on; all of them must come to their ends."""
    episodes = [Episode(each, 1000 + each) for each in range(number)]
    ended = list(play_async(lambda: environment(toolbox), agent, episodes))
    failures = [end for end in ended if not isinstance(end, Trajectory)]
    assert not failures, failures[0]
    return [end for end in ended if isinstance(end, Trajectory)]


def assert_looked_and_answered(ended: list[Trajectory]) -> None:
    """Each episode: one zoom to the box that the model learned, an image back, and an answer after it."""
    for episode in ended:
        assert episode.stop_reason == "answer", [turn.action for turn in episode.turns]
        assert episode.answer == ANSWER
        assert [result.status for result in episode.results] == ["ok"]
        assert list(episode.results[0].call.arguments["bbox_2d"]) == BOX
        assert episode.image_count == 2
        assert [entry["images"] for entry in episode.metadata["context_log"]["requests"]] == [1, 2]


def assert_context_log_counts_what_the_server_reads(base_url: str, model: str, folder: Any) -> None:
    """Ask for one token of a conversation with crops of several sizes; compare what was read with the context log."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    budget = Budget(
        family=family_of(folder), count_tokens=lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)
    )
    read, counted = [], []
    for box in ([0, 0, 110, 110], [0, 0, 110, 40], [0, 0, 30, 110]):
        env = environment(TEXT)
        env.view = replace(env.view, min_pixels=28 * 28 * 4)
        env.reset(seed=0)
        env.step(f'<tool_call>{{"name": "image_zoom_in_tool", "arguments": {{"bbox_2d": {box}}}}}</tool_call>')
        read.append(_prompt_tokens(base_url, model, env.trajectory))
        counted.append(fit_to_budget(env.trajectory, budget).log.requests[-1])
    assert len({entry.visual_tokens for entry in counted}) > 1
    # Texts are alike up to the digits of the box; the rest is images.
    texts = [total - entry.visual_tokens for total, entry in zip(read, counted, strict=True)]
    spread = [entry.text_tokens for entry in counted]
    assert [text - texts[0] for text in texts] == [text - spread[0] for text in spread]


def _prompt_tokens(base_url: str, model: str, episode: Trajectory) -> int:
    from deepeyes_env.agents.openai.data_urls import DataUrls
    from deepeyes_env.agents.openai.requests import body_of

    settings = {"model": model, "max_tokens": 200, "temperature": 0}
    body = bytes(body_of(settings, messages_for_server(episode), DataUrls("png", 95)))
    request = urllib.request.Request(f"{base_url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return int(json.load(answer)["usage"]["prompt_tokens"])
