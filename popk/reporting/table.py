"""A table of text, the same for the page and for the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING", "Cell", "Table", "header", "number", "percent", "span"]

MISSING = "–"


class Cell(NamedTuple):
    """Text of one cell; `mark` is ``"yes"``, ``"no"``, ``"warn"`` or empty."""

    text: str
    mark: str = ""


@dataclass(frozen=True, repr=False)
class Table:
    """Headers with units, rows of cells as long as the headers, and a note below.

    `texts` is how many of the first columns hold words; the others are aligned as numbers. `frame`
    holds the same in full precision, where there is such; `unsure` says that the fit behind the
    numbers did not converge.
    """

    kind: ClassVar[str] = "table"

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    texts: int = 1
    frame: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    unsure: bool = False

    def with_frame(self, frame: pd.DataFrame) -> Table:
        """The same, with these numbers in full precision."""
        return replace(self, frame=frame)

    def __str__(self) -> str:
        from popk.reporting.text import table_text

        return table_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from popk.reporting.rendering import notebook_table

        return notebook_table(self)

    def to_frame(self) -> pd.DataFrame:
        """As a data frame: in full precision where there are such numbers, as shown elsewhere."""
        if self.frame is not None:
            return self.frame
        import pandas as pd

        rows = [[cell.text.replace("\u00a0", " ") for cell in row] for row in self.rows]
        return pd.DataFrame(rows, columns=list(self.headers))


def header(name: str, unit: str | None) -> str:
    """A column's header with its unit."""
    return name if unit in (None, "", "1") else f"{name} ({unit})"


def number(value: float) -> str:
    """Three significant digits, thousands in full; a dash when there is no value."""
    if math.isnan(value):
        return MISSING
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def span(low: float, high: float) -> str:
    """Both ends of an interval."""
    return f"{number(low)} to {number(high)}"


def percent(value: float, *, bound: float | None = None) -> str:
    """A probability in per cent, unbreakable.

    Never 0 or 100: it was counted over draws, which do not show what is rarer than they are many.
    When `value` is below `bound` and would be rounded up to it, more decimals are shown.
    """
    if math.isnan(value):
        return MISSING
    if value < 0.01:
        return "<\u00a01\u00a0%"
    if value > 0.99 and (bound is None or bound <= 0.99 or value >= 1):
        return ">\u00a099\u00a0%"
    places = 0
    limits = [limit for limit in (bound, 1.0) if limit is not None and value < limit]
    while any(round(value, places + 2) >= limit for limit in limits) and places < 6:
        places += 1
    return f"{100 * value:.{places}f}\u00a0%"
