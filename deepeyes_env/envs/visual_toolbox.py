"""VisualToolboxEnv: the interleaved multimodal chain of thought as a Markov decision process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import gymnasium as gym

from deepeyes_env.core import Message, Sample, StopReason, Trajectory, Turn
from deepeyes_env.data import Dataset, load
from deepeyes_env.envs.array_sharing import ObservationViews
from deepeyes_env.envs.calls import completed, read_action, run_calls
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS, Limits, approximate_tokens, resolve_view
from deepeyes_env.envs.prompt import BoundToolbox, Opening
from deepeyes_env.envs.prompt_files import PromptTemplateLike, get_prompt_template
from deepeyes_env.envs.reset_options import check_reset_options
from deepeyes_env.envs.row_prompt import PromptSource, check_prompt_source
from deepeyes_env.envs.snapshot import Snapshot
from deepeyes_env.envs.tool_runner import DEFAULT_TIMEOUT, ToolRunner
from deepeyes_env.envs.toolbox import PLAIN, Toolbox, get_toolbox
from deepeyes_env.errors import UsageError
from deepeyes_env.images import ImageRef, ViewBudget
from deepeyes_env.images.frames import Frame, check_frame_name
from deepeyes_env.images.ops import FitMode
from deepeyes_env.images.store import ImageStore, shared_store
from deepeyes_env.judges import Judge, RuleJudge
from deepeyes_env.protocols import ParsedMessage
from deepeyes_env.registry import unknown_name
from deepeyes_env.rewards import BaseRubric, RubricLike, get_rubric
from deepeyes_env.spaces import RGBImage, UnicodeText
from deepeyes_env.tools import ToolContext

Observation = dict[str, Any]
_Step: TypeAlias = tuple[Observation, float, bool, bool, dict[str, Any]]

logger = logging.getLogger(__name__)


class VisualToolboxEnv(gym.Env[Observation, Any]):
    """A policy answers a question about images, and may look closer before it does.

    The action is the next assistant message. Its tool calls run on the full-resolution image and come back as new
    images; an answer ends the episode. Nothing that a policy writes raises: mistakes become observations that say what
    was wrong.

    Observation: ``{"text": str, "images": tuple of (H, W, 3) uint8 arrays}``, read-only; the text holds one
    ``<image>`` per image. After the last step both are empty.
    Reward: 0 until the episode ends, then the rubric's total.
    ``info`` at reset: ``system_prompt``, ``tools`` (OpenAI-style schemas), ``sample_id``, ``trajectory`` (so far only
    the prompt). At each step: ``calls`` (a ``ToolResult`` each), ``skipped_calls``, ``turn``. At the end also:
    ``reward_terms``, ``stop_reason``, ``trajectory`` (finished and scored).

    Args:
        toolbox: Tools, protocol and rubric: a ``Toolbox`` or its name. ``gym.make`` fills this in.
        dataset: A data set, or whatever ``deepeyes_env.data.load`` makes one of; by default the built-in task.
        rubric: A preset's name, a rubric, ``"auto"`` for the toolbox's own, or ``None`` for reward 0.
        judge: Decides whether an answer is right; by default rules that need nothing.
        view: Bounds on the size of every image that the policy sees. ``"auto"``: what the data set recommends, or
            ``ViewBudget()``. ``None``: native pixels, as in the original.
        frame: Coordinate frame in which the policy writes boxes; ``"view"`` for Qwen2.5-VL.
        prompt: Whose words open an episode: the row's own messages, the protocol's, or ``"auto"``: the row's where it
            has a system prompt. See ``PromptSource``.
        prompt_template: Other words than the protocol's: a template, its parts by name, or a YAML file of them.
        max_turns: Maximum turns (assistant messages) of an episode.
        max_images: Maximum number of images in an episode.
        max_tokens: Maximum number of tokens in an episode; ``None`` for no limit.
        count_tokens: Counts the tokens of a text; an estimate by default.
        resize: ``"exact"`` equals Pillow's bicubic; ``"fast"`` needs torch and is within 2 grey levels.
        store: Where images are decoded and shared; by default one store for the process.
        tool_timeout: Seconds that a tool may take for a call. One that has not returned by then is given up, and its
            episode is truncated. ``None``: no limit, and all tools run in the calling thread. Zoom and rotate always
            do; other tools run in a thread of their environment's own.
        render_mode: ``"rgb_array"``, ``"ansi"`` or ``None``; ``"rgb_array_list"`` and ``"ansi_list"`` give all frames
            of the episode since the last call of ``render``.

    Raises:
        UsageError: A configuration value is wrong; the message names it and the remedy.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "rgb_array_list", "ansi", "ansi_list"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        toolbox: str | Toolbox = "VisualToolbox-v2",
        dataset: Any = "visual_search",
        *,
        rubric: RubricLike | None = "auto",
        judge: Judge | None = None,
        view: ViewBudget | Literal["auto"] | None = "auto",
        frame: Frame = "view",
        prompt: PromptSource = "auto",
        prompt_template: PromptTemplateLike | None = None,
        max_turns: int = DEFAULT_MAX_TURNS,
        max_images: int = 32,
        max_tokens: int | None = None,
        count_tokens: Callable[[str], int] = approximate_tokens,
        resize: FitMode = "exact",
        store: ImageStore | None = None,
        tool_timeout: float | None = DEFAULT_TIMEOUT,
        render_mode: str | None = None,
    ) -> None:
        check_frame_name(frame)
        check_prompt_source(prompt)
        if resize not in get_args(FitMode):
            raise unknown_name("way to resize", resize, get_args(FitMode))
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UsageError(f"render_mode={render_mode!r}: must be one of {self.metadata['render_modes']} or None")
        self.dataset: Dataset = load(dataset)
        if len(self.dataset) == 0:
            raise UsageError(f"dataset={dataset!r}: holds no samples")
        self.view = resolve_view(view, self.dataset)
        self.frame: Frame = frame
        self.prompt: PromptSource = prompt
        self.prompt_template = get_prompt_template(prompt_template)
        self.resize: FitMode = resize
        self.limits = Limits(
            max_turns, max_images, max_tokens, count_tokens, **({"factor": self.view.factor} if self.view else {})
        )
        self._runner = ToolRunner(tool_timeout)
        self.store = store if store is not None else shared_store()
        self.render_mode = render_mode
        self.action_space = UnicodeText()
        self.observation_space = gym.spaces.Dict(text=UnicodeText(), images=gym.spaces.Sequence(RGBImage()))
        self._rubric, self._judge = rubric, judge
        self._scorers: dict[str, BaseRubric] = {}
        self._bound_toolboxes: dict[str, BoundToolbox] = {}
        self.toolbox = get_toolbox(toolbox)
        self._bound: BoundToolbox
        if not self.toolbox.sources:  # those are asked at reset
            self._bound = self._bind("")
        self._scorer(self.toolbox)
        self._views = ObservationViews()
        self._index: int | None = None
        self._context: ToolContext | None = None
        self._told = Opening()
        self._opening: Trajectory | None = None
        self._turns: list[Turn] = []
        self._images_shown = 0
        self._frames_given = 0
        self._ended: Trajectory | None = None

    # --- the episode ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Decides the sample and the order of its options, now and in all later episodes.
            options: ``{"index": i}`` for the i-th sample of the data set, ``{"sample": Sample(...)}``, or
                ``{"snapshot": Snapshot(...)}`` to go on from a state (``restore``).

        Raises:
            UnknownNameError: An unknown option.
            UsageError: More than one of them is given.
            TypeError: The index is no integer, the sample no ``Sample``, or the snapshot no ``Snapshot``.
            IndexError: The index is outside the data set.
            DataError, ImageError: The sample cannot be read; names it.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(len(self.dataset)))
        index, sample, snapshot = check_reset_options(options, len(self.dataset))
        if snapshot is not None:
            return self.restore(snapshot), self._begin_info(self.trajectory)
        self._index = None
        if sample is None:
            self._index = drawn if index is None else index
            sample = self.dataset[self._index]
        self._close_tools()  # first, since tools that cannot be closed are not bound again
        bound = self._bind(sample.env_name)
        trajectory = self._begin(bound.with_options_in_order(sample, self.prompt, self.np_random), bound)
        observation = _observe(trajectory.prompt)
        return {**observation, "images": self._views(observation["images"])}, self._begin_info(trajectory)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take the policy's next message and reply to it.

        Args:
            action: What the policy wrote; or a ``ToolCall``; or an OpenAI-style assistant message with ``tool_calls``.

        Raises:
            gymnasium.error.ResetNeeded: The episode has ended, or none was begun.
            UsageTypeError: The action is none of the three.
            deepeyes_env.judges.JudgeError: The judge could not be reached.
        """
        if self._context is None:
            raise gym.error.ResetNeeded("no episode is under way; call reset() before step()")
        if self._told.prefill:
            action = completed(action, self._turns)
        return self._take(self._context, *read_action(action, self._bound.protocol))

    def _take(self, context: ToolContext, text: str, parsed: ParsedMessage) -> _Step:
        if parsed.answer is not None:
            return self._finish(Turn(text, answer=parsed.answer), "answer")
        if not parsed.calls:
            return self._finish(Turn(text), "format_error")
        results, images, stop = run_calls(
            parsed, self._bound.tools, context, self._runner, self._images_shown, self.limits.max_images
        )
        self._images_shown += len(images)
        skipped = parsed.skipped + len(parsed.calls) - len(results)
        reply = Message(self._bound.reply(self._told, results, skipped), images, self._told.prefill)
        turn = Turn(text, results=results, skipped=skipped, observation=reply)
        self._turns.append(turn)
        if stop := stop or self.limits.reached(self._opening, self._turns):
            self._end(stop)
        return self._report(turn, _observe(reply))

    def truncate(self, stop: StopReason) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """End the running episode by a limit that only whoever plays it can count, such as a model's context.

        Args:
            stop: The stop reason.

        Returns:
            What ``step`` returns, without a new turn.

        Raises:
            gymnasium.error.ResetNeeded: The episode has ended, or none was begun.
        """
        if self._context is None:
            raise gym.error.ResetNeeded("no episode is under way; call reset() before truncate()")
        self._end(stop)
        return self._report(None, _observe(Message("")))

    @property
    def rubric(self) -> BaseRubric | None:
        """What scores the episodes of the environment's own toolbox; ``None`` for reward 0."""
        return self._scorer(self.toolbox)

    @property
    def trajectory(self) -> Trajectory:
        """The episode so far.

        Raises:
            gymnasium.error.ResetNeeded: No episode was begun.
        """
        if self._ended is not None:
            return self._ended
        return replace(self._begun(), turns=tuple(self._turns)) if self._turns else self._begun()

    def snapshot(self) -> Snapshot:
        """Return the current state, to branch from with ``restore``."""
        return Snapshot.of_state(self.trajectory, self._index, self.np_random, stateful=self._bound.stateful)

    def restore(self, state: Snapshot) -> Observation:
        """Go back to a state of this or an equally configured environment; returns its last observation.

        The environment need not have been reset before; ``step`` then goes on from that state. Where tools keep state,
        the actions are replayed; turns that come to something else are logged, and numbered in the trajectory's
        ``metadata["replay_differs"]``.

        Raises:
            UsageError: The data set has another sample at the snapshot's index, or a recorded episode opens otherwise.
        """
        sample = state.sample_in(self.dataset)
        self._index = state.index
        self._close_tools()
        state.check_opening(self._begin(replace(sample, options=state.options), self._bind(sample.env_name)))
        if state.trajectory is not None and not self._bound.stateful:
            self._turns = list(state.trajectory.turns)
            self._images_shown = state.trajectory.image_count
            if self._context is not None and self._context.album is not None:
                self._context.album.put(state.trajectory.results)
            if state.trajectory.done:
                self._ended = state.trajectory
                self._close_tools()
        else:
            for text, parsed in zip(state.actions, state.read, strict=True):
                if self._context is not None:  # a tool that keeps state may have ended the episode this time
                    self._take(self._context, text, parsed)
            if state.stop and self._context is not None:
                self._end(state.stop)
            if self._bound.stateful and (differing := state.differing(self._turns)):
                self._tell_of(differing)
            if state.turns:
                self._turns = list(state.turns)
                self._images_shown = self.trajectory.image_count
        if state.rng:
            self.np_random.bit_generator.state = state.rng
        last = self._turns[-1].observation if self._turns else self._begun().prompt
        return _observe(last or Message(""))

    def render(self) -> Any:
        """Return the episode as an image (``rgb_array``) or as text (``ansi``), or a list of those that are new."""
        from deepeyes_env.envs import render

        if self.render_mode is None:
            return None
        draw = render.ansi if self.render_mode.startswith("ansi") else render.rgb_array
        if not self.render_mode.endswith("_list"):
            return draw(self.trajectory)
        new, self._frames_given = render.moments(self.trajectory)[self._frames_given :], len(self._turns) + 1
        return [draw(moment) for moment in new]

    def close(self) -> None:
        """Close the tools; one that hangs is not waited for."""
        self._runner.give_up()
        self._close_tools()
        super().close()

    # --- beginning and ending ------------------------------------------------------------------------------------

    def _begin(self, sample: Sample, bound: BoundToolbox) -> Trajectory:
        self._opening, self._ended, self._turns, self._frames_given = None, None, [], 0
        self._bound = bound
        self._told = bound.opening(sample, self.prompt)
        self.store.play(self, sample.images)
        views = tuple(self._view_of(ref) for ref in sample.images)
        self._context = ToolContext(
            store=self.store,
            refs=sample.images,
            frame=self.frame,
            native_size=sample.images[0].size,
            view_size=views[0].size,
            budget=self.view,
            mode=self.resize,
            album=bound.album(views, sample.images),
            sample=sample,
        )
        for tool in bound.tools.values():
            self._runner.open(tool, sample)
        self._images_shown = len(views)
        self._opening = self._told.trajectory(sample, views, bound.toolbox, self.frame)
        return self._opening

    def _begin_info(self, so_far: Trajectory) -> dict[str, Any]:
        return {
            "system_prompt": so_far.system_prompt,
            "tools": self._bound.fresh_schemas(),
            "sample_id": so_far.sample.id,
            "trajectory": so_far,
        }

    def _tell_of(self, differing: list[int]) -> None:
        opening = self._begun()
        logger.warning("sample %s: replayed turns came to something else: %s", opening.sample.id, differing)
        self._opening = replace(opening, metadata={**opening.metadata, "replay_differs": differing})

    def _begun(self) -> Trajectory:
        if self._opening is None:
            raise gym.error.ResetNeeded("no episode was begun; call reset()")
        return self._opening

    def _finish(self, turn: Turn, stop: StopReason) -> _Step:
        self._turns.append(turn)
        self._end(stop)
        return self._report(turn, _observe(Message("")))

    def _end(self, stop: StopReason) -> None:
        terminated = stop in ("answer", "format_error")
        ending: dict[str, Any] = {"terminated": terminated, "truncated": not terminated, "stop_reason": stop}
        trajectory = replace(self._begun(), turns=tuple(self._turns), **ending)
        scorer = self._scorer(self._bound.toolbox)
        self._ended = trajectory if scorer is None else scorer.score(trajectory, self._judge or RuleJudge())
        self._close_tools()

    def _report(self, turn: Turn | None, observation: Observation) -> _Step:
        info: dict[str, Any] = {}
        if turn is not None:
            info = {"calls": turn.results, "skipped_calls": turn.skipped, "turn": turn}
        ended = self._ended
        if ended is None:
            return observation, 0.0, False, False, info
        info["reward_terms"] = dict(ended.reward_terms)
        info["stop_reason"] = ended.stop_reason
        info["trajectory"] = ended
        return observation, ended.reward, ended.terminated, ended.truncated, info

    def _close_tools(self) -> None:
        if self._context is not None:
            self._context = None
            self.store.play(self, ())
            reusable = [self._runner.close(tool) for tool in self._bound.tools.values()]
            if not all(reusable):
                del self._bound_toolboxes[self._bound.toolbox.name]  # the next episode gets other tools

    def _view_of(self, ref: ImageRef) -> ImageRef:
        return ImageRef(self.store.view(ref, self.view, self.resize), name=ref.name)

    def _bind(self, env_name: str | None) -> BoundToolbox:
        toolbox = PLAIN if env_name is None else get_toolbox(env_name) if env_name else self.toolbox
        if toolbox.name not in self._bound_toolboxes:
            self._bound_toolboxes[toolbox.name] = BoundToolbox.of(toolbox, self.prompt_template)
        return self._bound_toolboxes[toolbox.name]

    def _scorer(self, toolbox: Toolbox) -> BaseRubric | None:
        own = self.toolbox.rubric if toolbox is PLAIN else toolbox.rubric
        rubric = own if self._rubric == "auto" else self._rubric
        if rubric is not None and toolbox.name not in self._scorers:
            self._scorers[toolbox.name] = get_rubric(rubric, judge=self._judge)
        return self._scorers.get(toolbox.name)


def _observe(message: Message) -> Observation:
    return {"text": message.text, "images": tuple(map(ImageRef.pixels, message.images))}
