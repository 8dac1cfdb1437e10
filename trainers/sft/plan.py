"""What a run of supervised fine-tuning would be, checked before weights are loaded: ``deepeyes sft --dry-run``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepeyes_env.agents.families import family_of, local_families, read_model_file
from deepeyes_env.agents.transformers.chat import Chat, load_chat
from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.images import ViewBudget
from deepeyes_env.trainers.grpo.settings_file import settings_text
from deepeyes_env.trainers.sft.config import SFTSettings, sft_arguments
from deepeyes_env.trainers.sft.encoding import encode_example, marked
from deepeyes_env.trainers.sft.examples import Example, read_examples
from deepeyes_env.trajectories.export.selection import NOT_SCORED
from deepeyes_env.trajectories.summary import written_counts

_NOTHING = "no message to imitate"
_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class Source:
    """What was read of one run or file.

    Attributes:
        path: Where.
        kept: How many examples.
        left_out: How many are left out, by reason.
    """

    path: Path
    kept: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can begin.

    Attributes:
        settings: Its settings.
        sources: What was read.
        examples: All examples.
        lengths: Tokens of each.
        trained: Tokens of each that are trained on.
        chat: The model's.
        factor: Side of the square of pixels that becomes one image token.
    """

    settings: SFTSettings
    sources: tuple[Source, ...]
    examples: tuple[Example, ...]
    lengths: tuple[int, ...]
    trained: tuple[int, ...]
    chat: Chat
    factor: int

    @property
    def steps(self) -> int:
        """Steps on one device."""
        wanted, of = self.settings, self.settings.batch * self.settings.accumulation
        return wanted.steps or math.ceil(wanted.epochs * math.ceil(len(self.examples) / of))

    def text(self) -> str:
        """Return the whole configuration as YAML, with what was read, and the first example, in comments."""
        settings = {**self.settings.model_dump(mode="json"), "sft": sft_arguments(self.settings)}
        tokens, trained = sum(self.lengths), sum(self.trained)
        images = sum(len(example.images) for example in self.examples)
        found = [
            *(f"# {source.path}: {source.kept} examples{_left_out(source)}" for source in self.sources),
            f"# {len(self.examples)} examples, {sum(len(each.replies) for each in self.examples)} messages, "
            f"{images} images",
            f"# {tokens} tokens, of which {trained} are trained on ({trained / tokens:.1%}); "
            f"the longest example has {max(self.lengths)}",
            f"# {self.steps} steps on one device",
            "# the first example; what is trained on stands between [[ and ]]:",
        ]
        shown = marked(self.chat, encode_example(self.chat, self.examples[0], self.factor))
        shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN // 2]} ... {shown[-_SHOWN // 2 :]}"
        return settings_text(settings) + "\n".join([*found, *(f"#   {line}" for line in shown.splitlines())])


def check(settings: SFTSettings, sources: Sequence[Path]) -> Plan:
    """Read and check what a run is made of; loads no weights.

    Args:
        settings: The settings.
        sources: Runs and data files.

    Raises:
        UsageError: There is no such model, run, file or argument.
        DataError: One of them cannot be read, or nothing is left to train on; the message counts the reasons.
    """
    if not sources:
        raise UsageError("nothing to imitate: name folders of runs, or data files")
    kind = check_directory(settings.folder, local_families())
    sft_arguments(settings)
    view = family_of(settings.folder).view_within(ViewBudget(settings.min_pixels, settings.max_pixels))
    chat = load_chat(settings.folder, view.factor)
    most = _most_tokens(settings, kind)
    read: list[Source] = []
    examples: list[Example] = []
    lengths: list[int] = []
    trained: list[int] = []
    for source in sources:
        left_out: Counter[str] = Counter()
        before = len(examples)
        for example in read_examples(source, settings.selection, view):
            if isinstance(example, str):
                left_out[example] += 1
                continue
            tokens = encode_example(chat, example, view.factor)
            own = int(tokens.mask.sum())
            if reason := _NOTHING if not own else f"more than {most} tokens" if len(tokens) > most else "":
                left_out[reason] += 1
                continue
            examples.append(example)
            lengths.append(len(tokens))
            trained.append(own)
        read.append(Source(source, len(examples) - before, dict(left_out.most_common())))
    if not examples:
        raise DataError(_nothing_left(read))
    return Plan(settings, tuple(read), tuple(examples), tuple(lengths), tuple(trained), chat, view.factor)


def _most_tokens(settings: SFTSettings, kind: str) -> int:
    config = read_model_file(settings.folder / "config.json")
    text = config.get("text_config") or config
    context = int(text.get("max_position_embeddings") or config.get("max_position_embeddings") or 2**31)
    return min(settings.max_tokens or context, context)


def _left_out(source: Source) -> str:
    return f"; left out: {written_counts(source.left_out)}" if source.left_out else ""


def _nothing_left(sources: Sequence[Source]) -> str:
    reasons: Counter[str] = Counter()
    for source in sources:
        reasons.update(source.left_out)
    remedy = "; play with a rubric, judge the runs, or say right=false" if NOT_SCORED in reasons else ""
    return f"no example is left to train on ({written_counts(reasons, 'the runs have none')}){remedy}"
