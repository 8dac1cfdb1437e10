"""Registries and plugins: names, what belongs to whom, and files loaded from anywhere."""

import sys

import pytest

from deepeyes_env import register_protocol, register_rubric, register_toolbox
from deepeyes_env.envs.toolbox import TOOLBOXES, registered_kwargs
from deepeyes_env.errors import UnknownNameError, UsageError, UsageTypeError
from deepeyes_env.protocols import TaggedProtocol
from deepeyes_env.registry import (
    Registry,
    did_you_mean,
    letters_and_digits,
    load_plugins,
    loaded_plugins,
    missing_plugins,
    nearest,
)
from deepeyes_env.tools import register_tool

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
    with pytest.raises(
        UsageError, match=r"_needy\.py' could not be loaded: ModuleNotFoundError: .*nothing_like_it"
    ) as told:
        load_plugins([str(plugin(tmp_path, "registry_plugin_needy", "import nothing_like_it"))])
    assert isinstance(told.value.__cause__, ModuleNotFoundError)
    assert "registry_plugin_needy" not in sys.modules
    other = tmp_path / "json.py"
    other.write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="a module 'json' is loaded already; rename the file"):
        load_plugins([str(other)])


@pytest.mark.parametrize("name", ["", ".", "..", ".mine", "mine.", "a..b"])
def test_what_is_no_name_of_a_module_is_told(name):
    with pytest.raises(UsageError, match=r"^plugin '.*': is no name of a module; give one such as my_package"):
        load_plugins([name])


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("registry_plugin_dividing", "1 / 0", "ZeroDivisionError: division by zero"),
        ("registry_plugin_torn", "def f(:", "SyntaxError: invalid syntax"),
        ("registry_plugin_misled", "raise TypeError('no')", "TypeError: no"),
    ],
)
def test_an_error_of_a_plugin_is_told_as_its_own(tmp_path, monkeypatch, name, line, told):
    path = plugin(tmp_path, name, line)
    monkeypatch.chdir(tmp_path)
    for given in (str(path), name):
        with pytest.raises(UsageError, match=rf"^plugin '.*{name}.*' could not be loaded: {told}.*; mend it") as caught:
            load_plugins([given])
        assert type(caught.value.__cause__).__name__ == told.partition(":")[0]
    assert name not in sys.modules


def test_a_folder_of_plugins_is_no_plugin(tmp_path, monkeypatch):
    (tmp_path / "registry_plugin_folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"is a folder without __init__\.py; name a module in it, or a \.py file"):
        load_plugins(["registry_plugin_folder"])


def test_a_usage_error_of_a_plugin_stays_as_it_is(tmp_path):
    line = "from deepeyes_env.rewards import get_rubric, register_rubric as r; r('deepeyes', get_rubric('paper'))"
    path = plugin(tmp_path, "registry_plugin_taking", line)
    with pytest.raises(UsageError, match=r"^the rubric 'deepeyes' belongs to the package"):
        load_plugins([str(path)])


@pytest.mark.parametrize(("name", "error"), [(5, UsageTypeError), (None, UsageTypeError), ("", UsageError)])
def test_what_is_no_name_is_not_registered(name, error):
    with pytest.raises(error, match="name"):
        COLOURS.register(name, 3)


class Shade:
    """What the registry below is of."""


def test_a_registry_of_a_class_refuses_what_is_none():
    shades = Registry("shade", of=Shade)
    mine = Shade()
    assert shades.register("mine", mine) is shades["mine"] is mine
    for wrong, name in ((Shade, "Shade"), (None, "NoneType"), (lambda: mine, "function")):
        with pytest.raises(UsageTypeError, match=f"^the shade 'wrong' must be an instance of Shade, and {name} is"):
            shades.register("wrong", wrong)
        with pytest.raises(UsageTypeError):
            shades.register("wrong")(wrong)
    assert "wrong" not in shades


def test_what_is_registered_is_checked_at_once():
    with pytest.raises(UsageTypeError, match="the rubric 'test_wrong' must be an instance of BaseRubric, and function"):
        register_rubric("test_wrong", lambda evidence: 1.0)
    with pytest.raises(UsageTypeError, match="the protocol 'test_wrong' must be an instance of Protocol, and"):
        register_protocol("test_wrong", TaggedProtocol)
    with pytest.raises(UsageTypeError, match="is not a tool; decorate a function with @tool"):
        register_tool(lambda image: image)
    with pytest.raises(UsageTypeError, match=r"'Wrong-v0'\): unknown argument 'max_turn'; did you mean 'max_turns'\?"):
        register_toolbox("Wrong-v0", tools=[], max_turn=3)
    with pytest.raises(UsageTypeError, match="a rubric is the name of a preset, .*not int"):
        register_toolbox("Wrong-v0", tools=[], rubric=3)
    with pytest.raises(UsageTypeError, match="is not a protocol"):
        register_toolbox("Wrong-v0", tools=[], protocol=3)
    assert "Wrong-v0" not in TOOLBOXES


def test_an_environment_of_another_package_has_no_arguments_for_ours():
    with pytest.raises(UsageError, match="env='CartPole-v1': is not an environment of this package"):
        registered_kwargs("CartPole-v1")
