"""SingleFlight: one thread makes a value while the others who ask for it wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_Key = TypeVar("_Key", bound=Hashable, contravariant=True)


class Cache(Protocol[_Key, V]):
    """Where values are kept once they are made; a ``dict`` is one. It is only ever used by one thread at a time."""

    def get(self, key: _Key, /) -> V | None:
        """Return what is kept under a key; ``None`` if nothing is."""
        ...

    def __setitem__(self, key: _Key, value: V, /) -> None:
        """Keep a value, or decide not to."""
        ...


class SingleFlight(Generic[K, V]):
    """Makes each value once, however many threads ask for it at the same time; thread-safe.

    Calls with different keys run in parallel. Of calls with equal keys one makes the value, and the others wait for it
    and get the same object. A value is put into the cache before the next call for its key could miss it. Values are
    never ``None``.

    When the call that makes a value fails, nothing is kept, and the next one tries again. Those who waited

    - get its error, if it is an ``Exception``: what cannot be had is not asked for as often as there are threads;
    - each make the value themselves after one of ``own_errors``, so that the error they get, if any, is their own;
    - begin anew if it was interrupted (``KeyboardInterrupt``, ``SystemExit``): one of them takes its place.

    A call must not ask for its own key again: it would wait for itself.

    Args:
        cache: Where values are kept; by default nowhere: only calls that overlap share one.
        own_errors: Errors that are about one caller alone, as those that name its sample.
    """

    def __init__(self, cache: Cache[K, V] | None = None, own_errors: tuple[type[Exception], ...] = ()) -> None:
        self._cache = cache
        self._recall = _nothing if cache is None else cache.get
        self._own_errors = own_errors
        self._running: dict[K, Future[V]] = {}
        self._lock = threading.Lock()

    def once(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of a key: the one that is kept, that another thread is making, or that ``make`` returns."""
        while True:
            with self._lock:
                kept = self._recall(key)
                if kept is not None:
                    return kept
                others = self._running.get(key)
                if others is None:
                    mine = self._running[key] = Future()
            if others is None:
                return self._make(key, make, mine)
            try:
                return others.result()
            except self._own_errors:
                return make()
            except CancelledError:  # whoever made it was interrupted
                continue

    def _make(self, key: K, make: Callable[[], V], mine: Future[V]) -> V:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._running[key]
            if isinstance(error, Exception):
                mine.set_exception(error)
            else:
                mine.cancel()
            raise
        with self._lock:
            del self._running[key]
            if self._cache is not None:
                self._cache[key] = value
        mine.set_result(value)
        return value


def _nothing(key: object) -> None:
    """Return what is kept where nothing is."""
