"""The arithmetic of the comparison: from what runs measured to what the page says.

A run is a dictionary: ``phases``, a list of (name, wall s, CPU s, most memory so far in bytes), and
whatever of ``ess``, ``rhat``, ``divergences``, ``khat``, ``khat_subject``, ``means``, ``sds``,
``cpu_of_draws``, ``cut`` and ``why_not`` there is.
"""

from __future__ import annotations

import statistics

RHAT_LIMIT, KHAT_LIMIT = 1.01, 0.7
# Importing, reading data, compiling, and checks of the comparison count in no rate.
BEFORE = (
    *("importing", "reading data", "compiling", "compiling the model"),
    *("comparing densities", "keeping the draws"),
)
WALL, CPU, MEMORY = 1, 2, 3


def seconds(run, column=WALL):
    """Seconds of the fit: starting points, warm-up or adaptation, and draws."""
    return sum(phase[column] for phase in run["phases"] if phase[0] not in BEFORE)


def seconds_before(run):
    """Wall seconds before the fit, which no rate counts."""
    return sum(phase[WALL] for phase in run["phases"] if phase[0] in BEFORE)


def rate(run, column=WALL):
    """Least bulk ESS per second; None without draws."""
    return run["ess"] / seconds(run, column) if "ess" in run else None


def bound(run, column=WALL):
    """Rate of a run without draws, had each iteration been an independent draw; None if unknown."""
    if "iterations" not in run or "ess" in run or not seconds(run, column):
        return None
    return run["iterations"] / seconds(run, column)


def rate_of_draws(run):
    """Least bulk ESS per CPU-second of the draws alone; None where they are not timed apart."""
    if "ess" not in run:
        return None
    apart = run.get("cpu_of_draws")
    if apart is None and "khat" in run:
        apart = sum(phase[CPU] for phase in run["phases"] if phase[0] == "sampling")
    return run["ess"] / apart if apart else None


def peak(run, last=None):
    """Most memory (bytes) held by the process up to the end of the phase ``last``, or at all."""
    if last is None and "peak" in run:
        return run["peak"]
    names = [phase[0] for phase in run["phases"]]
    if not names or (last is not None and last not in names):
        return None
    return run["phases"][-1 if last is None else names.index(last)][MEMORY]


def faults(run):
    """Why the draws are not to be believed; empty when they are."""
    found = []
    if run.get("instead"):
        found.append(run["instead"])
    if "ess" in run and not run["rhat"] < RHAT_LIMIT:
        found.append(f"R-hat {run['rhat']:.3f}")
    if run.get("divergences"):
        found.append(f"{run['divergences']} divergences")
    worst = max(run.get("khat", 0.0), run.get("khat_subject", 0.0))
    if not worst < KHAT_LIMIT:
        found.append(f"k-hat {worst:.2f}")
    return found


def ratios(reference, others, column=WALL):
    """The reference's rate over another tool's, run by run; runs without draws are left out."""
    pairs = [(rate(a, column), rate(b, column)) for a, b in zip(reference, others, strict=True)]
    return [a / b for a, b in pairs if a is not None and b]


def median_ratio(reference, others, column=WALL):
    """Median of `ratios`; None where there is none."""
    found = ratios(reference, others, column)
    return statistics.median(found) if found else None


def distance(run, reference):
    """Largest difference of a mean from the reference's, in the reference's SDs, and whose it is.

    Raises
    ------
    ValueError
        When the two have other parameters: they did not fit the same model.
    """
    if "means" not in run or "means" not in reference:
        return None
    if run["means"].keys() != reference["means"].keys():
        odd = sorted(run["means"].keys() ^ reference["means"].keys())
        raise ValueError(f"the tools have other parameters: {', '.join(odd)}")
    apart = {
        name: abs(mean - reference["means"][name]) / reference["sds"][name]
        for name, mean in run["means"].items()
    }
    worst = max(apart, key=apart.get)
    return apart[worst], worst


def median_of(values):
    """Median of the values that are not None; None when all are."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
