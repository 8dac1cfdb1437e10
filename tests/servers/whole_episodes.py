"""What tests of different servers ask for alike."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepeyes_env.agents import Episode
from deepeyes_env.agents.agent import AsyncAgent
from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.context import fit_to_budget
from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.openai.data_urls import DataUrls
from deepeyes_env.agents.openai.requests import body_of, messages_for_server
from deepeyes_env.agents.play_async import play_async
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.trainers.conformance.directory import ModelDirectory
from deepeyes_env.trainers.conformance.drift import Encoded
from deepeyes_env.trainers.conformance.recordings import RECORDINGS, play
from deepeyes_env.trainers.conformance.ways import running
from tests.servers.real_servers import Served
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


def assert_context_log_counts_what_the_server_reads(server: Served, folder: Path) -> None:
    """Ask for a message after crops of several sizes; compare what was read with the context log."""
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
        read.append(_answer(server, env.trajectory)["usage"]["prompt_tokens"])
        counted.append(fit_to_budget(env.trajectory, budget).log.requests[-1])
    assert len({entry.visual_tokens for entry in counted}) > 1
    # Texts are alike up to the digits of the box; the rest is images.
    texts = [total - entry.visual_tokens for total, entry in zip(read, counted, strict=True)]
    spread = [entry.text_tokens for entry in counted]
    assert [text - texts[0] for text in texts] == [text - spread[0] for text in spread]


def assert_prompts_are_those_of_the_conformance_kit(
    server: Served, folder: Path, encode: Callable[[ModelDirectory, Trajectory], list[Encoded]], *, ids: bool
) -> None:
    """Send the recorded episodes as our agent does; compare what the server reads with what the kit says it does.

    Args:
        server: Serves the model.
        folder: Directory of the model.
        encode: The kit's way for this server.
        ids: Whether the server tells the ids of a prompt, and not only their number.
    """
    model = ModelDirectory.load(folder)
    for recording in RECORDINGS:
        episode = play(recording, model)
        expected = [each.ids for each in encode(model, episode)]
        settings = {"return_token_ids": True} if ids else {}
        answers = [_answer(server, so_far, **settings) for so_far in running(episode)]
        assert [each["usage"]["prompt_tokens"] for each in answers] == [len(each) for each in expected], recording.name
        if ids:
            assert [tuple(each["prompt_token_ids"]) for each in answers] == expected, recording.name


def _answer(server: Served, episode: Trajectory, **settings: Any) -> Any:
    """Ask for the next message of a running episode."""
    toolbox = toolbox_of(episode)
    if toolbox.protocol.native:
        settings["tools"] = list(toolbox.schemas)
    body = bytes(
        body_of(
            {"model": server.model, "max_tokens": 200, "temperature": 0, **settings},
            messages_for_server(episode),
            DataUrls("png", 95),
        )
    )
    request = urllib.request.Request(f"{server.url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)
