"""The figures that the demonstration ends with."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from popk.demo.summary import infusions_saved, summarise
from popk.individual import Trough, decide, individualise


@pytest.mark.parametrize(
    ("longest", "share"),
    [
        ([4.0, 4.0], 0.0),
        ([8.0, 8.0], 0.5),
        ([8.0, 4.0], 0.25),
        ([6.0], 1 / 3),
        ([np.nan, 8.0], 0.25),  # nobody is left without infusions
        ([3.0, 8.0], 0.25),  # nor counted as having more than the standard
    ],
)
def test_the_share_of_infusions_saved_is_against_four_weeks(longest, share):
    assert infusions_saved(np.array(longest)) == pytest.approx(share)


@pytest.fixture(scope="module")
def results(fits):
    """A cohort's fit, advice for it, and for new patients by two targets; one is impossible."""
    cohort = fits.dataset(
        *fits.history("C1", weight=60.0), *fits.history("C2", (60.0, 70.0), weight=80.0)
    )
    fit = fits.fit_of(fits.one_compartment(covariates=True), cohort)
    new = fits.dataset(
        *fits.history("N1", (8.0, 9.0)), *fits.history("N2", (60.0, 70.0)),
        *fits.history("odd", (20.0, 1e200)),
    )  # fmt: skip
    options = {"target": Trough(10.0, "mg/L"), "weeks": range(4, 9), "draws": 100, "samples": 200}
    own = individualise(fit, None, **options)
    first = individualise(fit, new, **options)
    return fit, own, [first, decide(first, target=Trough(40.0, "mg/L"))]


def printed(fit, own, advice):
    file = io.StringIO()
    summarise(fit, own, advice, Console(file=file, width=200))
    return file.getvalue()


def test_the_summary_is_that_of_the_trees(results):
    fit, own, advice = results
    text = printed(*results)
    troughs = own["posterior"]["troughs_sustained"].sel(week=4.0)
    share = 100 * float((troughs >= 10.0).mean())
    assert f"true troughs >= 10 mg/L at q4w: {share:.0f} %" in text
    middle = float(np.median(fit["posterior"]["CL"]))
    assert f"Typical CL: {middle:.3f} L/d" in text
    assert f"Weight exponent on CL: {float(np.median(fit['posterior']['beta_CL_WT'])):.3f}" in text
    assert "NOT converged" not in text
    assert advice[0].attrs["statement"][:40] in text
    rows = [
        re.split(r"\s*│\s*", line.strip("│ ")) for line in text.splitlines() if "mg/L │" in line
    ]
    for row, tree in zip(rows, advice, strict=True):
        longest = tree["decision"]["longest"].values
        counted = [int(np.isnan(longest).sum())]
        counted += [int((longest == week).sum()) for week in range(4, 9)]
        assert row[0] == f"{tree.attrs['target']:g} mg/L"
        assert [int(cell) for cell in row[1:7]] == counted
        weeks = np.where(np.isnan(longest), 4.0, longest)
        assert float(row[7]) == pytest.approx(weeks.mean(), abs=0.006)
        assert row[8] == f"{100 * np.mean(1 - 4 / weeks):.0f} %"


def test_an_interval_that_is_not_reliable_saves_nothing(results):
    fit, own, (first, _) = results
    changed = first.copy()
    decision = first["decision"].to_dataset().copy(deep=True)
    decision["longest"].values[:] = 8.0
    decision["reliable"].values[:] = [1, 0, 0]
    changed["decision"] = type(first)(decision)
    text = printed(fit, own, [changed])
    (row,) = (line for line in text.splitlines() if "mg/L │" in line)
    cells = re.split(r"\s*│\s*", row.strip("│ "))
    assert cells[1:7] == ["2", "0", "0", "0", "0", "1"]
    assert cells[8] == f"{100 * 0.5 / 3:.0f} %"


def test_a_fit_not_converged_is_announced(results, fits):
    fit, own, advice = results
    bad = fit.copy()
    bad.attrs = {**fit.attrs, "verdict": fits.verdict(converged=False).to_json()}
    assert printed(bad, own, advice).startswith("The fit has NOT converged")
