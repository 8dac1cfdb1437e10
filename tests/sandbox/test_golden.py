"""The original's sandbox, cell by cell in one session: equal, or different for a reason that stands here."""

import re

import numpy as np
import pytest

from tests.conftest import read_golden

LOST_OUTPUT = "the original loses what programs write to standard error"
EACH_ONCE = "the original shows some figures twice"
VERY_PIXELS = "the original returns figures only"
KEPT = "state is kept in a living process, where the original pickles it"
TRUTH = "the original says of every process that ends that it timed out, and takes all the time for it"

DIFFERENT = {
    "stderr write is lost": ({"stderr": "to stderr\n"}, LOST_OUTPUT),
    "warning is lost": (
        {"stderr": re.compile(r'<cell \d+>:2: UserWarning: careful\n  warnings.warn\("careful"\)\n')},
        LOST_OUTPUT,
    ),
    "two figures, two shows": ({"image_sizes": [[630, 470]] * 2}, EACH_ONCE),
    "eleven plots": ({"image_sizes": [[630, 470]] * 10}, "a turn has ten images at most, and the rest is told"),
    "image as last expression": ({"image_sizes": [[10, 10]]}, VERY_PIXELS),
    "image.show": ({"stdout": "shown\n", "stderr": "", "image_sizes": [[640, 480]]}, VERY_PIXELS),
    "display": (
        {"stdout": "<PIL.Image.Image image mode=RGB size=640x480>\nd\n", "image_sizes": [[640, 480]]},
        VERY_PIXELS,
    ),
    "subprocess on a later call": ({"stdout": "1000\n\n"}, "no program is root"),
    "os.system on a later call": ({"stdout": "<built-in function system>\nescaped\n0\n"}, LOST_OUTPUT),
    "sleep": (
        {
            "result": "None",
            "stderr": re.compile(
                r"(?s)-{75}\nTimeoutException .*\n----> 3 time.sleep\(10\)\n\nTimeoutException: Timed out!\n"
            ),
        },
        "a call that waits is interrupted as well",
    ),
    "state set before a timeout": ({"stdout": "9\n", "stderr": ""}, KEPT),
    "os._exit": ({"stderr": "the program ended the session's process with status 1"}, TRUTH),
    "big output": ({"stdout": "a" * 8000 + "\n[192,001 more characters were left out]"}, "output is cut"),
    "generator later": ({"stdout": "0\n", "stderr": ""}, KEPT),
    "open file later": ({"stdout": "x\n"}, KEPT),
    "random later": ({"stdout": "0.7579544029403025\n"}, KEPT),
    "second image name": (
        {
            "stdout": "Out[0]: <PIL.Image.Image image mode=RGB size=630x470>\n",
            "stderr": "",
            "result": "<PIL.Image.Image image mode=RGB size=630x470>",
            "image_sizes": [[630, 470]],
        },
        "what was shown has a name too",
    ),
    "previous output": ({"stdout": "1\n"}, KEPT),
}


LONG = {"endless loop", "after an endless loop", "endless loop that swallows", "sleep", "state set before a timeout"}
LONG |= {
    "show with nothing",
    "os._exit",
    "after os._exit",
    "plot without show",
    "next after a plot without show",
    "second image name",
}
"""Cells that draw, wait, or have all others run again; and those that build on them."""


@pytest.fixture(scope="module")
def records():
    return read_golden("deepeyes_v2_sandbox.jsonl")


@pytest.mark.slow
def test_every_recorded_cell(records, make_session):
    seen = compare(records, make_session)
    assert set(DIFFERENT) <= seen


def test_recorded_cells_that_take_no_time(records, make_session):
    def long(record):
        changed, _ = DIFFERENT.get(record["kind"], ({}, ""))
        return record["image_sizes"] or changed.get("image_sizes") or record["kind"] in LONG

    chosen = records[:1] + [record for record in records[1:] if not long(record)]
    assert len(compare(chosen, make_session)) > 30


def compare(records, make_session):
    """Run the cells, compare what comes of each, and return the kinds that were seen."""
    image = np.empty((480, 640, 3), np.uint8)
    image[:] = (10, 200, 30)
    session = make_session(image, cell_seconds=20, episode_seconds=100)
    wrong, seen = [], set()
    for record in records[1:]:  # the first one only binds the image
        kind = record["kind"]
        seen.add(kind)
        object.__setattr__(session.limits, "cell_seconds", 0.4 if record["timeout"] == 2 else 20)
        got = session.run(record["code"])
        expected = {key: record[key] for key in ("stdout", "stderr", "result", "image_sizes")}
        expected.update(DIFFERENT.get(kind, ({}, ""))[0])
        mine = {
            "stdout": got.stdout,
            "stderr": got.stderr,
            "result": re.sub(" at 0x[^>]*", "", str(got.result)),
            "image_sizes": [[each.shape[1], each.shape[0]] for each in got.images],
        }
        expected["result"] = re.sub(" at 0x[^>]*", "", str(expected["result"]))
        expected["stderr"], mine["stderr"] = (_from_cell(each) for each in (expected["stderr"], mine["stderr"]))
        wrong += [
            (kind, key, expected[key], mine[key])
            for key in expected
            if not (
                expected[key].fullmatch(mine[key])
                if isinstance(expected[key], re.Pattern)
                else expected[key] == mine[key]
            )
        ]
    assert wrong == []
    return seen


def _from_cell(text):
    """Without the frames of the original's own server below the cell."""
    if isinstance(text, str):
        return re.sub(r"\nFile fast_api_server.*?\n\n", "\n", text, flags=re.DOTALL)
    return text
