import numpy as np
import pytest

from deepeyes_env import Sample
from deepeyes_env.agents.evaluation.votes import vote

IMAGE = np.zeros((4, 4, 3), np.uint8)


def sample(question="What colour?", answer="red", **rest):
    return Sample(id="s", question=question, answer=answer, images=IMAGE, **rest)


def test_a_letter_and_its_text_are_one_vote_in_every_order_of_the_options():
    one, other = sample(options=("red", "blue")), sample(options=("blue", "red"))
    votes = {vote("A", one), vote("(B)", other), vote("red", one), vote("The answer is red.", other)}
    assert len(votes) == 1
    assert vote("B", one) == vote("A", other) != vote("A", one)


@pytest.mark.parametrize("silence", [None, "", "  ", "purple", "A or B", "x" * 1000])
def test_what_names_no_option_is_no_vote(silence):
    assert vote(silence, sample(options=("red", "blue"))) is None


@pytest.mark.parametrize(
    ("one", "other"), [("12", "12.0"), ("twelve", "12"), ("The Dog.", "dog"), ("Yes.", "yes, sir")]
)
def test_equal_answers_are_one_vote(one, other):
    assert vote(one, sample()) == vote(other, sample()) is not None


def test_other_answers_are_other_votes():
    assert len({vote(text, sample()) for text in ("12", "13", "12%", "dog", "cat", "yes")}) == 6


def test_yes_and_no_are_what_their_judge_reads():
    asked = sample(answer="no")
    said = ["No", "There is no dog in the image.", "I don't see a dog", "no, none"]
    assert {vote(text, asked) for text in said} == {vote("no", asked)}
    assert vote("There is a dog.", asked) == vote("Yes", asked) != vote("no", asked)
    assert vote("no parking", sample(answer="no parking")) != vote("no", sample(answer="no parking"))


def test_boxes_do_not_vote():
    boxed = sample(answer="[0, 0, 2, 2]", boxes=((0, 0, 2, 2),))
    assert vote("[0, 0, 2, 2]", boxed) is None
    assert vote("[1, 2, 3, 4]", sample(answer="[1, 2, 3, 4]")) is not None
