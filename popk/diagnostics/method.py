"""What the statistics of a method say of its draws: several modes, evidence, approximations."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["method_failures", "notes_on_method"]

_COUNTS = 0.01  # share of the draws from which a mode counts
_NAMED = 3  # parameters by which modes are told apart
_STILL = 1e-3  # relative change of the ELBO in the end
_SHIFTED, _SPREAD = 0.2, 1.2  # of means in SDs, and of SDs, that weights would correct
_NOISY = 1.0  # variance of the log posterior's estimate above which points share their nodes
_APART = 1.0  # between logarithms of the evidence of independent runs (SD)


def notes_on_method(stats: xr.Dataset) -> tuple[str, ...]:
    """Sentences on modes, shared nodes and the evidence, where the statistics have them."""
    return (*_of_modes(stats), *_of_nodes(stats), *_of_evidence(stats))


def method_failures(stats: xr.Dataset) -> list[str]:
    """Sentences on what a method's own statistics say against its draws."""
    failures = []
    if "log_evidence" in stats and stats.sizes["chain"] > 1:
        apart = float(stats["log_evidence"].values.std(ddof=1))
        if not apart <= _APART:
            failures.append(
                f"The log evidence has an SD of {apart:.2g} between independent runs, above "
                f"{_APART:g}: the particles lose parts of the posterior on the way. Give more "
                "particles or moves."
            )
    if "elbo_change" in stats and not float(stats["elbo_change"]) < _STILL:
        failures.append(
            f"The ELBO still changed by {float(stats['elbo_change']):.2g} of itself over the last "
            f"tenth of the steps, not less than {_STILL:g}: its maximum was not reached. Sample by "
            "Marginal or NUTS, or inform the parameters that the data do not identify."
        )
    if "shift" in stats:
        shift, spread = float(stats["shift"]), float(stats["spread"])
        if not (shift < _SHIFTED and spread < _SPREAD):
            failures.append(
                f"Importance weights would move a mean by {shift:.2f} SDs and change an SD "
                f"{spread:.2f}-fold (limits {_SHIFTED:g} and {_SPREAD:g}): the posterior is not "
                "normal. Leave resample=True, or sample by Marginal."
            )
    return failures


def _of_modes(stats: xr.Dataset) -> list[str]:
    if "mode_share" not in stats or stats.sizes["mode"] < 2:
        return []
    share = stats["mode_share"].values
    counted = np.flatnonzero(share >= _COUNTS)
    if len(counted) < 2:
        return []
    values = stats["mode_at"].transpose("mode", "estimated").values[counted]
    names = stats["estimated"].values
    spread = np.ptp(values, axis=0) / np.maximum(np.abs(values).max(axis=0), 1e-300)
    chosen = np.argsort(-spread)[:_NAMED]
    described = "; ".join(
        f"{100 * share[mode]:.0f} % near "
        + ", ".join(f"{names[k]} {values[at, k]:.3g}" for k in chosen)
        for at, mode in enumerate(counted)
    )
    if "point" in stats.attrs:
        meaning = "This is the highest of them"
    else:
        meaning = "Means and intervals lie across them: look at the draws of each"
    return [
        f"The posterior has {len(counted)} modes ({described}). {meaning}, or inform the "
        "parameters that tell them apart."
    ]


def _of_nodes(stats: xr.Dataset) -> list[str]:
    """What it means that all points share the nodes of the subjects' integrals, where they do."""
    if "noise" not in stats or not float(stats["noise"]) > _NOISY:
        return []
    return [
        "All points share the nodes of the subjects' integrals: with nodes of its own, the log "
        f"posterior's estimate at a point would have a variance of {float(stats['noise']):.2g}, "
        f"above {_NOISY:g}. So the posterior is not exact: it has the error of these nodes, which "
        "hardly differs over its width. Compare with NUTS, or with another seed, where this "
        "matters."
    ]


def _of_evidence(stats: xr.Dataset) -> list[str]:
    if "log_evidence" not in stats:
        return []
    own = stats["log_evidence"].values
    if len(own) < 2:
        return [f"The log evidence is {own[0]:.2f}, from one run: nothing says how exactly."]
    highest = own.max()
    together = highest + np.log(np.exp(own - highest).mean())
    error = np.exp(own - highest).std(ddof=1) / np.exp(own - highest).mean() / np.sqrt(len(own))
    return [
        f"The log evidence is {together:.2f} (standard error {error:.2g}, by {len(own)} "
        "independent runs)."
    ]
