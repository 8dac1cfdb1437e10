"""The pages of the documentation, taken apart: code blocks, command lines, names and paths in the text."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
TUTORIALS = tuple(sorted((ROOT / "docs" / "tutorials").glob("*.py")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOTE = re.compile(r"<!-- test: ([^>]*) -->\n\Z")
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: Path of the page in the repository.
        line: Line of its first line of code.
        language: What stands behind the opening fence.
        text: The code.
        note: What an HTML comment before it says to the test: ``slow``, ``interrupt`` (it waits for a person), or
            ``needs MODULE`` (it is run where that is installed).
    """

    page: str
    line: int
    language: str
    text: str
    note: str = ""

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def needs(self) -> str:
        """The module that has to be there; empty if none."""
        return self.note.removeprefix("needs ") if self.note.startswith("needs ") else ""


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    found = []
    for match in FENCE.finditer(text):
        note = NOTE.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(name, line, match[1], match[2], note[1] if note else ""))
    return found


def prose_of(page: Path) -> str:
    """Return a page without its fenced blocks; of a tutorial, its text cells are as they are shown."""
    text = page.read_text(encoding="utf-8")
    return re.sub("^# ?", "", text, flags=re.MULTILINE) if page.suffix == ".py" else FENCE.sub("", text)


def spans_of(page: Path) -> list[str]:
    """Return what stands in backticks in the text of a page."""
    return SPAN.findall(INDENTED.sub("", prose_of(page)))


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the command lines of a page, split into words: those of indented and of fenced shell blocks."""
    shell = [block.text for block in blocks_of(page) if block.language in ("", "bash", "sh", "shell")]
    shell += [re.sub("^    ", "", match[0], flags=re.MULTILINE) for match in INDENTED.finditer(prose_of(page))]
    for text in shell:
        for line in text.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # a table, or other text
                continue
            if words:
                yield words
