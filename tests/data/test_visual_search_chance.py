"""Whoever does not look is at chance: over thousands of layouts, no rule made of the words alone does better."""

import math
from collections import Counter, defaultdict

import pytest

from deepeyes_env.data.visual_search import VisualSearch

TASKS = ("attribute", "position", "count", "text")


@pytest.fixture(scope="module")
def splits():
    return {split: list(VisualSearch(split=split, length=5000)) for split in ("train", "test")}


RULES = {
    "first option": lambda sample: sample.options[0],
    "last option": lambda sample: sample.options[-1],
    "first by alphabet": lambda sample: min(sample.options),
    "last by alphabet": lambda sample: max(sample.options),
    "second by alphabet": lambda sample: sorted(sample.options)[1],
    "shortest": lambda sample: min(sample.options, key=len),
    "longest": lambda sample: max(sample.options, key=len),
    "first named in the question": lambda sample: min(
        sample.options, key=lambda text: sample.question.find(text) % 999
    ),
    "by length of the question": lambda sample: sorted(sample.options)[len(sample.question) % len(sample.options)],
}

CONDITIONS = {
    "nothing": lambda sample: "",
    "options": lambda sample: tuple(sorted(sample.options)),
    "order of options": lambda sample: sample.options,
    "question": lambda sample: sample.question,
    "words of the question": lambda sample: sample.question.split()[-2:],
    "number of objects": lambda sample: len(sample.metadata["objects"]),
    # Which of two objects is named first cannot be seen without looking closely: sorted, the boxes do not tell it.
    "place of the objects": lambda sample: [int(edge // 300) for edge in min(sample.boxes)],
    "size of the objects": lambda sample: [int(x2 - x1) // 8 for x1, _, x2, _ in sorted(sample.boxes)],
}


def assert_at_chance(samples, guess):
    for task in TASKS:
        chosen = [sample for sample in samples if sample.metadata["task"] == task]
        chance = 1 / len(chosen[0].options)
        right = sum(guess(sample) == sample.answer for sample in chosen)
        spread = math.sqrt(len(chosen) * chance * (1 - chance))
        assert len(chosen) > 1000
        assert abs(right - len(chosen) * chance) < 4 * spread, f"{task}: {right} of {len(chosen)}"


@pytest.mark.integration
@pytest.mark.parametrize("rule", RULES)
def test_fixed_rules_are_at_chance(splits, rule):
    assert_at_chance(splits["train"], RULES[rule])


@pytest.mark.integration
@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_was_most_often_right_is_at_chance(splits, condition):
    """Learns the most frequent answer under each condition on the train split and plays it on the test split."""
    seen = defaultdict(Counter)
    for sample in splits["train"]:
        seen[sample.metadata["task"], str(CONDITIONS[condition](sample))][sample.answer] += 1

    def guess(sample):
        counts = seen[sample.metadata["task"], str(CONDITIONS[condition](sample))]
        return max(sample.options, key=lambda option: counts[option])

    assert_at_chance(splits["test"], guess)


def test_the_right_option_is_everywhere_equally_often(splits):
    for task in TASKS:
        chosen = [sample for sample in splits["train"] if sample.metadata["task"] == task]
        places = Counter(sample.options.index(sample.answer) for sample in chosen)
        expected = len(chosen) / len(chosen[0].options)
        assert sum((count - expected) ** 2 / expected for count in places.values()) < 20


def test_the_check_would_notice_a_leak(splits):
    with pytest.raises(AssertionError, match="of"):
        assert_at_chance(splits["train"], lambda sample: sample.answer if sample.id[-1] == "7" else sample.options[0])
