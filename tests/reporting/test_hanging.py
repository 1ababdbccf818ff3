"""Sensitivity, influence, LOO-PIT and forecasts on the page, as tables and in files."""

import json

import numpy as np
import pandas as pd
import pytest

from popk.comparison import evaluate_forecasts
from popk.individual import Trough, individualise
from popk.reporting import (
    ReportError,
    influence_table,
    interval_shift_table,
    moved_interval_table,
    report,
    sensitivity_table,
)
from popk.sensitivity import LOOKS, robustness


@pytest.fixture(scope="module")
def fit(trees):
    made = trees.fit_tree(trees.cohort(3))
    made.attrs["subject_hashes"] = "{}"  # its patients are to be individualised anew
    return made


@pytest.fixture(scope="module")
def hung(fit):
    advice = individualise(fit, target=Trough(10.0, "mg/L"), samples=100, draws=100)
    # Three patients: one becomes shorter, one longer, one stays.
    found = robustness(fit, advice, which=LOOKS, draws=100, seed=1)
    table = found["power_scaling"]["intervals"].to_dataset()
    longest = np.full(table["longest"].shape, 6.0)
    longest[0, 0], longest[1, 2] = [4.0, 6.0, 6.0], [np.nan, 8.0, 6.0]
    found["power_scaling"]["intervals"].dataset = table.assign(
        longest=(table["longest"].dims, longest)
    )
    return found


@pytest.fixture(scope="module")
def forecasts(fit):
    return evaluate_forecasts(
        fit, target=Trough(10.0, "mg/L"), refit=False, draws=30, samples=100, seed=1
    )


@pytest.fixture(scope="module")
def page(fit, hung, forecasts):
    return report(fit, robustness=hung, forecasts=forecasts)


def test_tables_say_who_and_how_much(hung):
    table = sensitivity_table(hung["power_scaling"])
    assert [row[0].text for row in table.rows] == [
        "CL",
        "V",
        "beta_CL_WT",
        "omega_CL",
        "sigma_prop",
    ]
    for row, values in zip(
        table.rows, hung["power_scaling"]["parameters"]["sensitivity"].values, strict=True
    ):
        assert (row[2].mark == "warn") == (values[0] >= 0.05)
    counts = [[cell.text for cell in row[:4]] for row in interval_shift_table(
        hung["power_scaling"]).rows]  # fmt: skip
    assert counts == [
        ["prior, power 0.8", "1", "0", "2"], ["prior, power 1.25", "0", "0", "3"],
        ["likelihood, power 0.8", "0", "0", "3"], ["likelihood, power 1.25", "1", "1", "1"],
    ]  # fmt: skip
    moved = moved_interval_table(hung["power_scaling"])
    assert [[cell.text for cell in row] for row in moved.rows] == [
        ["P01", "6", "4", "6", "6", "none"], ["P02", "6", "6", "6", "6", "8"]
    ]  # fmt: skip
    table = hung["influence"].to_dataset()
    change = table["mean_change"].sel(parameter="CL").values
    worst = int(np.abs(change).argmax())
    row = influence_table(table).rows[0]
    assert row[0].text == "CL (L/d)"
    assert row[1].text.startswith(f"{table['subject'].values[worst]} ({change[worst]:+.2f}")


def test_the_page_has_a_section_for_each(page):
    anchors = [section.anchor for section in page.sections]
    assert anchors.index("forecasts") < anchors.index("robustness") < anchors.index("limits")
    html = page.html
    for name in ("forecasts", "power-scaling", "interval-shifts1", "interval-sensitivity1",
                 "influence-beta-CL-WT"):  # fmt: skip
        assert f'data-name="{name}"' in html
    labels = [part.alt for s in page.sections for part in s.parts if part.kind == "picture"]
    assert any(label.startswith("Calibration, coverage, errors") for label in labels)
    assert any(label.startswith("Change of the mean of beta_CL_WT") for label in labels)


def test_seeds_are_among_what_the_page_comes_from(page):
    (table,) = (
        part
        for section in page.sections
        for part in section.parts
        if part.kind == "table" and part.title == "Computed from the fit"
    )
    assert [row[0].text for row in table.rows] == ["Sensitivity, influence, LOO-PIT", "Forecasts"]


def test_files_hold_every_patient(page, tmp_path, hung, forecasts):
    written = {path.name.split("-", 2)[2]: path for path in page.write_tables(tmp_path)}
    shifts = pd.read_csv(written["recommended-intervals-p-trough-10-mg-l.csv"])
    assert len(shifts) == 4 * 3
    influence = pd.read_csv(written["influence-of-single-patients.csv"])
    assert len(influence) == 3 * 5
    np.testing.assert_allclose(
        influence["mean_change"].to_numpy().reshape(3, 5), hung["influence"]["mean_change"]
    )
    scores = pd.read_csv(written["forecasts-of-the-next-observation.csv"])
    assert scores["n"].tolist() == [3, 3, 3]
    decisions = forecasts["decisions"].sizes["decision"]
    assert len(pd.read_csv(written["decisions.csv"])) == decisions > 0


def test_loo_pit_stands_with_the_checks(fit, hung):
    from popk.diagnostics import diagnose

    checks = diagnose(fit, seed=1, only=["shrinkage"])
    html = report(fit, checks=checks, robustness=hung).html
    assert 'data-name="loo-pit"' in html
    assert "LOO-PIT, the place of each observation" not in html
    without = report(fit, checks=checks).html
    assert "popk report RUN --loo-pit" in without
    assert "popk report RUN --forecasts" in without
    assert "popk.robustness computes them" in without


def test_what_belongs_to_another_fit_is_refused(fit, hung, forecasts, trees):
    with pytest.raises(ReportError, match=r"are not the result of popk\.robustness"):
        report(fit, robustness=forecasts)
    other = trees.fit_tree(trees.cohort(2))
    with pytest.raises(ReportError, match=r"robustness of .* are those of another fit"):
        report(other, robustness=hung)
    with pytest.raises(ReportError, match="give forecasts by their names"):
        report({"a": fit, "b": fit}, forecasts=forecasts)


def test_nothing_that_moves_is_said_in_a_sentence(fit, hung):
    still = hung.copy(deep=True)
    table = still["power_scaling"]["intervals"].to_dataset()
    same = np.full(table["longest"].shape, 6.0)
    still["power_scaling"]["intervals"].dataset = table.assign(
        longest=(table["longest"].dims, same)
    )
    html = report(fit, robustness=still).html
    assert "No patient&#39;s longest interval changes" in html
    assert 'data-name="interval-shifts1"' not in html
    assert json.loads(still.attrs["notes"]) == []
