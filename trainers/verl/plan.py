"""What a run inside verl would be, checked before a GPU is taken: ``deepeyes train-verl --dry-run``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from deepeyes_env.agents.families import FAMILIES, ModelFamily, family_of
from deepeyes_env.agents.transformers.chat import Chat, load_chat
from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.envs.toolbox import get_toolbox
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.judges import LLMJudge
from deepeyes_env.judges.check import check_judge
from deepeyes_env.registry import load_plugins
from deepeyes_env.rewards import get_rubric
from deepeyes_env.trainers.grpo.settings_file import settings_text
from deepeyes_env.trainers.verl.command import overrides, shell_text
from deepeyes_env.trainers.verl.config import VerlConfig
from deepeyes_env.trainers.verl.memory import Need, Worst, needs, server_room, worst_episode
from deepeyes_env.trainers.verl.shape import ModelShape
from deepeyes_env.trainers.verl.sources import open_source, seed_of
from deepeyes_env.trainers.verl.worker import env_kwargs, judge_of, make_env

ROWS = 64
"""Rows of each data set that are opened: they lie evenly in it."""

TRL = "trl<1.13"
"""The TRL that goes with verl 0.9."""

ASKS_A_MODEL = ("llm", "chain")
"""The judges that ask a model behind a server."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What was found in a data set.

    Attributes:
        name: Its name.
        number: How many rows it has.
        opened: How many of them were opened.
        toolboxes: How many of those are played with each toolbox.
        longest: Tokens of the longest prompt among them, images included.
        view: The largest view that its images are shown in.
    """

    name: str
    number: int
    opened: int
    toolboxes: dict[str, int]
    longest: int
    view: Any

    def text(self) -> str:
        """Return it in one line."""
        played = ", ".join(f"{name} {count}" for name, count in self.toolboxes.items())
        return (
            f"{self.name}: {self.number} rows; of {self.opened} that were opened the longest prompt has {self.longest} "
            f"tokens ({played})"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can begin.

    Attributes:
        config: Its settings.
        rows: What was found in its data sets.
        shape: Size of the model.
        worst: The largest episode.
        needs: What each stage takes.
        notes: What else there is to say.
    """

    config: VerlConfig
    rows: tuple[Rows, ...]
    shape: ModelShape
    worst: Worst
    needs: tuple[Need, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Return the settings, the whole command, and what was found."""
        config, worst = self.config, self.worst
        found = [
            f"model: {self.shape.parameters / 1e9:.2f} billion weights, context of {self.shape.context} tokens",
            *(each.text() for each in self.rows),
            f"an episode: at most {config.context} tokens, of them {worst.vision_tokens} of images of at most "
            f"{worst.image_tokens} each; {worst.pixel_bytes / 2**20:.0f} MiB of pixels",
            f"a step: {config.prompts} x {config.group_size} rollouts, {config.prompts // config.mini_batch} updates",
            *(each.text() for each in self.needs),
            *self.notes,
        ]
        settings = settings_text(config.model_dump(mode="json"))
        return settings + "\n" + shell_text(config) + "\n\n" + "\n".join(f"# {line}" for line in found)


def check(config: VerlConfig) -> Plan:
    """Check the paths, columns, names, judge and sizes of a run; loads no weights.

    Raises:
        UsageError: There is no such model, data or size, or it does not fit.
        UnknownNameError: No toolbox, rubric or judge has that name.
        DataError: The data or the model's files cannot be read.
        JudgeError: The judge cannot be reached, or does not judge as it should.
    """
    settings = config.settings
    load_plugins(config.plugins)
    check_directory(config.folder, list(FAMILIES))
    family = family_of(config.folder, settings.frame)
    if family.view is None:
        raise UsageError(f"model {config.model}: its family cuts images into tiles, which the agent loop cannot count")
    shape = ModelShape.of(config.folder)
    if config.context > shape.context:
        raise UsageError(
            f"prompt_tokens={config.prompt_tokens} and response_tokens={config.response_tokens} are more than the "
            f"model's context of {shape.context} tokens: lower them"
        )
    get_toolbox(settings.toolbox)
    if settings.rubric != "auto":
        get_rubric(settings.rubric)
    for name in ("judge_url", "judge_model"):
        if settings.judge in ASKS_A_MODEL and not getattr(settings, name):
            raise UsageError(f"loop.judge={settings.judge} asks a model behind a server: give loop.{name}")
    _check_out(config.out)
    chat = load_chat(config.folder, family.view.factor)
    rows = tuple(_check_rows(name, config, family, chat) for name in dict.fromkeys((*config.train, *config.test)))
    worst = worst_episode(config, max((each.view for each in rows), key=lambda view: view.max_pixels))
    wanted = needs(config, shape, worst) if config.engine != "deepeyes_cpu" else ()
    for need in wanted:
        need.check()
    return Plan(config, rows, shape, worst, wanted, tuple(_notes(config, shape)))


def _notes(config: VerlConfig, shape: ModelShape) -> Iterator[str]:
    """Check what is left, and say how it went."""
    if config.engine != "deepeyes_cpu":
        yield f"an inference server holds {server_room(config, shape):.0f} of the longest episodes at once"
    settings = config.settings
    if settings.judge in ASKS_A_MODEL or settings.judge_url:
        yield _check_judge(config)
    if config.algorithm == "ppo":
        yield _check_critic()
    if find_spec("verl") is None:
        yield "verl is not installed here: its own settings were not checked"
    else:
        from deepeyes_env.trainers.verl.verl_settings import check_overrides

        check_overrides(overrides(config))
        yield "verl takes all of these settings"


def _check_critic() -> str:
    needed = f"PPO's critic gets its value head from TRL: pip install '{TRL}'"
    if find_spec("verl") is not None and find_spec("trl") is None:
        raise UsageError(f"algorithm=ppo: {needed}, or choose another algorithm")
    return f"{needed}, on every node"


def _check_judge(config: VerlConfig) -> str:
    settings = config.settings
    judge = judge_of(settings)
    if settings.judge in ASKS_A_MODEL:
        judge = LLMJudge(settings.judge_model, settings.judge_url, retries=1)
    report = check_judge(judge)
    report.check()
    agreed = report.asked - len(report.wrong)
    return f"the judge agrees on {agreed} of {report.asked} known answers; {median(report.latencies):.2f} s each"


def _check_out(out: Path) -> None:
    above = next(each for each in (out.absolute(), *out.absolute().parents) if each.exists())
    if not above.is_dir():
        raise UsageError(f"out={out}: {above} is a file; name another folder")


def _check_rows(name: str, config: VerlConfig, family: ModelFamily, chat: Chat) -> Rows:
    """Open rows of a data set as the agent loop does: with an environment that is reset to each."""
    dataset = open_source(name)
    kwargs = env_kwargs(config.settings, family)
    env = make_env(kwargs, dataset)
    number, longest, toolboxes = len(dataset), 0, Counter[str]()
    opened = sorted({row * number // ROWS for row in range(ROWS)})
    try:
        for row in opened:
            _, info = env.reset(seed=seed_of(config.settings.seed, row), options={"index": row})
            played = info["trajectory"]
            tokens = len(chat.prompt(played))
            if tokens > config.prompt_tokens:
                raise UsageError(
                    f"{name}, row {row}: the prompt has {tokens} tokens, and prompt_tokens={config.prompt_tokens}: "
                    f"raise it, or lower loop.max_pixels={config.settings.max_pixels}"
                )
            longest = max(longest, tokens)
            toolboxes[played.toolbox or "an ordinary question"] += 1
    except DataError as error:
        raise DataError(f"{name}, row {row}: {error}") from error
    finally:
        env.close()
    return Rows(name, number, len(opened), dict(toolboxes), longest, env.view)
