"""What withholding and widening do to the advice, and how it is shown."""

import json

import numpy as np
import pytest

from popk import individual
from popk.individual import Trough
from popk.monitoring import (
    NAMES,
    SEVERITIES,
    Finding,
    MonitoringError,
    decide,
    findings,
    from_json,
)
from popk.plots import plot_intervals, plot_patient
from popk.reporting import findings_table, interval_frame, interval_table
from popk.storage import load, save

TARGET = Trough(10.0, "mg/L")
GOOD = (25.0, 22.0, 24.0)
OLD, RISEN, ONE, PEAK = "good", "risen", "one", "peak"


@pytest.fixture(scope="module")
def patients(fits):
    return fits.dataset(
        *fits.history(OLD, GOOD, doses=6),
        *fits.history(RISEN, (*GOOD, 12.0, 11.0, 12.0), doses=9),
        *fits.history(ONE, (25.0,), doses=6),
        *fits.history(PEAK, (25.0, 22.0, 85.0), doses=6),
    )


@pytest.fixture(scope="module")
def advice(advise, patients):
    return advise(patients)


@pytest.fixture(scope="module")
def plain(fit, patients):
    """The same without the checks."""
    return individual.individualise(fit, patients, target=TARGET, samples=300, draws=100)


def of(advice, who, group="decision"):
    return advice[group].to_dataset().sel(subject=who)


def test_an_ordinary_patient_is_advised_as_without_the_checks(advice, plain):
    ours, theirs = of(advice, OLD), of(plain, OLD)
    assert (int(ours["withheld"]), int(ours["widened"])) == (0, 0)
    for name in theirs.data_vars:
        np.testing.assert_array_equal(ours[name].values, theirs[name].values)
    np.testing.assert_array_equal(
        of(advice, OLD, "posterior")["troughs"], of(plain, OLD, "posterior")["troughs"]
    )
    assert findings(advice)["ID"].tolist().count(OLD) == 0


def test_what_is_withheld_keeps_its_probabilities(advice, plain):
    ours, theirs = of(advice, PEAK), of(plain, PEAK)
    assert int(ours["withheld"]) == 1
    assert np.isnan(ours["longest"])
    assert np.isnan(ours["longest_sustained"])
    assert np.isfinite(theirs["longest"])
    np.testing.assert_array_equal(ours["probability"], theirs["probability"])


@pytest.mark.parametrize("who", [RISEN, ONE])
def test_what_is_widened_is_never_more_certain_to_hold(advice, plain, who):
    ours, theirs = of(advice, who), of(plain, who)
    assert (int(ours["withheld"]), int(ours["widened"])) == (0, 1)
    for name in ("probability", "probability_sustained"):
        assert (ours[name].values <= theirs[name].values).all()
        assert (ours[name].values < theirs[name].values).any()
    own = of(advice, who, "posterior")
    np.testing.assert_array_equal(own["troughs_unwidened"], of(plain, who, "posterior")["troughs"])
    share = (own["troughs"] >= 10.0).mean("sample")
    before = (own["troughs_unwidened"] >= 10.0).mean("sample")
    np.testing.assert_allclose(ours["probability"], np.minimum(share, before))
    assert np.isfinite(of(advice, who, "curve")["median"].dropna("point")).all()


def test_the_forecast_of_one_whose_clearance_rose_is_that_of_now(advice, plain):
    """The mixture puts the clearance of today above what one clearance for all would be."""
    ours = of(advice, RISEN, "posterior")["parameters"].sel(parameter="CL").median()
    theirs = of(plain, RISEN, "posterior")["parameters"].sel(parameter="CL").median()
    assert float(ours) > 1.1 * float(theirs)
    (found,) = from_json(str(of(advice, RISEN)["findings"].values))
    assert found.name == "clearance changed"
    assert "after TIME 140 d" in found.sentence
    assert "0.05 before the data" in found.sentence
    assert found.probability == pytest.approx(float(of(advice, RISEN)["changed"]))


