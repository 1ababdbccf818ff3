"""Priors against data: what goes together passes, what does not is named."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from popk.models.natalizumab import model as natalizumab
from popk.models.nimotuzumab import model as nimotuzumab
from scipy import stats

from popk.dataset import read_dataset
from popk.diagnostics import PriorCheck, check_priors
from popk.diagnostics.explained import Measured, log_densities, outside, typical_ratio
from popk.errors import SettingError
from popk.regimen import Regimen
from popk.statistics import LogNormal, Uniform

HEAVY = 2.2046
DATA = files("popk.demo") / "data"


@pytest.fixture(scope="module")
def table():
    """The demonstration's cohort, six of its patients."""
    frame = pd.read_csv(DATA / "natalizumab" / "cohort.csv")
    return frame[frame["ID"] <= 6]


def check(frame, model=natalizumab):
    data = read_dataset(frame, units=natalizumab.units)
    return check_priors(model, data, seed=1)


def scaled(table, **factors):
    return table.assign(**{name: table[name] * factor for name, factor in factors.items()})


def test_the_cohort_passes(table):
    found = check(table)
    assert found.plausible
    assert found.findings == ()
    (output,) = found.outputs
    observed = table.loc[(table["EVID"] == 0) & (table["CENS"] == 0), "DV"]
    assert output.observed == np.median(observed)
    assert output.n_observed == (table["EVID"] == 0).sum()
    assert 0.3 < output.ratio < 3
    assert output.outside < 0.05
    assert found.scale == pytest.approx(300 / 3.48)
    text = str(found)
    assert text.startswith("Priors and data go together:\n")
    assert "concentration: prior predictive median" in text
    assert "outside the central 99.9 %" in text
    assert "1000 draws from the priors, seed 1" in text


def test_nimotuzumab_passes():
    units = {"time": "h", "amount": "mg", "concentration": "mg/L"}
    data = read_dataset(DATA / "nimotuzumab" / "data.csv", units=units, log_dv=True)
    assert check_priors(nimotuzumab, data, seed=1).plausible


