"""BoxJudge: answers that are a box, as in refCOCO."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import BBox, Frame, Size, check_frame_name, iou, is_finite_box, to_native
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict

# Possessive throughout: what cannot be tried a second time cannot keep a judge busy. A gap is never empty and never
# begins within a number, or "345" would be two and "2024-01-02-03" four.
_NUMBER = r"[-+]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?+\d{1,2}+)?+"
_GAP = r"(?=[^-+.\w])\s*+[\])}>]*+\s*+[,;]?+\s*+[\[({<]*+\s*+"
_SEPARATOR = r"(?:\s*+[,;]\s*+|\s++)"
_FOUR = re.compile(rf"[\[({{<]\s*+{_GAP.join([f'({_NUMBER})'] * 4)}\s*+[\])}}>]")
_BARE = re.compile(rf"\s*+{_SEPARATOR.join([f'({_NUMBER})'] * 4)}\s*+\.?+\s*+")
_MAX_BOXES = 16


def read_boxes(text: str) -> tuple[BBox, ...]:
    """Return the boxes that a text holds, as written: ``[x1, y1, x2, y2]`` in any brackets.

    Also ``(x1, y1), (x2, y2)``, ``<box>(x1,y1),(x2,y2)</box>``, ``{"bbox_2d": [x1, y1, x2, y2]}``, and four bare
    numbers that are the whole text. Corners given in another order are sorted. At most 16 boxes, of a text of less than
    ``MAX_ANSWER_LENGTH`` characters.
    """
    if len(text) >= MAX_ANSWER_LENGTH:
        return ()
    found = [match.groups() for match in _FOUR.finditer(text)]
    if not found and (bare := _BARE.fullmatch(text)):
        found = [bare.groups()]
    return tuple(_sorted(*map(float, numbers)) for numbers in found[:_MAX_BOXES])


def _sorted(x1: float, y1: float, x2: float, y2: float) -> BBox:
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


@dataclass(frozen=True, slots=True)
class BoxJudge:
    """Compares the one box of an answer with the ground truth: right from an intersection over union of 0.5 on.

    The policy writes boxes in its own frame, on the image as it was shown; they are converted to native pixels once.
    So a judge belongs to a frame and a size of view: ``of`` makes the one for a trajectory.

    Attributes:
        frame: Coordinate frame in which the policy writes.
        view_size: ``(width, height)`` of the first image as shown; needed for the frame ``view`` alone. ``None``: as
            stored.
        threshold: Least intersection over union of a right answer.

    Raises:
        ValueError: ``frame`` is unknown, or ``threshold`` not in ``(0, 1]``.
    """

    frame: Frame = "view"
    view_size: Size | None = None
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_frame_name(self.frame)
        if not 0 < self.threshold <= 1:
            raise UsageError(f"BoxJudge(threshold={self.threshold}): must be above 0 and at most 1")

    @classmethod
    def of(cls, trajectory: Trajectory, threshold: float = 0.5) -> BoxJudge:
        """Return the judge for the frame and the view of a trajectory."""
        return cls(trajectory.frame, trajectory.view_size, threshold)

    def iou(self, prediction: str, sample: Sample) -> float:
        """Return the intersection over union of an answer's box with the best of ``sample.boxes``, in ``[0, 1]``.

        0 for an answer without a box, and for one with several different boxes: that is a guess at all of them.
        """
        written = set(read_boxes(prediction))
        return self._overlap(written.pop(), sample) if len(written) == 1 else 0.0

    def _overlap(self, written: BBox, sample: Sample) -> float:
        native = sample.images[0].size
        box = to_native(written, self.frame, native, self.view_size or native)
        return max((iou(box, truth) for truth in sample.boxes), default=0.0) if is_finite_box(box) else 0.0

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer; abstains if the sample has no ground-truth box."""
        if not sample.boxes:
            return None
        written = set(read_boxes(prediction))
        if len(written) != 1:
            return Verdict(0.0, "box", f"{len(written) or 'no'} boxes; one is asked for")
        overlap = self._overlap(written.pop(), sample)
        return Verdict(float(overlap >= self.threshold), "box", f"IoU {overlap:.3f}")
