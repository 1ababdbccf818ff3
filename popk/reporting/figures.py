"""Figures as SVG that can stand in a page."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

__all__ = ["Picture", "inline_svg"]

_ID = re.compile(r'\sid="([^"]+)"')
_USE = re.compile(r'(?<=href="#)([^"]+)|(?<=url\(#)([^)]+)')
_PATH = re.compile(r'(?<=\sd=")[^"]+')
_EXCESS = re.compile(r"(\.\d\d)\d+")  # decimals of a point that no screen or printer shows
_DROPPED = (
    re.compile(r"<\?xml.*?\?>", re.DOTALL),
    re.compile(r"<!DOCTYPE.*?>", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"<metadata>.*?</metadata>", re.DOTALL),
    re.compile(r'\sxmlns(?::\w+)?="[^"]*"'),
    re.compile(r"(?<=>)\s+(?=<)"),
)


@dataclass(frozen=True)
class Picture:
    """An SVG drawing with its caption; the caption is also its text for screen readers."""

    svg: Markup
    caption: str


def inline_svg(figure: Figure, *, prefix: str) -> Markup:
    """The figure as an ``<svg>`` element without links, comments or namespaces.

    Ids that nothing refers to are left out, the others numbered behind `prefix`: matplotlib's
    repeat from one drawing to the next and change from run to run.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    for pattern in _DROPPED:
        text = pattern.sub("", text)
    text = text.replace("xlink:href", "href")
    text = _PATH.sub(lambda match: " ".join(_EXCESS.sub(r"\1", match[0]).split()), text)
    used = dict.fromkeys(a or b for a, b in _USE.findall(text))
    numbers = {name: f"{prefix}-{at}" for at, name in enumerate(used)}
    text = _USE.sub(lambda match: numbers[match[0]], text)
    text = _ID.sub(lambda m: f' id="{numbers[m[1]]}"' if m[1] in numbers else "", text)
    # Everything in it was written by matplotlib, which draws text as outlines.
    return Markup(text.strip())
