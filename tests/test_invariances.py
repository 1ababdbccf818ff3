"""What must not change a number: order, names, units, and how doses are written down."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from popk_strategies import UNITS, event_tables, regimens

from popk.dataset import read_dataset
from popk.design import design_of
from popk.individual import Trough, expected_of, individualise, log_joint, patients_of
from popk.inference import Marginal, sample
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import IIV, Combined, HalfNormal, LogNormal, Power, Proportional
from popk.structure import FirstOrder, MichaelisMenten, OneCompartment, Solver, TwoCompartment

RNG = np.random.default_rng(5)
Z = RNG.standard_normal((7, 3, 2))
DRAWS = {
    "CL": RNG.lognormal(np.log(2.0), 0.2, 7), "V": RNG.lognormal(np.log(20.0), 0.2, 7),
    "omega_CL": RNG.uniform(0.1, 0.5, 7), "omega_V": RNG.uniform(0.1, 0.5, 7),
    "beta_CL_WT": np.full(7, 0.75), "sigma_prop": RNG.uniform(0.1, 0.4, 7),
    "sigma_add": RNG.uniform(0.1, 0.4, 7),
}  # fmt: skip
POWER = Power("CL", "WT", reference=70, exponent=LogNormal(0.75, cv=0.1))


def model_in(units, error):
    """The model whose parameters `DRAWS` are, in any units."""
    return PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(2.0, cv=0.5), "V": LogNormal(20.0, cv=0.5)},
        iiv=IIV({"CL": HalfNormal(0.3), "V": HalfNormal(0.3)}),
        covariates=(POWER,),
        error=error,
        units=units,
    )


PROPORTIONAL = model_in(UNITS, Proportional(HalfNormal(0.3)))
COMBINED = model_in(UNITS, Combined(HalfNormal(0.3), HalfNormal(1.0)))


def densities(model, dataset, values=DRAWS):
    """Log density (7, 3) of each subject's data and effects at the same values, by ID."""
    draws, found = PopulationDraws(model, values), {}
    for patient in patients_of(draws, dataset, threads=1):
        expected = expected_of(draws, patient, np.zeros((draws.size, 2)))
        found[patient.subject] = log_joint(draws, patient, expected, Z)[0]
    return found


def assert_equal(found, expected, **within):
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert np.isfinite(values).any()
        if within:
            np.testing.assert_allclose(found[name], values, **within)
        else:
            np.testing.assert_array_equal(found[name], values)


def per_subject(frame, order):
    """The frame with its subjects in another order."""
    parts = dict(list(frame.groupby("ID", sort=False)))
    names = list(parts)
    return pd.concat([parts[names[k % len(names)]] for k in order if k < len(names)])


TABLES = settings(max_examples=15, derandomize=True)


# Who, and in which order


@given(frame=event_tables(), order=st.permutations(range(4)))
@TABLES
def test_patients_in_another_order_have_the_same_densities(frame, order):
    data, other = (read_dataset(one, units=UNITS) for one in (frame, per_subject(frame, order)))
    assert_equal(densities(COMBINED, other), densities(COMBINED, data))
    assert dict(other.subject_fingerprints) == dict(data.subject_fingerprints)


@given(frame=event_tables())
@TABLES
def test_patients_of_other_names_have_the_same_densities(frame):
    renamed = frame.assign(ID=frame["ID"].map(lambda name: f"{name}-x 9"))
    found = densities(COMBINED, read_dataset(renamed, units=UNITS))
    expected = densities(COMBINED, read_dataset(frame, units=UNITS))
    assert_equal({name.removesuffix("-x 9"): one for name, one in found.items()}, expected)


# Units


