"""The hierarchical model of the logarithm of troughs: patient, trend, within."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from popk.cohort.troughs import Troughs
from popk.errors import SettingError

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["build_trough_model"]

# SDs of the priors, of logarithms; trends by the year.
LEVEL, BETWEEN, WITHIN, TREND, TREND_BETWEEN, DECAY = 1.5, 1.0, 0.5, 0.5, 0.3, 3.0


def build_trough_model(troughs: Troughs) -> pm.Model:
    """An ordinary PyMC model of the logarithm of the troughs that are described.

    A patient's ``level`` (the logarithm of the median trough in the middle of the patient's own
    samples) is normal around ``log_level`` with ``sd_between``; the patient's ``slope`` by the year
    of treatment, which compares each patient with itself alone, is normal around ``trend`` with
    ``sd_trend``; ``decay`` allows for samples taken somewhat earlier or later than the interval;
    ``sd_within`` is what is left: between visits, and of the assay. A trough below its LLOQ (above
    the ULOQ) contributes the probability of being there.

    Parameters
    ----------
    troughs
        From `popk.cohort.find_troughs`.

    Raises
    ------
    SettingError
        When fewer than three patients have two troughs: patients and visits cannot be told apart.
    """
    import pymc as pm

    used = troughs.modelled
    ids = list(dict.fromkeys(used["ID"]))
    repeated = int((used.groupby("ID").size() >= 2).sum())
    if repeated < 3:
        raise SettingError(
            f"{repeated} patients have two troughs or more at {troughs.interval:.3g} weeks; the "
            "differences between patients and within them can be told apart from three on. Give "
            "another interval, or more data."
        )
    y = np.log(used["DV"].to_numpy(dtype=float))
    cens = used["CENS"].to_numpy()
    own = used.groupby("ID")["years"].transform("mean")
    with pm.Model(coords={"patient": ids, "trough": np.arange(len(used))}) as model:
        patient = pm.Data("patient_of", used["ID"].map(ids.index).to_numpy(), dims="trough")
        years = pm.Data("years", (used["years"] - own).to_numpy(), dims="trough")
        late = pm.Data("late", (used["weeks"] / troughs.interval - 1).to_numpy(), dims="trough")
        low = pm.Data("lower", np.where(cens == 1, y, -np.inf), dims="trough")
        high = pm.Data("upper", np.where(cens == -1, y, np.inf), dims="trough")
        centre = pm.Data("centre", float(np.median(y)))
        mean = pm.Normal("log_level", centre, LEVEL)
        sd_between = pm.HalfNormal("sd_between", BETWEEN)
        sd_within = pm.HalfNormal("sd_within", WITHIN)
        trend = pm.Normal("trend", 0.0, TREND)
        sd_trend = pm.HalfNormal("sd_trend", TREND_BETWEEN)
        decay = pm.Normal("decay", 0.0, DECAY)
        level = pm.Normal("level", mean, sd_between, dims="patient")
        z = pm.Normal("z_slope", 0.0, 1.0, dims="patient")
        slope = pm.Deterministic("slope", trend + sd_trend * z, dims="patient")
        expected = level[patient] + slope[patient] * years + decay * late
        error = pm.Normal.dist(expected, sd_within)
        pm.Censored("log_trough", error, lower=low, upper=high, observed=y, dims="trough")
    return model
