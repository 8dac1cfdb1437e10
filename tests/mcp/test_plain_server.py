"""Tools of a server that is a process, and all that can go wrong with one."""

from __future__ import annotations

import os
import pickle
import re
import sys
import time
from pathlib import Path

import gymnasium as gym
import pytest

from deepeyes_env import ToolServerError, UsageError, mcp_tools, register_toolbox
from deepeyes_env.envs.toolbox import TOOLBOXES

PLAIN = [sys.executable, "-S", str(Path(__file__).with_name("plain_server.py"))]
SITE = {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def play(play):
    """Return an environment with some of the plain server's tools."""
    return lambda *tools, **options: play([*PLAIN, *tools], **{"env": SITE, **options})


def test_tools_are_found_at_reset_and_their_schemas_are_in_the_prompt(play, tmp_path, call):
    env = play("count", "picture")
    _, info = env.reset(seed=0)
    schema = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    function = {"name": "count", "description": "Do count.", "parameters": schema}
    assert info["tools"][0] == {"type": "function", "function": function}
    assert '"name": "count"' in info["system_prompt"]
    assert "Do picture." in info["system_prompt"]


def test_nothing_is_started_before_a_reset(tmp_path):
    with TOOLBOXES.restored():
        register_toolbox("McpNowhere-v0", tools=mcp_tools("/no/such/program --at all"))
        with gym.make("McpNowhere-v0") as env, pytest.raises(ToolServerError, match="/no/such/program --at all"):
            env.reset(seed=0)


def test_a_server_that_ends_at_once_is_told_with_its_last_words(play, call):
    with pytest.raises(ToolServerError, match="it said last: 'the licence has expired'"):
        play("fail")


def test_a_server_that_says_nothing_is_given_up(play):
    with pytest.raises(ToolServerError, match="has not answered within 0.5 seconds"):
        play("silent", timeout=0.5)


def test_text_images_and_what_the_server_remembers(play, call):
    env = play("count", "picture")
    assert call(env, "count", number=2)[0].text == "1 calls, 2 in sum"
    assert call(env, "count", number=3)[0].text == "2 calls, 5 in sum"
    result, _ = call(env, "picture", number=80)
    assert (result.status, result.text, result.images[0].size) == ("ok", "here", (80, 40))
    assert result.images[0].pixels()[0, 0].tolist() == [10, 20, 30]
    env.reset(seed=1)
    assert call(env, "count", number=7)[0].text == "1 calls, 7 in sum"


def test_a_shared_session_goes_on_over_episodes_and_environments(play, call):
    env, other = (play("count", "die", session="shared") for _ in range(2))
    assert call(env, "count", number=2)[0].text == "1 calls, 2 in sum"
    env.reset(seed=1)
    assert call(env, "count", number=3)[0].text == "2 calls, 5 in sum"
    assert call(other, "count", number=1)[0].text == "3 calls, 6 in sum"
    assert "its server has ended" in call(other, "die", number=0)[0].error
    assert call(env, "count", number=4)[0].text == "1 calls, 4 in sum"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({}, "'number' is a required property"), ({"number": "2"}, "is not of type 'integer'")],
)
def test_arguments_are_checked_before_the_server_is_asked(play, arguments, told, call):
    result, over = call(play("count"), "count", **arguments)
    assert result.status == "bad_arguments"
    assert told in result.error
    assert 'the arguments of count are {"number": <integer>}' in result.error
    assert not over


def test_what_cannot_be_used_is_told_and_the_episode_goes_on(play, call):
    """One episode, one server: each of these leaves the connection as it was."""
    env = play()
    wrong = {
        "lie": "contradicts its schema: .*'five' is not of type 'integer'",
        "video": "contradicts its schema: block 0 of its content is of no known kind",
        "nonsense": "contradicts its schema",
        "audio": "returned audio, and only text and images can be shown",
        "link": "returned resource link",
        "broken": "returned an image that cannot be read",
        "bomb": "returned an image that cannot be read: .* decompression bomb",
        "refuse": "^not today$",
    }
    for name, told in wrong.items():
        result, over = call(env, name)
        assert (result.status, over) == ("failed", False), name
        assert re.search(told, result.error), (name, result.error)
    assert call(env, "structured")[0].text == '{"result": 5}'
    assert call(env, "chatter")[0].text == "done"
    assert call(env, "big", number=9_000_000)[0].error == "big failed: the result is larger than 8 MB; ask for less"
    assert len(call(env, "big", number=4_000_000)[0].text) == 4_000_000
    assert call(env, "count", number=1)[0].text == "1 calls, 1 in sum"


