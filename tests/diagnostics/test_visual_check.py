"""VPC and pcVPC: against plain loops, and whether the bands hold what they should."""

import json

import numpy as np
import pytest

from popk.dataset import read_dataset
from popk.diagnostics import vpc
from popk.diagnostics.bins import bin_edges, placed
from popk.diagnostics.replicates import Seen, replicated
from popk.diagnostics.visual_check import percentiles
from popk.errors import SettingError
from popk.population import dataset_of

SEED, SIZE = 7, 200
EDGES = (0.0, 30.0, 100.0)


@pytest.fixture(scope="module")
def uneven(fits, known):
    """A fit of seven patients, two of whom had a tenth of the dose; weights differ."""
    rng, records = np.random.default_rng(6), []
    for k, weight in enumerate((50.0, 55.0, 60.0, 70.0, 82.0, 90.0, 95.0)):
        amount = 30.0 if k in (2, 5) else 300.0
        records.append(fits.dose(f"S{k}", 0.0, amount, weight=weight))
        dv = np.maximum(known.draws(1, rng, amount=amount)[0], 0.2)
        for time, value in zip(known.TIMES, dv, strict=True):
            below = value < 1.0
            shown = 1.0 if below else value
            records.append(fits.observe(f"S{k}", time, shown, cens=int(below), weight=weight))
    return fits.fit_of(fits.one_compartment(cv=0.1), fits.dataset(*records))


def percentile(values, p):
    """Of numbers in a list, by linear interpolation; infinite where its neighbours are."""
    ordered = sorted(values)
    at = p / 100 * (len(ordered) - 1)
    low, part = int(at), at - int(at)
    if part == 0:
        return ordered[low]
    a, b = ordered[low], ordered[low + 1]
    return -np.inf if a == -np.inf else a + part * (b - a)


def by_loops(fit, *, corrected):
    """Observed percentiles (bin, 3), bands (bin, 3, 3), fractions below (bin), their bands."""
    seen = Seen.of(fit)
    reps = replicated(fit, seen, SIZE, np.random.default_rng(SEED))
    time = seen.coordinates()["TIME"][1]
    pred = [sum(reps[r, k] for r in range(SIZE)) / SIZE for k in range(len(time))]
    found = [], [], [], []
    for low, high in ((0.0, 30.0), (30.0, 101.0)):
        rows = [k for k in range(len(time)) if low <= time[k] < high]
        middle = np.median([pred[k] for k in rows])
        factor = {k: middle / pred[k] if corrected else 1.0 for k in rows}
        own = [-np.inf if seen.status[k] == 1 else seen.dv[k] * factor[k] for k in rows]
        found[0].append([percentile(own, p) for p in (5, 50, 95)])
        each = [
            [-np.inf if reps[r, k] < 1.0 else reps[r, k] * factor[k] for k in rows]
            for r in range(SIZE)
        ]
        bands = []
        for p in (5, 50, 95):
            drawn = sorted(percentile(one, p) for one in each)
            bands.append([drawn[9], drawn[99], drawn[189]])
        found[1].append(bands)
        found[2].append(sum(seen.status[k] == 1 for k in rows) / len(rows))
        below = sorted(sum(v == -np.inf for v in one) / len(rows) for one in each)
        found[3].append([below[9], below[99], below[189]])
    return [np.array(one) for one in found]


@pytest.mark.parametrize("corrected", [False, True], ids=["VPC", "pcVPC"])
def test_the_numbers_are_those_of_plain_loops(uneven, corrected):
    table = vpc(
        uneven, clock="TIME", bins=EDGES, prediction_corrected=corrected, replicates=SIZE,
        seed=SEED,
    )  # fmt: skip
    observed, bands, fraction, below = by_loops(uneven, corrected=corrected)
    assert np.isneginf(observed).any()
    np.testing.assert_allclose(table["observed"].values[0], observed, rtol=1e-10)
    np.testing.assert_allclose(table["simulated"].values[0], bands, rtol=1e-10)
    np.testing.assert_allclose(table["blq_observed"].values[0], fraction)
    np.testing.assert_allclose(table["blq_simulated"].values[0], below)
    assert table["count"].values.tolist() == [[14, 14]]
    assert table["subjects"].values.tolist() == [[7, 7]]


