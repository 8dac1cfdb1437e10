"""BoxJudge: answers that are a box, as in refCOCO."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import BBox, Frame, Size, check_frame_name, clamp, is_finite_box, to_native
from deepeyes_env.images.regions import Region, overlap
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict
from deepeyes_env.judges.markup import without_tokens

# Possessive throughout: what cannot be tried a second time cannot keep a judge busy. A gap is never empty and never
# begins within a number, or "345" would be two and "2024-01-02-03" four.
_NUMBER = r"[-+]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?+\d{1,2}+)?+"
_GAP = r"(?=[^-+.\w])\s*+[\])}>]*+\s*+(?:[,;]|(?:to|and|[-~>]++)(?=[\s\[({<]))?+\s*+[\[({<]*+\s*+"
_SEPARATOR = r"(?:\s*+[,;]\s*+(?:and\s++)?+|\s++(?:and\s++)?+)"
_FOUR = re.compile(rf"[\[({{<]\s*+{_GAP.join([f'({_NUMBER})'] * 4)}\s*+[\])}}>]")
_BARE_FOUR = _SEPARATOR.join([f"({_NUMBER})"] * 4)
_BARE = re.compile(rf"\s*+{_BARE_FOUR}\s*+\.?+\s*+")
# Four bare numbers after "bounding box:" or "the box is", at the end of what is said.
_LED = re.compile(
    r"\b(?:(?:b|bounding[ _]?)?box(?:es)?(?:_2d)?|coordinates|coords|corners|answer|region|location|position)\b[\"']?"
    rf"(?:\s*+[:=>]|\s++(?:is|are)\b:?+)\s*+(?:(?:at|in)\b\s*+)?+{_BARE_FOUR}(?=\s*+[\"']?\.?+\s*+(?:$|\n|<))",
    re.IGNORECASE,
)
# x1=64, "ymin": 96, right: 320 ...: what a number is, is said beside it.
_NAME = r"(?P<name>x_?1|y_?1|x_?2|y_?2|x_?min|y_?min|x_?max|y_?max|left|top|right|bottom|width|height|x|y|w|h)"
_NAMED = re.compile(
    rf"(?<![\w]){_NAME}(?:[\"']?\s*+[:=]\s*+|\s++)(?P<number>{_NUMBER})"
    r"(?=\s*+(?:$|[,;\])}}>.\n\"']|and\b|[a-z]))",
    re.IGNORECASE,
)
_SIDES = {
    **dict.fromkeys(("x1", "xmin", "left", "x"), 0),
    **dict.fromkeys(("y1", "ymin", "top", "y"), 1),
    **dict.fromkeys(("x2", "xmax", "right"), 2),
    **dict.fromkeys(("y2", "ymax", "bottom"), 3),
    **dict.fromkeys(("w", "width"), 4),
    **dict.fromkeys(("h", "height"), 5),
}
_UNMEANT = re.compile(r"\*\*|(?<=\d) ?(?:px|pixels?)\b|\\(?:left|right)\b|(?<=\d)[\"']|[\"'](?=[-+.\d])", re.IGNORECASE)
_POINT = re.compile(rf"[\[(]\s*+({_NUMBER}){_SEPARATOR}({_NUMBER})\s*+[\])]")
_CORNERS = re.compile(r"\b(?:corner|top|upper|from|left)", re.IGNORECASE)
_MAX_BOXES = 16


def read_boxes(text: str) -> tuple[BBox, ...]:
    """Return the boxes that a text holds, as written: ``[x1, y1, x2, y2]`` in any brackets.

    Also ``(x1, y1), (x2, y2)`` and ``(x1, y1) to (x2, y2)``, two corners by name, ``<box>(x1,y1),(x2,y2)</box>``,
    ``{"bbox_2d": [x1, y1, x2, y2]}``, ``x1=..., y1=..., x2=..., y2=...``, ``left 64, top 96, ...`` and
    other names of the sides, and four bare numbers that are the whole text or end it after words such as "bounding
    box:". Numbers may be followed by ``px``. Corners given in another order are sorted. At most 16 boxes, of a text of
    less than ``MAX_ANSWER_LENGTH`` characters.
    """
    if len(text) >= MAX_ANSWER_LENGTH:
        return ()
    text = _UNMEANT.sub("", without_tokens(text))
    found = [match.groups() for match in _FOUR.finditer(text)]
    if not found and (bare := _BARE.fullmatch(text) or _LED.search(text)):
        found = [bare.groups()]
    if not found and _CORNERS.search(text) and len(points := _POINT.findall(text)) == 2:
        found = [points[0] + points[1]]
    boxes = [_sorted(*map(float, numbers)) for numbers in found] or _named_sides(text)
    return tuple(boxes[:_MAX_BOXES])


def _named_sides(text: str) -> list[BBox]:
    """Read boxes whose numbers have names; of a width or height and a corner the other corner is computed."""
    boxes: list[BBox] = []
    sides: dict[int, float] = {}
    for match in _NAMED.finditer(text):
        side = _SIDES[match["name"].lower().replace("_", "")]
        sides[side] = float(match["number"])
        for corner, size in ((0, 4), (1, 5)):
            if corner in sides and size in sides:
                sides[corner + 2] = sides[corner] + sides.pop(size)
        if sides.keys() >= {0, 1, 2, 3}:
            boxes.append(_sorted(sides[0], sides[1], sides[2], sides[3]))
            sides = {}
    return boxes


def _sorted(x1: float, y1: float, x2: float, y2: float) -> BBox:
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _image_of(sample: Sample) -> int:
    """Return the index of the image on which an answer's box lies: that of the first ground-truth box."""
    return sample.box_images[0] if sample.box_images else 0


