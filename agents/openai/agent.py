"""OpenAIAgent: a model behind any OpenAI-compatible endpoint (vLLM, SGLang, transformers serve, llama.cpp, OpenAI)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from deepeyes_env.agents.agent import AgentError, Reply
from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.context import fit_to_budget, with_context_log
from deepeyes_env.agents.openai.data_urls import DataUrls, ImageFormat
from deepeyes_env.agents.openai.reading import read_reply
from deepeyes_env.agents.openai.requests import (
    Place,
    RequestBody,
    body_of,
    messages_for_server,
    urls_of,
)
from deepeyes_env.agents.openai.servers import RefusedError, Servers
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.limits import approximate_tokens
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.errors import ImageError, UsageError
from deepeyes_env.judges.llm_endpoint import LOCAL, api_key_of
from deepeyes_env.protocols import Protocol

T = TypeVar("T")


class OpenAIAgent:
    """A model behind one or several OpenAI-compatible servers; many conversations at once.

    Environments with a text protocol are played by text, with stop strings; those with the native protocol by function
    calling. Images are encoded once each, and the bytes of a first image that needs no resize are sent untouched.

    A server that refuses images in tool messages gets them in a user message that follows.

    Attributes:
        name: The model's name.
        concurrency: How many conversations to keep going at once, and most requests in flight.
        waiting: How many more may wait, with their requests written, so that the server is never without.
        budget: How much a request may hold; see ``deepeyes_env.agents.budget``.

    Args:
        model: Name under which the model is served.
        base_url: Base URL of a server, or of several that serve the same model.
        api_key: By default ``OPENAI_API_KEY``, or a placeholder if that is not set.
        concurrency: Most requests in flight.
        temperature: Sampling temperature; ``None`` leaves it to the server.
        max_tokens: Max new tokens of one message; ``None`` leaves it to the server.
        seed: Sampling seed of episode 0; episode ``e`` is sampled with ``seed + e``. ``None`` sends none.
        stop: Stop strings; ``"auto"`` takes the closing marks of the environment's protocol.
        tokens: Ask for token ids and log-probabilities, which go into ``Reply.tokens``. vLLM gives both; a server that
            knows no ``return_token_ids`` ignores or refuses it.
        image_format: How pixels are encoded: ``"jpeg"`` or ``"png"``.
        quality: JPEG quality.
        url_bytes: How many bytes of encoded images to keep at most, for requests that send them again.
        tool_images: Where images of tool messages go: into the message (``"tool"``), into a user message that follows
            (``"user"``), or ``"auto"``: the first until a server refuses that.
        timeout: Seconds that a request may take.
        retries: How often a request is repeated after a failure that may pass, with growing pauses.
        budget: How much a request may hold, and what to do about one that holds more; by default there is no limit.
        extra: Further fields of the request, such as ``{"top_p": 0.9}``; a field that is ``None`` is left out.

    Raises:
        MissingExtraError: ``openai`` is not installed.
        UsageError: An argument is out of range; the message names it.
    """

    def __init__(
        self,
        model: str,
        base_url: str | Sequence[str] = LOCAL,
        *,
        api_key: str | None = None,
        concurrency: int = 64,
        temperature: float | None = 0.0,
        max_tokens: int | None = 2048,
        seed: int | None = None,
        stop: Sequence[str] | Literal["auto"] = "auto",
        tokens: bool = False,
        image_format: ImageFormat = "jpeg",
        quality: int = 90,
        url_bytes: int = 2 * 2**30,
        tool_images: Place | Literal["auto"] = "auto",
        timeout: float = 300.0,
        retries: int = 6,
        budget: Budget | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if tool_images not in ("auto", "tool", "user"):
            raise UsageError(f"tool_images={tool_images!r}: must be 'auto', 'tool' or 'user'")
        if isinstance(stop, str) and stop != "auto":
            raise UsageError(f"stop={stop!r}: must be 'auto' or a list of strings")
        self.name = model
        self.concurrency = concurrency
        self.waiting = concurrency // 4
        self.budget = budget or Budget()
        self._stop = stop
        self._seed = seed
        self._tokens = tokens
        self._tool_images = tool_images
        self._place: Place = "user" if tool_images == "user" else "tool"
        self._settings = {"model": model, "temperature": temperature, "max_tokens": max_tokens}
        sent: Mapping[str, Any] = {**self._settings, **(extra or {})}
        self._extra = dict(extra or {})
        self._urls = DataUrls(image_format, quality, url_bytes)
        self._servers = Servers(
            [base_url] if isinstance(base_url, str) else base_url,
            api_key_of(api_key),
            concurrency=concurrency,
            timeout=timeout,
            retries=retries,
        )
        self.about = {
            "server": ", ".join(self._servers.urls),
            "temperature": sent["temperature"],
            "max_new_tokens": sent["max_tokens"],
        }

    # --- playing -------------------------------------------------------------------------------------------------

    async def reply(self, episode: Trajectory) -> Reply:
        """Return the next message of one running episode.

        With function calling the message is an assistant message with ``tool_calls``; otherwise it is text, in which
        the stop string that ended it is kept.

        Raises:
            AgentError: No server answered, or one refused the request; the message names the remedy.
        """
        place = self._place
        try:
            choice = await self._ask(episode, place)
        except RefusedError as refusal:
            movable = self._tool_images == "auto" and place == "tool" and has_tool_images(episode)
            if not movable or refusal.status not in (400, 422):
                raise await self._explained(refusal) from refusal
            choice = await self._ask_the_other_way(episode, refusal)
        toolbox = toolbox_of(episode)
        try:
            return read_reply(choice, toolbox.protocol, native=toolbox.protocol.native)
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            raise AgentError(f"the server answered with something else than a chat completion: {error}") from error

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply | AgentError]:
        """Return the next message of each running episode, or its error; all are asked for at the same time."""

        async def reply_or_error(episode: Trajectory) -> Reply | AgentError:
            try:
                return await self.reply(episode)
            except AgentError as error:
                return error

        async def ask_all() -> list[Reply | AgentError]:
            return list(await asyncio.gather(*map(reply_or_error, episodes)))

        return _run(ask_all())

    def check(self) -> None:
        """Make sure that every server is there and serves the model, before any episode is played.

        Raises:
            AgentError: One is not or does not; the message says which, and what it serves instead.
        """
        _run(self._check())

    def with_context_log(self, trajectory: Trajectory) -> Trajectory:
        """Return a finished trajectory with what its requests held in ``metadata["context_log"]``."""
        return with_context_log(trajectory, self.budget, self._overhead(trajectory))

    # --- asking --------------------------------------------------------------------------------------------------

    async def _ask(self, episode: Trajectory, place: Place) -> dict[str, Any]:
        try:
            body = await asyncio.to_thread(self._body, episode, place)  # encoding an image takes milliseconds
        except ImageError as error:
            raise AgentError(str(error)) from error
        conversation = episode.metadata.get("episode", episode.sample.id)
        return await self._servers.ask(body, conversation)

    async def _ask_the_other_way(self, episode: Trajectory, refusal: RefusedError) -> dict[str, Any]:
        """Put the images into user messages; if that helps, do so from now on."""
        try:
            choice = await self._ask(episode, "user")
        except RefusedError:
            raise await self._explained(refusal) from refusal
        self._place = "user"
        return choice

    def _body(self, episode: Trajectory, place: Place) -> RequestBody:
        fitted = fit_to_budget(episode, self.budget, self._overhead(episode)).episode
        return body_of(self._fields(episode), messages_for_server(fitted, place), urls_of(fitted, self._urls))

    def _fields(self, episode: Trajectory) -> dict[str, Any]:
        """Return everything of a request but its messages."""
        toolbox = toolbox_of(episode)
        fields: dict[str, Any] = dict(self._settings)
        fields["stop"] = self._stops(toolbox.protocol) or None
        if toolbox.protocol.native:
            fields["tools"] = list(toolbox.schemas)
        if self._seed is not None:
            fields["seed"] = self._seed + int(episode.metadata.get("episode", 0))
        if self._tokens:
            fields |= {"logprobs": True, "return_token_ids": True}
        return {name: value for name, value in {**fields, **self._extra}.items() if value is not None}

    def _stops(self, protocol: Protocol) -> list[str]:
        """Return the stop strings that are sent."""
        if "stop" in self._extra:
            stop = self._extra["stop"] or []
            return [stop] if isinstance(stop, str) else list(stop)
        return list(protocol.stop_strings) if self._stop == "auto" else list(self._stop)

    def _overhead(self, episode: Trajectory) -> int:
        """Return about how many tokens the schemas of tools take."""
        toolbox = toolbox_of(episode)
        return approximate_tokens(str(list(toolbox.schemas))) if toolbox.protocol.native else 0

    # --- what is wrong -------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        for url in self._servers.urls:
            if self.name in await self._servers.served(url):
                continue
            # Not every server lists what it serves (transformers serve takes the path of any local model).
            question = {**self._settings, "max_tokens": 1, **self._extra}
            fields = {name: value for name, value in question.items() if value is not None}
            body = body_of(fields, [{"role": "user", "content": "Hello"}], self._urls)
            try:
                await self._servers.ask_only(url, body)
            except RefusedError as refusal:
                raise await self._explained(refusal) from refusal

    async def _explained(self, refusal: RefusedError) -> AgentError:
        """Find out whether a server refused because it does not serve the model."""
        if refusal.status not in (400, 404, 422):
            return refusal
        try:
            served = await self._servers.served(refusal.url)
        except AgentError:
            return refusal
        if served and self.name not in served and (refusal.status == 404 or "model" in refusal.words.lower()):
            names = ", ".join(served[:20])
            return RefusedError(
                refusal.status, refusal.words, refusal.url, f"it does not serve {self.name!r} but: {names}"
            )
        if refusal.status == 404 and not served:
            return RefusedError(
                refusal.status, refusal.words, refusal.url, "does the base URL end in /v1, as most servers want it?"
            )
        return refusal


def has_tool_images(episode: Trajectory) -> bool:
    """Whether a request for the next message has images in tool messages."""
    native = toolbox_of(episode).protocol.native
    return native and any(result.images for turn in episode.turns for result in turn.results)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a loop of its own, whether or not one runs in this thread (as in a notebook)."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