@given(frame=event_tables())
@TABLES
def test_hours_and_days_are_the_same_patients(frame):
    """A clearance in L/d is 24 times that in L/h; the concentrations are the same."""
    days = frame.assign(TIME=frame["TIME"] / 24, II=frame["II"] / 24, RATE=frame["RATE"] * 24)
    other = read_dataset(days, units=UNITS | {"time": "d"})
    model = model_in(UNITS | {"time": "d"}, COMBINED.error)
    found = densities(model, other, DRAWS | {"CL": 24 * DRAWS["CL"]})
    assert_equal(found, densities(COMBINED, read_dataset(frame, units=UNITS)), rtol=1e-9)


@given(frame=event_tables())
@TABLES
def test_mg_and_ug_are_the_same_patients(frame):
    """The density of a number a thousand times as large is a thousandth."""
    scaled = {name: frame[name] * 1000 for name in ("AMT", "RATE", "DV", "LLOQ")}
    small = UNITS | {"amount": "ug", "concentration": "ug/L"}
    other, data = (
        read_dataset(frame.assign(**scaled), units=small),
        read_dataset(frame, units=UNITS),
    )
    model = model_in(small, COMBINED.error)
    found = densities(model, other, DRAWS | {"sigma_add": 1000 * DRAWS["sigma_add"]})
    table = data.table
    measured = table["ID"].values[data.is_observation & (table["CENS"].values == 0)]
    counts = {name: np.sum(measured == name) for name in data.subjects}
    shifted = {name: one + counts[name] * np.log(1000) for name, one in found.items()}
    assert_equal(shifted, densities(COMBINED, data), rtol=1e-9, atol=1e-9)


@given(frame=event_tables())
@TABLES
def test_units_that_are_converted_give_the_same_data(frame):
    minutes = frame.assign(TIME=frame["TIME"] * 60, II=frame["II"] * 60, AMT=frame["AMT"] * 1000,
                           RATE=frame["RATE"] * 1000 / 60)  # fmt: skip
    given_units = {"time": "min", "amount": "ug"}
    found = read_dataset(minutes, units=UNITS, given=given_units).table
    data = read_dataset(frame, units=UNITS).table
    for name in ("TIME", "II", "AMT", "RATE", "DV"):
        np.testing.assert_allclose(found[name], data[name], rtol=1e-14, err_msg=name)


# Doses


def split(frame, at):
    """Runs of doses (ADDL) as two records, the second from its dose `at` on."""
    rows = []
    for row in frame.to_dict("records"):
        more = row["ADDL"]
        if row["EVID"] != 1 or more < at:
            rows.append(row)
            continue
        rows.append({**row, "ADDL": at - 1, "II": row["II"] if at > 1 or row["SS"] else 0.0})
        later = {**row, "TIME": row["TIME"] + at * row["II"], "ADDL": more - at, "SS": 0}
        rows.append({**later, "II": row["II"] if more > at else 0.0})
    return in_order(rows, frame)


def explicit(frame):
    """Every dose with a record of its own."""
    rows = []
    for row in frame.to_dict("records"):
        more = int(row["ADDL"]) if row["EVID"] == 1 else 0
        interval = row["II"]
        first = {**row, "ADDL": 0, "II": interval if row["SS"] else 0.0}
        rows.append(first if row["EVID"] == 1 else row)
        for k in range(1, more + 1):
            rows.append({**first, "TIME": row["TIME"] + k * interval, "SS": 0, "II": 0.0})
    return in_order(rows, frame)


def in_order(rows, frame):
    """Records by subject and time; the doses put in stand before what else is at their time."""
    found = pd.DataFrame(rows, columns=frame.columns)
    whose = found["ID"].map({name: k for k, name in enumerate(dict.fromkeys(frame["ID"]))})
    order = np.lexsort((found["EVID"].values == 0, found["TIME"].values, whose.values))
    return found.iloc[order]


