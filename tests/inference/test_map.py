"""The mode of the marginal posterior, against a grid."""

import re

import numpy as np
import pytest

from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.individual import Trough, individualise
from popk.inference import MAP, sample
from popk.prediction import predict
from popk.reporting import parameter_table, report
from popk.storage import load, save


@pytest.fixture(scope="module")
def fit(cohorts, small):
    return sample(cohorts.TWO_UNKNOWN, small[0], MAP(cores=1), seed=3, progress=False)


def test_the_mode_is_the_highest_point_of_the_grid(fit, small, cohorts):
    """In scores of the priors, whose steps on the grid are 0.1."""
    values, weight, _ = small[1]
    best = np.argmax(weight)
    found = fit["sample_stats"].to_dataset()
    exact = [
        prior.score(values[name][best])
        for name, prior in (("CL", cohorts.CL_PRIOR), ("omega_CL", cohorts.OMEGA_PRIOR))
    ]
    np.testing.assert_allclose(found["score"], exact, atol=0.06)
    assert float(found["distance"]) < 0.1
    for name in ("CL", "omega_CL"):
        assert fit["posterior"][name].sizes == {"chain": 1, "draw": 1}
        at = float(found["mode_at"].sel(estimated=name)[0])
        assert float(fit["posterior"][name].squeeze()) == pytest.approx(at)


def test_standard_errors_are_those_of_the_curvature(fit, cohorts):
    """Second differences of the log density, integrated on a grid, at the mode."""
    _, log_dv = cohorts.two_unknown()
    at = fit["sample_stats"]["score"].values
    step = 0.02

    def density(move):
        x = at + step * move
        cl, omega = cohorts.CL_PRIOR.at_score(x[:1]), cohorts.OMEGA_PRIOR.at_score(x[1:])
        return float(cohorts.log_density(log_dv, cl, omega)[0])

    precision = np.empty((2, 2))
    for i, one in enumerate(np.eye(2)):
        for j, other in enumerate(np.eye(2)):
            ends = [density(a * one + b * other) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            precision[i, j] = -(ends[0] - ends[1] - ends[2] + ends[3]) / (4 * step**2)
    covariance = np.linalg.inv(precision)
    found = fit["sample_stats"].to_dataset()
    np.testing.assert_allclose(found["covariance_score"], covariance, rtol=0.03, atol=0.001)
    error = np.sqrt(np.diagonal(found["covariance_score"]))
    np.testing.assert_allclose(found["standard_error_score"], error)
    rows = {row[0].text: row[3].text for row in parameter_table(fit).rows}
    assert rows["omega_CL"] == f"{float(found['standard_error'].sel(estimated='omega_CL')):.3g}"
    # CL = 0.2 exp(sd x): its derivative by x is sd CL.
    slope = cohorts.CL_PRIOR.sd_log * float(fit["posterior"]["CL"].squeeze())
    assert float(found["standard_error"][0]) == pytest.approx(slope * error[0], rel=1e-6)


def test_effects_are_at_their_conditional_modes(fit, small, cohorts):
    data, _ = small
    cl, omega = (float(fit["posterior"][name].squeeze()) for name in ("CL", "omega_CL"))
    eta = np.linspace(-2, 2, 4001)
    for k, own in enumerate(fit["posterior"]["eta"].squeeze().values):
        dv = data.table["DV"].values[(data.table["ID"].values == f"S{k}") & data.is_observation]
        apart = np.log(dv) - (
            np.log(300 / cohorts.V) - cl * np.exp(eta)[:, None] / cohorts.V * cohorts.TIMES
        )
        density = -0.5 * (apart**2).sum(axis=1) / cohorts.SIGMA**2 - 0.5 * (eta / omega) ** 2
        assert own == pytest.approx(eta[np.argmax(density)], abs=2e-3)


def test_the_verdict_never_calls_a_point_final(fit):
    verdict = verdict_of(fit)
    assert verdict.kind == "point"
    assert not verdict.converged
    text = str(verdict)
    assert text.startswith("A point, not a posterior, these are not final results")
    assert "it has no uncertainty" in text
    assert "R-hat" not in text


def test_it_can_be_used_downstream_and_every_page_says_what_it_is(fit, small, tmp_path):
    again = load(save(fit, tmp_path / "fit.nc"))
    assert again["sample_stats"].to_dataset().identical(fit["sample_stats"].to_dataset())
    assert np.isfinite(predict(again, small[0], seed=1)["predictions"]["IPRED"]).all()
    advice = individualise(again, target=Trough(1.0, "mg/L"), weeks=[1, 2], seed=1, draws=1)
    assert int(advice.attrs["fit_converged"]) == 0
    page = report(again).html
    assert "<h2>A point, not a posterior</h2>" in page
    assert "it has no uncertainty" in page
    assert "not converged" in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)


def test_both_modes_are_found_where_absorption_and_elimination_can_be_exchanged(
    cohorts, exchangeable
):
    found = sample(cohorts.FLIP_FLOP, exchangeable, MAP(cores=1), seed=3, progress=False)
    np.testing.assert_allclose(found["sample_stats"]["mode_share"], [0.5, 0.5], atol=0.03)
    at = found["sample_stats"]["mode_at"]
    v, ka = (at.sel(estimated=name).values for name in ("V", "KA"))
    np.testing.assert_allclose(ka[::-1], 2.0 / v, rtol=0.02)
    (note,) = (n for n in verdict_of(found).notes if "modes" in n)
    assert "This is the highest of them" in note


@pytest.mark.parametrize("cores", [0, 1.5, float("nan"), True])
def test_settings_that_make_no_sense_are_refused(cores):
    with pytest.raises(SettingError, match=f"MAP was given cores={cores!r}; expected 1 or more"):
        MAP(cores=cores)
