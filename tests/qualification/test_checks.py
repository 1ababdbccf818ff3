"""The checks that come with popk: they pass here, and fail when something is wrong."""

import math
from importlib.resources import files

import numpy as np
import pytest

from popk.errors import SettingError
from popk.qualification import (
    Check,
    Measure,
    carried_out,
    checks_of,
    deciding,
    inferential,
    integrity,
    known,
    numerical,
    qualify,
)
from popk.qualification.follower import Mammillary
from popk.qualification.tables import TABLES, table


def named(name):
    return next(check for check in checks_of() if check.name == name)


CHEAP = (
    "where naive formulas fail",
    "rates that meet, vanish or are huge",
    "dosing events of NONMEM",
    "one history, written in several ways",
    "marginal likelihood of Wang's ten subjects",
    "unsafe patients",
    "broken data",
    "a target in another unit",
    "damaged results",
)


@pytest.mark.parametrize("name", CHEAP)
def test_a_check_passes_here(name):
    outcome = carried_out(named(name))
    assert outcome.passed, (outcome.fault, outcome.measures)
    assert all(math.isfinite(measure.figure) for measure in outcome.measures)


@pytest.mark.slow
def test_all_of_them_pass_here():
    found = qualify()
    assert found.passed, found.words
    assert found.complete
    assert found.seconds < 600


@pytest.mark.parametrize(
    ("figure", "limit", "at_least", "passed"),
    [
        (1.0, 1.0, False, True),
        (1.1, 1.0, False, False),
        (1.0, 1.0, True, True),
        (0.9, 1.0, True, False),
        (math.nan, 1.0, False, False),
        (math.nan, 1.0, True, False),
    ],
)
def test_a_figure_is_within_its_limit_or_not(figure, limit, at_least, passed):
    assert Measure("something", figure, limit, at_least).passed is passed


def a_check(run):
    return Check("a check", "numerical", ("R-01",), "something", "because", run)


def test_a_check_that_cannot_be_made_has_failed():
    outcome = carried_out(a_check(lambda: [1 / 0]))
    assert not outcome.passed
    assert outcome.fault == "ZeroDivisionError: division by zero"
    assert carried_out(a_check(list)).fault == "Nothing was measured."


def test_a_check_does_not_swallow_an_interruption():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carried_out(a_check(interrupted))


def test_another_kind_is_refused_by_name():
    with pytest.raises(SettingError, match="no checks called 'clinical'; give one of numerical"):
        checks_of("clinical")


@pytest.mark.parametrize(("name", "column"), [
    ("where naive formulas fail", "conc"),
    ("where naive formulas fail", "dlogC_dlog_CL"),
    ("rates that meet, vanish or are huge", "concentration"),
    ("dosing events of NONMEM", "EXACT"),
])  # fmt: skip
def test_a_number_of_a_table_that_is_off_is_noticed(name, column, monkeypatch):
    """In the seventh digit, in one place; of a derivative in the fifth."""

    def off(which):
        found = table(which)
        if column in found:
            at = found[column].abs().idxmax()
            found.loc[at, column] *= 1 + (1e-4 if column.startswith("d") else 1e-7)
        return found

    monkeypatch.setattr(numerical, "table", off)
    outcome = carried_out(named(name))
    assert not outcome.fault
    assert not outcome.passed


def test_an_engine_that_is_off_is_noticed(monkeypatch):
    """The ninth digit of clearance, as the reference sees it."""
    exact = Mammillary.matrix

    def off(self, p):
        return exact(self, np.concatenate([p[:, :1] * (1 + 1e-8), p[:, 1:]], axis=1))

    apart = (numerical.OneCompartment(), Mammillary(1))
    theta, records = numerical.values_of(apart[0]), numerical._plain(0)[2]
    assert numerical.differences(*apart, theta, records).value < 1e-12
    monkeypatch.setattr(Mammillary, "matrix", off)
    assert numerical.differences(apart[0], Mammillary(1), theta, records).value > 1e-9


def test_a_probability_that_is_off_is_noticed(monkeypatch):
    """Clearance a tenth higher in what it is compared with."""
    monkeypatch.setattr(deciding, "SEEDS", 2)
    monkeypatch.setattr(deciding, "KNOWN", deciding.KNOWN | {"CL": 0.22})
    outcome = carried_out(named("P(trough >= target) by brute force"))
    assert not outcome.fault
    assert outcome.measures[0].figure > 0.05


@pytest.mark.parametrize(
    ("shift", "stretch", "failed"), [(0.0, 1.0, []), (0.5, 1.0, [2]), (0.0, 1.3, [3])]
)
def test_a_posterior_that_is_off_is_noticed(shift, stretch, failed):
    people = known.records_of({"A": ((28.0, 20.0),)})
    fit = known.known_fit(known.one_compartment(), people, draws=1000, seed=1)
    draws = fit["posterior"]["CL"]
    mean, sd = float(draws.mean()), float(draws.std())
    found = inferential._compared(fit, {"CL": (mean + shift * sd, sd * stretch, 0.0)})
    assert [k for k, measure in enumerate(found) if not measure.passed] == failed


def test_an_interval_that_is_not_by_the_rule_is_noticed(monkeypatch):
    right = deciding.decide

    def longer(advice, **asked):
        tree = right(advice, **asked)
        decision = tree["decision"].to_dataset()
        tree["decision"].dataset = decision.assign(longest=decision["longest"] + 1)
        return tree

    monkeypatch.setattr(deciding, "decide", longer)
    monkeypatch.setattr(deciding, "COHORT", 20)
    deciding._simulated.cache_clear()
    outcome = carried_out(named("the rule"))
    deciding._simulated.cache_clear()
    assert not outcome.fault
    assert not outcome.passed
    assert outcome.measures[0].figure > 20


def test_patients_advised_without_looking_at_them_are_noticed(monkeypatch):
    """Without what withholds and widens."""

    def careless(*given, **asked):
        tree = deciding.advise_without_checks(*given, **asked)
        decision = tree["decision"].to_dataset()
        nobody = ("subject", np.zeros(decision.sizes["subject"], dtype=int))
        told = ("subject", ["[]"] * decision.sizes["subject"])
        tree["decision"].dataset = decision.assign_coords(
            withheld=nobody, widened=nobody, findings=told
        )
        return tree

    monkeypatch.setattr(deciding, "individualise", careless)
    outcome = carried_out(named("unsafe patients"))
    assert not outcome.passed
    assert outcome.measures[0].figure == len(deciding.UNSAFE)


def test_a_store_that_takes_anything_is_noticed(monkeypatch):
    load, known = integrity.load, []

    def careless(path):
        if not known:
            known.append(load(path))
        return known[0]

    monkeypatch.setattr(integrity, "load", careless)
    outcome = carried_out(named("damaged results"))
    assert outcome.measures[0].figure == 2 * integrity.POSITIONS + 1


def test_every_table_can_be_read_and_stands_in_the_list_of_sources():
    folder = files("popk.qualification") / "data"
    said = (folder / "SOURCE.md").read_text(encoding="utf-8")
    held = {path.name for path in folder.iterdir() if path.name.endswith(".csv")}
    assert held == set(TABLES)
    for name in TABLES:
        assert len(table(name)) > 5
        assert f"`{name}`" in said