@st.composite
def runs_of_doses(draw):
    """A table without doses of other kinds at the times of those that repeat."""
    frame = draw(event_tables())
    frame = frame.assign(SS=frame["SS"].replace(2, 0))
    steady = (frame["SS"] > 0) | (frame["ADDL"] > 0)
    frame = frame.assign(II=np.where(steady, 12.0, 0.0))
    # A steady state begins the history: it forgets what was before.
    first = ~frame["ID"].duplicated()
    frame = frame.assign(SS=np.where(first, frame["SS"], 0))
    frame = frame.assign(II=np.where((frame["SS"] > 0) | (frame["ADDL"] > 0), 12.0, 0.0))
    # Samples between the times of doses.
    shift = np.where(frame["EVID"] == 0, 0.11, 0.0)
    return in_order(frame.assign(TIME=frame["TIME"] + shift).to_dict("records"), frame)


STRUCTURES = (
    OneCompartment(),
    TwoCompartment(FirstOrder()),
    OneCompartment(elimination=MichaelisMenten()),
)


def concentrations(structure, frame):
    """What is predicted at every record without a dose, for the examples of the parameters."""
    data = read_dataset(frame, units=UNITS)
    model = PopModel(
        structure,
        typical={p.name: LogNormal(p.example, cv=0.3) for p in structure.parameters},
        error=Proportional(HalfNormal(0.3)),
        units=UNITS,
    )
    events = design_of(model, data, everywhere=True).events
    theta = np.array([[[p.example for p in structure.parameters]] * data.n_subjects])
    return Solver(structure, events).ensemble(theta).value


@pytest.mark.parametrize("structure", STRUCTURES, ids=["linear", "oral", "saturable"])
@given(frame=runs_of_doses(), at=st.integers(1, 3))
@settings(max_examples=12, derandomize=True)
def test_a_run_of_doses_is_its_parts_and_its_doses(structure, frame, at):
    if not structure.closed_form:  # a saturated elimination may have no steady state
        frame = frame.assign(SS=0, II=np.where(frame["ADDL"] > 0, 12.0, 0.0))
    whole = concentrations(structure, frame)
    within = {"rtol": 1e-9, "atol": 1e-12 * np.abs(whole).max(initial=1.0)}
    if not structure.closed_form:  # solved step by step, with other steps
        within = {"rtol": 1e-4, "atol": 1e-6 * np.abs(whole).max(initial=1.0)}
    np.testing.assert_allclose(concentrations(structure, split(frame, at)), whole, **within)
    np.testing.assert_allclose(concentrations(structure, explicit(frame)), whole, **within)


@given(regimen=regimens())
@settings(max_examples=25, derandomize=True)
def test_a_regimen_is_its_doses_one_by_one(regimen):
    """Against one compartment by superposition."""
    times = regimen.start + regimen.interval * np.array([0.01, 0.5, 0.99, 1.7, 4.3])
    data = regimen.dataset(["A"], times, units=UNITS)
    model = model_in(UNITS, PROPORTIONAL.error)
    model = PopModel(model.structure, typical=model.typical, error=model.error, units=UNITS)
    events = design_of(model, data, everywhere=True).events
    cl, v = 2.0, 20.0
    found = Solver(model.structure, events).ensemble(np.array([[[cl, v]]])).value[0]
    expected, k = np.zeros(len(times)), cl / v
    for given_at in regimen.start + regimen.interval * np.arange(regimen.repeats):
        since = np.maximum(times - given_at, 0.0)
        if regimen.duration == 0:
            expected += np.where(times > given_at, regimen.amount / v * np.exp(-k * since), 0.0)
        else:
            running = np.minimum(since, regimen.duration)
            rise = -np.expm1(-k * running) * np.exp(-k * (since - running))
            expected += regimen.amount / regimen.duration / cl * rise
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14 * regimen.amount)


# Advice and fits


@pytest.fixture(scope="module")
def fit(fits):
    records = [r for k in range(6) for r in fits.history(f"P{k}", (18.0 + k, 20.0 + k))]
    return fits.fit_of(fits.one_compartment(), fits.dataset(*records))