def test_a_server_that_dies_in_mid_call(play, call):
    env = play("count", "die")
    assert call(env, "die", number=3)[0].error == "die failed: its server has ended"
    result, over = call(env, "count", number=1)
    assert (result.status, over) == ("failed", False)
    assert "its server has ended, and with it what it knew of this episode" in result.error
    env.reset(seed=1)
    assert call(env, "count", number=1)[0].ok


@pytest.mark.integration
def test_a_server_that_hangs_is_given_up_with_its_episode(play, call):
    env = play("hang", "count", timeout=1.0)
    result, over = call(env, "hang")
    assert (result.status, over) == ("failed", True)
    assert result.error == "hang did not return within 1 seconds"
    assert env.unwrapped.trajectory.stop_reason == "tool_timeout"
    env.reset(seed=1)
    assert call(env, "count", number=1)[0].ok


def test_keys_of_ours_do_not_reach_the_server(play, monkeypatch, call):
    monkeypatch.setenv("MY_SECRET_KEY", "hunter2")
    names = call(play("environment"), "environment")[0].text.split()
    assert "PATH" in names
    assert "MY_SECRET_KEY" not in names


def test_the_image_and_boxes_on_it_are_filled_in(play, call):
    env = play("sizes")
    _, info = env.reset(seed=0)
    parameters = info["tools"][0]["function"]["parameters"]
    assert list(parameters["properties"]) == parameters["required"] == ["region"]
    result, _ = call(env, "sizes", region=[-5, 2.4, 1000, 30])
    assert (result.text, result.box) == ("(60, 40) [0, 2, 60, 30]", (0, 2, 60, 30))
    assert call(env, "sizes", region=[5, 5, 1, 9])[0].status == "bad_arguments"


@pytest.mark.parametrize("tool", ["no_schema", "bad name!"])
def test_a_tool_that_describes_itself_wrongly_is_told_at_reset(play, tool, call):
    with pytest.raises(ToolServerError, match=f"the tool '{tool}' has a"):
        play("count", tool)
    assert call(play("count", tool, only=["count"]), "count", number=1)[0].ok


def test_a_name_that_is_taken_is_told():
    with TOOLBOXES.restored():
        twice = (mcp_tools([*PLAIN, "count"], env=SITE, session=each) for each in ("episode", "shared"))
        tools = ["image_rotate_tool", *twice]
        register_toolbox("McpTwice-v0", tools=tools)
        with gym.make("McpTwice-v0") as env, pytest.raises(UsageError, match="has a tool 'count', and there is one"):
            env.reset(seed=0)


@pytest.mark.parametrize(
    ("server", "options", "told"),
    [
        ("", {}, "the server is empty"),
        ("python 'x", {}, "No closing quotation"),
        ("python x", {"session": "epsiode"}, "did you mean 'episode'"),
        ("python x", {"timeout": 0}, "timeout=0"),
        ("python x", {"only": "count"}, "is one text"),
        ("python x", {"headers": {"A": "b"}}, "headers are for a server at a URL"),
        ("http://127.0.0.1/mcp", {"cwd": "/"}, "env and cwd are for a server that is started"),
    ],
)
def test_wrong_arguments(server, options, told):
    with pytest.raises(UsageError, match=told):
        mcp_tools(server, **options)


def test_secrets_are_not_shown_and_the_spec_travels():
    server = mcp_tools("https://me:secret@host/mcp?key=secret", headers={"Authorization": "secret"})
    assert str(server) == "https://host/mcp"
    assert pickle.loads(pickle.dumps(server)) == server
    assert "secret" not in repr(mcp_tools("python x", env={"KEY": "secret"}))


def test_an_open_environment_travels_without_its_connection(play, call):
    env = play("count", timeout=20.0)
    call(env, "count", number=2)
    tools = env.unwrapped.toolbox.make_tools()
    assert pickle.loads(pickle.dumps(tools))["count"].schema == tools["count"].schema


def test_processes_end_with_their_episodes(play, call):
    before = servers()
    env = play("count")
    call(env, "count", number=1)
    mine = servers() - before
    assert mine
    env.close()
    for _ in range(200):
        if not mine & servers():
            break
        time.sleep(0.05)
    assert not mine & servers()


def servers():
    """Return the ids of this process's children that are plain servers."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    ids = {int(each) for file in children for each in file.read_text().split()}
    return {each for each in ids if b"plain_server" in command(each)}


def command(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
