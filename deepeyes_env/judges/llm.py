"""LLMJudge: a language model behind an OpenAI-compatible endpoint says whether an answer is right."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.errors import JudgeError, UnreadableReplyError, UsageError
from deepeyes_env.extras import missing_extra
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict
from deepeyes_env.judges.llm_cache import JudgementCache
from deepeyes_env.judges.llm_endpoint import ChatEndpoint, api_key_of, check_url
from deepeyes_env.judges.llm_prompts import PROMPTS, Case, JudgePrompt, one_line, read_judgement
from deepeyes_env.registry import unknown_name
from deepeyes_env.single_flight import SingleFlight
from deepeyes_env.telling import split_credentials

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds before the question is asked again, and at most; it doubles from one to the next."""


class LLMJudge:
    """Asks a model whether an answer says the same as the right one; it sees the question but no image.

    Decides always, or raises: a server that cannot be reached and a reply that is not a judgement are a
    ``JudgeError``, never a zero, and are not cached. Temperature is 0. The same question asked by several threads
    at once is sent once. Pickles without its connections; a forked process opens its own.

    An answer that is empty, or has ``MAX_ANSWER_LENGTH`` characters or more, is wrong unread. How other answers are
    kept from posing as a judgement is told in ``deepeyes_env.judges.llm_prompts``.

    Args:
        model: Name of the judging model, as served.
        base_url: URL of the server, up to and including ``/v1``.
        prompt: ``"open"``, ``"math"``, or a prompt of one's own.
        cache: SQLite file that keeps judgements by model, seed, prompt, question, answer and prediction; ``None``:
            nothing is kept.
        api_key: Key for the server; by default ``OPENAI_API_KEY`` from the environment, if any.
        concurrency: How many requests may be under way at once.
        timeout: Seconds for one try.
        retries: How often a request that failed is sent again, with backoff; and how often the question is asked again,
            with the next seed, where the reply is not a judgement.
        seed: Seed of the first try.
        max_tokens: Max new tokens of a reply; a model that thinks first needs many.

    Raises:
        UsageError: An argument makes no sense, or ``cache`` is another kind of file.
        MissingExtraError: The openai package is not installed.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        prompt: str | JudgePrompt = "open",
        cache: str | Path | None = None,
        api_key: str | None = None,
        concurrency: int = 32,
        timeout: float = 120.0,
        retries: int = 4,
        seed: int = 0,
        max_tokens: int = 2048,
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise missing_extra("openai", "openai")
        if not model:
            raise UsageError("LLMJudge(model=''): name the model as the server does")
        check_url(base_url)
        if isinstance(prompt, str) and prompt not in PROMPTS:
            raise unknown_name("judge prompt", prompt, PROMPTS)
        for name, value, least in (
            ("concurrency", concurrency, 1),
            ("timeout", timeout, 0.001),
            ("retries", retries, 0),
            ("max_tokens", max_tokens, 1),
        ):
            if not value >= least:
                raise UsageError(f"LLMJudge({name}={value!r}): must be {least} or more")
        api_key_of(api_key)  # a wrong one is told now
        self.model = model
        self.base_url = base_url
        self.prompt = PROMPTS[prompt] if isinstance(prompt, str) else prompt
        self.seed = seed
        self._cache = None if cache is None else JudgementCache(cache)
        self._api_key = api_key
        self._concurrency, self._timeout, self._retries, self._max_tokens = concurrency, timeout, retries, max_tokens
        self._lock = threading.Lock()
        self._live: _Live | None = None

    def __call__(self, prediction: str, sample: Sample) -> Verdict:
        """Judge an answer.

        Raises:
            JudgeError: The server could not be reached, refused the request, or gave no judgement.
        """
        if len(prediction) >= MAX_ANSWER_LENGTH:
            return Verdict(0.0, "llm", f"{len(prediction)} characters, {MAX_ANSWER_LENGTH} or more")
        if not one_line(prediction):
            return Verdict(0.0, "llm", "empty")
        case = Case.of(sample, prediction)
        asked = [self.model, self.seed, self.prompt.version, case.text]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        score = self._open().flight.once(key, lambda: self._recall(key, case))
        return Verdict(score, "llm", f"{self.model} says {'right' if score else 'wrong'}")

    async def judge(self, prediction: str, sample: Sample) -> Verdict:
        """Judge an answer without blocking the event loop; raises what a call raises."""
        return await asyncio.get_running_loop().run_in_executor(self._open().pool, self, prediction, sample)

    def _recall(self, key: str, case: Case) -> float:
        if self._cache is None:
            return self._ask(case)
        score = self._cache.get(key)
        if score is None:
            score = self._ask(case)
            self._cache.put(key, score)
        return score

    def _ask(self, case: Case) -> float:
        endpoint, messages = self._open().endpoint, self.prompt.messages(case)
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0))
            try:
                reply = endpoint.complete(messages, self.seed + attempt, self._max_tokens)
                return float(read_judgement(reply, case.code))
            except UnreadableReplyError as error:
                problem = error
        raise JudgeError(f"{self!r}: no judgement, asked {self._retries + 1} x; the last reply: {problem}") from problem

    def _open(self) -> _Live:
        with self._lock:
            if self._live is None or self._live.owner != os.getpid():
                try:
                    endpoint = ChatEndpoint(
                        self.base_url, self.model, self._api_key, self._timeout, self._retries, self._concurrency
                    )
                except ValueError as error:  # OPENAI_API_KEY of another machine than the one it was made on
                    raise JudgeError(f"{self!r}: {error}") from error
                self._live = _Live(endpoint, self._concurrency)
            return self._live

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_live")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _live=None)

    def __repr__(self) -> str:
        url, _ = split_credentials(self.base_url)
        return f"LLMJudge({self.model!r}, {url!r}, prompt={self.prompt.name!r})"


class _Live:
    """What a judge holds in one process: its connections, threads for coroutines, and who is asking what."""

    def __init__(self, endpoint: ChatEndpoint, threads: int) -> None:
        self.owner = os.getpid()
        self.endpoint = endpoint
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="judge")
        self.flight: SingleFlight[str, float] = SingleFlight()