def advised(fit, data):
    """P(trough >= 10 mg/L) by subject and week, and its Monte Carlo error."""
    found = individualise(fit, data, target=Trough(10, "mg/L"), weeks=range(4, 9), seed=1)
    decision = found["decision"].to_dataset()
    return {s: (decision["probability"].sel(subject=s).values,
                decision["mcse"].sel(subject=s).values)
            for s in data.subjects}  # fmt: skip


def test_advice_is_the_same_however_the_history_is_written(fits, fit):
    sample_at = [fits.observe("N", 84.0 - 0.1, 21.0), fits.observe("N", 112.0 - 0.1, 19.0)]
    own = [fits.dose("N", 28.0 * k) for k in range(5)]
    run = [fits.dose("N", 0.0, addl=4, ii=28.0)]
    two = [fits.dose("N", 0.0, addl=1, ii=28.0), fits.dose("N", 56.0, addl=2, ii=28.0)]
    histories = [sorted(doses + sample_at, key=lambda record: record[1])
                 for doses in (own, run, two)]  # fmt: skip
    (whole, error), *others = [advised(fit, fits.dataset(*h))["N"] for h in histories]
    for probability, other_error in others:
        bound = 4 * np.hypot(error, other_error) + 1e-9
        assert np.all(np.abs(probability - whole) <= bound)


def test_advice_does_not_depend_on_names_and_order(fits, fit):
    def history(name, level):
        return fits.history(name, (level, level + 2))

    one = advised(fit, fits.dataset(*history("A", 15.0), *history("B", 25.0)))
    two = advised(fit, fits.dataset(*history("Y", 25.0), *history("X", 15.0)))
    for name, other in (("A", "X"), ("B", "Y")):
        (p, error), (q, error_q) = one[name], two[other]
        assert np.all(np.abs(p - q) <= 4 * np.hypot(error, error_q) + 1e-9)


def cohort(fits, *, names="ABCDEF", scale=1.0):
    """Six patients with troughs, times in units of which a day has so many."""
    records = []
    for k, name in enumerate(names):
        level = 14.0 + 3.0 * k
        for record in fits.history(name, (level, level * 1.1, level * 0.95)):
            time, interval = record[1] * scale, record[6] * scale
            records.append((record[0], time, *record[2:6], interval, *record[7:]))
    return records


@pytest.mark.slow
def test_fits_of_the_same_data_agree(fits):
    """Names, order and units change the random numbers, and nothing else."""
    method = Marginal(draws=400, chains=2, otherwise=None)
    model = fits.one_compartment(cv=0.3)
    data = fits.dataset(*cohort(fits))
    other = fits.dataset(*cohort(fits)[::-1][:0], *[
        r for name in "FEDCBA" for r in cohort(fits) if r[0] == name
    ])  # fmt: skip
    hours = read_dataset(
        pd.DataFrame(cohort(fits, scale=24.0), columns=fits.COLUMNS),
        units=fits.UNITS | {"time": "h"},
    )
    per_hour = PopModel(
        model.structure,
        typical={"CL": LogNormal(0.2 / 24, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
        iiv=model.iiv,
        error=model.error,
        units=fits.UNITS | {"time": "h"},
    )
    whole = sample(model, data, method, seed=1, progress=False)["posterior"]
    for tree, factor in (
        (sample(model, other, method, seed=2, progress=False), 1.0),
        (sample(per_hour, hours, method, seed=3, progress=False), 24.0),
    ):
        for name in ("CL", "V", "omega_CL", "omega_V", "sigma_prop"):
            mine = whole[name].values.ravel()
            theirs = tree["posterior"][name].values.ravel() * (factor if name == "CL" else 1.0)
            # Draws of these chains are hardly correlated; 5 standard errors with half of them.
            error = 5 * np.sqrt(2) * mine.std() / np.sqrt(len(mine) / 2)
            assert abs(mine.mean() - theirs.mean()) < error, name
