"""Criticism of a model by its own data: what is wrong, by name, how sure, and what to try."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.effect_checks import effect_findings
from popk.diagnostics.fault_checks import Finding, Material, findings
from popk.diagnostics.realised import realised
from popk.diagnostics.replicates import (
    LEAST,
    Seen,
    attributes,
    check_replicates,
    left_out,
    replicated,
    usual_replicates,
)
from popk.errors import SettingError
from popk.population import FitError, check_seed

__all__ = ["criticise"]

type Floats = NDArray[np.float64]

_DRAWS = 400
_LEVEL = 0.05
_FIRST = ("structure", "residual error", "variability", "covariates")


def criticise(
    fit: xr.DataTree, *, replicates: int | None = None, level: float = _LEVEL, seed: int
) -> xr.Dataset:
    """Named checks of a model against the data of its fit, each with a verdict.

    Two kinds of evidence are used. Quantities that are known to be independent and normal if the
    model is right, whatever was observed - the standardised residuals and the random effects of
    each draw of the posterior - are tested draw by draw, and the p-values averaged (pivotal
    discrepancies: Johnson, Bayesian Analysis 2:719, 2007; Gelman, Meng & Stern, Statistica Sinica
    6:733, 1996). And the data's decorrelated prediction errors are compared with those of
    replicates of the data, as in `popk.npde`. Both use the data twice, which makes them cautious:
    with sparse data a fault may stay hidden. The p-values are adjusted for the number of checks
    (Holm, Scand J Stat 6:65, 1979): a right model is flagged anywhere with a probability below
    ``level``.

    Observations below a limit of quantification have residuals drawn from what lies below.

    Parameters
    ----------
    fit
        What `popk.sample` returned, by any method that gives a posterior.
    replicates
        How many times the data are simulated; if None 1,000, or 10 for each observation of a
        patient where that is more.
    level
        Probability with which a right model may be flagged, by all checks together.
    seed
        Seed of the random numbers.

    Returns
    -------
    Dataset (check) with ``about`` (structure, residual error, variability or covariates),
    ``p_value`` (posterior predictive), ``p_adjusted`` (for the number of checks), ``flagged`` (0 or
    1), ``seen`` and ``remedy`` (sentences; ``seen`` begins with so many words where it is no more
    than chance gives). ``attrs["verdict"]`` says it in words, ``attrs["flags"]`` lists the names
    (JSON), the structure's first, as others may follow from it.

    Raises
    ------
    SettingError
        When a setting makes no sense.
    FitError
        When the tree is no fit, or has fewer than 100 draws.
    """
    check_seed(seed)
    if not 0 < level < 1:
        raise SettingError(f"level is {level!r}; give a probability between 0 and 1, as 0.05.")
    seen = Seen.of(fit)
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    if total < LEAST:
        raise FitError(
            f"The fit of {seen.model.name} has {total} draws; criticism needs a posterior of "
            f"{LEAST} or more. Sample it by Marginal or NUTS."
        )
    most = int(np.bincount(seen.subject).max())
    size = usual_replicates(most) if replicates is None else replicates
    size = check_replicates(size, most=most)
    rng = np.random.default_rng(seed)
    simulated = replicated(fit, seen, size, rng)
    material = Material(seen, realised(fit, seen, _DRAWS, rng), simulated, rng)
    found = [*findings(material), *effect_findings(material)]
    found.sort(key=lambda one: _FIRST.index(one.about))
    attrs = attributes(fit, "criticism", [*seen.notes, *left_out(simulated, size)])
    return _table(found, attrs | {"seed": int(seed), "level": float(level)})


def _table(found: list[Finding], attrs: dict[str, Any]) -> xr.Dataset:
    p = np.array([one.p for one in found], dtype=float)
    adjusted = holm(p)
    flagged = adjusted < attrs["level"]
    names = [one.name for one in found]
    flags = [name for name, wrong in zip(names, flagged.tolist(), strict=True) if wrong]
    columns: dict[str, Any] = {
        "about": [one.about for one in found],
        "p_value": (p, {"units": "1", "long_name": "posterior predictive p-value"}),
        "p_adjusted": (adjusted, {"units": "1", "long_name": "p adjusted for all checks (Holm)"}),
        "flagged": flagged.astype(int),
        "seen": [_told(one, wrong) for one, wrong in zip(found, flagged.tolist(), strict=True)],
        "remedy": [one.remedy for one in found],
    }
    data = {
        name: ("check", *value) if isinstance(value, tuple) else ("check", value)
        for name, value in columns.items()
    }
    said = attrs | {"flags": json.dumps(flags), "verdict": _verdict(found, adjusted, flagged)}
    return xr.Dataset(data, coords={"check": names}, attrs=said)


def _told(one: Finding, flagged: bool) -> str:
    """What was seen, in words that say whether it is more than chance gives."""
    if flagged:
        return one.seen
    return f"No more than chance: {one.seen[:1].lower()}{one.seen[1:]}"


def holm(p: Floats) -> Floats:
    """p-values adjusted for their number, step by step (Holm 1979)."""
    n = len(p)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (n - np.arange(n)))
    found = np.empty(n)
    found[order] = np.minimum(stepped, 1.0)
    return found


def _verdict(found: list[Finding], adjusted: Floats, flagged: NDArray[np.bool_]) -> str:
    if not len(found):
        return "There are too few observations and patients for any check."
    if not flagged.any():
        return (
            f"None of {len(found)} checks flags this model (smallest adjusted p "
            f"{adjusted.min():.2g}). What the data are too sparse to show stays hidden."
        )
    wrong = [one for one, yes in zip(found, flagged.tolist(), strict=True) if yes]
    kinds = [about for about in _FIRST if any(one.about == about for one in wrong)]
    first = min((one for one in wrong if one.about == kinds[0]), key=lambda one: one.p)
    names = ", ".join(one.name for one in wrong)
    after = (
        " Put the structure right first: the other faults may follow from it."
        if kinds[0] == "structure" and len(kinds) > 1
        else ""
    )
    return (
        f"{len(wrong)} of {len(found)} checks flag this model: {names}. {first.seen} "
        f"{first.remedy}{after}"
    )
