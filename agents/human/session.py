"""Session: where the loop that plays episodes and the threads of the web server meet."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepeyes_env.agents.agent import Reply
from deepeyes_env.agents.human.message import message_of
from deepeyes_env.agents.human.state import PageState, RunningScore, page_json
from deepeyes_env.agents.play import Failure
from deepeyes_env.core import Trajectory
from deepeyes_env.errors import DeepEyesError, UsageError
from deepeyes_env.images import ImageRef
from deepeyes_env.shown import shown_images

REPLY_TIMEOUT = 60.0
"""Seconds that a request waits for the environment before it is answered with "working"."""


class Stopped(DeepEyesError):  # noqa: N818 - not an error
    """The person has had enough."""


class Stale(DeepEyesError):  # noqa: N818 - nobody's mistake
    """A request refers to a state of the page that is over: another tab was quicker, or a button was pressed twice."""


class Session:
    """One person who plays one episode at a time, in however many tabs.

    An ``deepeyes_env.agents.agent.Agent`` to the loop, which blocks in ``act`` and ``show`` until the person has done
    something. To the web server a page with a version: what is done refers to a version, and is refused if the page
    has changed since.

    Args:
        total: Episodes of the run.
        max_turns: Maximum turns (messages of the person) in an episode.
        earlier: Episodes that are recorded already.
    """

    name = "human"

    def __init__(self, total: int, max_turns: int, earlier: Iterable[Trajectory] = ()) -> None:
        self._changed = threading.Condition()
        self._version = 0
        self._page = PageState("working")
        self._done: str | None = None
        self._stopped = False
        self._max_turns = max_turns
        self._score = RunningScore(total)
        for trajectory in earlier:
            self._score.add(trajectory)

    # --- the loop's side ---------------------------------------------------------------------------------------------

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply]:
        """Return the person's next message.

        Raises:
            UsageError: There is more than one episode.
            Stopped: There is no next message.
        """
        if len(episodes) != 1:
            raise UsageError(f"{len(episodes)} episodes at once: a person plays one at a time; use num_envs=1")
        return [Reply(self._await(PageState("turn", episodes[0], shown_images(episodes[0]))))]

    def show(self, ended: Trajectory | Failure) -> None:
        """Show how an episode ended, until the person goes on.

        Raises:
            Stopped: They do not.
        """
        if isinstance(ended, Failure):
            self._score.failed += 1
            self._await(PageState("ended", error=ended.error))
        else:
            self._score.add(ended)
            self._await(PageState("ended", ended, shown_images(ended)))

    def finish(self) -> None:
        """Say that there are no more episodes."""
        with self._changed:
            self._set(PageState("finished"))

    def _await(self, page: PageState) -> str:
        with self._changed:
            self._done = None
            self._set(page)
            while self._done is None and not self._stopped:
                self._changed.wait(1.0)  # a wait without end would not be interrupted by Ctrl-C everywhere
            if self._done is None:
                raise Stopped
            return self._done

    def _set(self, page: PageState) -> None:
        self._version += 1
        self._page = page
        self._changed.notify_all()

    # --- the web server's side ---------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what the page shows, as JSON."""
        with self._changed:
            page, version, score = self._page, self._version, self._score.as_json()
        return {"version": version, "score": score, **page_json(page, self._max_turns)}

    def say(self, version: int, form: Mapping[str, Any]) -> dict[str, Any]:
        """Say the next message; see ``message.message_of`` for the form. Returns the new state.

        Raises:
            Stale: That state of the page is over.
            deepeyes_env.agents.human.message.FormError: The form cannot be said.
        """
        with self._changed:
            page = self._expect("turn", version)
            assert page.episode is not None
            self._hand_over(message_of(page.episode, form))
        return self.state()

    def go_on(self, version: int) -> dict[str, Any]:
        """Go on to the next episode. Returns the new state.

        Raises:
            Stale: That state of the page is over.
        """
        with self._changed:
            self._expect("ended", version)
            self._hand_over("")
        return self.state()

    def stop(self) -> dict[str, Any]:
        """Play no more. An episode that is not at its end is not recorded. Returns the new state."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._page.phase == "finished", REPLY_TIMEOUT)
        return self.state()

    def image(self, episode: int, index: int) -> ImageRef | None:
        """Return an image of the episode that is shown now; ``None`` if there is no such image."""
        page = self._page
        if page.episode is None or page.episode.metadata["episode"] != episode or index >= len(page.shown):
            return None
        return page.shown[index].image

    def _expect(self, phase: str, version: int) -> PageState:
        if self._page.phase != phase or self._version != version or self._stopped:
            raise Stale("the game has moved on, in another tab or by an earlier click; this is where it is now")
        return self._page

    def _hand_over(self, done: str) -> None:
        """Give the loop what it waits for, and wait for the state of the page that follows."""
        self._done = done
        self._set(PageState("working", self._page.episode, self._page.shown))
        self._changed.wait_for(lambda: self._page.phase != "working", REPLY_TIMEOUT)
