import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popk.model import PopModel
from popk.reporting import interval_frame, interval_table, parameter_table
from popk.reporting.card import model_tables
from popk.statistics import (
    IIV,
    Beta,
    HalfNormal,
    Level,
    LogNormal,
    Proportional,
    Subpopulations,
)
from popk.structure import OneCompartment


def column(table, header):
    at = table.headers.index(header)
    return {row[0].text: row[at] for row in table.rows}


def test_parameters_show_the_posterior_in_display_order(trees):
    fit = trees.fit_tree()
    table = parameter_table(fit)
    assert list(column(table, "Parameter")) == [
        "CL (L/d)", "V (L)", "beta_CL_WT", "omega_CL", "sigma_prop"
    ]  # fmt: skip
    draws = fit["posterior"]["V"].values
    low, high = np.quantile(draws, [0.025, 0.975])
    assert column(table, "Median")["V (L)"].text == f"{np.median(draws):.3g}"
    assert column(table, "95 % interval")["V (L)"].text == f"{low:.3g} to {high:.3g}"
    prior = np.median(fit["prior"]["V"].values)
    assert column(table, "Prior median")["V (L)"].text == f"{prior:.3g}"
    assert column(table, "R-hat")["V (L)"].text == "1.002"
    assert column(table, "ESS bulk")["V (L)"].text == "1,234"
    assert column(table, "ESS tail")["V (L)"].text == "987"


def test_a_point_has_no_intervals_but_only_what_is_given_is_fixed(trees):
    fit = trees.fit_tree()
    for name in ("omega_CL", "beta_CL_WT"):
        fit["posterior"][name].values[...] = 0.75
    fit["prior"]["beta_CL_WT"].values[...] = 0.75
    stored = json.loads(fit.attrs["verdict"])
    fit.attrs["verdict"] = json.dumps({**stored, "kind": "point", "basis": "the mode"})
    known = {"standard_error": ("estimated", [0.0123, np.nan])}
    stats = xr.Dataset(known, coords={"estimated": ["CL", "omega_CL"]})
    fit["sample_stats"] = xr.DataTree(stats)
    table = parameter_table(fit)
    assert table.headers[2:] == (
        "Mode", "Standard error", "RSE", "IIV as CV %", "Prior median"
    )  # fmt: skip
    errors = {name: cell.text for name, cell in column(table, "Standard error").items()}
    assert errors["CL (L/d)"] == "0.0123"
    assert errors["beta_CL_WT"] == "fixed"
    assert errors["omega_CL"] == errors["sigma_prop"] == "–"
    assert column(table, "IIV as CV %")["omega_CL"].text == "86.9 %"
    assert "no posterior SDs" in table.note


def test_a_fixed_parameter_has_no_interval(trees):
    fit = trees.fit_tree()
    fit["posterior"]["beta_CL_WT"].values[:] = 0.75
    intervals = column(parameter_table(fit), "95 % interval")
    assert intervals["beta_CL_WT"].text == "fixed"
    assert " to " in intervals["V (L)"].text


def test_iiv_is_given_as_cv_beside_omega(trees):
    fit = trees.fit_tree()
    fit["posterior"]["V"].values[:] *= 100.0  # far beyond what an omega can be
    fit["posterior"]["omega_CL"].values[:] = 0.5
    cells = column(parameter_table(fit), "IIV as CV %")
    assert cells["omega_CL"].text == "53.3 % (53.3 to 53.3)"  # sqrt(exp(0.25) - 1) = 0.5329
    assert cells["CL (L/d)"].text == ""


@pytest.mark.parametrize(
    "change",
    [
        {"scales": {"CL": {"type": "LinearScale"}}},
        {"iiv_shapes": {"CL": {"type": "BoxCox", "shape": {"type": "Fixed", "value": 0.5}}}},
    ],
)
def test_an_effect_that_is_not_log_normal_has_no_cv(trees, change):
    fit = trees.fit_tree()
    fit.attrs["model"] = json.dumps(json.loads(fit.attrs["model"]) | change)
    assert column(parameter_table(fit), "IIV as CV %")["omega_CL"].text == ""


