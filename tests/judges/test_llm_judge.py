import asyncio
import multiprocessing
import pickle
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from deepeyes_env.errors import JudgeError, UnreadableReplyError
from deepeyes_env.extras import install_command
from deepeyes_env.judges import ChainJudge, Judge, LLMJudge, MathJudge, RuleJudge, Verdict, make_judge
from deepeyes_env.judges.llm_endpoint import content_of, on_this_machine
from deepeyes_env.judges.llm_prompts import MATH, OPEN
from deepeyes_env.judges.rounding import RoundingJudge
from tests.judges.judging_model import case_of, honest, question
from tests.servers.faulty import FaultyServer

RIGHT, WRONG = Verdict(1.0, "llm", "tiny says right"), Verdict(0.0, "llm", "tiny says wrong")


def test_it_judges_and_sends_what_the_prompt_says() -> None:
    with FaultyServer(honest) as server:
        judge = LLMJudge("tiny", server.url, seed=7, prompt="math", api_key="secret")
        assert isinstance(judge, Judge)
        assert judge("Red.", question("red")) == RIGHT
        assert judge("blue", question("red")) == WRONG
    request = server.requests[0]
    assert (request["temperature"], request["seed"], request["model"]) == (0, 7, "tiny")
    assert request["messages"][0]["content"] == MATH.instructions
    assert case_of(request)["given"] == "Red."
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert "secret" not in repr(judge)


def test_prompts_by_name_or_of_ones_own() -> None:
    assert LLMJudge("m", "http://h/v1").prompt is OPEN
    assert LLMJudge("m", "http://h/v1", prompt=MATH).prompt is MATH


@pytest.mark.parametrize("fault", ["drop", "429", "500", "503", "half", "garbled"])
def test_a_fault_is_tried_again(fault) -> None:
    with FaultyServer(honest, faults=[fault]) as server:
        assert LLMJudge("tiny", server.url, retries=1)("red", question("red")) == RIGHT
    assert (len(server.requests), server.given[fault]) == (2, 1)


@pytest.mark.parametrize("fault", ["drop", "429", "500", "half", "garbled", "hang"])
def test_a_fault_that_stays_is_an_error_and_not_kept(fault, tmp_path) -> None:
    path = tmp_path / "c.sqlite3"
    with FaultyServer(honest, faults=[fault]) as server:
        judge = LLMJudge("tiny", server.url, retries=0, timeout=1 if fault == "hang" else 60, cache=path)
        with pytest.raises(JudgeError, match="tiny"):
            judge("blue", question("red"))
        assert LLMJudge("tiny", server.url, retries=0, cache=path)("blue", question("red")) == WRONG


@pytest.mark.parametrize("reply", ["", "1", "The answer is right.", "Judgement: 1", "I cannot see the picture."])
def test_a_reply_without_a_judgement_is_asked_for_again_and_then_an_error(reply, tmp_path) -> None:
    path = tmp_path / "c.sqlite3"
    with FaultyServer(lambda request: reply) as server:
        judge = LLMJudge("tiny", server.url, retries=1, cache=path, seed=3)
        with pytest.raises(JudgeError, match="no judgement, asked 2 x; the last reply: wanted one line"):
            judge("blue", question("red"))
    assert [request["seed"] for request in server.requests] == [3, 4]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM judgements").fetchone() == (0,)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"message": {"content": None}}, "a message without text"),
        ({"message": {"content": "<think>hm"}, "finish_reason": "length"}, "raise max_tokens"),
    ],
)
def test_a_message_that_cannot_be_a_judgement_says_why(choice, told) -> None:
    with FaultyServer(lambda request: choice) as server, pytest.raises(JudgeError, match=told):
        LLMJudge("tiny", server.url, retries=0)("red", question())


def test_json_too_deep_to_read_is_no_judgement() -> None:
    with pytest.raises(UnreadableReplyError, match="no chat completion"):
        content_of('{"choices": ' + "[" * 200_000)


def test_a_judge_on_this_machine_is_not_asked_through_a_proxy(monkeypatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer(honest) as proxy, FaultyServer(honest) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        assert LLMJudge("tiny", server.url, retries=0)("red", question("red")) == RIGHT
        assert LLMJudge("tiny", server.url.replace("127.0.0.1", "localhost"), retries=0)("red", question()) == RIGHT
        assert (len(server.requests), len(proxy.requests)) == (2, 0)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.1.2.3/v1", True),
        ("https://localhost/v1", True),
        ("http://LOCALHOST:1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://127.example.com/v1", False),
        ("http://localhost.example.com/v1", False),
        ("http://[fe80::1]/v1", False),
        ("http://10.0.0.1/v1", False),
        ("http:///v1", False),
    ],
)
def test_what_is_on_this_machine(url, here) -> None:
    assert on_this_machine(url) == here


