"""The programs that solve the questions of ``CodeSearch``, as a policy would write them."""

from __future__ import annotations

import math
import re

from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.images.frames import BBox

MASK = """\
import numpy as np
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage

pixels = np.asarray(image_1).astype(int)
def mask(colour):
    return np.abs(pixels - colour).max(-1) < 30
def middle(colour, share):
    y, x = np.nonzero(mask(colour))
    half = share * (np.ptp(x) + 1) / 2
    x, y = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    return image_1.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
def length(colour):
    points = np.argwhere(mask(colour))
    points = points - points.mean(0)
    return np.ptp(points @ np.linalg.svd(points, full_matrices=False)[2][0]) + 1
"""
"""How the programs begin: where a colour is, the middle of what has it, and how long that is."""


STEP = 4
"""Boxes are written in steps of so many pixels."""

CROP = "# the ", " square\nimage_1.crop((", ")).show()"
"""A program that zooms, before, between and after its colour and its box."""

_CROP = re.compile(r"(?:#.*\n)?\s*image_\d+\.crop\((?:(?!\)\.).)*\)\.show\(\)")


def count_program(colour: str) -> str:
    """Count what has a colour."""
    return f"{MASK}{_named(colour)}print(ndimage.label(mask({colour}))[1])"


def length_program(first: str, second: str) -> str:
    """Print how many times as long as the bar of the second colour that of the first one is."""
    return f"{MASK}{_named(first)}{_named(second)}print(round(length({first}) / length({second}), 1))"


def contrast_program(colour: str) -> str:
    """Show the plate on the square of a colour, smoothed and with all the contrast there can be."""
    return (
        f"{MASK}{_named(colour)}plate = middle({colour}, 0.38).convert('L').filter(ImageFilter.GaussianBlur(3))\n"
        "ImageOps.autocontrast(plate, cutoff=2).show()"
    )


def rotation_program(colour: str, angle: int) -> str:
    """Show the plate on the square of a colour, turned back by so many degrees clockwise."""
    return (
        f"{MASK}{_named(colour)}plate = middle({colour}, 0.54).rotate({angle}, Image.Resampling.BICUBIC)\n"
        "ImageOps.crop(plate, round(0.15 * plate.width)).show()"
    )


def crop_program(colour: str, box: BBox) -> str:
    """Show the square of a colour: a box in native pixels, in steps of ``STEP``, and its margin."""
    x1, y1 = (max(0, math.floor(side / STEP) * STEP - STEP) for side in box[:2])
    x2, y2 = (math.ceil(side / STEP) * STEP + STEP for side in box[2:])
    return f"{CROP[0]}{colour}{CROP[1]}{x1}, {y1}, {x2}, {y2}{CROP[2]}"


def is_crop(code: str) -> bool:
    """Whether a program only cuts a part out of an image and shows it: a zoom."""
    return _CROP.fullmatch(code.strip()) is not None


def _named(colour: str) -> str:
    return f"{colour} = {COLOURS[colour]}\n"