def test_prediction_correction_takes_away_what_doses_do(uneven):
    """A tenth of the dose in two of seven patients: the 5th percentile is theirs before."""
    plain, corrected = (
        vpc(uneven, clock="TIME", bins=[0, 10], prediction_corrected=flag, replicates=SIZE, seed=1)
        for flag in (False, True)
    )
    spread = [
        (table["observed"].sel(percentile=95) / table["observed"].sel(percentile=5)).item()
        for table in (plain, corrected)
    ]
    assert spread[0] > 6
    assert spread[1] < 4
    assert "prediction-corrected" in corrected["observed"].attrs["long_name"]


def test_bands_hold_the_data_of_the_model(fits, known, cohort, cohort_fit):
    table = vpc(cohort_fit, clock="TIME", bins=4, replicates=500, seed=1)
    observed, band = table["observed"].values, table["simulated"].values
    outside = (observed < band[..., 0]) | (observed > band[..., 2])
    assert outside.sum() <= 4
    assert table["blq_observed"].values[0, -1] > 0.3
    wrong = fits.fit_of(known.model(fits.UNITS, cl=0.3), cohort)
    table = vpc(wrong, clock="TIME", bins=4, replicates=200, seed=1)
    observed, band = table["observed"].values, table["simulated"].values
    assert ((observed < band[..., 0]) | (observed > band[..., 2])).sum() >= 6
    blq, blq_band = table["blq_observed"].values[0, -1], table["blq_simulated"].values[0, -1]
    assert blq < blq_band[0]
    assert (
        f"{int(((observed < band[..., 0]) | (observed > band[..., 2])).sum())} of 12 observed"
        in (table.attrs["verdict"])
    )


def test_the_bands_have_their_probability(fits, known):
    """Over data sets from the model 90 % of observed percentiles lie within, here of the median."""
    rng, inside = np.random.default_rng(2), []
    data = fits.after_boluses(known.TIMES, np.abs(known.draws(40, rng)), lloq=1e-9)
    fit = fits.fit_of(known.model(fits.UNITS), data)
    band = vpc(fit, clock="TIME", bins=4, replicates=1000, seed=1)["simulated"].values[0]
    for _ in range(300):
        again = percentiles(known.draws(40, rng).T)
        inside.append((again >= band[..., 0]) & (again <= band[..., 2]))
    np.testing.assert_allclose(np.mean(inside, axis=0), 0.9, atol=0.07)


def test_strata_of_a_covariate_of_troughs_and_of_levels(uneven, fits):
    table = vpc(uneven, stratify="WT", bins=2, replicates=100, seed=1)
    assert table["stratum"].values.tolist() == ["WT ≤ 70 kg", "WT > 70 kg"]
    assert table["subjects"].max("bin").values.tolist() == [4, 3]
    assert table["unit"].values.tolist() == ["mg/L", "mg/L"]
    data = fits.dataset(*(r for n in "AB" for r in [*fits.history(n), fits.observe(n, 98.0, 30.0)]))
    fit = fits.fit_of(fits.one_compartment(), data)
    table = vpc(fit, stratify="trough", bins=1, replicates=100, seed=1)
    assert table["stratum"].values.tolist() == ["trough", "not a trough"]
    assert table["count"].values.ravel().tolist() == [4, 2]
    np.testing.assert_allclose(table["x"].values.ravel(), [28.0, 14.0])
    (label,) = vpc(fit, stratify="WT", replicates=100, seed=1)["stratum"].values
    assert label == "WT 70 kg"


def test_strata_of_thirds_of_a_covariate_and_of_times_after_dose(fits):
    rows = []
    for k in range(30):
        rows += [*fits.history(f"S{k}", weight=50.0 + k), fits.observe(f"S{k}", 98.0, 30.0)]
        rows[-1] = (*rows[-1][:-1], 50.0 + k)
    fit = fits.fit_of(fits.one_compartment(), fits.dataset(*rows))
    table = vpc(fit, stratify="WT", bins=1, replicates=100, seed=1)
    labels = ["WT ≤ 59.67 kg", "59.67 < WT ≤ 69.33 kg", "WT > 69.33 kg"]
    assert table["stratum"].values.tolist() == labels
    assert table["subjects"].values.ravel().tolist() == [10, 10, 10]
    table = vpc(fit, clock="TIME", stratify="TAD", bins=[0, 200], replicates=100, seed=1)
    assert table["stratum"].values.tolist() == ["14 d after dose", "28 d after dose"]
    assert table["count"].values.ravel().tolist() == [30, 60]
    # Apart they are what each is alone.
    alone = np.percentile([30.0] * 30, [5, 50, 95])
    np.testing.assert_allclose(table["observed"].values[0, 0], alone)


