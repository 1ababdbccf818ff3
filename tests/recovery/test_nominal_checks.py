"""On data of the model itself NPDE are standard normal, and VPC bands hold what they say.

200 data sets are simulated by an equation in numpy, from parameters that are known; the model has
those as fixed values, so that nothing is fitted.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from popk.diagnostics import npde, vpc

pytestmark = pytest.mark.slow

SETS, PATIENTS = 200, 40
KNOWN = Path(__file__).resolve().parents[1] / "diagnostics" / "known.py"


@pytest.fixture(scope="module")
def known():
    spec = spec_from_file_location("popk_known", KNOWN)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fits_of_the_model(fits, known, *, lloq):
    """Fits of the true model to 200 data sets from it."""
    model = known.model(fits.UNITS)
    for number in range(SETS):
        drawn = np.abs(known.draws(PATIENTS, np.random.default_rng(number)))
        yield number, fits.fit_of(model, fits.after_boluses(known.TIMES, drawn, lloq=lloq))


def shown(capsys, text):
    """The figures are what the check is for."""
    with capsys.disabled():
        print(f"\n{text}")  # noqa: T201


@pytest.mark.parametrize("lloq", [1e-9, 2.0], ids=["all quantified", "some below the limit"])
def test_npde_of_200_data_sets_are_standard_normal(fits, known, lloq, capsys):
    p, means, variances = [], [], []
    for number, fit in fits_of_the_model(fits, known, lloq=lloq):
        found = npde(fit, replicates=500, seed=number)
        p.append(stats.kstest(found["NPDE"].values, "norm").pvalue)
        means.append(found["NPDE"].values.mean())
        variances.append(found["NPDE"].values.var())
    uniform = stats.kstest(p, "uniform").pvalue
    shown(
        capsys,
        f"NPDE, LLOQ {lloq:g}: p of each set against the standard normal, uniform over {SETS} sets "
        f"with p = {uniform:.3f}; {np.mean(np.array(p) < 0.05):.3f} of them below 0.05; mean "
        f"{np.mean(means):+.4f}, variance {np.mean(variances):.4f}",
    )
    assert uniform > 0.01
    assert np.mean(np.array(p) < 0.05) < 0.1
    each = PATIENTS * len(known.TIMES)
    assert abs(np.mean(means)) < 4 / np.sqrt(SETS * each)
    assert abs(np.mean(variances) - 1) < 4 * np.sqrt(2 / (SETS * each))


@pytest.mark.parametrize("corrected", [False, True], ids=["VPC", "pcVPC"])
def test_vpc_bands_hold_90_percent_of_200_data_sets(fits, known, corrected, capsys):
    inside = []
    for number, fit in fits_of_the_model(fits, known, lloq=1e-9):
        found = vpc(
            fit, clock="TIME", bins=4, prediction_corrected=corrected, replicates=500, seed=number
        )
        observed, band = found["observed"].values[0], found["simulated"].values[0]
        inside.append((observed >= band[..., 0]) & (observed <= band[..., 2]))
    held = np.mean(inside, axis=0)  # (bin, percentile)
    shown(
        capsys, f"{'pcVPC' if corrected else 'VPC'}: held\n{held.round(3)}\nmean {held.mean():.3f}"
    )
    # A share of 200 has a standard error of 0.021; bins of one data set go together.
    assert np.abs(held - 0.9).max() < 4 * 0.021
    assert abs(held.mean() - 0.9) < 0.02


def test_bands_of_the_fraction_below_the_limit_hold_at_least_90_percent(fits, known, capsys):
    inside, fraction = [], []
    for number, fit in fits_of_the_model(fits, known, lloq=5.0):
        found = vpc(fit, clock="TIME", bins=4, replicates=500, seed=number)
        observed, band = found["blq_observed"].values[0], found["blq_simulated"].values[0]
        inside.append((observed >= band[..., 0]) & (observed <= band[..., 2]))
        fraction.append(observed)
    held = np.mean(inside, axis=0)
    shown(capsys, f"Fraction below the limit {np.mean(fraction, axis=0).round(3)}: held {held}")
    # Counts are discrete: the bands hold more than they say.
    assert held.min() > 0.9 - 4 * 0.021
