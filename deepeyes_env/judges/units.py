"""Units of measurement: which names mean the same, and how many of one make another."""

from __future__ import annotations

import re
from fractions import Fraction

CURRENCIES = "$€£¥"
CURRENCY_NAMES = {
    **dict.fromkeys(("usd", "us$", "dollar", "dollars", "bucks"), "$"),
    **dict.fromkeys(("eur", "euro", "euros"), "€"),
    **dict.fromkeys(("gbp", "pounds sterling"), "£"),
    **dict.fromkeys(("yen", "jpy", "yuan", "rmb", "cny", "元"), "¥"),
    **{sign: sign for sign in CURRENCIES},
}


def _metric(dimension: str, letters: str, names: tuple[str, ...], prefixes: str) -> dict[str, tuple[str, Fraction]]:
    units = {}
    for prefix in prefixes.split():
        short, word, power = _PREFIXES[prefix]
        size = dimension, Fraction(10) ** power
        units[short + letters] = size
        for name in names:
            units[word + name] = units[f"{word}{name}s"] = size
    return units


_PREFIXES = {"1": ("", "", 0), "k": ("k", "kilo", 3), "d": ("d", "deci", -1), "c": ("c", "centi", -2)}
_PREFIXES |= {"m": ("m", "milli", -3), "u": ("μ", "micro", -6), "n": ("n", "nano", -9), "M": ("mega", "mega", 6)}

_UNITS: dict[str, tuple[str, Fraction]] = {
    **_metric("length", "m", ("meter", "metre"), "1 k d c m u n"),
    **_metric("mass", "g", ("gram", "gramme"), "1 k m u"),
    **_metric("volume", "l", ("liter", "litre"), "1 d c m"),
    **_metric("time", "s", ("second",), "1 m u n"),
    **dict.fromkeys(("kilo", "kilos"), ("mass", Fraction(1000))),
    **dict.fromkeys(("inch", "inches"), ("length", Fraction("0.0254"))),
    **dict.fromkeys(("ft", "foot", "feet"), ("length", Fraction("0.3048"))),
    **dict.fromkeys(("yd", "yard", "yards"), ("length", Fraction("0.9144"))),
    **dict.fromkeys(("mi", "mile", "miles"), ("length", Fraction("1609.344"))),
    **dict.fromkeys(("oz", "ounce", "ounces"), ("mass", Fraction("28.349523125"))),
    **dict.fromkeys(("lb", "lbs", "pound", "pounds"), ("mass", Fraction("453.59237"))),
    **dict.fromkeys(("sec", "secs"), ("time", Fraction(1))),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), ("time", Fraction(60))),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), ("time", Fraction(3600))),
    **dict.fromkeys(("degree", "degrees", "deg"), ("angle", Fraction(1))),
    **dict.fromkeys(("radian", "radians", "rad"), ("arc", Fraction(1))),
}
_NAME = r"(?:(?P<square>square |sq\.? ?)|(?P<cubic>cubic |cu\.? ))?(?P<base>[^\W\d_]+)(?: ?\^?(?P<power>[23]))?"
_SIZED = re.compile(_NAME)
_ASKED = re.compile(r"\(unit: ?([^()]{1,40})\)")

UNIT = "|".join(sorted({*_UNITS, *(name for name in CURRENCY_NAMES if name.isalpha())}, key=len, reverse=True))
"""Matches one of the names, in lower case; a pattern."""


def size_of(unit: str) -> tuple[str, Fraction] | None:
    """Return what a unit (lower case) measures and how many base units it is; ``None`` if it is not known."""
    if unit in CURRENCY_NAMES:
        return CURRENCY_NAMES[unit], Fraction(1)
    match = _SIZED.fullmatch(unit)
    if match is None or match["base"] not in _UNITS:
        return None
    dimension, size = _UNITS[match["base"]]
    power = 2 if match["square"] else 3 if match["cubic"] else int(match["power"] or 1)
    return f"{dimension}^{power}", size**power


def ratio(unit: str, other: str) -> Fraction | None:
    """Return how many of ``other`` make one ``unit``: 1000 for kg and g; 0 if they measure different things.

    ``None`` if one of them is not known.
    """
    one, two = size_of(unit), size_of(other)
    if one is None or two is None:
        return None
    return one[1] / two[1] if one[0] == two[0] else Fraction(0)


def asked_unit(question: str) -> str:
    """Return the unit that a question (lower case) asks for, as "(Unit: cm)"; ``""`` for none."""
    match = _ASKED.search(question)
    return match[1].strip() if match else ""
