import os
import pickle
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepeyes_env.core import Sample
from deepeyes_env.errors import MissingExtraError
from deepeyes_env.extras import install_command
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import MathJudge, maths

pytest.importorskip("math_verify", reason="the extra 'math' is not installed")

IMAGE = ImageRef(b"never decoded", digest="0" * 64)


def sample(answer: str, options: tuple[str, ...] = ()) -> Sample:
    return Sample("s", "How much?", answer, (IMAGE,), options=options)


@pytest.fixture(scope="module")
def judge() -> MathJudge:
    return MathJudge(seconds=20)


def score(judge: MathJudge, prediction: str, answer: str) -> float | None:
    verdict = judge(prediction, sample(answer))
    return None if verdict is None else verdict.score


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        (r"\frac{24}{2}", "12"),
        (r"\boxed{\frac{24}{2}}", "12"),
        ("12", r"\boxed{12}"),
        ("12.0", "12"),
        ("1,200", "1200"),
        (r"$2\sqrt{3}$", r"\sqrt{12}"),
        ("sqrt(2)", r"\sqrt{2}"),
        ("x=5", "5"),
        (r"50\%", "0.5"),
        (r"\frac12", "0.5"),
        ("12 cm", "12"),
        (r"12\text{ cm}", "12"),
        ("3.0 cats", "3 cats"),
        (r"30^\circ", "30"),
        ("145°", "145"),
        ("145", "145°"),
        ("30°", "30 degrees"),
        ("2√3", r"2\sqrt{3}"),
        ("√(12)", "2√3"),
        ("10 m", "10"),
        ("10m", "10 m"),
        ("5 meters", "5 m"),
        (r"10 \text{ m}", r"10 \text{ meters}"),
        ("2L+2W", "2W+2L"),
        ("45°.", "45"),
    ],
)
def test_equal(judge: MathJudge, prediction: str, answer: str) -> None:
    assert score(judge, prediction, answer) == 1


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [("13", "12"), ("-12", "12"), ("12, 13", "12"), ("1/3", "0.33"), (r"\frac{1}{2}", r"\frac{2}{1}"), ("x+1", "x+2")],
)
def test_not_equal(judge: MathJudge, prediction: str, answer: str) -> None:
    assert score(judge, prediction, answer) == 0


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("left", "felt"),
        ("2 felt", "2 left"),
        ("12 or 13", "12"),
        ("12 cats", "12"),
        ("12 cm", "12 kg"),
        ("10 m", "10 km"),
        ("10 cm", "10 m"),
        ("3 h", "3 s"),
        (r"10\text{ m}", r"10\text{ cm}"),
        ("10 s", "10 kg"),
        (r"10\,\mathrm{m}", r"10\,\mathrm{km}"),
        (r"10\ \text{m}", r"10\ \text{km}"),
        ("$10$ m", "10 km"),
        ("(10) m", "10 km"),
        (r"10 \text{ cm}^2", r"10 \text{ m}^2"),
        ("10°", "10 m"),
        ("10°", "10%"),
        ("20°C", "20"),
        ("30° N", "30°"),
        ("B", "B"),
        ("(B) 12", "12"),
        (r"\text{B}", "B"),
        ("12", "twelve"),
        ("", "12"),
        ("\\", "12"),
        ("12}", "12"),
        (r"13} \boxed{12", "12"),
        (r"\boxed{13}\boxed{12}", "12"),
        ("13\n12", "12"),
        ("1+" * 400 + "1", "401"),
        ("\\frac{}{}{}^{", "12"),
    ],
)
def test_abstains(judge: MathJudge, prediction: str, answer: str) -> None:
    assert score(judge, prediction, answer) is None


def test_leaves_multiple_choice_to_others(judge: MathJudge) -> None:
    assert judge("12", sample("12", options=("12", "13"))) is None


def test_works_in_threads_with_one_process_for_all(judge: MathJudge) -> None:
    numbers = range(40)
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda n: score(judge, rf"\frac{{{2 * n}}}{{2}}", str(n - n % 2)), numbers))
    assert scores == [float(n % 2 == 0) for n in numbers]


@pytest.mark.integration
@pytest.mark.parametrize("bomb", ["9^{9^9}", "100000000!"])
def test_an_expression_without_end_is_given_up_and_the_next_one_judged(bomb: str) -> None:
    judge = MathJudge(seconds=0.5)
    assert score(judge, bomb, "12") is None
    judge.seconds = 20  # of the process that takes the place of the one that is gone
    assert score(judge, "1", "1") == 1


@pytest.mark.integration
def test_a_process_that_died_is_replaced(judge: MathJudge) -> None:
    assert score(judge, "1", "1") == 1
    os.kill(judge.worker_pid, signal.SIGKILL)
    assert score(judge, "1", "1") is None
    assert score(judge, "1", "1") == 1


def test_pickles_without_its_process(judge: MathJudge) -> None:
    assert score(judge, "1", "1") == 1
    copy = pickle.loads(pickle.dumps(judge))
    assert copy.seconds == judge.seconds
    assert copy.worker_pid is None


@pytest.mark.integration
def test_its_process_ends_with_it_and_nothing_is_imported_here() -> None:
    code = """
import sys
from deepeyes_env.core import Sample
from deepeyes_env.judges import MathJudge
judge = MathJudge()
judge("2/2", Sample("s", "?", "1", (b"x",)))
assert not {"math_verify", "sympy", "antlr4"} & set(sys.modules)
print(judge.worker_pid)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maths, "math_verify_installed", lambda: False)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("math"))):
        MathJudge()("1", sample("1"))


def test_a_process_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "math_worker.py"
    broken.write_text("print('\"ImportError: antlr4 is too old\"')")
    monkeypatch.setattr(maths, "WORKER", broken)
    with pytest.raises(maths.JudgeError, match="antlr4 is too old"):
        MathJudge()("1", sample("1"))
    monkeypatch.setattr(maths, "WORKER", tmp_path / "missing.py")
    with pytest.raises(maths.JudgeError, match="status 2"):
        MathJudge()("1", sample("1"))


def test_refuses_a_time_limit_that_is_none() -> None:
    with pytest.raises(ValueError, match="positive"):
        MathJudge(seconds=0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(r"0123456789\{}()^_+-*/=<>xyfrac[]$%,. ", max_size=25))
def test_never_raises(judge: MathJudge, prediction: str) -> None:
    assert score(judge, prediction, "12") in (None, 0, 1)
