from dataclasses import replace

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
        ("2007-2008", "[2007, 2008]", "list", None, True),
        ("from 2007 to 2008", "[2007, 2008]", "list", None, True),
        ("{2007; 2008}", "[2007, 2008]", "list", None, True),
        ("[100,200]", "[100, 200]", "list", None, True),
        ("[-1, -2.5]", "[-1, -2.5]", "list", None, True),
        ("2007 or 2008", "[2007, 2008]", "list", None, False),
        ("2007, 2008 or 2009", "[2007, 2008, 2009]", "list", None, False),
        ("50%", "0.5", "float", 1, True),
        ("50%", "50", "integer", None, False),
        ("about 12", "12", "integer", None, True),
        ("12 or 13", "12", "integer", None, False),
        ("at least 12", "12", "integer", None, False),
        ("not 12", "12", "integer", None, False),
        ("x = 3 + 9 = 12", "12", "integer", None, True),
        ("2\\pi", "6.28", "float", 2, True),
        ("\\pi/0", "3.14", "float", 2, False),
        ("9" * 900 + "\\pi", "3.14", "float", 2, False),
    ],
)
def test_verdicts(prediction, answer, kind, precision, right):
    verdict = RoundingJudge()(prediction, sample(answer, kind, precision))
    assert (verdict.score if verdict else 0) == float(right)
    assert make_judge("math")(prediction, sample(answer, kind, precision)).score == float(right)


@pytest.mark.parametrize(
    ("prediction", "given"),
    [
        ("a dog", sample("12", "integer")),
        ("12", sample("dog", "text")),
        ("12", sample("dog", "integer")),
        ("A", sample("12", "integer", options=("12", "13"))),
        ("1" * 1000, sample("12", "integer")),
        ("1e999", sample("12", "integer")),
    ],
)
def test_it_abstains_on_what_it_cannot_tell(prediction, given):
    assert RoundingJudge()(prediction, given) is None


def test_numbers_of_the_question_may_be_in_the_list():
    asked = replace(sample("[1, 4]", "list"), question="Which two?\nAnswer with a list, such as [1, 2, 3].")
    assert RoundingJudge()("1 and 4", asked).score == 1
    assert RoundingJudge()("[4]", asked).score == 0


def test_what_is_not_plainly_another_number_is_left_to_others():
    asked = replace(sample("12", "integer"), question="How many dogs are there?")
    assert RoundingJudge()("There are 12 dogs.", asked).score == 1
    assert RoundingJudge()("13", asked).score == RoundingJudge()("The answer is 13.", asked).score == 0
    assert RoundingJudge()("The picture shows 13 dogs.", asked) is None


@pytest.mark.parametrize("given", ["2.675", "1.005", "0.125", "0.375", "2.5", "0.15", "0.25", "0.35", "8.345"])
@pytest.mark.parametrize("places", [0, 1, 2])
def test_half_way_is_rounded_as_the_peers_do_it(given, places):
    # MathVista's and lmms-eval's scripts compare ``str(round(float(given), places))`` with the answer.
    peers = str(round(float(given), places))
    assert RoundingJudge()(given, sample(peers, "float", places)).score == 1
    unit = 10.0**-places
    for other in (float(peers) - unit, float(peers) + unit):
        assert RoundingJudge()(given, sample(f"{other:.{places}f}", "float", places)).score == 0


@pytest.mark.parametrize(
    ("prediction", "unit", "right"),
    [
        ("1.2 g", "g", True),
        ("1.2 grams", "g", True),
        ("1200 mg", "g", True),
        ("0.0012 kg", "g", True),
        ("1.2 kg", "g", False),
        ("1.2 cm", "g", False),
        ("1.2 cm^2", "square centimeters", True),
        ("1.2 cm^2", "cm", False),
        ("$1.20", "$", True),
        ("1.2 dollars", "$", True),
        ("USD 1.2", "$", True),
        ("€1.2", "$", False),
        ("1.2 g", None, True),
    ],
)
def test_units(prediction, unit, right):
    asked = sample("1.2", "float", 1)
    asked = replace(asked, question="How much?" if unit is None else f"How much? (Unit: {unit})")
    assert make_judge("math")(prediction, asked).score == float(right)


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
