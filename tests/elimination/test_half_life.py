"""Half-lives against exact ones, and what is left, for patients and the population."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from popk.cli import main
from popk.decision.results import in_percent
from popk.elimination import half_life, usual_regimen
from popk.elimination.course import Fall, at_levels
from popk.errors import SettingError
from popk.individual import Trough
from popk.model import PopModel
from popk.plots import PlotError, plot_half_life
from popk.regimen import Regimen
from popk.statistics import IIV, Fixed, Proportional
from popk.storage import save
from popk.structure import (
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    ParallelMichaelisMenten,
    TwoCompartment,
)

MONTHLY = Regimen(amount=300.0, interval=28.0, repeats=10)
LABELS = {"US label": 11.0, "EU label": 28.2}


def known(structure, fits, **values):
    """A model whose parameters are known, nobody different from anybody else."""
    units = {name: fits.UNITS[name] for name in ("time", "amount", "concentration")}
    typical = {name: Fixed(value) for name, value in values.items()}
    return PopModel(
        structure,
        typical=typical,
        iiv=IIV({}),
        error=Proportional(Fixed(0.1)),
        units=units,
        name="known",
    )


def course_of(model, **options):
    found = half_life(model, regimen=MONTHLY, **{"draws": 1, "weeks": (2, 3, 4, 6), **options})
    return found, found["course"].to_dataset().isel(subject=0)


@pytest.fixture(scope="module")
def fit(fits):
    cohort = fits.dataset(*fits.history("A", weight=60.0), *fits.history("B", (12.0, 13.0)))
    return fits.fit_of(fits.one_compartment(covariates=True), cohort)


@pytest.fixture(scope="module")
def asked(fit):
    target = Trough(10.0, "mg/L")
    return half_life(fit, ["A", "B"], weeks=(4, 6), single=LABELS, target=target)


def test_of_one_compartment_it_is_that_of_each_draw_and_what_is_left_follows(fit, asked):
    theta = fit["posterior"]["parameters"].sel(subject="A").values.reshape(-1, 2)
    exact = np.log(2) * theta[:, 1] / theta[:, 0]
    ends = {"low": 0.05, "median": 0.5, "high": 0.95}
    own = asked["decision"].to_dataset().sel(subject="A")
    for end, p in ends.items():
        expected = np.quantile(exact, p, method="inverted_cdf")
        np.testing.assert_allclose(own[f"half_life_{end}"].values, expected, rtol=1e-6)
        left = 100 * 2.0 ** (-42.0 / exact)
        left = np.quantile(left, p, method="inverted_cdf")
        np.testing.assert_allclose(own[f"left_{end}"].sel(week=6), left, rtol=1e-5)
    single = asked["single"].to_dataset().sel(rule="US label", subject="A")["left"]
    np.testing.assert_allclose(single, [17.12, 7.09], rtol=1e-3)


def test_the_sentences_answer_why_not_six_weeks(fits, fit):
    new = fits.dataset(*fits.history("N", (22.0, 25.0), weight=80.0))
    asked = half_life(fit, new, single=LABELS, target=Trough(10.0, "mg/L"))
    said = asked["decision"]["words"].item()
    chance = asked["decision"]["probability"].values.ravel()
    assert "(US label) would leave 17 % after 4 weeks and 7.1 % after 6 weeks" in said
    assert "not the percentage but what is left against the target" in said
    assert f"{in_percent(chance[0])} after 4 weeks" in said
    assert "given 2 samples" in said
    assert "half-life then is" in said  # of a linear model it is one number
    assert asked.attrs["fit_data_hash"]
    assert "Research software" in asked.attrs["statement"]


def test_since_another_time_all_is_relative_to_that(fit):
    peak, trough, week = (
        half_life(fit, ["A"], weeks=(5, 6), since=since, single={"x": 7.0})
        for since in ("peak", "trough", 4)
    )
    left = [one["decision"]["left_median"].values.ravel() for one in (trough, week)]
    np.testing.assert_allclose(left[0], left[1], rtol=1e-6)  # the usual interval is four weeks
    assert np.all(left[0] > peak["decision"]["left_median"].values.ravel())
    np.testing.assert_allclose(trough["single"]["left"].values.ravel(), [50.0, 25.0])


def test_two_compartments_end_in_the_terminal_half_life(fits):
    cl, v1, q, v2 = 0.2, 3.5, 0.45, 2.8
    model = known(TwoCompartment(), fits, CL=cl, V1=v1, Q=q, V2=v2)
    _, course = course_of(model, weeks=(16,))
    rates = np.array([[-(cl + q) / v1, q / v2], [q / v1, -q / v2]])
    terminal = np.log(2) / -np.linalg.eigvals(rates).max()
    found = course["half_life_median"].values
    assert found[-1] == pytest.approx(terminal, rel=1e-5)
    assert found[5] < 0.5 * terminal  # distribution


def test_while_a_drug_is_absorbed_there_is_no_half_life(fits):
    model = known(OneCompartment(FirstOrder()), fits, CL=0.2, V=5.0, KA=0.3)
    _, course = course_of(model)
    found, week = course["half_life_median"].values, course["since_dose"].values
    top = week[np.argmax(course["trough_median"].values)]
    assert np.isnan(found[(week > 0) & (week < 0.9 * top)]).all()
    assert found[-1] == pytest.approx(np.log(2) * 5.0 / 0.2, rel=1e-3)


def test_of_michaelis_menten_it_is_exact_at_every_level(fits):
    v, vmax, km = 5.0, 20.0, 8.0
    model = known(OneCompartment(elimination=MichaelisMenten()), fits, V=v, VMAX=vmax, KM=km)
    found, course = course_of(model, target=Trough(10.0, "mg/L"))
    level = course["trough_median"].values
    exact = np.log(2) * v * (km + level) / vmax
    is_known = np.isfinite(course["half_life_median"].values)
    assert is_known.mean() > 0.95
    np.testing.assert_allclose(course["half_life_median"].values[is_known], exact[is_known], 2e-5)
    by_level = found["levels"].to_dataset().isel(subject=0)
    passed = by_level["passed"].values == 1.0
    exact = np.log(2) * v * (km + by_level["level"].values) / vmax
    assert 10.0 in by_level["level"].values[passed]
    np.testing.assert_allclose(by_level["half_life_median"][passed], exact[passed], rtol=2e-3)


def test_the_published_antibody_halves_in_twenty_days_between_weeks_two_and_four(fits):
    values = {"CL": 0.164, "V1": 3.48, "Q": 0.40, "V2": 3.48, "VMAX": 2.86, "KM": 0.875}
    model = known(TwoCompartment(elimination=ParallelMichaelisMenten()), fits, **values)
    regimen = Regimen(amount=300.0, interval=28.0, repeats=10, duration=1 / 24)
    found = half_life(model, regimen=regimen, weeks=(2, 3, 4, 6, 10), draws=1, single=LABELS)
    own = found["decision"].to_dataset().isel(subject=0)
    assert own["half_life_median"].sel(week=[2, 3, 4]).mean().item() == pytest.approx(20, abs=1.5)
    assert own["half_life_median"].sel(week=10).item() < 6  # KM is passed
    assert own["trough_median"].sel(week=4).item() == pytest.approx(25.6, abs=0.1)

    def rates(_, a):
        c, p = a[0] / 3.48, a[1] / 3.48
        out = 0.164 * c + 2.86 * c / (0.875 + c) + 0.4 * (c - p)
        return [-out, 0.4 * (c - p)]

    state = np.zeros(2)
    tight = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-12}
    for span in [28.0] * 9 + [70.0]:
        given = solve_ivp(
            lambda t, a: np.add(rates(t, a), [7200.0, 0]), (0, 1 / 24), state, **tight
        )
        after = solve_ivp(rates, (1 / 24, span), given.y[:, -1], dense_output=True, **tight)
        state = after.y[:, -1]
    at = after.sol(np.array([14.0, 21.0, 28.0, 42.0, 70.0]))
    slopes = np.array([rates(0.0, a)[0] for a in at.T])
    np.testing.assert_allclose(own["half_life_median"], np.log(2) * at[0] / -slopes, rtol=1e-4)
    np.testing.assert_allclose(own["trough_median"], at[0] / 3.48, rtol=1e-4)


def test_of_the_population_people_and_their_median_have_intervals_of_their_own(fit):
    regimen = usual_regimen(fit)
    assert (regimen.amount, regimen.interval) == (300.0, 28.0)
    some = half_life(fit, weeks=(4,), target=Trough(10.0, "mg/L"), draws=20)
    own = some["decision"].to_dataset().isel(week=0, subject=0)
    wide = own["left_high"] - own["left_low"]
    narrow = own["left_typical_high"] - own["left_typical_low"]
    assert narrow < 0.5 * wide
    assert own["probability_low"] < own["probability"] < own["probability_high"]
    heavy = half_life(fit, weeks=(4,), subjects=pd.DataFrame({"WT": [120.0]}), draws=20)
    assert heavy["decision"]["left_median"].item() < own["left_median"]
    assert "300 mg every 4 weeks" in heavy.attrs["rests_on"]


def test_a_level_is_passed_where_the_course_last_falls_through_it():
    values = np.array([[1.0, 8.0, 4.0, 2.0, 1.0], [1.0, 3.0, 3.0, 3.0, 3.0]])
    rates = np.full(values.shape, np.log(2))
    fall = Fall(np.arange(5.0), values, rates, np.log(2) / rates, values.max(axis=1))
    found, times = at_levels(fall, np.array([np.sqrt(8.0)]))
    np.testing.assert_allclose(times[:, 0], [2.5, np.nan])
    np.testing.assert_allclose(found[:, 0], [1.0, np.nan])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weeks": (0, 4)}, "weeks is"),
        ({"since": "dose"}, 'since is .dose.; give "peak"'),
        ({"single": {"label": -1.0}}, "single half-life 'label' is -1"),
        ({"patients": ["A"], "regimen": MONTHLY}, "patients have doses"),
        ({"draws": 0}, "draws is 0"),
        ({"subjects": pd.DataFrame({"SEX": [1.0]})}, "reads WT"),
        ({"subjects": pd.DataFrame({"WT": []})}, "has no row"),
        ({"target": Trough(1.0, "ug/L")}, "ug/L"),
    ],
)
def test_what_makes_no_sense_is_refused(fit, options, said):
    with pytest.raises(ValueError, match=said):
        half_life(fit, **options)


def test_a_model_has_no_patients_and_no_usual_doses(fits):
    model = fits.one_compartment()
    with pytest.raises(SettingError, match="knows none of them"):
        half_life(model, ["A"])
    with pytest.raises(SettingError, match="A model has no usual dose"):
        half_life(model)


def test_the_figure_shows_the_fall_and_the_half_lives(asked, tmp_path):
    figure = plot_half_life(asked, subject="B")
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels == [
        "Concentration (mg/L)", "Half-life at that moment (d)", "Half-life at that level (d)"
    ]  # fmt: skip
    figure.savefig(tmp_path / "x.png")
    with pytest.raises(PlotError, match="not the result of"):
        plot_half_life(xr.DataTree())


def test_on_the_command_line(fits, fit, tmp_path, capsys):
    save(fit, tmp_path / "fit.nc")
    new = fits.dataset(*fits.history("N", (22.0, 25.0)), *fits.history("M", (12.0, 13.0)))
    new.to_frame().to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "left.csv"
    words = [
        "half-life",
        str(tmp_path),
        str(tmp_path / "new.csv"),
        "--target",
        "10",
        "--single",
        "US label=11",
    ]
    assert main([*words, "--out", str(out)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("ID N: Without a further dose", "(US label) would leave 17 %", "It rests on"):
        assert part in shown
    assert len(pd.read_csv(out)) == 4
    assert main(["half-life", str(tmp_path), "--draws", "5"]) == 0
    assert "population: Without a further dose" in " ".join(capsys.readouterr().out.split())
    assert main([*words, "--single", "eleven"]) == 2
    assert "--single is 'eleven'" in capsys.readouterr().err
    assert main(["half-life", "natalizumab", "cohort"]) == 2
    assert "knows no patients" in capsys.readouterr().err
