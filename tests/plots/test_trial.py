"""The figure and the table of `popk.trial`."""

import numpy as np
import pytest
import xarray as xr

from popk.individual import Trough
from popk.plots import PlotError, plot_trial
from popk.regimen import Regimen
from popk.reporting import trial_table
from popk.trials import Conduct, FixedInterval, WeightBands, trial


@pytest.fixture(scope="module")
def result(fits):
    model = fits.one_compartment(covariates=True)
    people = fits.dataset(*fits.history("A", weight=60.0), *fits.history("B", weight=80.0))
    return trial(
        model, [FixedInterval(4), WeightBands({70: 6}, above=5)], target=Trough(12, "mg/L"),
        conduct=Conduct(run_in=Regimen(amount=300, interval=28, repeats=3)), patients=40, weeks=48,
        covariates=people.covariate_table(),
    )  # fmt: skip


def test_policies_stand_at_what_they_cost(result):
    figure = plot_trial(result)
    left, right = figure.axes
    summary = result["summary"]["estimate"].to_dataset(dim="measure")
    points = [line.get_xydata()[0] for line in left.get_lines() if line.get_marker() in ("o", "*")]
    assert np.array(points) == pytest.approx(
        np.stack([summary["infusions"], 100 - summary["attained"]], axis=1)
    )
    assert [text.get_text() for text in left.texts] == ["1", "2", "T"]
    assert [t.get_text() for t in right.get_yticklabels()] == [
        "1  every 4 weeks", "2  by WT (≤ 70: 6, above: 5)", "T  true parameters known"
    ]  # fmt: skip
    assert left.get_xlabel() == "Infusions per year"
    assert left.get_ylabel() == "Troughs under 12 mg/L (%)"
    widths = [p.get_width() for p in right.patches if p.get_y() < 1.5 and p.get_y() > 0.5]
    assert sum(widths) == pytest.approx(100)
    assert len(widths) == 2


def test_the_table_says_what_it_rests_on(result):
    table = trial_table(result)
    assert "Troughs ≥ 12 mg/L (%)" in table.headers
    assert table.rows[0][0].text == "every 4 weeks"
    assert table.rows[0][4].text.startswith("13.04")
    assert "40 virtual patients from model one compartment, 48 weeks" in table.note
    assert "Effective particles" not in table.note
    assert len(table.to_frame()) == 3 * result["summary"].sizes["measure"]


def test_something_else_is_refused():
    with pytest.raises(PlotError, match=r"not the result of popk\.trial"):
        plot_trial(xr.DataTree())