def test_a_parameter_without_convergence_figures_shows_a_dash(trees):
    fit = trees.fit_tree()
    checks = fit["convergence"].to_dataset()
    fit["convergence"].dataset = checks.sel(quantity=["V"])
    cells = column(parameter_table(fit), "R-hat")
    assert cells["CL (L/d)"].text == "–"
    assert cells["V (L)"].text == "1.002"


def test_intervals_say_what_was_found_for_each_patient(trees):
    table = interval_table(trees.advice_tree())
    assert column(table, "Longest (weeks)")["P02"] == ("6", "yes")
    assert column(table, "Longest kept up (weeks)")["P02"] == ("5", "yes")
    assert column(table, "Longest (weeks)")["P05"] == ("none", "no")
    assert column(table, "Observed (BLQ)")["P06"].text == "3 (3)"
    assert column(table, "Last observed (mg/L)")["P06"].text == "< 1"
    marks = [column(table, f"P at {week} weeks")["P02"].mark for week in (4, 5, 6, 7, 8)]
    assert marks == ["yes", "yes", "yes", "no", "no"]


def test_an_unreliable_computation_is_flagged_and_approves_nothing(trees):
    advice = trees.advice_tree()
    advice["decision"]["probability"].values[-1] = 1.0
    advice["decision"]["longest"].values[-1] = 8.0
    table = interval_table(advice)
    assert column(table, "Reliable")["P06"] == ("no (k̂ 0.9)", "warn")
    assert column(table, "P at 8 weeks")["P06"].mark == "no"
    assert column(table, "Longest (weeks)")["P06"].mark == "no"


def test_only_the_first_patients_on_request(trees):
    assert len(interval_table(trees.advice_tree(), most=2).rows) == 2


def test_the_short_table_holds_the_answer_only(trees):
    table = interval_table(trees.advice_tree(), details=False)
    assert table.headers[:2] == ("ID", "P at 4 weeks")
    assert {len(row) for row in table.rows} == {len(table.headers)} == {9}
    assert column(table, "Longest (weeks)")["P02"].text == "6"


def test_the_frame_holds_full_precision_units_and_what_was_asked(trees, tmp_path):
    advice = trees.advice_tree()
    frame = interval_frame(advice)
    frame.to_csv(tmp_path / "a.csv", index=False)
    back = pd.read_csv(tmp_path / "a.csv", dtype={"ID": str})
    assert back["ID"].tolist() == [f"P0{k}" for k in range(1, 7)]
    np.testing.assert_allclose(
        back["probability at 6 weeks"],
        advice["decision"]["probability"].sel(week=6).values,
        rtol=1e-12,
    )
    assert set(back["target_trough (mg/L)"]) == {10.0}
    assert set(back["probability_asked"]) == {0.9}
    assert back["reliable"].tolist() == [True] * 5 + [False]
    assert back["fit_converged"].all()
    for name in ("WT (kg)", "last_dose (mg)", "last_dose_time (d)", "longest (weeks)",
                 "trough median at 8 weeks (mg/L)", "trough 5 % at 8 weeks (mg/L)"):  # fmt: skip
        assert name in back.columns


@pytest.mark.parametrize("converged", [True, False])
def test_the_frame_says_whether_the_fit_converged(trees, converged):
    frame = interval_frame(trees.advice_tree(converged=converged))
    assert set(frame["fit_converged"]) == {converged}


def test_levels_and_sub_populations_are_among_the_model_s_tables(trees):
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(4.0, cv=0.2)},
        iiv=IIV({"CL": HalfNormal(0.4)}),
        levels=[Level("SITE", {"V": HalfNormal(0.3)})],
        subpopulations=Subpopulations(
            ("normal", "fast"),
            shares={"fast": Beta(0.3, n=5)},
            folds={"CL": {"fast": LogNormal(2.5, cv=0.4)}},
        ),
        error=Proportional(HalfNormal(0.4)),
        units=trees.UNITS | {"SITE": "1"},
    )
    fit = trees.fit_tree()
    fit.attrs["model"] = model.to_json()
    tables = {table.title: [row[0].text for row in table.rows] for table in model_tables(fit)}
    title = "Sub-populations, not observed: normal, fast"
    assert tables[title] == ["fold_CL_fast", "share_fast"]
    assert tables["Variability (IIV, IOV and further levels)"] == ["omega_CL", "omega_SITE_V"]
