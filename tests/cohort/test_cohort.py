"""Troughs of a cohort, and the hierarchical model of their logarithms."""

import numpy as np
import pytest
from scipy import stats

from popk.cohort import build_trough_model, describe, find_troughs
from popk.cohort.description import _needed, _observed
from popk.errors import PopkError


def patient(fits, name, values, *, gap=28.0):
    """A dose and a trough in turn; None is a sample below the limit of 1 mg/L."""
    found = [fits.dose(name, 0.0)]
    for k, value in enumerate(values, start=1):
        below = value is None
        found.append(fits.observe(name, gap * k, 1.0 if below else value, cens=int(below)))
        found.append(fits.dose(name, gap * k))
    return found


@pytest.fixture
def data(fits):
    return fits.dataset(
        *patient(fits, "A", [12.0, 9.0, None]), *patient(fits, "B", [30.0, 26.0, 35.0]),
        *patient(fits, "C", [None, 2.0]), *patient(fits, "D", [6.0], gap=56.0),
    )  # fmt: skip


def test_troughs_at_the_commonest_interval_are_described_and_the_others_counted(fits, data):
    found = find_troughs(data)
    assert found.interval == pytest.approx(4.0)
    assert found.modelled["ID"].tolist() == ["A"] * 3 + ["B"] * 3 + ["C"] * 2
    assert found.modelled["visit"].tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    np.testing.assert_allclose(found.modelled["years"][:2], np.array([28, 56]) / 365.25)
    assert "3 patients, 8 troughs" in found.words
    assert "2 of them BLQ. Left out: 1 troughs at other intervals, 0 samples" in found.words
    assert find_troughs(data, interval=8).modelled["ID"].tolist() == ["D"]


def test_what_is_no_trough_and_what_stands_beside_one_is_not_used(fits):
    own = patient(fits, "A", [12.0, 9.0])
    own.insert(1, fits.observe("A", 14.0, 40.0))  # in the middle of the interval
    own.insert(2, fits.observe("A", 27.0, 13.0))  # not the last before the dose
    own.insert(4, fits.observe("A", 28.0, 12.5))  # a second sample of the same time
    found = find_troughs(fits.dataset(*own))
    assert found.table["DV"].tolist() == [12.0, 9.0]
    assert (found.n_observations, found.n_replicates) == (5, 1)
    assert "2 samples that are no troughs, 1 further samples" in found.words


def test_the_density_is_that_of_the_hierarchical_model_with_blq(data):
    model = build_trough_model(find_troughs(data))
    point = {
        "log_level": 2.0, "sd_between": 0.7, "sd_within": 0.4, "trend": -0.2, "sd_trend": 0.3,
        "decay": -1.0, "level": np.array([2.1, 3.3, 0.4]), "z_slope": np.array([0.5, -1.0, 0.2]),
    }  # fmt: skip
    names = {v.name: v for v in model.value_vars}
    given = {
        f"{k}_log__" if f"{k}_log__" in names else k: np.log(v) if f"{k}_log__" in names else v
        for k, v in point.items()
    }
    observed = model.compile_logp(vars=model.observed_RVs, mode="FAST_COMPILE")(given)
    year, slope = 28 / 365.25, -0.2 + 0.3 * point["z_slope"]
    expected = 0.0
    for level, own, values in zip(
        point["level"], slope, [[12, 9, None], [30, 26, 35], [None, 2]], strict=True
    ):
        at = year * (np.arange(len(values)) - (len(values) - 1) / 2)
        for time, value in zip(at, values, strict=True):
            mean = level + own * time
            expected += (
                stats.norm.logcdf(0.0, mean, 0.4)
                if value is None
                else stats.norm.logpdf(np.log(value), mean, 0.4)
            )
    assert float(observed) == pytest.approx(expected, rel=1e-7)


def test_of_what_is_blq_the_share_above_a_lower_target_is_not_known(data):
    found = find_troughs(data)
    assert _observed(found, 10.0) == [0.5, 0.5, 0.5]
    low, median, high = _observed(found, 0.5)
    assert (low, high) == (0.75, 1.0)
    assert np.isnan(median)


def test_troughs_needed_by_simulation():
    within = np.array([0.15, 0.25, 0.4])
    rng = np.random.default_rng(1)
    for sd, n in zip(within, _needed(within, 0.2, 0.9).astype(int).tolist(), strict=True):
        held = [
            np.mean(np.abs(np.expm1(rng.normal(0, sd / np.sqrt(m), 200_000))) < 0.2)
            for m in (n - 1, n)
            if m
        ]
        assert held[-1] > 0.895
        assert len(held) == 1 or held[0] < 0.905


def test_what_makes_no_sense_is_refused_in_a_sentence(fits, data):
    with pytest.raises(PopkError, match=r"tolerance is 1; give a share"):
        find_troughs(data, tolerance=1)
    with pytest.raises(PopkError, match=r"No trough is 20 weeks after a dose"):
        find_troughs(data, interval=20)
    with pytest.raises(PopkError, match=r"assay_cv is 10; give the assay's CV"):
        describe(data, assay_cv=10)
    with pytest.raises(PopkError, match=r"targets are \[-1\]"):
        describe(data, targets=[-1])
    with pytest.raises(PopkError, match=r"0 patients have two troughs or more at 8 weeks"):
        describe(data, interval=8)
    with pytest.raises(PopkError, match=r"The data hold no troughs"):
        find_troughs(fits.dataset(fits.dose("A", 0.0), fits.observe("A", 1.0, 5.0)))
