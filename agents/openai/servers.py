"""Servers: several base URLs as one, which retries what is worth retrying and says what is wrong with the rest."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from deepeyes_env.agents.agent import AgentError
from deepeyes_env.agents.openai.connections import Connections, StatusError, UnreachableError
from deepeyes_env.agents.openai.remedies import NO_STOP, remedy
from deepeyes_env.agents.openai.requests import RequestBody
from deepeyes_env.errors import DeepEyesError, UsageError
from deepeyes_env.judges.llm_endpoint import check_url
from deepeyes_env.telling import Secrets, split_credentials

logger = logging.getLogger(__name__)

WORTH_RETRYING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may go away by themselves."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the first repetition, and at most; it doubles from one to the next."""

_REMEMBERED = 2**14

_LISTING = 30.0
"""Seconds that a list of models may take."""


class RefusedError(AgentError):
    """A server understood the request and does not want it; asking again will not help.

    Attributes:
        status: HTTP status.
        words: What the server said.
        url: Base URL of the server.
    """

    def __init__(self, status: int, words: str, url: str, remedy: str = "") -> None:
        self.status, self.words, self.url = status, words, url
        super().__init__(f"{url} refused the request ({status}: {words[:500]})" + (f"; {remedy}" if remedy else ""))


@dataclass(eq=False)
class _ServerState:
    """What is known of one server.

    Attributes:
        url: Its base URL.
        in_flight: Requests that it is working on.
        failures: Requests that failed since one last succeeded.
        backing_off_until: Time of the monotonic clock before which others are asked first.
    """

    url: str
    in_flight: int = 0
    failures: int = 0
    backing_off_until: float = 0.0

    @property
    def is_backing_off(self) -> bool:
        """Whether it is left alone for a while after a failure."""
        return time.monotonic() < self.backing_off_until


