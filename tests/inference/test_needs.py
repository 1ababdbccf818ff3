"""Memory and disk: said beforehand, near what is needed in the end."""

from collections import namedtuple

import pytest

from popk.design import check_fit
from popk.inference import MAP, NUTS, SMC, VI, Laplace, Marginal, Pathfinder, sample
from popk.inference.needs import check_room, needs_of
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
    # With as many draws, Marginal writes what it draws besides the fit, and holds three copies.
    other = needs_of(model, design, Marginal(draws=draws, chains=1))
    fit = (other.memory - other.disk) / 2
    drawn = other.disk - fit
    assert needs.disk == pytest.approx(fit)
    assert needs.memory == pytest.approx(made / draws * drawn + 3 * fit)


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