def test_errors_name_the_remedy() -> None:
    with FaultyServer(honest, models=("qwen", "tiny"), key="k") as server:
        with pytest.raises(JudgeError, match="the server serves qwen, tiny"):
            LLMJudge("gpt", server.url, api_key="k")("red", question())
        with pytest.raises(JudgeError, match="set OPENAI_API_KEY or give api_key"):
            LLMJudge("tiny", server.url, api_key="wrong")("red", question())
        with pytest.raises(JudgeError, match="check the URL: it usually ends in /v1"):
            LLMJudge("tiny", server.url.removesuffix("/v1") + "/v2/x", api_key="k")("red", question())
    with pytest.raises(JudgeError, match=r"127.0.0.1.*no server answers after one try.*correct the URL"):
        LLMJudge("tiny", server.url, retries=0)("red", question())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"model": ""}, "name the model"),
        ({"base_url": "localhost:8000"}, "must begin with http"),
        ({"base_url": "http://:80/v1"}, "has no host"),
        ({"api_key": "sk-\x00secret"}, "api_key: holds characters that no key has"),
        ({"prompt": "close"}, "unknown judge prompt 'close'; known: math, open"),
        ({"concurrency": 0}, "must be 1 or more"),
        ({"retries": -1}, "must be 0 or more"),
        ({"timeout": float("nan")}, "must be 0.001 or more"),
        ({"max_tokens": 0}, "must be 1 or more"),
    ],
)
def test_senseless_arguments(arguments, told) -> None:
    with pytest.raises(ValueError, match=told):
        LLMJudge(**{"model": "m", "base_url": "http://h/v1", **arguments})


