"""ChatEndpoint: asks a model behind an OpenAI-compatible server, from several threads (the extra ``openai``)."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deepeyes_env.errors import JudgeError, UnreadableReplyError, UsageError
from deepeyes_env.extras import missing_extra
from deepeyes_env.telling import Secrets, split_credentials

if TYPE_CHECKING:
    import openai

LOCAL = "http://127.0.0.1:8000/v1"
"""Where vLLM serves by default."""

NO_KEY = "none"
"""Sent to servers that want no key: the ``openai`` package insists on one."""

_SHOWN = 20  # served models named in an error


class ChatEndpoint:
    """A model behind a server. Belongs to the process that made it; shared by its threads.

    Rate limits (``Retry-After`` included), server errors, timeouts and dropped connections are retried by the openai
    package with exponential backoff.

    Args:
        base_url: URL of the server, up to and including ``/v1``; user name and password in it are never told.
        model: Name of the model as served.
        api_key: Key for the server; ``None``: ``OPENAI_API_KEY`` from the environment, or none.
        timeout: Seconds for one try.
        retries: How often a request is tried again.
        concurrency: How many requests may be under way at once.
    """

    def __init__(
        self, base_url: str, model: str, api_key: str | None, timeout: float, retries: int, concurrency: int
    ) -> None:
        import openai

        self._openai = openai
        base_url, login = split_credentials(base_url)
        self._secrets = Secrets([api_key_of(api_key)], [login] if login else ())
        http = openai.DefaultHttpxClient(timeout=timeout, mounts=no_proxy(base_url), auth=login)
        self._client = openai.OpenAI(
            base_url=base_url,
            api_key=api_key_of(api_key),
            timeout=timeout,
            max_retries=retries,
            http_client=http,
        )
        self._model = model
        self._seats = threading.BoundedSemaphore(concurrency)
        self._where = f"model {model!r} at {base_url}"
        self._tries = f"{retries + 1} tries" if retries else "one try"

    def complete(self, messages: Sequence[dict[str, str]], seed: int, max_tokens: int) -> str:
        """Return what the model says next, at temperature 0.

        Raises:
            UnreadableReplyError: The reply is cut off or is not a chat completion.
            JudgeError: The server could not be reached, or refused the request.
        """
        chat: Any = self._client.chat.completions.with_raw_response
        try:
            with self._seats:
                response = chat.create(
                    model=self._model, messages=list(messages), temperature=0, seed=seed, max_tokens=max_tokens
                )
        except self._openai.OpenAIError as error:
            raise JudgeError(f"LLMJudge: {self._where}: {self._secrets.hide(self._explain(error))}") from error
        return content_of(self._secrets.hide(response.http_response.text))

    def served(self) -> list[str]:
        """Return the names of the models that the server serves.

        Raises:
            JudgeError: It could not be reached, or refused the request.
        """
        try:
            return self._names()
        except self._openai.OpenAIError as error:
            raise JudgeError(f"{self._where}: {self._secrets.hide(self._explain(error))}") from error

    def _names(self) -> list[str]:
        return [model.id for model in self._client.with_options(max_retries=0).models.list()]

    def _explain(self, error: openai.OpenAIError) -> str:
        if isinstance(error, self._openai.APITimeoutError):
            return f"no reply in {self._client.timeout} s after {self._tries}; is the server overloaded?"
        if isinstance(error, self._openai.APIConnectionError):
            cause = error.__cause__ or error
            return f"no server answers after {self._tries} ({cause}); start one there, or correct the URL"
        if isinstance(error, self._openai.NotFoundError):
            return f"{error}; {self._served()}"
        if isinstance(error, self._openai.AuthenticationError):
            return f"{error}; set OPENAI_API_KEY or give api_key"
        return str(error)

    def _served(self) -> str:
        try:
            names = self._names()
        except Exception:  # the server's own error is the one to tell
            names = []
        if not names or self._model in names:
            return "check the URL: it usually ends in /v1"
        return f"the server serves {', '.join(names[:_SHOWN])}"


def only_model(url: str, api_key: str | None = None, timeout: float = 30.0) -> str:
    """Return the name of the model that a server serves.

    Args:
        url: URL of the server, up to and including ``/v1``.
        api_key: Key for the server; ``None``: ``OPENAI_API_KEY`` from the environment, or none.
        timeout: Seconds to wait for it.

    Raises:
        UsageError: The URL is none, or the server serves several models, or none.
        JudgeError: It could not be reached.
        MissingExtraError: The openai package is not installed.
    """
    if importlib.util.find_spec("openai") is None:
        raise missing_extra("openai", "openai")
    check_url(url)
    names = ChatEndpoint(url, "", api_key, timeout, 0, 1).served()
    if len(names) != 1:
        told = ", ".join(names[:_SHOWN]) or "none"
        raise UsageError(f"the server at {split_credentials(url)[0]} serves {told}; name the model: --model NAME")
    return names[0]


def check_url(url: str) -> None:
    """Raise ``UsageError`` unless a string is the URL of a server."""
    told = Secrets().hide(url.partition("?")[0])
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"base_url={told!r}: must begin with http:// or https://, like {LOCAL}")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"base_url={told!r}: has no host, a wrong port, or blanks; write it like {LOCAL}")
    if parts.query or parts.fragment:
        raise UsageError(f"base_url={told!r}: has something behind a ? or #, where paths are added; leave it out")


def api_key_of(given: str | None) -> str:
    """Return the key to send: the given one, ``OPENAI_API_KEY``, or a placeholder; without blanks around it.

    Raises:
        UsageError: It has characters that no header can hold; the message does not show it.
    """
    for key in (given or "", os.environ.get("OPENAI_API_KEY", "")):
        if not (key.strip().isascii() and key.strip().isprintable()):
            raise UsageError("api_key: holds characters that no key has; copy it again")
        if key.strip():
            return key.strip()
    return NO_KEY


def no_proxy(url: str) -> dict[str, None] | None:
    """Return ``mounts`` of an HTTP client that goes round the proxies of the environment where they lead nowhere.

    That is on this machine: ``localhost`` or a loopback address. What else the environment says, such as which
    certificates to trust, stays.
    """
    return dict.fromkeys(("all://", "http://", "https://")) if on_this_machine(url) else None


def on_this_machine(url: str) -> bool:
    """Return whether the host of a URL is ``localhost`` or a loopback address: no proxy leads there."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def content_of(body: str) -> str:
    """Return the text of the message in a chat completion.

    Raises:
        UnreadableReplyError: It is none, holds no text, or was cut off.
    """
    try:
        choice = json.loads(body)["choices"][0]
        content, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UnreadableReplyError(f"no chat completion: {body[:200]!r}") from error
    if not isinstance(content, str):
        raise UnreadableReplyError(f"a message without text: {body[:200]!r}")
    if finish == "length":
        raise UnreadableReplyError(f"cut off at max_tokens: ...{content[-200:]!r}; raise max_tokens")
    return content