def test_the_past_curve_follows_the_change(advice):
    curve = of(advice, RISEN, "curve").dropna("point")
    for time, seen in ((84.0, 24.0), (196.0, 11.5)):
        median = np.interp(time - 0.1, curve["time"], curve["median"])
        assert median == pytest.approx(seen, rel=0.2)


def test_one_patient_more_or_less_changes_nothing(advise, advice, patients):
    alone = advise(patients.select([RISEN]))
    for name in ("probability", "longest", "findings", "changed", "contraction"):
        np.testing.assert_array_equal(of(alone, RISEN)[name], of(advice, RISEN)[name])


def test_deciding_again_heeds_what_was_found(advise, advice, patients):
    twenty = Trough(20.0, "mg/L")
    again, asked = (
        decide(advice, target=twenty, probability=0.7),
        advise(patients, target=twenty, probability=0.7),
    )
    for name in ("probability", "longest", "longest_sustained", "withheld", "trough_median"):
        np.testing.assert_array_equal(again["decision"][name], asked["decision"][name])
    assert np.isnan(of(again, PEAK)["longest"])


def test_the_same_seed_finds_the_same(advise, advice, patients):
    assert advise(patients)["decision"].to_dataset().equals(advice["decision"].to_dataset())


def test_advice_is_stored_with_its_findings(advice, tmp_path):
    stored = load(save(advice, tmp_path / "advice.nc"))
    assert stored["decision"].to_dataset().identical(advice["decision"].to_dataset())
    assert findings(stored).equals(findings(advice))


def test_findings_are_a_table_the_gravest_first(advice):
    table = findings(advice)
    assert table.columns.tolist() == ["ID", "severity", "name", "probability", "sentence"]
    assert set(table["name"]) <= set(NAMES)
    for _, own in table.groupby("ID"):
        order = [SEVERITIES.index(severity) for severity in own["severity"]]
        assert order == sorted(order, reverse=True)
    assert json.loads(str(of(advice, OLD)["findings"].values)) == []


def test_a_tree_without_findings_is_named(plain):
    with pytest.raises(MonitoringError, match=r"give what popk\.individualise returned"):
        findings(plain)
    assert findings_table(plain) is None
    assert "withheld" not in interval_frame(plain)


def test_a_finding_of_an_unknown_kind_is_a_fault():
    with pytest.raises(ValueError, match="not known"):
        Finding("odd", "note", "")


def test_progress_counts_both_steps(advise, patients):
    seen = []
    advise(patients.select([OLD]), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_tables_say_what_is_withheld_and_why(advice):
    rows = {row[0].text: row for row in interval_table(advice).rows}
    assert [cell.text for cell in rows[PEAK][-3:-1]] == ["withheld", "withheld"]
    assert rows[PEAK][-4].text.startswith("(")
    assert rows[ONE][-3].text.endswith("(widened)")
    assert "withheld" not in [cell.text for cell in rows[OLD]]
    table = findings_table(advice)
    assert {row[0].text for row in table.rows} == {RISEN, ONE, PEAK}
    assert {row[0].text for row in findings_table(advice, only=[ONE]).rows} == {ONE}
    assert findings_table(advice, only=[OLD]) is None
    frame = interval_frame(advice).set_index("ID")
    assert frame["withheld"].to_dict() == {OLD: False, RISEN: False, ONE: False, PEAK: True}
    assert "drawn just after the dose" in frame.loc[PEAK, "findings"]


def test_figures_say_what_is_withheld_and_why(advice):
    titles = {
        who: plot_patient(advice, subject=who).axes[1].get_title(loc="left")
        for who in (OLD, ONE, PEAK)
    }
    assert titles[PEAK] == "withheld: sample time"
    assert titles[ONE].startswith("widened: too little information\nlongest at 0.9")
    assert titles[OLD].startswith("longest at 0.9")
    labels = [text.get_text() for text in plot_intervals(advice).axes[0].get_xticklabels()]
    assert "with-\nheld" in labels
