"""The table of `popk.compare`, for the page and the terminal."""

from __future__ import annotations

import math

import xarray as xr

from popk.comparison import comparison_frame
from popk.reporting.table import MISSING, Cell, Table

__all__ = ["comparison_table"]

_TITLES = {
    "patient": "Predicting new patients",
    "observation": "Predicting another observation of known patients",
    "future": "Predicting each next observation of known patients",
}
_HEADERS = (
    "Model", "elpd", "SE", "Difference", "SE of difference", "p_loo", "Worst k-hat",
    "Stacking", "Pseudo-BMA+", "From the best",
)  # fmt: skip
_BAD_KHAT = 0.7


def comparison_table(comparison: xr.DataTree) -> Table:
    """Each model's elpd, difference to the best, weights, and whether the two are told apart."""
    own = comparison["comparison"].to_dataset()
    rows = []
    for k, name in enumerate(own["model"].values.tolist()):
        at = {column: float(own[column].values[k]) for column in own.data_vars}
        khat, unreliable = at["worst_khat"], int(at["n_unreliable"])
        mark = "warn" if unreliable else ""
        shown = _decimals(khat, 2) if math.isfinite(khat) else MISSING
        apart = "told apart" if at["told_apart"] else "not told apart"
        rows.append(
            (
                Cell(name),
                Cell(_decimals(at["elpd"], 1), mark),
                Cell(_decimals(at["se"], 1)),
                Cell(_decimals(at["elpd_diff"], 1)),
                Cell(_decimals(at["se_diff"], 1) if k else MISSING),
                Cell(_decimals(at["p_loo"], 1)),
                Cell(shown, "warn" if khat > _BAD_KHAT and unreliable else ""),
                Cell(_decimals(at["stacking"], 2)),
                Cell(_decimals(at["pseudo_bma_plus"], 2)),
                Cell(apart if k else "best"),
            )
        )
    note = (
        f"{comparison.attrs['question']} elpd: sum of log predictive densities of what was left "
        "out, higher is better; k-hat before refits. Weights are shares in an average of the "
        "predictions, not probabilities that a model is true."
    )
    title, frame = _TITLES[comparison.attrs["unit"]], comparison_frame(comparison).reset_index()
    return Table(title, _HEADERS, tuple(rows), note, frame=frame)


def _decimals(value: float, places: int) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else MISSING