@pytest.mark.parametrize(
    ("factors", "sentence", "remedy"),
    [
        (
            {"AMT": 1e-3, "RATE": 1e-3},
            "AMT looks like g declared as mg: ",
            "if it is g, multiply it by 1000.",
        ),
        (
            {"TIME": 24.0, "RATE": 1 / 24},
            "TIME looks like h declared as d: ",
            "Check the unit of TIME (and of II and RATE); if it is h, divide it by 24.",
        ),
        (
            {"TIME": 1 / 7, "RATE": 7.0},
            "TIME looks like wk declared as d: ",
            "if it is wk, multiply it by 7.",
        ),
        (
            {"DV": 1000.0, "LLOQ": 1000.0},
            "DV looks like ug/L declared as mg/L: ",
            "if it is ug/L, divide it by 1000.",
        ),
        (
            {"DV": 1e-3, "LLOQ": 1e-3},
            "DV looks like g/L declared as mg/L: ",
            "if it is g/L, multiply it by 1000.",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_mistaken_units_are_named(table, factors, sentence, remedy):
    found = check(scaled(table, **factors))
    assert not found.plausible
    named = [text for text in found.findings if "as probable" in text]
    assert len(named) == 1
    assert named[0].startswith(sentence)
    assert named[0].endswith(remedy)


def test_weights_in_pounds_are_named(table):
    found = check(scaled(table, WT=HEAVY))
    (text,) = found.findings
    middle = HEAVY * table.groupby("ID")["WT"].first().median() / 70
    assert text.startswith(
        f"WT looks like lb declared as kg (its median is {middle:.2g} times the model's reference "
        "of 70 kg): if so, "
    )
    assert text.endswith("Check the unit of WT; if it is lb, divide it by 2.2046.")


def test_heavy_and_light_people_are_not_taken_for_another_unit(table):
    assert check(scaled(table, WT=1.4)).plausible
    light = check(scaled(table, WT=0.3))
    assert not any("WT looks" in text for text in light.findings)


def test_numbers_of_the_model_per_hour_declared_per_day(table):
    per_hour = {
        name: LogNormal(prior.median / 24, cv=prior.cv) if name in ("CL", "Q", "VMAX") else prior
        for name, prior in natalizumab.typical
    }
    found = check(table, replace(natalizumab, typical=tuple(per_hour.items())))
    (named,) = [text for text in found.findings if "as probable" in text]
    assert "the model's priors look like numbers per h declared per d: " in named.replace("T", "t")


def silly(**typical):
    changed = dict(natalizumab.typical) | typical
    return replace(natalizumab, typical=tuple(changed.items()))


def test_a_silly_prior_is_reported_with_the_trough_that_it_implies(table):
    none = LogNormal(1e-4, cv=0.3)
    found = check(table, silly(CL=none, VMAX=none))
    (text,) = found.findings
    (output,) = found.outputs
    assert output.trough > 200
    assert f"just before a dose {output.trough:.3g} mg/L. The observed median is" in text
    assert "below what is expected at its time. Look at the priors of the clearances" in text


@pytest.fixture(scope="module")
def linear(fits):
    return fits.one_compartment(cv=0.3)


@pytest.fixture(scope="module")
def regimen(linear):
    many = Regimen(amount=300.0, interval=28.0, repeats=400)
    return many.dataset(["A", "B"], [28.0 * 399], units=linear.units)


def in_millilitres(model):
    """Volumes and clearances a thousand times too small: the numbers of another volume unit."""
    of_volume = {p.name for p in model.structure.parameters if "volume" in p.dimension}
    typical = {
        name: LogNormal(prior.median / 1000, cv=prior.cv) if name in of_volume else prior
        for name, prior in model.typical
    }
    return replace(model, typical=typical)


def test_a_trough_that_no_plasma_holds_is_implausible(linear, regimen):
    found = check_priors(in_millilitres(linear), regimen, seed=1)
    assert not found.plausible
    assert found.outputs[0].trough > 1e4
    text = " ".join(found.findings)
    assert "above 10,000 mg/L, which hardly any drug reaches in plasma" in text
    assert "300 mg give 6e+04 mg/L in the typical V" in text
    assert check_priors(linear, regimen, seed=1).plausible


def test_a_substance_that_is_measured_there_is_plausible(fits):
    dense = in_millilitres(fits.one_compartment(cv=0.1))
    table = fits.dataset(*fits.history("A", (2.4e4, 2.6e4)))
    found = check_priors(dense, table, seed=1)
    assert found.outputs[0].expected > 1e4
    assert "hardly any drug" not in " ".join(found.findings)


def test_without_data_the_magnitudes_are_judged(linear, regimen):
    assert check_priors(linear, regimen, seed=1).plausible
    tiny = replace(linear, typical=(("CL", LogNormal(1e-4, cv=0.3)), ("V", LogNormal(5, cv=0.3))))
    found = check_priors(tiny, regimen, seed=1)
    (text,) = found.findings
    assert found.outputs[0].trough > 1e4
    assert found.above > 0.9
    assert "more than 100 times above the doses over the typical V (300 mg give 60 mg/L)" in text
    fast = replace(linear, typical=(("CL", LogNormal(200, cv=0.3)), ("V", LogNormal(5, cv=0.3))))
    (text,) = check_priors(fast, regimen, seed=1).findings
    assert "the drug would be gone at most times of observation" in text


def test_a_linear_model_cannot_tell_amounts_from_concentrations(fits, linear):
    records = (r for name in "ABC" for r in fits.history(name, troughs=(0.02, 0.022)))
    found = check_priors(linear, fits.dataset(*records), seed=1)
    named = [text for text in found.findings if "another explanation fits as well" in text]
    assert {text.split(" looks like ")[0].split()[-1] for text in named} == {"AMT", "DV"}
    assert "AMT looks like ug declared as mg (another" in " ".join(named)


def test_values_that_the_priors_exclude(fits, linear):
    """The level is right; half of the values are not."""
    records = (
        r for k in range(8) for r in fits.history(f"P{k}", troughs=(25.0, 2.0 if k % 2 else 400.0))
    )
    (text,) = check_priors(linear, fits.dataset(*records), seed=1).findings
    assert "of the 16 observed values lie outside the central 99.9 %" in text


def test_a_uniform_prior_can_be_checked(fits, linear):
    wide = replace(linear, typical=(("CL", Uniform(0.05, 0.5)), ("V", Uniform(2.0, 10.0))))
    data = fits.dataset(*fits.history("A"), *fits.history("B"))
    assert check_priors(wide, data, seed=1).plausible


def test_the_seed_decides(fits, linear):
    data = fits.dataset(*fits.history("A"))
    one, same, other = (check_priors(linear, data, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one.outputs != other.outputs


def test_json_and_html(fits, linear):
    data = fits.dataset(*fits.history("A", troughs=(0.02, 0.02)))
    found = check_priors(linear, data, seed=1)
    assert PriorCheck.from_json(found.to_json()) == found
    html = found._repr_html_()
    assert "<strong>Priors and data do not go together; nothing was changed</strong>" in html
    assert html.count("<li>") == len(found.findings) + 3
    assert str(found).startswith("PRIORS AND DATA DO NOT GO TOGETHER, nothing was changed:\n  - ")


def test_refusals(fits, linear):
    data = fits.dataset(*fits.history("A"))
    doses = replace(data, table=data.table.isel(record=data.table["EVID"].values == 1))
    with pytest.raises(SettingError, match="50 draws were asked for; give a whole number of 1000"):
        check_priors(linear, data, draws=50, seed=1)
    with pytest.raises(SettingError, match="The seed is -1"):
        check_priors(linear, data, seed=-1)
    with pytest.raises(SettingError, match="neither observations nor times of prediction"):
        check_priors(linear, doses, seed=1)


def measured(*values, below=()):
    below = np.array([k in below for k in range(len(values))])
    return Measured(np.array(values, dtype=float), below, np.zeros(len(values), dtype=bool))


def test_log_densities_are_those_of_the_simulated_values():
    rng = np.random.default_rng(1)
    exact = stats.lognorm(s=0.5, scale=20.0)
    values = exact.ppf([0.05, 0.3, 0.5, 0.9])
    simulated = exact.rvs((4000, 4), random_state=rng)
    found = log_densities(simulated, measured(*values), positive=True)
    # Of the logarithm; the kernel smooths it a little.
    np.testing.assert_allclose(found, exact.logpdf(values) + np.log(values), atol=0.12)
    normal = stats.norm(-5.0, 2.0)
    values = normal.ppf([0.1, 0.5, 0.8])
    simulated = normal.rvs((4000, 3), random_state=rng)
    found = log_densities(simulated, measured(*values), positive=False)
    spread = np.subtract(*np.quantile(values, [0.75, 0.25]))
    np.testing.assert_allclose(found, normal.logpdf(values) + np.log(spread), atol=0.12)


def test_a_value_below_its_limit_has_the_probability_of_being_there():
    simulated = np.linspace(0.1, 10.0, 100)[:, None]
    found = log_densities(simulated, measured(2.5, below=(0,)), positive=True)
    assert np.exp(found[0]) == pytest.approx(0.25, abs=0.01)


def test_what_could_not_be_computed_explains_nothing():
    good = np.full((100, 1), 20.0) * np.exp(np.linspace(-1, 1, 100))[:, None]
    bad = np.full((100, 1), np.nan)
    mixed = np.vstack([good, bad])
    here = measured(20.0)
    values = [log_densities(x, here, positive=True)[0] for x in (good, mixed, bad)]
    assert values[0] > values[1] > values[2]
    assert np.isfinite(values).all()
    assert np.isnan(typical_ratio(bad, here))


def test_a_drug_that_is_expected_to_be_gone_is_infinitely_less():
    gone = np.full((100, 3), [1e-320, 1e-310, 20.0])
    assert typical_ratio(gone, measured(20.0, 20.0, 20.0)) == np.inf


def test_outside_the_central_part():
    simulated = np.tile(np.arange(1.0, 1001.0)[:, None], (1, 4))
    found = outside(simulated, measured(500.0, 0.5, 1500.0, 0.5, below=(3,)), central=0.999)
    assert found.tolist() == [False, True, True, True]
    assert not outside(simulated[:, :1], measured(500.0, below=(0,)), central=0.999).any()
