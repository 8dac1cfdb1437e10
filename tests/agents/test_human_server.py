"""The game behind ``deepeyes play``: what is recorded, and requests that are wrong, late, foreign or at once."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from deepeyes_env import VisualToolboxEnv
from deepeyes_env.agents.human.message import FormError, message_of
from deepeyes_env.envs.toolbox import TOOLBOXES
from deepeyes_env.errors import JudgeError
from tests.agents.human_game import TRUTH, Game, playing, question

ZOOM = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [10, 20, 210, 120]}}


@pytest.fixture
def game(tmp_path):
    with playing(tmp_path / "run") as running:
        yield running


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    """A game in which no test may change anything."""
    with playing(tmp_path_factory.mktemp("idle") / "run") as running:
        before = running.state()
        yield running
        assert running.state() == before


def running_episode(env="VisualToolbox-v2", **kwargs):
    environment = VisualToolboxEnv(env, [question(**kwargs)])
    return environment.reset(seed=0)[1]["trajectory"]


# --- episodes and records ----------------------------------------------------------------------------------------


def test_episodes_are_recorded_as_those_of_any_agent(game):
    status, state = game.zoom([100, 100, 300, 250], "The flag is too small.")
    assert (status, state["phase"], len(state["episode"]["images"])) == (200, "turn", 2)
    assert game.recorded() == []
    letter = game.letter("red")
    status, state = game.answer(letter, "It is red.")
    assert (state["phase"], state["outcome"]["right"], state["outcome"]["reward"]) == ("ended", True, 2.0)
    assert state["score"] == {"total": 2, "played": 1, "failed": 0, "accuracy": 1.0, "reward": 2.0}
    (first,) = game.recorded()
    assert first.metadata == {"env": "VisualToolbox-v2", "agent": "human", "episode": 0, "seed": 0}
    assert [turn.action for turn in first.turns] == [
        '<think>The flag is too small.</think><tool_call>\n{"name": "image_zoom_in_tool", "arguments": '
        '{"bbox_2d": [100, 100, 300, 250]}}\n</tool_call>',
        f"<think>It is red.</think><answer>{letter}</answer>",
    ]
    assert first.reward == 2.0

    assert game.post("next")[1]["episode"]["number"] == 1
    game.answer(game.letter("green"))
    assert game.post("next")[1]["phase"] == "finished"
    summary = game.ended.get(timeout=60)
    assert (summary.episodes, summary.accuracy) == (2, 0.5)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    with playing(tmp_path / "run") as game:
        game.answer(game.letter())
        game.post("next")
        game.zoom([100, 100, 300, 250])
        assert game.ask("POST", "stop", {})[1]["phase"] == "finished"
        assert game.ended.get(timeout=60).episodes == 1
    with playing(tmp_path / "run") as game:
        state = game.state()
        assert (state["episode"]["number"], state["episode"]["turns"], state["score"]["played"]) == (1, [], 1)
        game.answer(game.letter())
        game.post("next")
    assert [trajectory.metadata["episode"] for trajectory in game.recorded()] == [0, 1]
    with pytest.raises(ValueError, match="all 2 episodes are played"):
        Game(tmp_path / "run")
    with pytest.raises(ValueError, match="frame was None and now is 'unit'"):
        Game(tmp_path / "run", frame="unit")
    with playing(tmp_path / "run", overwrite=True) as game:
        assert game.recorded() == []


def test_an_episode_that_fails_is_listed_and_the_next_one_played(tmp_path):
    class Unreachable:
        def __call__(self, prediction, sample):
            raise JudgeError("no route to host")

    broken = question(0)
    broken.images[0].source = broken.images[0].source[:2000]  # truncated
    with playing(tmp_path / "run", dataset=[broken, question(1)], judge=Unreachable()) as game:
        state = game.state()
        assert (state["phase"], state["episode"], state["score"]["failed"]) == ("ended", None, 1)
        assert "sample-0" in state["error"]
        assert game.post("next")[1]["episode"]["number"] == 1
        state = game.answer(game.letter())[1]
        assert state["phase"] == "ended"
        assert "no route to host" in state["error"]
        assert game.post("next")[1]["phase"] == "finished"
    failures = [json.loads(line) for line in (tmp_path / "run" / "failures.jsonl").read_text().splitlines()]
    assert [failure["number"] for failure in failures] == [0, 1]
    assert game.recorded() == []


def test_limits_end_an_episode(tmp_path):
    with playing(tmp_path / "run", max_turns=2) as game:
        game.zoom([100, 100, 300, 250])
        state = game.zoom([100, 100, 300, 250])[1]
        assert (state["phase"], state["outcome"]["stop"], state["outcome"]["answer"]) == ("ended", "max_turns", None)


def test_what_the_tool_refuses_is_an_observation(game):
    state = game.zoom([0, 0, 3, 3])[1]
    (call,) = state["episode"]["turns"][0]["calls"]
    assert (state["phase"], call["status"], call["box"]) == ("turn", "bad_arguments", None)
    assert "at least 14 wide" in call["error"]


def test_nothing_is_revealed_before_the_end(tmp_path):
    secret = question(answer="vermilion-7", options=(), metadata={"hint": "vermilion-7"}, boxes=((411, 207, 553, 319),))
    with playing(tmp_path / "run", dataset=[secret], episodes=1, frame="native") as game:
        for state in (game.state(), game.zoom([100, 100, 300, 250])[1]):
            said = json.dumps(state)
            assert not any(word in said for word in ("vermilion", "411", "207", "553", "319", "sample-0"))
            assert state["outcome"] is None
        outcome = game.answer("red")[1]["outcome"]
        assert (outcome["truth"], outcome["truths"]) == ("vermilion-7", [[411, 207, 553, 319]])


# --- messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [name for name in TOOLBOXES if name.startswith("Vis")])
def test_messages_are_read_back_in_every_protocol(env):
    episode = running_episode(env)
    environment = VisualToolboxEnv(env, [question()])
    environment.reset(seed=0)
    box = {"bbox" if env.endswith("v1") else "bbox_2d": [100, 100, 300, 250]}
    call = {"name": "image_zoom_in_tool", "arguments": box}
    info = environment.step(message_of(episode, {"thought": "Closer. {x}", "call": call}))[4]
    assert [result.status for result in info["calls"]] == ["ok"]
    ended = environment.step(message_of(episode, {"thought": "Red.", "answer": "A"}))[4]["trajectory"]
    assert (ended.answer, ended.reward_terms["format"].raw) == ("A", 0.0)


def test_ordinary_questions_are_answered_without_tools(tmp_path):
    boxed = question(env_name=None, metadata={"system_prompt": "Answer in \\boxed{}."}, data_source="xince")
    with playing(tmp_path / "run", dataset=[boxed], episodes=1) as game:
        assert game.state()["episode"]["tools"] == []
        assert game.answer(game.letter())[1]["outcome"]["right"] is True
    assert "\\boxed{" in game.recorded()[0].turns[0].action


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"answer": "A"}, "thought must be text"),
        ({"thought": 3, "answer": "A"}, "thought must be text"),
        ({"thought": "", "answer": ["A"]}, "answer must be text"),
        ({"thought": "", "answer": "  "}, "answer is empty"),
        ({"thought": "x" * 20_001, "answer": "A"}, "20001 characters"),
        ({"thought": ""}, "either a call or an answer"),
        ({"thought": "", "answer": "A", "call": ZOOM}, "either a call or an answer"),
        ({"thought": "", "call": "zoom"}, "needs a name"),
        ({"thought": "", "call": {"name": "image_zoom_in_tool", "arguments": []}}, "needs a name"),
        ({"thought": "", "call": {"name": "rm", "arguments": {}}}, "no tool 'rm'"),
        ({"thought": "I </think> am done", "answer": "A"}, "holds </think>"),
        ({"thought": "see <image>", "answer": "A"}, "holds <image>"),
        ({"thought": "It may be <answer>B</answer>", "call": ZOOM}, "holds <answer>"),
        ({"thought": "maybe <answer>B</answer>", "answer": "A"}, "holds <answer>"),
        ({"thought": "<tool_call>{}</tool_call>", "answer": "A"}, "holds <tool_call>"),
        ({"thought": "", "answer": "A</answer><answer>B"}, "not be read as it is meant"),
        ({"thought": "", "call": ZOOM | {"arguments": {"bbox_2d": [1, 2, 3, float("inf")]}}}, "not be read"),
    ],
)
def test_forms_that_cannot_be_said(form, message):
    with pytest.raises(FormError, match=message):
        message_of(running_episode(), form)


def test_a_thought_that_is_a_call_in_the_episodes_protocol():
    thought = """```json {"function": "zoom_in", "bbox_2d": [1, 2, 90, 80]} ```"""
    with pytest.raises(FormError, match="read as a call or an answer"):
        message_of(running_episode("VisualToolbox-v3"), {"thought": thought, "call": ZOOM})


# --- requests that are wrong -------------------------------------------------------------------------------------


def test_only_who_knows_the_token_is_served(idle):
    for path in ("/", "/state", "/x/state", f"/{idle.token[1:-2]}/state", "//state", "/%00/state", "/%C3%A9/state"):
        assert idle.ask("GET", path)[0] == 403, path
        assert idle.ask("POST", path, {"version": 1})[0] == 403, path
    assert idle.ask("GET", idle.token[:-1])[0] == 404
    page = idle.ask("GET", "")[1]
    assert page.startswith(b"<!doctype html>")
    assert b"Content-Security-Policy\" content=\"default-src 'none'; script-src 'self';" in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "["},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_pages_are_not_served_even_with_the_token(idle, headers):
    assert idle.ask("GET", "state", **headers)[0] == 403
    assert idle.ask("POST", "stop", {}, **headers)[0] == 403
    assert idle.state()["phase"] == "turn"


def test_the_page_may_be_opened_by_a_file_and_nothing_else_of_it(idle):
    opening = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert idle.ask("GET", "", **opening)[0] == 200
    assert idle.ask("GET", "state", **opening)[0] == 403
    assert idle.ask("POST", "", {}, **opening)[0] == 403
    assert idle.ask("GET", "", **{**opening, "Sec_Fetch_Dest": "iframe"})[0] == 403


def test_its_own_page_is_served_under_both_names_of_this_machine(idle):
    port = urlsplit(idle.url).port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost:9999"):
        assert idle.ask("GET", "state", Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")[0] == 200


def test_it_listens_on_this_machine_only(idle):
    outside = socket.socket()
    outside.bind(("127.0.0.2", urlsplit(idle.url).port))  # would be taken if it listened on all addresses
    outside.close()
    assert urlsplit(idle.url).hostname == "127.0.0.1"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b"[]", 400),
        (b'{"version": NaN}', 400),
        (b'{"version": true}', 400),
        (b'{"version": "1"}', 400),
        (b'{"version": 1e999}', 400),
        (b'{"version": 99999, "thought": "", "answer": "A"}', 409),
        (b"x" * (2**20 + 1), 413),
    ],
)
def test_malformed_bodies(idle, body, status):
    before = idle.state()
    for path in ("say", "next"):
        try:
            found, answer = idle.ask("POST", path, body)
        except (BrokenPipeError, ConnectionResetError):
            assert status == 413  # it does not wait for what is too much
        else:
            assert found == status
            assert answer["error"]
    assert idle.state() == before


def test_forms_that_cannot_be_said_change_nothing(game):
    before = game.state()
    for form in (
        {"thought": 1},
        {"thought": "<answer>A</answer>", "call": ZOOM},
        {
            "thought": "",
            "call": {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": None, "label": {"\ud800": 1}}},
            "answer": 1,
        },
    ):
        status, answer = game.post("say", **form)
        assert (status, bool(answer["error"])) == (422, True)
    nested = "[" * 900 + "]" * 900
    call = f'{{"name": "image_zoom_in_tool", "arguments": {{"bbox_2d": {nested}}}}}'
    body = f'{{"version": {before["version"]}, "thought": "", "call": {call}}}'
    assert game.ask("POST", "say", body)[0] in (200, 400, 422)
    assert game.state()["phase"] == "turn"


def test_lone_surrogates_and_null_bytes_are_played_and_recorded(game):
    assert game.answer("\ud800 \x00 <b>", thought="\udfff")[0] == 200
    assert game.recorded()[0].answer == "\ud800 \x00 <b>"


@pytest.mark.parametrize(
    "path",
    [
        "image/0/9",
        "image/1/0",
        "image/-1/0",
        "image/0/x",
        "image/../run.py",
        "../run.py",
        "run.py",
        "image/0/%C2%B2",
        "say",
    ],
)
def test_there_is_nothing_else_to_get(idle, path):
    assert idle.ask("GET", path)[0] == 404


def test_wrong_methods_types_and_lengths(idle):
    assert idle.ask("DELETE", "state")[0] == 501
    assert idle.ask("POST", "state", {"version": 1})[0] == 404
    assert idle.ask("POST", "stop", "version=1", Content_Type="text/plain")[0] == 415
    assert idle.ask("POST", "say", "", Content_Length="-1")[0] == 400
    assert idle.state()["phase"] == "turn"


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n\r\n", b"GET", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab", b"\x16\x03\x01\x02"]
)
def test_broken_connections_leave_the_game_alone(game, sent):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", urlsplit(game.url).port)) as connection:
            connection.sendall(sent)
    assert game.zoom([100, 100, 300, 250])[0] == 200


# --- requests at once --------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_of_many_tabs_that_say_something_one_is_heard(game):
    version = game.state()["version"]
    with ThreadPoolExecutor(8) as tabs:
        answers = list(tabs.map(lambda _: game.zoom([100, 100, 300, 250], version=version), range(8)))
    assert sorted(status for status, _ in answers) == [200] + [409] * 7
    assert all(
        "moved on" in answer["error"] and "phase" in answer["state"] for status, answer in answers if status == 409
    )
    assert len(game.state()["episode"]["turns"]) == 1
    assert game.zoom([100, 100, 300, 250], version=version)[0] == 409, "nor one that comes later"


def test_buttons_of_another_phase_are_refused(game):
    assert game.post("next")[0] == 409
    game.answer(game.letter())
    assert game.answer("A")[0] == 409
    assert game.zoom(list(TRUTH))[0] == 409
    assert len(game.recorded()) == 1


def test_a_taken_port_is_named(tmp_path, idle):
    with pytest.raises(OSError, match="cannot be used .*; give another, or 0"):
        Game(tmp_path / "other", port=urlsplit(idle.url).port)
