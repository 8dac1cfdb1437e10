import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import Sample
from deepeyes_env.judges import ChainJudge, Judge, make_judge
from deepeyes_env.judges.rounding import RoundingJudge


def sample(answer, kind, precision=None, **rest):
    metadata = {"answer_type": kind, "precision": precision}
    return Sample(id="s", question="?", answer=answer, images=np.zeros((4, 4, 3), np.uint8), metadata=metadata, **rest)


@pytest.mark.parametrize(
    ("prediction", "answer", "kind", "precision", "right"),
    [
        ("12", "12", "integer", None, True),
        ("12.0", "12", "integer", None, True),
        ("\\boxed{12}", "12", "integer", None, True),
        ("The answer is 1,200", "1200", "integer", None, True),
        ("3.7", "3", "integer", None, False),
        ("13", "12", "integer", None, False),
        ("1.83", "1.8", "float", 1, True),
        ("1.8", "1.8", "float", 1, True),
        ("1.86", "1.8", "float", 1, False),
        ("0.666667", "0.67", "float", 2, True),
        ("2/3", "0.67", "float", 2, True),
        ("-1.83", "1.8", "float", 1, False),
        ("1.83", "1.8", "float", None, False),
        ("[2007, 2008]", "[2007, 2008]", "list", None, True),
        ("2007, 2008", "[2007, 2008]", "list", None, True),
        ("[2007,2008.0]", "[2007, 2008]", "list", None, True),
        ("[2008, 2007]", "[2007, 2008]", "list", None, False),
        ("[2007]", "[2007, 2008]", "list", None, False),
    ],
)
def test_verdicts(prediction, answer, kind, precision, right):
    assert RoundingJudge()(prediction, sample(answer, kind, precision)).score == float(right)


@pytest.mark.parametrize(
    ("prediction", "given"),
    [
        ("a dog", sample("12", "integer")),
        ("12", sample("dog", "text")),
        ("12", sample("dog", "integer")),
        ("50%", sample("0.5", "float", 1)),
        ("A", sample("12", "integer", options=("12", "13"))),
        ("1" * 1000, sample("12", "integer")),
        ("1e999", sample("12", "integer")),
    ],
)
def test_it_abstains_on_what_it_cannot_tell(prediction, given):
    assert RoundingJudge()(prediction, given) is None


@given(st.integers(-(10**6), 10**6), st.integers(0, 4), st.floats(-0.499, 0.499))
def test_a_number_is_right_if_it_rounds_to_the_answer(units, places, error):
    answer = f"{units / 10**places:.{places}f}"
    near = f"{(units + error) / 10**places:.12f}"
    far = f"{(units + 1 + error) / 10**places:.12f}"
    assert RoundingJudge()(near, sample(answer, "float", places)).score == 1
    assert RoundingJudge()(far, sample(answer, "float", places)).score == 0


@given(st.text(alphabet="0123456789.,[]()-+e/ %$", max_size=60), st.sampled_from(["integer", "float", "list"]))
def test_no_answer_raises(text, kind):
    RoundingJudge()(text, sample("1.5", kind, 2))


@pytest.mark.parametrize("name", ["rules", "math", "yes_no", "box"])
def test_standard_judges_always_decide(name):
    judge = make_judge(name)
    assert isinstance(judge, Judge)
    boxed = sample("[0, 0, 2, 2]", "text", boxes=((0, 0, 2, 2),))
    assert judge("gibberish", boxed).score == 0


def test_standard_judges_are_right():
    assert make_judge("math")("0.667", sample("0.67", "float", 2)).judge == "rounding"
    assert make_judge("math")("B", sample("13", "text", options=("12", "13"))).score == 1
    assert make_judge("yes_no")("There is a dog", sample("yes", "text")).score == 1
    assert isinstance(make_judge("yes_no"), ChainJudge)
    with pytest.raises(ValueError, match=r"unknown judge 'lm'; did you mean 'llm'\? known: box, "):
        make_judge("lm")
