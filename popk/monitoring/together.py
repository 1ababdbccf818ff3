"""Whether the model is surprised by many patients taken together, where by none alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

__all__ = ["together"]

LEAST = 20  # patients
_LEVEL = 0.01


def together(ranks: NDArray[np.float64]) -> tuple[float, str]:
    """Kolmogorov and Smirnov's p-value of ranks against uniformity, and a sentence.

    Parameters
    ----------
    ranks
        P(Y <= y) of each patient's last observation given its others (n_subjects), NaN where there
        is none. Patients are independent, given the population.

    Returns
    -------
    NaN with fewer than 20 ranks; the sentence is empty unless the p-value is below 0.01.
    """
    known = ranks[np.isfinite(ranks)]
    if len(known) < LEAST:
        return float("nan"), ""
    p = float(kstest(known, "uniform").pvalue)
    if p >= _LEVEL:
        return p, ""
    faults = []
    if abs(known.mean() - 0.5) > 2 / np.sqrt(12 * len(known)):
        faults.append(f"the observations lie {'above' if known.mean() > 0.5 else 'below'} them")
    inside = float(((known > 0.25) & (known < 0.75)).mean())
    if abs(inside - 0.5) > 1 / np.sqrt(len(known)):
        faults.append(f"they are {'less' if inside > 0.5 else 'more'} certain than they should be")
    said = f": {'; '.join(faults)}" if faults else ""
    return p, (
        f"Taken together the last observations of these {len(known)} patients are not as the model "
        f"predicts them from each patient's others (p = {p:.2g}){said}. The model, or the "
        "assay, may not be right for these patients, so that probabilities are off in all of "
        "them: see popk.evaluate_forecasts, and fit the model to data like theirs."
    )