@pytest.mark.parametrize("key", [" ", "k\n"])
def test_blanks_around_a_key_are_not_sent(key, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with FaultyServer(honest, key=key.strip() or None) as server:
        assert LLMJudge("tiny", server.url)("red", question()).score == 1.0


def test_a_senseless_key_where_a_judge_was_sent_is_an_error_of_the_judge(monkeypatch) -> None:
    sent = pickle.dumps(LLMJudge("tiny", "http://127.0.0.1:9/v1"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ключ")
    with pytest.raises(JudgeError, match="api_key: holds characters"):
        pickle.loads(sent)("red", question())


def test_a_judgement_is_kept_by_model_seed_prompt_question_answer_and_prediction(tmp_path) -> None:
    path = tmp_path / "c.sqlite3"
    with FaultyServer(honest, models=("tiny", "large")) as server:
        base = LLMJudge("tiny", server.url, cache=path)
        assert base("blue", question("red")) == WRONG
        assert len(server.requests) == 1
        assert base("blue", question("red")) == LLMJudge("tiny", server.url, cache=path)("blue", question("red"))
        assert len(server.requests) == 1
        others = [
            (LLMJudge("large", server.url, cache=path), "blue", question("red")),
            (LLMJudge("tiny", server.url, cache=path, seed=1), "blue", question("red")),
            (LLMJudge("tiny", server.url, cache=path, prompt="math"), "blue", question("red")),
            (base, "green", question("red")),
            (base, "blue", question("green")),
            (base, "blue", question("red", text="What colour is the car?")),
            (base, "blue", question("red", options=("red", "blue"))),
            (base, "blue", question("red", options=("blue", "red"))),
        ]
        for number, (judge, prediction, sample) in enumerate(others, start=2):
            judge(prediction, sample)
            assert len(server.requests) == number
    assert base("green", question("red")) == WRONG  # nobody listens any more


def test_many_threads_keep_to_the_limit_and_equal_questions_are_sent_once(tmp_path) -> None:
    together, too_many = threading.Barrier(4), threading.Event()

    def slow(request):
        together.wait(10)  # passes only if four requests are under way at once
        too_many.wait(0.1)  # and gives a fifth the time to come
        return honest(request)

    with FaultyServer(slow) as server:
        judge = LLMJudge("tiny", server.url, concurrency=4, cache=tmp_path / "c")
        with ThreadPoolExecutor(24) as pool:
            verdicts = list(pool.map(lambda i: judge(f"red{'.' * (i // 2)}", question("red")), range(24)))
    assert verdicts == [RIGHT] * 24
    assert server.peak == 4
    assert len(server.requests) == 12


def test_those_who_wait_for_an_equal_question_get_its_error() -> None:
    arrived, release = threading.Event(), threading.Event()

    def late(request):
        arrived.set()
        release.wait(10)
        return "no judgement"

    with FaultyServer(late) as server, ThreadPoolExecutor(4) as pool:
        judge = LLMJudge("tiny", server.url, retries=0)
        first = pool.submit(judge, "red", question())
        assert arrived.wait(10)
        more = [pool.submit(judge, "red", question()) for _ in range(3)]
        threading.Timer(0.1, release.set).start()
        errors = [future.exception() for future in [first, *more]]
    assert [type(error) for error in errors] == [JudgeError] * 4


def test_coroutines_are_judged_at_once_without_blocking_the_loop() -> None:
    together = threading.Barrier(8)

    def slow(request):
        together.wait(10)
        return honest(request)

    async def judge_all(judge: LLMJudge) -> list[Verdict]:
        return await asyncio.gather(*(judge.judge(f"red{'.' * i}", question("red")) for i in range(8)))

    with FaultyServer(slow) as server:
        assert asyncio.run(judge_all(LLMJudge("tiny", server.url, concurrency=8))) == [RIGHT] * 8


def test_it_pickles_and_works_after_a_fork() -> None:
    with FaultyServer(honest) as server:
        judge = LLMJudge("tiny", server.url, prompt="math", seed=5)
        assert judge("red", question("red")) == RIGHT
        copy = pickle.loads(pickle.dumps(judge))
        assert repr(copy) == repr(judge)
        assert copy("red.", question("red")) == RIGHT
        assert asyncio.run(judge.judge("red", question("red"))) == RIGHT  # the parent has threads and connections now
        fork = multiprocessing.get_context("fork")
        here, there = fork.Pipe(duplex=False)
        child = fork.Process(target=lambda: there.send(asyncio.run(judge.judge("blue", question("red")))))
        child.start()
        try:
            assert here.poll(20), "the child got no judgement"
            assert here.recv() == WRONG
        finally:
            child.kill()
            child.join()
    assert {request["seed"] for request in server.requests} == {5}


@pytest.mark.integration
def test_without_the_openai_package_it_imports_and_says_what_to_install() -> None:
    code = """
import importlib.util, sys
sys.modules["openai"] = None
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "openai" else find(name, *more)
from deepeyes_env.judges import LLMJudge
try:
    LLMJudge("m", "http://h/v1")
except ImportError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"openai is not installed; run: {install_command('openai')}" in told


@pytest.mark.integration
def test_judges_by_name(tmp_path) -> None:
    pytest.importorskip("math_verify")
    asks = {"model": "m", "base_url": "http://h/v1", "prompt": "math", "cache": tmp_path / "c"}
    assert make_judge("rules") == RuleJudge()
    assert isinstance(make_judge("llm", **asks), LLMJudge)
    math = make_judge("math")
    assert math("\\frac{24}{2}", question("12")) == Verdict(1.0, "math", "equal")
    assert math("a bus", question("bus")) == Verdict(1.0, "rules", "same text")
    assert math("3/2", question("1 1/2")).score == math("1000", question("1e3")).score == 1.0
    chain = make_judge("chain", **asks)
    assert isinstance(chain, ChainJudge)
    assert [type(judge) for judge in chain.judges] == [RoundingJudge, RuleJudge, MathJudge, LLMJudge]
    with pytest.raises(
        ValueError, match=r"unknown judge 'lm'; did you mean 'llm'\? known: box, chain, "
    ):  # and others'
        make_judge("lm")
    with pytest.raises(ValueError, match=r"make_judge\('chain'\): needs model, base_url; give base_url"):
        make_judge("chain", model="m")
    with pytest.raises(ValueError, match=r"make_judge\('rules'\): takes no model; it takes no settings"):
        make_judge("rules", model="m")


@pytest.mark.integration
def test_a_chain_asks_the_model_only_what_rules_and_mathematics_leave_open() -> None:
    pytest.importorskip("math_verify")
    with FaultyServer(lambda request: f"Judgement {case_of(request)['code']}: 1") as server:
        chain = make_judge("chain", model="tiny", base_url=server.url)
        options = ("red", "blue")
        judged = [
            chain("(b)", question("red", options=options)),
            chain("12", question("twelve")),
            chain("\\sqrt{12}", question("2\\sqrt{3}")),
            chain("a person on a bike", question("cyclist")),
        ]
    assert [(verdict.score, verdict.judge) for verdict in judged if verdict] == [
        (0.0, "rules"),
        (1.0, "rules"),
        (1.0, "math"),
        (1.0, "llm"),
    ]
    assert len(server.requests) == 1
