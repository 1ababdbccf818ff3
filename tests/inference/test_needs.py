"""Memory and disk: said beforehand, near what is needed in the end."""

from collections import namedtuple

import numpy as np
import pytest
import xarray as xr

from popk.design import check_fit
from popk.individual import Trough, individualise
from popk.inference import MAP, NUTS, SMC, VI, Laplace, Marginal, Pathfinder, sample
from popk.inference.needs import check_room, needs_of
from popk.inference.precision import precision_of
from popk.prediction import predict
from popk.storage import StorageError


@pytest.fixture(scope="module")
def model(fits):
    return fits.one_compartment(cv=0.3)


@pytest.fixture(scope="module")
def data(fits):
    return fits.dataset(*(r for k in range(4) for r in fits.history(f"S{k}", (14.0 + k, 16.0 + k))))


def test_the_disk_that_a_run_takes_is_foreseen(model, data, tmp_path):
    method = Marginal(draws=3000, chains=4, round_size=100)
    sample(model, data, method, seed=1, run=tmp_path, progress=False)
    taken = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    foreseen = needs_of(model, check_fit(model, data), method).disk
    assert foreseen == pytest.approx(taken, rel=0.3)


@pytest.mark.parametrize(
    ("method", "draws", "made"),
    [
        (SMC(particles=500, chains=3), 1500, 1500),
        (Laplace(draws=200, chains=3, proposals=400), 600, 1200),
        (Pathfinder(draws=200, chains=3, proposals=400), 600, 1200),
        (VI(draws=200, chains=3, proposals=400), 600, 1200),
        (Laplace(draws=200, chains=3, proposals=100, resample=False), 600, 600),
    ],
    ids=repr,
)
def test_what_other_methods_need_follows_from_their_draws_and_proposals(
    model, data, method, draws, made
):
    design = check_fit(model, data)
    needs = needs_of(model, design, method)
    # With as many draws, Marginal writes the fit and what it draws: the population, the effects,
    # density and weight.
    other = needs_of(model, design, Marginal(draws=draws, chains=1))
    drawn = 8 * draws * (len(model.parameters) + 4 * len(model.iiv.effects) + 2)
    assert needs.disk == pytest.approx(other.disk - drawn)
    beside = needs_of(model, design, MAP()).memory - needs_of(model, design, MAP()).disk
    copies = 3 if isinstance(method, VI) else 2
    joining = copies * made / draws * drawn
    least, most = max(needs.disk, joining), max(needs.disk + made / draws * drawn, joining)
    assert least <= needs.memory - beside <= most


def test_a_large_fit_keeps_what_follows_from_its_draws_in_single_precision(
    model, data, monkeypatch
):
    method = Marginal(draws=300, chains=2)
    design, told = check_fit(model, data), []
    full = sample(model, data, method, seed=1, progress=False)
    needs = needs_of(model, design, method)
    numbers = 600 * (4 * 2 + 8)
    monkeypatch.setattr("popk.inference.precision.LARGE", numbers)
    assert precision_of(model, design, 600) == np.float64
    monkeypatch.setattr("popk.inference.precision.LARGE", numbers - 1)
    fit = sample(model, data, method, seed=1, progress=False)
    saved = needs.disk - needs_of(model, design, method).disk
    assert saved == 4 * numbers
    assert saved == sum(
        full[group].dataset.nbytes - fit[group].dataset.nbytes for group in full.children
    )
    for group, name in (("posterior", "parameters"), ("log_likelihood", "DV")):
        assert fit[group][name].dtype == np.float32
        assert fit[group][name].attrs == full[group][name].attrs
        np.testing.assert_allclose(fit[group][name], full[group][name], rtol=3e-7, atol=1e-7)
    np.testing.assert_array_equal(fit["posterior"]["eta"], full["posterior"]["eta"])
    exact = predict(fit, seed=1)["predictions"]["parameters"]
    np.testing.assert_array_equal(exact, full["posterior"]["parameters"])
    one, other = (
        individualise(each, target=Trough(10.0, "mg/L"), seed=1)["posterior"]["parameters"]
        for each in (fit, full)
    )
    assert one.dtype == np.float64
    np.testing.assert_allclose(one, other, rtol=3e-7)
    check_room(model, design, Marginal(draws=10**7), told.append)
    assert told[0].endswith(" will be needed; what follows from the draws is kept to seven digits")


def test_a_large_fit_is_put_together_a_few_draws_at_a_time(model, data, monkeypatch):
    method = Marginal(draws=100, chains=2)
    whole = sample(model, data, method, seed=1, progress=False)
    for module in ("fit", "marginal.assemble"):
        monkeypatch.setattr(f"popk.inference.{module}._BLOCK", 40)
    parts = sample(model, data, method, seed=1, progress=False)
    for group in ("posterior", "log_likelihood", "posterior_predictive", "convergence"):
        xr.testing.assert_identical(parts[group].to_dataset(), whole[group].to_dataset())


def test_one_point_needs_less_than_any_draws(model, data):
    design = check_fit(model, data)
    assert needs_of(model, design, MAP()).disk < needs_of(model, design, Laplace(draws=10)).disk


def test_only_large_fits_are_told(model, data, tmp_path):
    design, told = check_fit(model, data), []
    check_room(model, design, Marginal(), told.append, folder=tmp_path)
    assert told == []
    check_room(model, design, NUTS(draws=10**6), told.append)
    (words,) = told
    assert words.startswith("about ")
    assert words.endswith(" GB of memory will be needed")
    assert 3 < float(words.split()[1]) < 20


def test_a_disk_too_small_is_refused_before_anything_is_sampled(model, data, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr("popk.inference.needs.shutil.disk_usage", lambda _: usage)
    told = []
    with pytest.raises(StorageError, match=r"has 0\.00 GB free, but the run needs about"):
        sample(model, data, Marginal(draws=10**5), seed=1, run=tmp_path / "run",
               progress=told.append)  # fmt: skip
    assert [report.stage for report in told] == []
