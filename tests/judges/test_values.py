import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env.core import Sample
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import RuleJudge
from deepeyes_env.judges.units import ratio, size_of
from deepeyes_env.judges.values import claimed_quantity

IMAGE = ImageRef(b"never decoded", name="x", digest="0" * 64)
DOGS = "How many dogs are there?"


def said(text: str, question: str = DOGS, **rest: bool) -> str | None:
    """Return a number and its unit as one text."""
    claimed = claimed_quantity(text, question, **rest)
    return None if claimed is None else f"{claimed.quantity.value} {claimed.quantity.unit}".strip()


@pytest.mark.parametrize(
    "text",
    ["7", "**7**", "seven", "There are 7 dogs.", "I count seven dogs", "So the total is 7.", "The answer is 7",
     "x = 7", "7.0",
     "3 + 4 = 7", "\\boxed{7}", "7<|im_end|>", '{"answer": 7}', "The number of dogs is 7.",
     "7, not 8", "It is not 8 but 7.",
     "At first I counted 6, but the answer is 7.",
     "I zoomed in.\n\nAnswer: 7", "답: 7", "答案是7。"],
)  # fmt: skip
def test_the_number_in_a_sentence(text: str) -> None:
    assert said(text) in ("7", "7 dogs")


@pytest.mark.parametrize(
    "text",
    ["", "dogs", "7 or 8", "7, 8", "7,8", "7-8", "between 7 and 8", "7 8", "at least 7", "more than 7", "up to 7",
     "not 7", "7 cats",
     "maybe 7", "2 cats and 7 birds", "x >= 7", "about 7", "approximately 7", "1.2.3", "I am not sure, 7 or 8",
     "the 7th dog"],
)  # fmt: skip
def test_what_gives_no_number(text: str) -> None:
    assert said(text) in (None, "7 cats")
    assert RuleJudge()(text, Sample("s", DOGS, "7", (IMAGE,))).score == 0  # type: ignore[union-attr]


def test_about_is_told_apart() -> None:
    assert [said(text, approximate=True) for text in ("about 7", "~7", "≈ 7 dogs", "approximately seven")] == ["7"] * 4


def test_units_are_part_of_a_number() -> None:
    asked = "How heavy is it? (Unit: g)"
    assert said("It weighs 1.2 kg.", asked) == "6/5 kg"
    assert said("1.2 (g)", asked) == "6/5 g"
    assert said("1.2 cm^2", asked) == "6/5 cm^2"
    assert said("USD 1,200", "How much?") == "1200 $"
    assert said("50 percent", "How much?") == "50 %"


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [("1.2 kg", "1.2 g", 0), ("1200 mg", "1.2 g", 1), ("1.2 g", "1.2 grams", 1), ("7%", "7", 0), ("2 m", "200 cm", 1),
     ("2 m", "2 s", 0), ("90 minutes", "1.5 h", 1)],
)  # fmt: skip
def test_units_are_converted(prediction: str, answer: str, score: int) -> None:
    verdict = RuleJudge(abstain=True)(prediction, Sample("s", DOGS, answer, (IMAGE,)))
    assert verdict is not None
    assert verdict.score == score


def test_what_units_measure() -> None:
    assert ratio("kg", "g") == 1000
    assert ratio("square meters", "cm^2") == 10**4
    assert ratio("cm", "g") == 0
    assert ratio("dollars", "$") == 1
    assert ratio("$", "€") == 0
    assert ratio("dogs", "g") is None
    assert size_of("dogs") is None


@given(
    st.integers(-(10**6), 10**6),
    st.sampled_from(["{}", "The answer is {}.", "So there are {} dogs.", "**{}**", "x = {}"]),
)
def test_numbers_are_read_back_from_sentences(value: int, phrase: str) -> None:
    claimed = claimed_quantity(phrase.format(value), DOGS)
    assert claimed is not None
    assert claimed.quantity.value == value


@given(st.text(alphabet="0123456789.,-+/%$e =()[]xornat\n", max_size=80))
def test_no_text_raises(text: str) -> None:
    claimed_quantity(text, DOGS)
