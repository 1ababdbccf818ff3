"""Two well separated sub-populations: their shares, factor and labels are found again."""

import numpy as np
import pytest

from popk.diagnostics import verdict_of
from popk.individual import Trough, individualise
from popk.inference import NUTS, sample
from popk.model import PopModel
from popk.statistics import IIV, Beta, HalfNormal, LogNormal, Proportional, Subpopulations
from popk.structure import OneCompartment

TIMES = np.array([2.0, 10.0, 20.0, 27.0])
TRUE = {"CL": 0.2, "V": 5.0, "fold_CL_fast": 3.0, "omega_CL": 0.25, "sigma_prop": 0.1}
SHARE = 0.3
CLASSES = Subpopulations(
    ("normal", "fast"),
    shares={"fast": Beta(0.5, n=2)},
    folds={"CL": {"fast": LogNormal(2.0, cv=0.6)}},
)


@pytest.fixture(scope="module")
def cohort(fits):
    """Sixty subjects after one bolus, and which of them are fast."""
    rng = np.random.default_rng(20)
    fast = rng.permutation(np.arange(60) < 60 * SHARE)
    cl = TRUE["CL"] * np.where(fast, TRUE["fold_CL_fast"], 1.0)
    cl = cl * np.exp(TRUE["omega_CL"] * rng.standard_normal(60))
    records = []
    for k in range(60):
        records.append(fits.dose(f"S{k}", 0.0))
        f = fits.bolus(TIMES, cl[k], TRUE["V"])
        for time, dv in zip(TIMES, f * (1 + 0.1 * rng.standard_normal(4)), strict=True):
            records.append(fits.observe(f"S{k}", time, max(dv, 1.0), cens=int(dv < 1.0)))
    return fits.dataset(*records), fast


@pytest.mark.slow
def test_shares_factor_and_labels_are_recovered(fits, cohort):
    data, fast = cohort
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.3, cv=0.5), "V": LogNormal(5.0, cv=0.3)},
        iiv=IIV({"CL": HalfNormal(0.5)}),
        error=Proportional(HalfNormal(0.3)),
        units=fits.UNITS,
        subpopulations=CLASSES,
    )
    fit = sample(model, data, NUTS(draws=1500, tune=700, chains=4), seed=3, progress=False)
    verdict = verdict_of(fit)
    assert verdict.rhat_max < 1.02, str(verdict)
    assert verdict.ess_bulk_min > 300, str(verdict)
    assert not verdict.divergences
    posterior = fit["posterior"].to_dataset()
    for name, true in (TRUE | {"share_fast": SHARE}).items():
        assert abs(float(posterior[name].mean()) - true) < 3 * float(posterior[name].std()), name
    assert float(posterior["share_fast"].std()) < 0.15  # 0.29 before the data
    probability = posterior["class_probability"].sel({"class": "fast"}).mean(("chain", "draw"))
    assert np.mean((probability.values > 0.5) == fast) >= 0.9
    # Labels and what they stand for agree with the probabilities.
    label = posterior["label"].mean(("chain", "draw"))
    np.testing.assert_allclose(label.values, probability.values, atol=0.05)
    own = np.log(posterior["parameters"].sel(parameter="CL") / posterior["CL"])
    fold = np.log(posterior["fold_CL_fast"]) * posterior["label"]
    eta = posterior["eta"].sel(effect="CL")
    np.testing.assert_allclose((own - fold - eta).values, 0.0, atol=1e-9)
    # A new patient of each class: the same target, another interval.
    records = [*fits.history("N", (23.0, 24.0)), *fits.history("F", (2.4, 2.5))]
    advice = individualise(fit, fits.dataset(*records), target=Trough(2.0, "mg/L"), seed=1)
    decision = advice["decision"].to_dataset()
    assert decision["class_probability"].sel({"class": "fast"}).values.round().tolist() == [0, 1]
    normal, quick = decision["longest"].values
    assert normal > np.nan_to_num(quick)