class Servers:
    """Servers of the same model.

    A conversation stays with the server that knows its beginning, and goes to the least busy one first. After a
    failure that may pass (a status of 408, 409, 425, 429 or 5xx, a lost connection, no answer in time, half an answer)
    another server is asked if there is one, else the same again after a pause: one that doubles from time to time, and
    no shorter than Retry-After says, but a minute at most. May be used from several event loops.

    Args:
        urls: Base URLs, as a rule ending in ``/v1``; user name and password in one are sent, and never told.
        api_key: Sent as a bearer token.
        concurrency: Most requests in flight.
        timeout: Seconds that a request may take.
        retries: How often a request is repeated.

    Raises:
        MissingExtraError: ``openai`` is not installed.
        UsageError: An argument is out of range, or a URL is none.
    """

    def __init__(
        self,
        urls: Sequence[str],
        api_key: str,
        *,
        concurrency: int,
        timeout: float,
        retries: int,
    ) -> None:
        for name, value, least in (
            ("concurrency", concurrency, 1),
            ("timeout", timeout, 0.001),
            ("retries", retries, 0),
        ):
            if not value >= least:
                raise UsageError(f"{name}={value}: must be at least {least}")
        for url in urls:
            check_url(url)
        if not urls:
            raise UsageError("base_url: give at least one URL")
        addresses = [split_credentials(url.rstrip("/")) for url in urls]
        logins = {url: login for url, login in addresses if login}
        self._servers = [_ServerState(url) for url, _ in addresses]
        self._secrets = Secrets([api_key], logins.values())
        self._connections = Connections(api_key, concurrency, timeout, logins)
        self._timeout, self._retries = timeout, retries
        self._home: OrderedDict[Hashable, _ServerState] = OrderedDict()

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs, without user names and passwords."""
        return tuple(server.url for server in self._servers)

    async def ask(self, body: RequestBody, conversation: Hashable) -> dict[str, Any]:
        """Return the first choice of a chat completion.

        Args:
            body: The request.
            conversation: Names the conversation that it belongs to.

        Raises:
            RefusedError: A server does not want the request.
            AgentError: No server answered, however often it was asked.
        """
        slots = await self._connections.slots()
        start = time.monotonic()
        failed: list[_ServerState] = []
        for attempt in range(self._retries + 1):
            try:
                async with slots:
                    server = self._pick(conversation, failed)
                    choice = await self._ask_once(server, body)
            except _PassingError as trouble:
                failed.append(server)
                pause = self._note_failure(server, conversation, trouble, attempt)
                logger.info("%s: %s (attempt %d of %d)", server.url, trouble, attempt + 1, self._retries + 1)
                if attempt < self._retries:
                    await asyncio.sleep(pause)
                else:
                    raise AgentError(self._gave_up(server, trouble, time.monotonic() - start)) from trouble.__cause__
            else:
                server.failures, server.backing_off_until = 0, 0.0
                return choice
        raise AssertionError("unreachable")

    async def served(self, url: str, *, again: bool = True) -> tuple[str, ...]:
        """Return the names of the models that a server serves; empty if it does not say.

        Args:
            url: Its base URL.
            again: Ask a second time if the connection is lost.

        Raises:
            AgentError: There is no server at the URL.
        """
        try:
            listed = await self._connections.ask(url, "/models", timeout=min(self._timeout, _LISTING))
            return tuple(self._secrets.hide(str(model["id"])) for model in listed["data"])
        except UnreachableError as error:
            if again and not error.refused:  # as one that the server closed after its last answer
                return await self.served(url, again=False)
            raise AgentError(_no_server(url, error)) from error
        except TimeoutError as error:
            raise AgentError(f"{url} did not list its models in time; is it there?") from error
        except (StatusError, ValueError, LookupError, TypeError, RecursionError):
            return ()

    async def ask_only(self, url: str, body: RequestBody, *, again: bool = True) -> None:
        """Ask one server to see whether it answers.

        Args:
            url: Its base URL.
            body: The request.
            again: Ask a second time if the connection is lost.

        Raises:
            AgentError: It does not.
        """
        server = self._servers[self.urls.index(url)]
        try:
            await self._ask_once(server, body)
        except _PassingError as trouble:
            cause = trouble.__cause__
            if isinstance(cause, StatusError):
                logger.warning("%s %s; it is there, so this may pass", url, trouble)
                return
            if again and isinstance(cause, UnreachableError) and not cause.refused:
                return await self.ask_only(url, body, again=False)
            raise AgentError(f"{url}: {trouble}") from trouble.__cause__

    async def _ask_once(self, server: _ServerState, body: RequestBody) -> dict[str, Any]:
        server.in_flight += 1
        try:
            return _first_choice(await self._connections.ask(server.url, "/chat/completions", body))
        except TimeoutError as error:
            raise _PassingError(
                f"no answer within {self._timeout:g} s; raise the timeout or lower the concurrency"
            ) from error
        except UnreachableError as error:
            raise _PassingError(_no_server(server.url, error)) from error
        except StatusError as error:
            words = self._secrets.hide(_words(error))
            if error.status < 500 and error.status not in WORTH_RETRYING:
                raise RefusedError(error.status, words, server.url, remedy(error.status, words)) from error
            retry_after = retry_after_seconds(error.headers.get("retry-after", ""))
            known = remedy(error.status, words) or (NO_STOP if error.status == 500 and body.has_stop else "")
            advice = f"; {known}" if known else ""
            raise _PassingError(f"answered {error.status}: {words[:500]}{advice}", retry_after) from error
        except (ValueError, RecursionError) as error:  # no JSON, or too much of it
            said = self._secrets.hide(str(error))
            raise _PassingError(f"answered with something else than a chat completion ({said})") from error
        finally:
            server.in_flight -= 1

    def _pick(self, conversation: Hashable, failed: Sequence[_ServerState]) -> _ServerState:
        """Choose a server for a request that some have failed already, perhaps more than once."""
        home = self._home.get(conversation)
        server = min(
            self._servers, key=lambda each: (each.is_backing_off, failed.count(each), each is not home, each.in_flight)
        )
        self._home[conversation] = server
        self._home.move_to_end(conversation)
        if len(self._home) > _REMEMBERED:
            self._home.popitem(last=False)
        return server

    def _note_failure(
        self, server: _ServerState, conversation: Hashable, trouble: _PassingError, attempt: int
    ) -> float:
        """Let a server back off; return the seconds to wait before the next attempt: 0 if another is there."""
        server.failures += 1
        self._home.pop(conversation, None)
        rest = max(trouble.retry_after, FIRST_PAUSE * 2 ** min(server.failures - 1, 16))
        server.backing_off_until = time.monotonic() + min(rest, LONGEST_PAUSE)
        if any(not other.is_backing_off for other in self._servers):
            return 0.0
        backoff: float = FIRST_PAUSE * 2 ** min(attempt, 16) * random.uniform(0.75, 1.25)
        return min(max(trouble.retry_after, backoff), LONGEST_PAUSE)

    def _gave_up(self, server: _ServerState, trouble: _PassingError, seconds: float) -> str:
        where = server.url if len(self._servers) == 1 else f"any of {', '.join(self.urls)}"
        last = str(trouble) if server.url in str(trouble) else f"{server.url} {trouble}"
        return f"no answer from {where} after {self._retries + 1} attempts in {seconds:.1f} s; the last: {last}"


class _PassingError(DeepEyesError):
    """A failure that may pass."""

    def __init__(self, words: str, retry_after: float = 0.0) -> None:
        super().__init__(words)
        self.retry_after = retry_after


def _first_choice(answer: Any) -> dict[str, Any]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UsageError(f"no choices in {str(answer)[:200]!r}")
    if not isinstance(choices[0].get("message"), dict):
        raise UsageError(f"no message in {str(choices[0])[:200]!r}")
    choice: dict[str, Any] = choices[0]
    return choice


def retry_after_seconds(header: str) -> float:
    """Read a Retry-After header: seconds, or a date; 0 if it says nothing."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _words(error: StatusError) -> str:
    """Return what a server said, without what is around it."""
    said = error.body
    if isinstance(said, dict):
        said = said.get("message") or said.get("detail") or said
    return str(said)


def _no_server(url: str, error: UnreachableError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"the certificate of {url} is not trusted ({error}); name a file with its authority's in SSL_CERT_FILE"
    if error.refused:
        return f"there is no server at {url} ({error}); start one, or give the base URL of one that runs"
    return f"lost the connection to {url} ({error})"