def test_samples_before_any_dose_are_a_stratum_of_their_own(fits):
    data = fits.dataset(fits.observe("A", 0.0, 1.0, cens=1), *fits.history("A"))
    fit = fits.fit_of(fits.one_compartment(), data)
    table = vpc(fit, clock="TIME", stratify="TAD", bins=1, replicates=100, seed=1)
    assert table["stratum"].values.tolist() == ["28 d after dose", "before any dose"]


def test_percentiles_among_what_is_below_are_below():
    values = np.array([-np.inf, -np.inf, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(percentiles(values), [-np.inf, 1.0, 3.6])
    np.testing.assert_allclose(percentiles(np.array([-np.inf, 1.0])), [-np.inf, -np.inf, -np.inf])
    np.testing.assert_allclose(percentiles(np.array([1.0, np.inf])), [np.inf] * 3)
    plain = np.random.default_rng(1).normal(size=(3, 17))
    np.testing.assert_allclose(percentiles(plain).T, np.percentile(plain, [5, 50, 95], axis=1))


def test_bins_hold_about_as_many_and_never_tear_equal_times_apart():
    x = np.repeat([1.0, 2.0, 3.0, 4.0, 9.0], [10, 10, 10, 10, 1])
    np.testing.assert_allclose(bin_edges(x, 8), [1.0, 1.5, 2.5, 3.5, 6.5, 9.0])
    np.testing.assert_allclose(bin_edges(x, 2), [1.0, 2.5, 9.0])
    even = np.random.default_rng(1).random(1000)
    counts = np.bincount(placed(even, bin_edges(even, 8)))
    assert counts.tolist() == [125] * 8
    at = np.array([-1.0, 0.0, 1.0, 2.0, 2.1, np.nan])
    assert placed(at, np.array([0.0, 1.0, 2.0])).tolist() == [-1, 0, 1, 1, -1, -1]
    assert placed(np.full(3, 5.0), bin_edges(np.full(3, 5.0), 4)).tolist() == [0, 0, 0]


def test_limits_that_only_censored_records_name_count_for_all(uneven, fits):
    frame = dataset_of(uneven).to_frame()
    frame.loc[frame["CENS"] == 0, "LLOQ"] = np.nan
    fit = fits.fit_of(fits.one_compartment(cv=0.1), read_dataset(frame, units=fits.UNITS))
    table = vpc(fit, clock="TIME", bins=EDGES, replicates=100, seed=1)
    whole = vpc(uneven, clock="TIME", bins=EDGES, replicates=100, seed=1)
    np.testing.assert_array_equal(table["blq_observed"], whole["blq_observed"])
    np.testing.assert_array_equal(table["blq_simulated"], whole["blq_simulated"])
    (note,) = json.loads(table.attrs["notes"])
    assert "that name no LLOQ (" in note


def test_what_is_left_out_is_said(uneven):
    table = vpc(uneven, bins=[0, 60], replicates=100, seed=1)
    (note,) = json.loads(table.attrs["notes"])
    assert note == "Observations outside the bins are left out: 7."


def test_units_and_provenance(uneven):
    table = vpc(uneven, replicates=100, seed=1)
    assert table["x"].attrs == {"units": "d", "long_name": "time after dose"}
    assert table["bin_low"].attrs["units"] == "d"
    assert table["unit"].values.tolist() == ["mg/L"]
    assert table.attrs["band_probability"] == 0.9
    assert table.attrs["model_hash"] == uneven.attrs["model_hash"]
    assert "research software" in table.attrs["research_use"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"clock": "time"}, "expected 'TAD'"),
        ({"bins": 0}, "bins is 0"),
        ({"bins": [3.0, 1.0]}, "ascending order"),
        ({"bins": "many"}, "ascending order"),
        ({"stratify": "SEX"}, "stratify is 'SEX'; these data have WT, TAD, trough"),
        ({"replicates": 10}, "10 replicates"),
    ],
)
def test_refusals(uneven, given, said):
    with pytest.raises(SettingError, match=said):
        vpc(uneven, seed=1, **given)
