"""Optional dependencies: what is said when one is missing."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deepeyes_env.errors import MissingExtraError
from deepeyes_env.extras import import_extra, install_command, missing_extra, needs_extra, require_extra

ROOT = Path(__file__).parents[1]


def command(installed, origin, extra="math"):
    """The command for an installation that came from somewhere, without the pip that begins it."""
    folder = installed / "deepeyes_env-0.1.0.dist-info"
    folder.mkdir()
    needs = 'Requires-Dist: numpy>=1\nRequires-Dist: rich>=13; extra == "cli"\nRequires-Dist: typer; extra == "cli"\n'
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: deepeyes-env\nVersion: 0.1.0\n{needs}")
    if origin is not None:
        (folder / "direct_url.json").write_text(json.dumps(origin))
    words = shlex.split(install_command(extra))
    return words[words.index("install") + 1 :]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder whose packages are found before all others."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_from_an_index(installed):
    assert command(installed, None) == ["deepeyes-env[math]"]


def test_what_a_build_left_in_the_checkout_is_no_installation(installed, tmp_path):
    left = tmp_path / "site" / "deepeyes_env.egg-info"
    left.mkdir()
    (left / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: deepeyes-env\nVersion: 0.0.9\n")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    origin = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    assert command(installed, origin) == ["-e", f"{checkout}[math]"]


def test_from_a_wheel_file_or_an_sdist(installed, tmp_path):
    wheel = tmp_path / "my wheels" / "deepeyes_env-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    assert command(installed, {"url": wheel.as_uri(), "archive_info": {}}) == [f"deepeyes-env[math] @ {wheel.as_uri()}"]


def test_from_a_wheel_file_that_is_gone_its_packages_are_named(installed, tmp_path):
    assert command(installed, {"url": (tmp_path / "gone.whl").as_uri(), "archive_info": {}}, "cli") == [
        "rich>=13",
        "typer",
    ]


@pytest.mark.parametrize(("info", "option"), [({"editable": True}, ["-e"]), ({}, [])])
def test_from_a_checkout(installed, tmp_path, info, option):
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    assert command(installed, {"url": checkout.as_uri(), "dir_info": info}) == [*option, f"{checkout}[math]"]


def test_from_an_address(installed):
    url = "https://host/deepeyes_env-0.1.0-py3-none-any.whl"
    assert command(installed, {"url": url, "archive_info": {}}) == [f"deepeyes-env[math] @ {url}"]


@pytest.mark.parametrize("url", ["https://host/me/it", "file:///srv/it"])
def test_from_version_control(installed, url):
    info = {"vcs": "git", "commit_id": "c0ffee", "requested_revision": "v1"}
    origin = {"url": url, "vcs_info": info, "subdirectory": "python"}
    assert command(installed, origin) == [f"deepeyes-env[math] @ git+{url}@v1#subdirectory=python"]


def test_imported_from_a_checkout_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert shlex.split(install_command("math"))[-2:] == ["-e", f"{ROOT}[math]"]


def test_the_pip_is_this_environments(tmp_path, monkeypatch):
    other = tmp_path / "pip"
    other.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shlex.split(install_command("math"))[:4] == [sys.executable, "-m", "pip", "install"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert shlex.split(install_command("math"))[:2] == ["pip", "install"]


def test_what_is_there_is_imported():
    assert import_extra("json", "math") is json
    require_extra("math", "json", "numpy")


def test_what_is_missing_names_the_command():
    said = f"no_such_package is not installed; run: {install_command('math')}"
    with pytest.raises(MissingExtraError) as caught:
        import_extra("no_such_package.part", "math")
    assert str(caught.value) == said
    assert isinstance(caught.value, ImportError)
    with pytest.raises(MissingExtraError) as caught:
        require_extra("math", "json", "no_such_package")
    assert str(caught.value) == said


def test_what_is_there_but_cannot_be_imported_is_not_called_missing():
    message = "json is installed, but: cannot import name 'nothing'.*; run: "
    with pytest.raises(MissingExtraError, match=message), needs_extra("math"):
        from json import nothing  # noqa: F401
    with pytest.raises(MissingExtraError, match=r"json is installed, but: No module named 'json\.part'; run: "):
        import_extra("json.part", "math")


def test_a_module_of_ours_that_is_missing_is_a_bug():
    for statement in ("import deepeyes_env.no_such_part", "from deepeyes_env.images import no_such_name"):
        with pytest.raises(ImportError, match="no_such") as caught, needs_extra("train"):
            exec(statement)
        assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.integration
def test_a_module_of_ours_that_is_missing_is_a_bug_for_the_command_line_too():
    """The wheel that lacked the trainer said that an extra was missing."""
    code = """
import sys
sys.modules["deepeyes_env.trainers.grpo.config"] = None
from deepeyes_env.cli import main
sys.argv = ["deepeyes", "train", "steps=1"]
main()
"""
    pytest.importorskip("torch")
    pytest.importorskip("typer")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 1
    assert "This is a bug in deepeyes_env" in said.stderr
    assert "ModuleNotFoundError" in said.stderr
    assert "pip install" not in said.stderr


def test_the_outermost_need_is_named():
    with pytest.raises(MissingExtraError) as caught, needs_extra("train"):
        import_extra("no_such_package", "transformers")
    assert str(caught.value) == str(missing_extra("no_such_package", "train"))


IMPORT_ALL = """
import importlib, importlib.machinery, json, os, sys
from pathlib import Path

CORE = {"cloudpickle", "deepeyes_env", "docstring_parser", "gymnasium", "numpy", "PIL", "pydantic"}
THEIRS = {"annotated_types", "cloudpickle", "farama_notifications", "pydantic_core", "typing_extensions",
          "typing_inspection"}
KNOWN = {*CORE, *THEIRS, *sys.stdlib_module_names}

class CoreAlone(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = super().find_spec(name, path, target)
        is_known = name.partition(".")[0] in KNOWN or "site-packages" not in str(found and found.origin)
        return found if is_known else None

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = CoreAlone
import deepeyes_env
from deepeyes_env.errors import MissingExtraError

root, said = Path(deepeyes_env.__file__).parent, {}
for folder, _, names in os.walk(root, followlinks=True):
    for name in names:
        if name.endswith(".py") and name != "__main__.py":
            path = Path(folder, name).relative_to(root.parent).with_suffix("")
            module = ".".join(path.parts if path.name != "__init__" else path.parts[:-1])
            try:
                importlib.import_module(module)
            except MissingExtraError:
                said[module] = "extra"
            except ImportError as error:
                said[module] = error.name
            else:
                said[module] = None
try:
    import benchmarks.env_step
except MissingExtraError:
    said["benchmarks.env_step"] = "extra"
print(json.dumps(said))
"""


@pytest.mark.integration
def test_every_module_without_its_extras_says_so():
    """Nothing of ours fails for want of a package without a word about what brings it."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, cwd=ROOT, check=True)
    said = json.loads(done.stdout)
    assert len(said) > 200
    assert said["deepeyes_env.agents.runner"] is None
    assert said["deepeyes_env.trainers.grpo.trainer"] == "extra"
    assert said["benchmarks.env_step"] == "extra", "before it measures, not two minutes later"
    silent = {module: package for module, package in said.items() if package not in (None, "extra")}
    assert {module for module in silent if ".cli" not in module} == set()
    assert set(silent.values()) <= {"typer", "rich"}  # ``deepeyes`` says for all commands that it needs these
