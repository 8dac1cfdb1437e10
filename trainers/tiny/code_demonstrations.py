"""CodeDemonstrator: the oracle's episodes, and others in which it does not know which program a question wants."""

from __future__ import annotations

import re
from random import Random

from deepeyes_env.agents.scripted import OracleAgent, answering, solution
from deepeyes_env.core import ToolCall, Trajectory
from deepeyes_env.data.visual_search.code_programs import (
    contrast_program,
    count_program,
    crop_program,
    length_program,
    rotation_program,
)
from deepeyes_env.data.visual_search.code_questions import ANGLES
from deepeyes_env.data.visual_search.facts import town_names
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.trainers.tiny.code_phrases import DONE, FINDING

TEMPLATES = 6
"""How many kinds of calls there are: count, compare, stretch, turn back, crop, and search."""


class CodeDemonstrator(OracleAgent):
    """Plays ``code_search`` as the oracle in a share of the episodes; else with any template of a call, or with none.

    The arguments of a call are those of the question as far as it has some. Where the call is not the oracle's, the
    answer is a guess. Answers are written out, not as letters.

    Args:
        right: Share of episodes that are the oracle's.
        some: Share of episodes with a call of a template that is drawn.
        seed: See ``ScriptedAgent``.
        max_turns: See ``ScriptedAgent``.
    """

    name = "code_demonstrator"

    def __init__(
        self, right: float = 1.0, some: float = 0.0, seed: int = 0, max_turns: int = DEFAULT_MAX_TURNS
    ) -> None:
        super().__init__(seed, max_turns)
        self.right, self.some = right, some

    def message(self, episode: Trajectory, random: Random) -> str:
        """Make the call that was drawn for the episode, then answer."""
        drawn = Random(repr((self.seed, episode.sample.id, episode.metadata.get("seed"))))
        dice = drawn.random()
        right = dice < self.right
        if not episode.turns:
            if right and (calls := solution(episode)):
                return _calling(episode, calls[0])
            if not right and dice < self.right + self.some:
                return _calling(episode, any_call(episode.sample.question, drawn))
        sample = episode.sample
        return answering(episode, sample.answer if right else random.choice(sample.options), DONE)


def any_call(question: str, random: Random) -> ToolCall:
    """Return a call of one of ``TEMPLATES``, with the colours, the angle or the town of a question if it has them."""
    named = [word for word in re.findall(r"\w+", question) if word in COLOURS]
    first, *others = named or [random.choice(list(COLOURS))]
    angle = next((each for each in ANGLES if f" {each} " in question), random.choice(ANGLES))
    town = question.removesuffix("?").split()[-1]
    x, y = random.randrange(50, 300), random.randrange(50, 300)
    calls = (
        count_program(first),
        length_program(others[0] if others else random.choice(list(COLOURS)), first),
        contrast_program(first),
        rotation_program(first, angle),
        crop_program(first, (x, y, x + random.randrange(60, 130), y + random.randrange(60, 130))),
    )
    number = random.randrange(TEMPLATES)
    if number == len(calls):
        return ToolCall("search", {"query": town if "sign of" in question else random.choice(town_names(0))})
    return ToolCall("python", {"code": calls[number]})


def _calling(episode: Trajectory, call: ToolCall) -> str:
    return toolbox_of(episode).protocol.format_message(FINDING, call)
