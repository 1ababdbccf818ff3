"""Runs by the methods that store nothing before the fit: begun again, they give the same."""

import json

import pytest

from popk.errors import SettingError
from popk.inference import (
    MAP,
    NUTS,
    SMC,
    VI,
    Laplace,
    Marginal,
    Pathfinder,
    resume,
    sample,
    state_of,
)
from popk.inference.method import as_values, from_values

SMALL = {"draws": 50, "chains": 2, "proposals": 100}
WHOLE = [
    MAP(),
    Laplace(**SMALL),
    Pathfinder(**SMALL, paths=2),
    SMC(particles=100, chains=2, moves=2),
]


class StopError(Exception):
    """Stands for whatever ends a run."""


def stop(report):
    """A listener that interrupts the run as it begins."""
    raise StopError(report.stage)


@pytest.mark.parametrize("method", WHOLE, ids=lambda method: type(method).__name__)
def test_interrupted_it_is_begun_again_and_the_fit_is_the_same(method, cohorts, small, tmp_path):
    run, given = tmp_path / "run", (cohorts.TWO_UNKNOWN, small[0], method)
    with pytest.raises(StopError):
        sample(*given, seed=3, run=run, progress=stop)
    assert state_of(run) == "unfinished"
    assert not list(run.rglob("*.chunk"))
    fit = resume(run, progress=False)
    assert state_of(run) == "finished"
    assert json.loads(fit.attrs["method"])["name"] == type(method).__name__
    whole = sample(*given, seed=3, progress=False)
    for group in ("posterior", "sample_stats", "posterior_predictive", "log_likelihood_subject"):
        assert fit[group].identical(whole[group]), group
    assert fit.attrs["verdict"] == whole.attrs["verdict"]


@pytest.mark.parametrize(
    "method",
    [
        *WHOLE,
        VI(fixed=8),
        NUTS(tune=77),
        Marginal(draws=123, otherwise=NUTS(tune=77)),
        Marginal(otherwise=None),
    ],
    ids=lambda method: type(method).__name__,
)
def test_every_method_is_known_again_by_its_values(method):
    assert from_values(json.loads(json.dumps(as_values(method)))) == method


def test_methods_and_settings_of_other_versions_are_refused():
    with pytest.raises(SettingError, match="sampled by 'Gibbs', which this version of popk"):
        from_values({"name": "Gibbs"})
    with pytest.raises(SettingError, match=r"begun by another version of popk: .*'speed'"):
        from_values({"name": "Laplace", "speed": 2})