@dataclass(frozen=True, slots=True)
class BoxJudge:
    """Compares the one box of an answer with the ground truth: right from an intersection over union of 0.5 on.

    The policy writes boxes in its own frame, on the image as it was shown; they are converted to native pixels once.
    So a judge belongs to a frame and a size of view: ``of`` makes the one for a trajectory.

    Attributes:
        frame: Coordinate frame in which the policy writes.
        view_size: ``(width, height)`` as shown of the image on which the ground truth lies; needed for the frame
            ``view`` alone. ``None``: as stored.
        threshold: Least intersection over union of a right answer.

    Raises:
        UsageError: ``frame`` is unknown, or ``threshold`` not in ``(0, 1]``.
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
        return cls(trajectory.frame, trajectory.prompt.images[_image_of(trajectory.sample)].size, threshold)

    def iou(self, prediction: str, sample: Sample) -> float:
        """Return the intersection over union of an answer's box with the best of ``sample.boxes``, in ``[0, 1]``.

        0 for an answer without a box, and for one with several different boxes: that is a guess at all of them.
        """
        written = set(read_boxes(prediction))
        return self._overlap(written.pop(), sample) if len(written) == 1 else 0.0

    def _overlap(self, written: BBox, sample: Sample) -> float:
        native = sample.images[_image_of(sample)].size
        box = to_native(written, self.frame, native, self.view_size or native)
        if not is_finite_box(box):
            return 0.0
        inside = clamp(box, native)  # what lies beyond the image is nothing; VLMEvalKit cuts it off, too
        found = Region(_image_of(sample), inside)
        return max((overlap(found, truth) for truth in sample.regions), default=0.0)

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer; abstains if the sample has no ground-truth box."""
        if not sample.boxes:
            return None
        written = set(read_boxes(prediction))
        if len(written) != 1:
            return Verdict(0.0, "box", f"{len(written) or 'no'} boxes; one is asked for")
        overlap = self._overlap(written.pop(), sample)
        return Verdict(float(overlap >= self.threshold), "box", f"IoU {overlap:.3f}")
