import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import Sample
from deepeyes_env.judges.yes_no import YesNoJudge, says


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", "yes"),
        ("Yes.", "yes"),
        ("**No**", "no"),
        ("The answer is no.", "no"),
        ("Yes, there is a dog, not a cat.", "yes"),
        ("no, it is red", "no"),
        ("Yes it is", "yes"),
        ("There is no dog in the image.", "no"),
        ("There isn't any dog.", "no"),
        ("I do not see a dog", "no"),
        ("I don’t see a dog", "no"),
        ("There is a dog in the image.", "yes"),
        ("Yes. There is a dog and no cat.", "yes"),
        ("yes and no", None),
        ("yes or no?", None),
        ("a dog", None),
        ("maybe", None),
        ("", None),
        ("I know the north", None),
        ("The answer is not yes.", None),
        ("yes, no", None),
        ("Yes. No.", None),
        ("The answer is yes. The answer is no.", None),
        ("Cannot be determined from the image", None),
        ("I am not sure", None),
        ("I don't know", None),
        ("It might be a dog.", None),
        ("I'm sorry, I cannot see the image.", None),
        ("Yes, there is a dog, but no cat.", "yes"),
        ("Yes, no doubt about it.", "yes"),
        ("The crop shows a dog.\nYes", "yes"),
        ("No, but there is a cat, yes.", "no"),
        ("Yes. Wait, no, that is a cat. No.", "no"),
        ("At first I thought yes, but the answer is no.", "no"),
        ("There is a cat but no dog. So the answer is no.", "no"),
        ("I can see a dog in the image.", "yes"),
        ("The image shows a dog.", "yes"),
        ("I cannot see a dog.", "no"),
        ("I don't think so.", "no"),
        ("I think not.", "no"),
        ("Absolutely!", "yes"),
        ("That's right.", "yes"),
        ("False", "no"),
        ("No way.", "no"),
        ("No<|im_end|>", "no"),
        ('{"answer": "no", "reason": "yes, a cat"}', "no"),
        ("$\\boxed{\\text{Yes}}$", "yes"),
        ("Sí", "yes"),
        ("Да, есть.", "yes"),
        ("Nein, es gibt keinen Hund.", "no"),
        ("没有，图中没有狗。", "no"),
        ("いいえ、犬はいません。", "no"),
        ("네, 있습니다.", "yes"),
        ("yes" + " " * 1000, None),
    ],
)
def test_what_an_answer_says(text, said):
    assert says(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("There is a dog next to the tree.", "yes"),
        ("A dog can be seen.", "yes"),
        ("No dog is visible.", "no"),
        ("It is not visible.", "no"),
        ("There is a cat in the image.", None),
        ("The image shows a cat and a tree.", None),
        ("The animal is a cat rather than a dog.", None),
        ("The tree is not green.", None),
        ("There is nothing that looks like a dog.", "no"),
        ("There are several dogs.", "yes"),
        ("a dog", None),
    ],
)
def test_a_statement_is_about_what_is_asked(text, said):
    assert says(text, "Is there a dog in the image?\nAnswer yes or no.") == said


def test_a_statement_says_all_that_is_asked():
    assert says("There is a red dog.", "Is there a red dog?") == "yes"
    assert says("There is a brown dog.", "Is there a red dog?") is None
    assert says("It is red.", "Is the dog red?") == "yes"
    assert says("The dog is not red.", "Is the dog red?") == "no"


@given(st.text(max_size=200), st.text(max_size=40))
def test_no_answer_raises(text, question):
    assert says(text, question) in ("yes", "no", None)


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("truth", ["yes", "no"])
def test_verdicts(case, truth):
    sample = Sample(id="s", question="Is there a dog?", answer=case(truth), images=np.zeros((4, 4, 3), np.uint8))
    other = "no" if truth == "yes" else "yes"
    assert YesNoJudge()(case(truth), sample).score == 1
    assert YesNoJudge()(case(other), sample).score == 0
    unclear = YesNoJudge()("a dog", sample)
    assert (unclear.score, unclear.reason) == (0, "says neither yes nor no")


def test_it_abstains_on_other_questions():
    sample = Sample(id="s", question="What?", answer="dog", images=np.zeros((4, 4, 3), np.uint8))
    assert YesNoJudge()("yes", sample) is None
