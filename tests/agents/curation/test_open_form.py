"""Choice to open question: never where the answer depends on the options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import Sample
from deepeyes_env.agents.curation.open_form import form_of, normalised
from deepeyes_env.judges import RuleJudge
from deepeyes_env.judges.choices import choices_of
from tests.agents.curation.choice_questions import CLOSED, OPEN


def sample_of(question, options, answer, **more):
    return Sample("s", question, answer, b"not looked at", options=options, **more)


def test_the_list_is_long_enough():
    assert len(OPEN) >= 60
    assert len(CLOSED) >= 60


@pytest.mark.parametrize("case", CLOSED, ids=lambda case: case[0][:40])
def test_no_question_is_left_open_whose_answer_depends_on_its_options(case):
    sample = sample_of(*case)
    form = form_of(sample)
    assert not form.open, form
    assert form.applied(sample) is sample


@pytest.mark.parametrize("case", OPEN, ids=lambda case: case[0][:40])
def test_what_an_image_settles_is_asked_without_options(case):
    sample = sample_of(*case)
    form = form_of(sample)
    assert form.open, form
    asked = form.applied(sample)
    assert not asked.options
    assert choices_of(asked) is None or "letter" in asked.question
    assert RuleJudge()(asked.answer, sample).score == 1.0, "its answer is the right option"


def test_instructions_and_options_are_no_part_of_the_open_question():
    question = (
        "What color is the hat?\nOptions:\nA. red\nB. black\nAnswer with the option's letter from the given choices."
    )
    form = form_of(sample_of(question, (), "B"))
    assert (form.question, form.answer) == ("What color is the hat?", "black")


def test_alternatives_of_the_question_answer_it():
    options = ("The dog is on the left side of the man.", "The dog is on the right side of the man.")
    form = form_of(sample_of("Is the dog on the left or right side of the man?", options, options[1]))
    assert form.answer == "right"


def test_the_rows_own_prompt_that_lists_options_goes_with_them():
    messages = ({"role": "user", "content": "<image>What color is the hat? A. red B. blue"},)
    sample = sample_of("What color is the hat?", ("red", "blue"), "red", messages=messages)
    assert form_of(sample).applied(sample).messages == ()
    plain = sample_of("What color is the hat?", (), "red", messages=messages)
    assert form_of(plain).applied(plain).messages == plain.messages


@pytest.mark.parametrize(
    ("answer", "told"),
    [("Yes.", "yes"), (" **NO** ", "no"), ("\\boxed{12}", "12"), ("Red.", "Red"), ("'Exit'", "Exit"), ("...", "...")],
)
def test_answers_are_normalised(answer, told):
    assert normalised(answer) == told


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=4), st.text(max_size=20))
def test_any_text_has_a_form(question, options, answer):
    options = tuple(dict.fromkeys([answer, *options])) if options else ()
    sample = sample_of(question.replace("<image>", ""), options, answer)
    form = form_of(sample)
    assert form.reason
    assert form.open or form.question == sample.question
