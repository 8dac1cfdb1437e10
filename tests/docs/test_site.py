"""The site: built strictly, complete, and readable without a network."""

import importlib
import subprocess
import sys
import threading
import zlib
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.docs.pages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.docs, pytest.mark.timeout(300)]

PACKAGES = (
    "deepeyes_env.agents",
    "deepeyes_env.agents.evaluation",
    "deepeyes_env.agents.human",
    "deepeyes_env.agents.openai",
    "deepeyes_env.data",
    "deepeyes_env.data.benchmarks",
    "deepeyes_env.data.visual_search",
    "deepeyes_env.envs",
    "deepeyes_env.envs.vector",
    "deepeyes_env.envs.wrappers",
    "deepeyes_env.images",
    "deepeyes_env.judges",
    "deepeyes_env.protocols",
    "deepeyes_env.rewards",
    "deepeyes_env.tools",
    "deepeyes_env.trainers.algorithms",
    "deepeyes_env.trainers.tracking",
    "deepeyes_env.trajectories",
    "deepeyes_env.trajectories.export",
)
SHOWN = (
    "index.html",
    "environment.html",
    "evaluation.html",
    "ablation.html",
    "tutorials/5_evaluate_an_endpoint.html",
    "reference/core.html",
    "reference/trainers.html",
)
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Attributes whose address a browser fetches to show a page; an ordinary link is none."""


class Loads(HTMLParser):
    """Collects what a page fetches."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "link" and "canonical" in attributes.get("rel", ""):
            return
        if address := attributes.get(LOADING.get(tag, "")):
            self.addresses.append(address)


def inventory(site):
    """The names that the reference describes, from its Sphinx inventory."""
    data = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(data).decode().splitlines()}


def test_every_page_reads_without_a_network(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 35
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.addresses
        for address in loads.addresses:
            assert not address.startswith(("http:", "https:", "//")), f"{page.name} fetches {address}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(site, package):
    described = inventory(site)
    exported = set(importlib.import_module(package).__all__)
    by_last_part = {name.rsplit(".", 1)[-1] for name in described if name.startswith(f"{package}.")}
    assert exported <= by_last_part, sorted(exported - by_last_part)


def test_every_name_at_the_top_is_in_the_reference(site):
    import deepeyes_env

    assert set(deepeyes_env.__all__) <= {name.rsplit(".", 1)[-1] for name in inventory(site)}


def test_tutorials_are_pages_and_downloads(site):
    for script in (ROOT / "docs" / "tutorials").glob("*.py"):
        page = (site / "tutorials" / f"{script.stem}.html").read_text(encoding="utf-8")
        assert "highlight" in page
        assert f'href="{script.name}"' in page
        assert (site / "tutorials" / script.name).read_bytes() == script.read_bytes()


def test_front_page_is_the_readme(site):
    front = (site / "index.html").read_text(encoding="utf-8")
    assert "make train" in front
    assert "episode.png" in front
    assert "docs/" not in front.partition("<article")[2].partition("</article")[0].replace("docs/tutorials", "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a page](no_such_page.md)", "no_such_page.md"),
        ("[a place](#no-such-heading)", "no-such-heading"),
        ("[a name][deepeyes_env.no_such_name]", "deepeyes_env.no_such_name"),
        ("::: deepeyes_env.no_such_module", "deepeyes_env.no_such_module"),
    ],
)
def test_what_leads_nowhere_fails_the_build(tmp_path, text, complaint):
    """On a site of one page, with the settings of the real one."""
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    settings = {**settings, "nav": [{"Home": "index.md"}], "docs_dir": "pages", "theme": {"name": "material"}}
    for key in ("hooks", "extra_css", "exclude_docs", "not_in_nav"):
        settings.pop(key, None)
    settings["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (tmp_path / "pages").mkdir()

    def build(content):
        (tmp_path / "pages" / "index.md").write_text(f"# Home\n\n{content}\n", encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert build("Nothing.").returncode == 0
    broken = build(text)
    assert broken.returncode != 0
    assert complaint in broken.stdout + broken.stderr


@pytest.fixture(scope="module")
def address(site):
    handler = partial(QuietHandler, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
def test_pages_fit_the_screen_and_fetch_nothing_elsewhere(address, chromium, width):
    tab = chromium.new_page()
    tab.set_viewport_size({"width": width, "height": 900})
    fetched, errors = [], []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    for page in SHOWN:
        tab.goto(f"{address}/{page}", wait_until="load")
        assert tab.evaluate("document.documentElement.scrollWidth") == width, page
        assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)"), page
    assert not errors
    assert all(url.startswith((address, "data:", "blob:")) for url in fetched), fetched
    tab.close()


@pytest.mark.browser
def test_search_finds_the_words_of_the_field(address, chromium):
    tab = chromium.new_page()
    tab.set_viewport_size({"width": 1400, "height": 900})
    tab.goto(f"{address}/index.html")
    tab.click(".md-search__input")
    for words in ("KV cache", "completion mask", "per-call penalty", "max new tokens", "ViewBudget"):
        tab.fill(".md-search__input", "")
        tab.keyboard.type(words)
        tab.wait_for_function(
            "() => /[0-9]+ matching|1 matching/.test(document.querySelector('.md-search-result__meta').innerText)"
        )
    tab.close()
