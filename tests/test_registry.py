"""Registries and plugins: names, what belongs to whom, and files loaded from anywhere."""

import sys

import pytest

from deepeyes_env.errors import UnknownNameError, UsageError
from deepeyes_env.registry import (
    Registry,
    did_you_mean,
    letters_and_digits,
    load_plugins,
    loaded_plugins,
    missing_plugins,
    nearest,
)

COLOURS: Registry[int] = Registry("colour", spelling=letters_and_digits)
COLOURS.register("dark red", 1)
COLOURS.protect()


def plugin(folder, name, line):
    path = folder / f"{name}.py"
    path.write_text(f"from tests.test_registry import COLOURS\n{line}\n", encoding="utf-8")
    return path


def test_an_unknown_name_raises_one_kind_with_the_nearest_and_all_names():
    with pytest.raises(UnknownNameError, match=r"^unknown colour 'drk-red'; did you mean 'dark red'\? known: dark red"):
        COLOURS.get("drk-red")
    with pytest.raises(LookupError, match=r"^unknown colour 'xyz'; known: dark red"):
        COLOURS["xyz"]
    assert COLOURS["Dark_Red"] == COLOURS.get("dark red") == 1
    assert did_you_mean("b", ("a",)) == "known: a"
    assert nearest("Dark-Rad", ["dark red", "dark rad.x", "blue"], n=2) == ["dark rad.x", "dark red"]


def test_names_of_the_package_stay_its_own():
    assert COLOURS.is_builtin("DARK RED")
    assert not COLOURS.is_builtin("blue")
    with pytest.raises(UsageError, match="belongs to the package; choose another name"):
        COLOURS.register("dark-red", 2)


def test_what_plugins_register_is_told_from_what_a_script_does(tmp_path):
    path = plugin(tmp_path, "registry_plugin_blue", "COLOURS.register('blue', 2)\nCOLOURS.register('grey', 3)")
    assert missing_plugins([str(path), "registry_plugin_blue"]) == (str(path), "registry_plugin_blue")
    load_plugins([str(path)])
    load_plugins([str(path)])
    assert loaded_plugins().count(str(path)) == 1
    assert missing_plugins([str(path), "registry_plugin_blue", "/elsewhere/registry_plugin_blue.py"]) == ()
    COLOURS.register("green", 4)
    COLOURS.register("grey", 5)  # again, and not by a plugin
    assert COLOURS.additions() == {"green": 4, "grey": 5}
    assert set(COLOURS) == {"dark red", "blue", "green", "grey"}


def test_a_relative_path_is_known_whole(tmp_path, monkeypatch):
    plugin(tmp_path, "registry_plugin_near", "")
    monkeypatch.chdir(tmp_path)
    load_plugins(["registry_plugin_near.py"])
    assert str(tmp_path / "registry_plugin_near.py") in loaded_plugins()


def test_a_plugin_that_is_wrong_is_told(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        load_plugins([str(tmp_path / "none.py")])
    with pytest.raises(UsageError, match="there is no module 'nowhere_at_all'"):
        load_plugins(["nowhere_at_all.sub"])
    with pytest.raises(ModuleNotFoundError, match="nothing_like_it"):
        load_plugins([str(plugin(tmp_path, "registry_plugin_needy", "import nothing_like_it"))])
    assert "registry_plugin_needy" not in sys.modules
    other = tmp_path / "json.py"
    other.write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="a module 'json' is loaded already; rename the file"):
        load_plugins([str(other)])
