import numpy as np
import pytest
import xarray as xr

from popk.plots import PlotError, plot_forecasts

NAMES = ("coverage_50", "coverage_90", "rrmse", "mpe", "crps")


@pytest.fixture
def result():
    """Scores as `popk.evaluate_forecasts` gives them: none, one and two samples used."""
    shape = ("which", "samples")
    values = {"n": (shape, [[40, 40, 0], [80, 40, 0]])}
    for k, name in enumerate(NAMES):
        own = np.array([[30.0 + k, 20.0 + k, np.nan]] * 2)
        unit = {"units": "mg/L" if name == "crps" else "%"}
        values |= {name: (shape, own, unit), f"{name}_se": (shape, own / 10)}
    scores = xr.Dataset(values, coords={"which": ["next", "all"], "samples": [0, 1, 2]})
    forecasts = xr.Dataset(
        {
            "pit": ("forecast", np.append((np.arange(80) + 0.5) / 80, [0.5, np.nan])),
            "ahead": ("forecast", np.append(np.ones(80, dtype=int), [2, 1])),
        }
    )
    tree = xr.DataTree.from_dict({"scores": scores, "forecasts": forecasts})
    tree.attrs = {"kind": "popk forecasts", "converged": 1}
    return tree


def test_points_are_the_scores_and_axes_have_units(result):
    figure = plot_forecasts(result)
    pit, coverage, errors, crps = figure.axes
    assert pit.get_xlabel().startswith("PIT")
    assert crps.get_ylabel() == "CRPS, mean (mg/L)"
    drawn = {c.get_label(): c[0].get_ydata().tolist() for c in coverage.containers}
    assert drawn["90 % interval"] == [31.0, 21.0]
    assert drawn["50 % interval"] == [30.0, 20.0]
    assert [c.get_label() for c in errors.containers] == ["rRMSE (precision)", "MPE (bias)"]
    assert [t.get_text() for t in crps.get_xticklabels()] == ["0\nn 40", "1\nn 40"]
    assert "next observation" in crps.get_xlabel()


def test_pit_is_of_next_observations(result):
    stairs = plot_forecasts(result).axes[0].patches[-1]
    np.testing.assert_array_equal(stairs.get_data().values, np.full(10, 8))


def test_all_later_observations_and_a_fit_that_has_not_converged(result):
    result.attrs["converged"] = 0
    figure = plot_forecasts(result, which="all")
    assert figure.axes[3].get_xlabel() == "Samples used (all later observations)"
    assert figure.axes[3].get_xticklabels()[0].get_text() == "0\nn 80"
    assert "not converged" in figure.get_suptitle()


def test_something_else_is_refused(result):
    with pytest.raises(PlotError, match="expected 'next' or 'all'"):
        plot_forecasts(result, which="last")
    result.attrs["kind"] = "popk vpc"
    with pytest.raises(PlotError, match=r"not the result of popk\.evaluate_forecasts"):
        plot_forecasts(result)
