"""What the wheel and the source distribution hold."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import deepeyes_env
from tests.packaging.building import BUILT_FROM, files_of_the_checkout, run, setup_script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAMS = ("deepeyes_env/agents/human/page/page.js", "deepeyes_env/trainers/tiny/base/model.safetensors")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def metadata(wheel: Path):
    (text,) = (data for name, data in contents(wheel).items() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(text.decode("utf-8"))


def test_the_wheel_holds_every_file_of_the_three_folders(built):
    files = files_of_the_checkout()
    assert set(PROGRAMS) < set(files)
    assert sorted(name for name in contents(built.wheel) if ".dist-info/" not in name) == files


def test_the_sdist_holds_them_too_and_what_it_is_built_with(built):
    with tarfile.open(built.sdist) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
    assert all(member.isreg() for member in members)  # no links, which some systems cannot unpack
    names = {member.name.partition("/")[2] for member in members}
    made = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert names == {*files_of_the_checkout(), *BUILT_FROM} | made


def test_a_wheel_of_the_sdist_is_the_same(built):
    assert built.wheel_of_sdist.name == built.wheel.name
    assert contents(built.wheel_of_sdist) == contents(built.wheel)


def test_an_index_will_take_both(built):
    pytest.importorskip("twine", reason="needs the package twine: pip install -e '.[test]'")
    said = run([sys.executable, "-m", "twine", "check", "--strict", built.wheel, built.sdist], built.wheel.parent)
    assert said.count("PASSED") == 2


def test_the_wheel_says_what_it_is(built):
    told = metadata(built.wheel)
    assert (told["Name"], told["Version"]) == ("deepeyes-env", deepeyes_env.__version__)
    assert (told["License-Expression"], told.get_all("License-File")) == ("Apache-2.0", ["LICENSE"])
    assert told["Author"]
    assert bool(told.get_all("Project-URL")) == bool(setup_script().URL)
    assert "Typing :: Typed" in told.get_all("Classifier")
    core = {need for need in told.get_all("Requires-Dist") if "extra ==" not in need}
    assert core == set(setup_script().CORE)
    assert not re.search(r"\]\((?!https?:|#)", told.get_payload())  # no link that leads nowhere on an index
