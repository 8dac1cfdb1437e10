import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deepeyes_env.images import ViewBudget, shown_size
from deepeyes_env.images.views import MAX_ASPECT_RATIO, MIN_SIDE

sides = st.integers(1, 12_000)
sizes = st.tuples(sides, sides)
budgets = st.builds(
    lambda factor, tokens, times: ViewBudget(tokens * factor**2, tokens * times * factor**2, factor),
    st.sampled_from([28, 32]),
    st.integers(1, 150),
    st.integers(4, 100),
)


def smart_resize(height, width, factor, min_pixels, max_pixels):
    """The published rule, as Qwen's utilities have it: at least one factor a side, bounds taken from the true area."""
    if max(height, width) / min(height, width) > 200:
        raise ValueError("aspect ratio")
    rows = max(factor, factor * round(height / factor))
    columns = max(factor, factor * round(width / factor))
    if rows * columns > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        return max(factor, factor * math.floor(height / beta / factor)), max(
            factor, factor * math.floor(width / beta / factor)
        )
    if rows * columns < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        return factor * math.ceil(height * beta / factor), factor * math.ceil(width * beta / factor)
    return rows, columns


def ratio(size):
    return max(size) / min(size)


@settings(deadline=None)
@given(sizes, budgets)
@example((3840, 2160), ViewBudget())
@example((42, 70), ViewBudget())  # 1.5 and 2.5 factors: half to even
@example((10, 10), ViewBudget())
def test_fit_is_smart_resize_wherever_its_result_is_one_that_a_processor_keeps(size, budget):
    width, height = size
    if ratio(size) > 200:
        return
    rows, columns = smart_resize(height, width, budget.factor, budget.min_pixels, budget.max_pixels)
    assert budget.resized(size) == (columns, rows)
    if rows * columns <= budget.max_pixels and ratio((rows, columns)) <= 200:
        assert budget.fit(size) == (columns, rows)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((3840, 2160), (1316, 728)),
        ((1000, 800), (1008, 812)),
        ((42, 70), (56, 56)),  # 1.5 and 2.5 factors: half to even
        ((56, 56), (56, 56)),
        ((20, 20), (56, 56)),
        ((5650, 29), (5600, 28)),  # smart_resize says 5656 x 28, which the next smart_resize refuses
        ((1000, 1), (1008, 28)),
    ],
)
def test_fit_of_known_sizes(size, shown):
    assert ViewBudget().fit(size) == shown
    assert ViewBudget().fit(size[::-1]) == shown[::-1]


@settings(deadline=None)
@given(sizes, budgets)
@example((5650, 29), ViewBudget())
@example((8200, 41), ViewBudget())
@example((2000, 20), ViewBudget(28 * 28, 4 * 28 * 28))
def test_a_processor_with_the_same_budget_leaves_a_view_as_it_is(size, budget):
    width, height = budget.fit(size)
    assert width % budget.factor == height % budget.factor == 0
    assert min(width, height) >= budget.factor
    assert ratio((width, height)) <= 200
    assert budget.min_pixels <= width * height <= budget.max_pixels
    assert smart_resize(height, width, budget.factor, budget.min_pixels, budget.max_pixels) == (height, width)
    assert budget.fit((width, height)) == (width, height)


@settings(deadline=None)
@given(sizes, st.integers(784, 20_000), st.integers(0, 5_000))
@example((30, 30), 900, 100)
@example((30, 40), 3136, 0)
def test_narrow_budgets_keep_the_maximum(size, smallest, slack):
    width, height = ViewBudget(smallest, smallest + slack).fit(size)
    assert min(width, height) >= 28
    assert width * height <= smallest + slack


@settings(deadline=None)
@given(sizes)
def test_fit_keeps_the_aspect_ratio_up_to_rounding(size):
    width, height = size
    shown = ViewBudget().fit(size)
    if ratio(size) < 20 and min(shown) >= 4 * 28:
        assert shown[0] / shown[1] == pytest.approx(width / height, rel=0.35)


@settings(deadline=None)
@given(sizes)
@example((1000, 1))
@example((1, 1000))
@example((27, 5400))
@example((10_000, 30))
@example((1, 1))
def test_without_a_budget_an_image_is_shown_as_it_is_unless_a_processor_would_refuse_it(size):
    shown = shown_size(size, None)
    assert min(shown) >= MIN_SIDE
    assert ratio(shown) <= MAX_ASPECT_RATIO
    assert shown[0] >= size[0]
    assert shown[1] >= size[1]
    if min(size) >= MIN_SIDE and ratio(size) <= MAX_ASPECT_RATIO:
        assert shown == size
    elif ratio(size) <= MAX_ASPECT_RATIO:
        assert shown[0] / shown[1] == pytest.approx(size[0] / size[1], rel=0.02)


def test_shown_size_with_a_budget_is_its_fit():
    budget = ViewBudget(max_pixels=200_000)
    assert shown_size((3840, 2160), budget) == budget.fit((3840, 2160)) == (588, 308)


def test_visual_tokens_count_factor_squares():
    assert ViewBudget().visual_tokens((1316, 728)) == 47 * 26
    assert ViewBudget().visual_tokens((29, 28)) == 2


@pytest.mark.parametrize("bounds", [(27 * 28, 10_000), (3136, 3135), (0, 10_000)])
def test_impossible_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match="factor"):
        ViewBudget(*bounds)
