"""Pages of the site that are not Markdown files of this folder, made while mkdocs builds it.

- The front page is README.md.
- A tutorial (``tutorials/*.py``, cells marked by ``# %%``) becomes a page, and can be downloaded as it is.
- A file of the repository that a page links to (an example, the licence) becomes a page or comes along.

Links are those that are right in the repository, so that every page can be read there too; here they are turned into
links of the site, and where one shows the name of a page's file, it shows the page's title. What they lead to has to
exist: the build is strict.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = "docs"
FRONT = "README.md"
LINK = re.compile(r"(?P<label>\[[^\]\n]*)\]\((?P<link>[^)\s#]+)(?P<anchor>(?:#[^)\s]*)?)\)")
TITLE = re.compile(r"^# (?:# )?(.+)$", re.MULTILINE)
CELL = re.compile(r"^# %%.*$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the front page, the tutorials, and the files outside this folder that pages link to."""
    made = {"index.md": FRONT}
    for script in sorted((ROOT / DOCS / "tutorials").glob("*.py")):
        made[f"tutorials/{script.stem}.md"] = f"{DOCS}/tutorials/{script.name}"
    sources = [*made.values(), *(f"{DOCS}/{file.src_uri}" for file in files.documentation_pages())]
    for source in sources:
        for target in sorted(set(_links(source))):
            if not target.startswith(f"{DOCS}/") and target not in made.values() and (ROOT / target).is_file():
                made[_page_of(target)] = target
    for uri, source in made.items():
        if uri.endswith(".md"):
            files.append(File.generated(config, uri, content=_markdown(source)))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    config.extra["source_of"] = made
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    uri = page.file.src_uri
    source = config.extra["source_of"].get(uri, f"{DOCS}/{uri}")

    def of_the_site(match: re.Match[str]) -> str:
        target = _in_repository(source, match["link"])
        if target is None:
            return match[0]
        label = match["label"]
        if label[1:] in (target, posixpath.basename(target)) and target.endswith(".md"):
            label = f"[{_title(target)}"
        return f"{label}]({posixpath.relpath(_page_of(target), posixpath.dirname(uri) or '.')}{match['anchor']})"

    return LINK.sub(of_the_site, markdown)


def _links(source: str) -> Iterator[str]:
    """Yield what a file links to, as paths in the repository."""
    for match in LINK.finditer((ROOT / source).read_text(encoding="utf-8")):
        target = _in_repository(source, match["link"])
        if target is not None:
            yield target


def _title(source: str) -> str:
    """Return the title of a page, which says more than the name of its file."""
    found = TITLE.search((ROOT / source).read_text(encoding="utf-8"))
    return found[1] if found else source


def _in_repository(source: str, link: str) -> str | None:
    """Return where in the repository a link of a file leads; ``None`` if it leads out of it."""
    if ":" in link or link.startswith("/"):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _page_of(target: str) -> str:
    """Return the site's file for one of the repository."""
    if target == FRONT:
        return "index.md"
    path = target.removeprefix(f"{DOCS}/")
    return f"{path.removesuffix('.py')}.md" if path.endswith(".py") else path


def _markdown(source: str) -> str:
    """Return the Markdown of a page made from a file."""
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.startswith(f"{DOCS}/tutorials/"):
        return tutorial(text, source)
    return f"# {source}\n\n```python\n{text}```\n" if source.endswith(".py") else text


def tutorial(script: str, source: str) -> str:
    """Return a script of cells as Markdown: the text of text cells, the code of code cells.

    Args:
        script: In percent format: ``# %% [markdown]`` begins a text cell, whose lines are comments; ``# %%`` code.
        source: Path of the script in the repository.
    """
    marks = list(CELL.finditer(script))
    ends = [*(mark.start() for mark in marks[1:]), len(script)]
    cells = []
    for mark, end in zip(marks, ends, strict=True):
        body = script[mark.end() : end].strip("\n")
        if "[markdown]" in mark[0]:
            cells.append("\n".join(re.sub("^# ?", "", line) for line in body.splitlines()))
        else:
            cells.append(f"```python\n{body}\n```")
    name = posixpath.basename(source)
    run = f'Download <a href="{name}" download>{name}</a>, or run it in a checkout: `python {source}`.'
    title, _, rest = cells[0].partition("\n")
    return "\n\n".join([f"{title}\n\n{run}\n{rest}", *cells[1:]]) + "\n"
