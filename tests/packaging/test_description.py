"""What setup.py knows without a build: version, files, and the README as an index shows it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import deepeyes_env
from tests.packaging.building import ROOT, copy_of_the_checkout, files_of_the_checkout, pinned, setup_script

README = """\
# Name

See [docs/a.md](docs/a.md), [the paper](https://example.org/p) and [below](#more); `x[0](y)` is code.

![A plot: twice](docs/plot.png)

    [indented](code.md)

```python
call = handlers["a"](event)
```

Two
[lines](docs/b.md#part) apart.
"""

AT_HOME = """\
# Name

See [docs/a.md](https://host/me/it/blob/v1.2/docs/a.md), [the paper](https://example.org/p) and [below](#more); \
`x[0](y)` is code.

![A plot: twice](https://host/me/it/raw/v1.2/docs/plot.png)

    [indented](code.md)

```python
call = handlers["a"](event)
```

Two
[lines](https://host/me/it/blob/v1.2/docs/b.md#part) apart.
"""

WITHOUT_ADDRESS = """\
# Name

See docs/a.md, [the paper](https://example.org/p) and [below](#more); `x[0](y)` is code.

(Picture: A plot: twice)

    [indented](code.md)

```python
call = handlers["a"](event)
```

Two
lines apart.
"""


@pytest.mark.parametrize(
    ("url", "expected"),
    [("https://host/me/it", AT_HOME), ("https://host/me/it/", AT_HOME), ("", WITHOUT_ADDRESS)],
)
def test_links_lead_to_the_repository_or_are_text(url, expected):
    assert setup_script().long_description(README, url, "1.2") == expected


@pytest.mark.parametrize("url", ["https://host/me/it", ""])
def test_the_readme_needs_no_file_beside_it(url):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = setup_script().long_description(readme, url, "1.2")
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert "<img" not in text
    assert text.count("```") == readme.count("```")


@pytest.mark.integration
def test_the_version_has_one_home():
    assert setup_script().read_version() == deepeyes_env.__version__
    said = subprocess.run([sys.executable, "-m", "deepeyes_env.cli", "--version"], capture_output=True, text=True)
    assert said.stdout == f"deepeyes_env {deepeyes_env.__version__}\n"


def test_every_file_is_in_what_setup_would_install():
    """The lists of the wheel itself are compared by the slow tests; this one needs no build."""
    pytest.importorskip("setuptools")
    code = """
import json, setuptools
from distutils.core import run_setup
command = run_setup("setup.py", ["--quiet", "build_py"], stop_after="commandline").get_command_obj("build_py")
command.set_undefined_options("build", ("build_lib", "build_lib"))
command.ensure_finalized()
print(json.dumps(command.get_outputs(include_bytecode=False)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    outputs = [Path(name) for name in json.loads(done.stdout.splitlines()[-1])]
    assert sorted(path.relative_to("build/lib").as_posix() for path in outputs) == files_of_the_checkout()


def test_a_checkout_without_links_says_how_to_get_them(tmp_path):
    source = copy_of_the_checkout(tmp_path)
    for name in ("agents", "trainers"):
        (source / "deepeyes_env" / name).unlink()
        (source / "deepeyes_env" / name).write_text(f"../{name}")  # what git writes where links are off
    said = subprocess.run([sys.executable, "setup.py", "--version"], capture_output=True, text=True, cwd=source)
    assert said.returncode == 1
    assert "git config core.symlinks true" in said.stderr


def test_each_package_that_an_extra_needs_is_pinned():
    setup = setup_script()
    for extra, needs in setup.EXTRAS.items():
        if extra not in setup.APART:  # which have environments of their own, or are a service
            assert len(pinned(needs)) == len(needs)
    assert pinned(setup.CORE)


def test_citation():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert cited["title"] == "deepeyes_env"
    assert cited["license"] == "Apache-2.0"
    assert cited["message"]
    assert [author["name"] for author in cited["authors"]] == ["The deepeyes_env authors"]
    assert cited.get("repository-code", "") == setup_script().URL
    (paper,) = cited["references"]
    assert paper["url"].rpartition("/")[2] in (ROOT / "README.md").read_text(encoding="utf-8")
