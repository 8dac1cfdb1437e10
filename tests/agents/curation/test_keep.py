"""Which questions are kept: a small language, read without ``eval``."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env.agents.curation.keep import COMPARISONS, MAX_DEPTH, Comparison, Join, Keep, Not, Value
from deepeyes_env.errors import UnknownNameError, UsageError

NAMES = ("difficulty", "utility", "gain", "open")

values = st.one_of(
    st.sampled_from(NAMES).map(Value),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: Value(number=number)),
)
comparisons = st.one_of(
    st.sampled_from(NAMES).map(lambda name: Comparison((Value(name),))),
    st.lists(st.sampled_from(sorted(COMPARISONS)), min_size=1, max_size=3).flatmap(
        lambda signs: st.tuples(*[values] * (len(signs) + 1)).map(lambda found: Comparison(found, tuple(signs)))
    ),
)


def joined(parts):
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(parts.map(Not), st.builds(Join, st.sampled_from(("and", "or")), several))


conditions = st.recursive(comparisons, joined, max_leaves=12)
labels = st.fixed_dictionaries({}, optional={name: st.sampled_from([-1.0, 0.0, 0.5, 1.0]) for name in NAMES})


@pytest.mark.integration
@given(conditions)
def test_what_is_written_is_read_again(condition):
    assert Keep.parse(str(condition), NAMES).condition == condition


@pytest.mark.integration
@given(conditions, labels)
def test_with_all_labels_it_means_what_python_means(condition, found):
    complete = dict.fromkeys(NAMES, 0.25) | found
    assert Keep(condition)(complete) is bool(eval(str(condition), {"__builtins__": {}}, complete))


@given(conditions, labels)
def test_a_missing_label_never_decides(condition, found):
    """What is kept or dropped without a label is so whatever the label would be."""
    held = condition.holds(found)
    if held is not None:
        for value in (-2.0, 0.0, 0.7, 3.0):
            assert condition.holds(dict.fromkeys(NAMES, value) | found) is held


@pytest.mark.integration
@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_a_mistake_of_the_user(text):
    with contextlib.suppress(UsageError):
        assert set(Keep.parse(text, NAMES).names) <= set(NAMES)


@given(st.lists(st.sampled_from([*NAMES, "and", "or", "not", "(", ")", "<", "==", "1", "-", ".5", "1e3"]), max_size=12))
def test_any_words_are_a_condition_or_a_mistake_of_the_user(words):
    with contextlib.suppress(UsageError):
        assert Keep.parse(" ".join(words), NAMES)({}) is False


@pytest.mark.parametrize(
    ("text", "found", "kept"),
    [
        ("0 < difficulty < 1", {"difficulty": 0.5}, True),
        ("0 < difficulty < 1", {"difficulty": 0.0}, False),
        ("0<difficulty<1 and utility>0", {"difficulty": 0.125, "utility": 0.25}, True),
        ("0 < difficulty < 1 and utility > 0", {"difficulty": 0.125, "utility": 0.0}, False),
        ("0 < difficulty < 1 and utility > 0", {"difficulty": 0.125}, False),
        ("not utility > 0", {}, False),
        ("open or utility > 0", {"open": 1.0}, True),
        ("NOT open", {"open": 0.0}, True),
        ("gain >= -.5e-1", {"gain": -0.05}, True),
        ("gain > - 1", {"gain": 0.0}, True),
        ("open and not (gain < 0 or utility < 0)", {"open": 1.0, "gain": 0.0, "utility": 0.0}, True),
        ("difficulty == 0 or difficulty == 1 or gain", {"difficulty": 0.5, "gain": -1.0}, True),
        ("utility != gain", {"utility": 0.5, "gain": 0.5}, False),
    ],
)
def test_conditions(text, found, kept):
    assert Keep.parse(text, NAMES)(found) is kept


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("dificulty > 0", "character 1: unknown label 'dificulty'; did you mean 'difficulty'"),
        ("0 < difficulty <", "character 17: expected a label or a number, and the condition ends"),
        ("0 < < 1", "character 5: expected a label or a number, not '<'"),
        ("difficulty = 1", "character 12: cannot read '= 1'; write =="),
        ("open && gain", "character 6: cannot read '&& gain'; write and"),
        ("5", "character 1: a number alone is no condition"),
        ("open and 5", "character 10: a number alone"),
        ("open gain", "character 6: expected and, or, a comparison or the end, not 'gain'"),
        ("(open", "character 6: expected ) for the ( at character 1, and the condition ends"),
        ("(gain) < 1", "character 8: a condition in parentheses cannot be compared"),
        ("gain > - utility", "character 10: expected a number, not 'utility'"),
        ("gain > 1x", "character 8: cannot read '1x'"),
        ("gain.real > 1", "character 5: cannot read '.real > 1'"),
        ("__import__('os')", "character 12: cannot read"),
        ("__import__ > 0", "character 1: unknown label '__import__'"),
        ("(" * (MAX_DEPTH + 1) + "open" + ")" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} deep"),
        ("not " * 10_000 + "open", f"nested more than {MAX_DEPTH} deep"),
    ],
)
def test_mistakes_are_told_with_their_place(text, told):
    with pytest.raises(UsageError) as caught:
        Keep.parse(text, NAMES)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_unknown_label_is_an_unknown_name_with_all_that_are_known():
    with pytest.raises(UnknownNameError) as caught:
        Keep.parse("gian > 0", NAMES)
    assert all(name in str(caught.value) for name in NAMES)


def test_filters_and_names():
    keep = Keep.parse("0 < difficulty < 1 and (open or gain > 0) and difficulty != 0.5", NAMES)
    assert [str(each) for each in keep.filters] == ["0 < difficulty < 1", "open or gain > 0", "difficulty != 0.5"]
    assert keep.names == ("difficulty", "open", "gain")
