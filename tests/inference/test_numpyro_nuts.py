"""NUTS by NumPyro: the posterior that is known, runs that go on to the bit, refusals."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.graph import build
from popk.inference import NumpyroNUTS, Run, resume, sample
from popk.inference.method import as_values, from_values
from popk.model import PopModel
from popk.statistics import Combined, Fixed, StudentTError
from popk.structure import MichaelisMenten, OneCompartment

SHORT = NumpyroNUTS(draws=50, tune=50, chains=2, pilot=25, device="cpu")


class StopError(Exception):
    """Stands for whatever ends a run."""


def stop_when(condition):
    def listen(report):
        if report.stage == "sampling" and condition(report):
            raise StopError

    return listen


@pytest.mark.parametrize("done", [50, 150], ids=["while tuning", "afterwards"])
@pytest.mark.slow
def test_an_interrupted_run_gives_the_same_draws(cohorts, small, tmp_path, done):
    data, _ = small
    whole = sample(cohorts.TWO_UNKNOWN, data, SHORT, seed=5, progress=False)
    stop = stop_when(lambda report: report.done >= done)
    with pytest.raises(StopError):
        sample(
            cohorts.TWO_UNKNOWN, data, SHORT, seed=5, progress=stop, run=Run(tmp_path, seconds=0)
        )
    fit = resume(tmp_path, progress=False)
    assert json.loads(fit.attrs["resumed"]) == [{"steps of each chain": done // 2}]
    for name in ("CL", "omega_CL", "eta"):
        np.testing.assert_array_equal(fit["posterior"][name], whole["posterior"][name])
    np.testing.assert_array_equal(fit["sample_stats"]["energy"], whole["sample_stats"]["energy"])


def test_a_short_fit_has_all_that_a_fit_has(cohorts, small, tmp_path):
    data, _ = small
    reports = []
    fit = sample(
        cohorts.TWO_UNKNOWN, data, SHORT, seed=1, progress=reports.append, run=tmp_path / "run"
    )
    stats = fit["sample_stats"].to_dataset()
    assert stats.attrs["device"].startswith("cpu")
    assert {"diverging", "energy", "n_steps", "step_size", "logp"} <= set(stats)
    assert stats["energy"].shape == (2, 50)
    assert fit["posterior"]["eta"].dims == ("chain", "draw", "subject", "effect")
    assert {"log_likelihood", "log_likelihood_subject", "posterior_predictive"} <= set(fit.children)
    verdict = verdict_of(fit)
    assert (verdict.n_chains, verdict.n_draws) == (2, 50)
    assert verdict.kind == "draws"
    last = [report for report in reports if report.stage == "sampling"][-1]
    assert (last.done, last.total, len(last.chains)) == (200, 200, 2)
    assert last.ess is not None
    theta = fit["posterior"]["parameters"].sel(parameter="CL")
    expected = fit["posterior"]["CL"] * np.exp(fit["posterior"]["eta"].sel(effect="CL"))
    np.testing.assert_allclose(theta, expected.transpose(*theta.dims), rtol=1e-12)
    assert from_values(json.loads(fit.attrs["method"])) == SHORT
    again = resume(tmp_path / "run", progress=False)
    np.testing.assert_array_equal(again["posterior"]["CL"], fit["posterior"]["CL"])


@pytest.mark.slow
def test_the_posterior_is_the_one_on_a_grid(cohorts, small, assert_posterior):
    data, grid = small
    fit = sample(cohorts.TWO_UNKNOWN, data, NumpyroNUTS(), seed=2, progress=False)
    assert_posterior(fit, grid)
    assert verdict_of(fit).converged


def test_settings_are_checked_and_kept():
    method = NumpyroNUTS(draws=70, device="gpu", forms={"CL": "centred"})
    assert from_values(json.loads(json.dumps(as_values(method)))) == method
    for settings, says in (
        ({"draws": 3}, "draws=3"),
        ({"target_accept": 1.0}, "NumpyroNUTS was given target_accept"),
        ({"forms": {"CL": "square"}}, "the form 'square' for CL"),
        ({"device": "abacus"}, 'device=.abacus.; expected "cpu", "gpu"'),
    ):
        with pytest.raises(SettingError, match=says):
            NumpyroNUTS(**settings)


def test_what_cannot_be_done_is_refused(cohorts, small, monkeypatch):
    import jax

    data, _ = small
    parts = {"iiv": cohorts.TWO_UNKNOWN.iiv, "error": cohorts.TWO_UNKNOWN.error}
    parts |= {"units": cohorts.UNITS, "name": "saturable"}
    typical = {"V": Fixed(5.0), "VMAX": Fixed(1.0), "KM": Fixed(2.0)}
    structure = OneCompartment(elimination=MichaelisMenten())
    model = PopModel(structure, typical=typical, **parts | {"iiv": None})
    with pytest.raises(SettingError, match=r"no closed form.* Sample it by Marginal or NUTS"):
        sample(model, data, SHORT, seed=1, progress=False)
    if not any(device.platform == "gpu" for device in jax.devices()):
        with pytest.raises(SettingError, match='device="gpu", which JAX does not find'):
            sample(cohorts.TWO_UNKNOWN, data, NumpyroNUTS(device="gpu"), seed=1, progress=False)
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(SettingError, match=r'needs numpyro.*pip install "popk\[jax\]"'):
        sample(cohorts.TWO_UNKNOWN, data, SHORT, seed=1, progress=False)


def test_a_model_for_other_samplers_of_jax(cohorts, small):
    """Its events are constants; where JAX would make wrong derivatives it is refused."""
    data, _ = small
    plain, built = (build(cohorts.TWO_UNKNOWN, data, jax=own) for own in (False, True))
    names = {str(one.name) for one in plain.data_vars} - {str(one.name) for one in built.data_vars}
    assert {"event_codes", "event_numbers"} <= names
    point = built.initial_point()
    expected = plain.compile_logp(mode="FAST_COMPILE")(point)
    assert built.compile_logp(mode="FAST_COMPILE")(point) == pytest.approx(expected, rel=1e-12)
    error = StudentTError(Combined(Fixed(0.1), Fixed(0.2)), Fixed(4.0))
    heavy = PopModel(
        OneCompartment(),
        typical={"CL": Fixed(0.2), "V": Fixed(5.0)},
        iiv=cohorts.TWO_UNKNOWN.iiv,
        error=error,
        units=cohorts.UNITS,
        name="heavy tails",
    )
    with pytest.raises(SettingError, match=r"Sample it by popk.NumpyroNUTS"):
        build(heavy, data, jax=True)
