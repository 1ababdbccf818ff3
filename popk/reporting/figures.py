"""Figures as SVG that can stand in a page."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import ClassVar

from markupsafe import Markup
from matplotlib.figure import Figure

from popk.plots import Points

__all__ = ["Picture", "inline_svg", "picture"]

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


_MARKER = "popk-points-"
_GROUP = re.compile(rf'<g id="{_MARKER}(\d+)">(.*?)</g>\s*</g>', re.DOTALL)
_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


@dataclass(frozen=True)
class Picture:
    """A drawing with its caption.

    ``name`` is its file's; ``alt`` says in words what is seen. ``subjects`` and ``words`` belong to
    the points that can be pointed at, in the order of the drawing; `unsure` as of a table.
    """

    kind: ClassVar[str] = "picture"

    name: str
    svg: Markup
    caption: str
    alt: str
    subjects: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    unsure: bool = False

    def to_svg(self) -> str:
        """As a file of its own."""
        text = str(self.svg).replace(' href="#', ' xlink:href="#')
        return f"{text.replace('<svg', f'<svg {_NAMESPACES}', 1)}\n"


def picture(figure: Figure, name: str, caption: str, *, alt: str = "") -> Picture:
    """A figure as it stands in a page.

    Parameters
    ----------
    figure
        The figure.
    name
        Of letters, digits and hyphens, no other's on the page.
    caption
        What is drawn, and how to read it.
    alt
        What a reader who cannot see it must know; the caption without it.
    """
    svg, order = _drawn(figure, name)
    words = alt or caption
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(words, quote=True)}"', 1)
    return Picture(
        name,
        Markup(svg),  # written by matplotlib, which draws text as outlines; the label is escaped
        caption,
        words,
        tuple(subject for points in order for subject in points.names.subjects),
        tuple(word for points in order for word in points.names.words),
    )


def inline_svg(figure: Figure, *, prefix: str) -> Markup:
    """The figure as an ``<svg>`` element without links, comments or namespaces.

    Ids that nothing refers to are left out, the others numbered behind `prefix`: matplotlib's
    repeat from one drawing to the next and change from run to run.
    """
    return Markup(_drawn(figure, prefix)[0])


def _drawn(figure: Figure, prefix: str) -> tuple[str, list[Points]]:
    """The SVG, and its points in the order in which it has them."""
    points = [one for ax in figure.axes for one in ax.lines if isinstance(one, Points)]
    for at, own in enumerate(points):
        own.set_gid(f"{_MARKER}{at}")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    for pattern in _DROPPED:
        text = pattern.sub("", text)
    text = text.replace("xlink:href", "href")
    text = _PATH.sub(lambda match: " ".join(_EXCESS.sub(r"\1", match[0]).split()), text)
    order: list[Points] = []

    def grouped(match: re.Match[str]) -> str:
        own = points[int(match[1])]
        # Only where each point is there can they be told apart.
        if match[2].count("<use") != len(own.names.words):
            return match[0]
        order.append(own)
        return match[0].replace(f'id="{_MARKER}{match[1]}"', 'class="points"', 1)

    text = _GROUP.sub(grouped, text)
    used = dict.fromkeys(a or b for a, b in _USE.findall(text))
    numbers = {name: f"{prefix}-{at}" for at, name in enumerate(used)}
    text = _USE.sub(lambda match: numbers[match[0]], text)
    text = _ID.sub(lambda m: f' id="{numbers[m[1]]}"' if m[1] in numbers else "", text)
    return text.strip(), order
