"""What calls were worth, on the page: said beside each call, and filters of the list."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deepeyes_env.call_effects import CallEffect, with_call_effects
from deepeyes_env.core import Trajectory
from deepeyes_env.trajectories import TrajectoryWriter, write_page
from tests.browser import Pages, wait_until
from tests.trajectories.page_tab import Tab

pytestmark = pytest.mark.browser

BOX = (600.0, 350.0, 740.0, 440.0)
MATTERED = CallEffect(0, 0.75, 0.4, 0.9, 16)
DECORATIVE = CallEffect(1, 0.0, -0.2, 0.2, 16)
HARMFUL = CallEffect(0, -0.5, -0.75, -0.2, 16)


def opened(pages: Pages, page: Path) -> Tab:
    tab = Tab()
    tab.page = pages.open(1400, 900, "light", {"console": lambda message: tab.complaints.append(message.text)})
    tab.page.goto(page.as_uri())
    wait_until(tab.page, "[...document.images].every(image => image.complete || image.loading === 'lazy')")
    return tab


def written(run: Path, *episodes: Trajectory) -> Path:
    with TrajectoryWriter(run) as writer:
        for episode in episodes:
            writer.write(episode)
    return write_page(run)


def test_episodes_are_filtered_by_what_their_calls_were_worth(
    pages: Pages, tmp_path: Path, make_episode: Callable[..., Trajectory]
) -> None:
    page = written(
        tmp_path,
        with_call_effects(make_episode(boxes=(BOX, BOX)), [MATTERED, DECORATIVE]),
        with_call_effects(make_episode(boxes=(BOX,), right=False), [HARMFUL]),
        make_episode(boxes=(BOX,)),
        make_episode(boxes=()),
    )
    tab = opened(pages, page)
    for value, numbers in (("mattered", [1]), ("decorative", [1]), ("harmful", [2]), ("any", [1, 2, 3, 4])):
        tab.page.select_option("#tools", value)
        assert tab.shown() == numbers
    tab.page.select_option("#tools", "mattered")
    told = " ".join(tab.texts(".call"))
    assert "mattered: +75.0 % (+40.0 % to +90.0 %)" in told
    assert "decorative: 0.0 % (\N{MINUS SIGN}20.0 % to +20.0 %)" in told
    assert tab.complaints == []


def test_a_run_whose_calls_nobody_played_on_from_offers_no_such_filter(
    pages: Pages, tmp_path: Path, make_episode: Callable[..., Trajectory]
) -> None:
    tab = opened(pages, written(tmp_path, make_episode(boxes=(BOX,))))
    offered = tab.page.locator("#tools option").evaluate_all("all => all.map(one => one.value)")
    assert "any" in offered
    assert not {"mattered", "decorative", "harmful"} & set(offered)
