import numpy as np
import pytest
import xarray as xr

from popk.plots import PlotError, plot_vpc


@pytest.fixture
def table():
    """Numbers as `popk.vpc` gives them: two strata, three bins, one percentile below the limit."""
    shape = (2, 3, 3)
    observed = np.array([2.0, 5.0, 9.0]) * np.array([1.0, 0.6, 0.3])[:, None]
    observed = np.broadcast_to(observed, shape).copy()
    observed[0, 2, 0] = -np.inf
    bands = observed[..., None] * np.array([0.8, 1.0, 1.2])
    blq = np.broadcast_to([0.0, 0.0, 0.2], (2, 3))
    return xr.Dataset(
        {
            "observed": (("stratum", "bin", "percentile"), observed, {"long_name": "DV, observed"}),
            "simulated": (("stratum", "bin", "percentile", "quantile"), bands),
            "blq_observed": (("stratum", "bin"), blq),
            "blq_simulated": (("stratum", "bin", "quantile"), blq[..., None] * [0.5, 1.0, 1.5]),
            "x": (
                ("stratum", "bin"),
                np.tile([1.0, 5.0, 20.0], (2, 1)),
                {"units": "d", "long_name": "time after dose"},
            ),
        },
        coords={
            "stratum": ["WT ≤ 70 kg", "WT > 70 kg"],
            "unit": ("stratum", ["mg/L", "mg/L"]),
            "bin_low": ("bin", [0.0, 3.0, 10.0]),
            "bin_high": ("bin", [3.0, 10.0, 30.0]),
            "percentile": [5.0, 50.0, 95.0],
        },
        attrs={"kind": "popk vpc", "converged": 1, "band_probability": 0.9},
    )


def test_lines_are_the_observed_percentiles_and_axes_have_units(table):
    figure = plot_vpc(table)
    upper, second, lower, _ = figure.axes
    assert upper.get_title(loc="left") == "WT ≤ 70 kg"
    assert second.get_title(loc="left") == "WT > 70 kg"
    assert upper.get_ylabel() == "DV (mg/L)"
    assert lower.get_xlabel() == "Time after dose (d)"
    lines = {line.get_label(): line for line in upper.lines}
    np.testing.assert_allclose(lines["observed, 50th"].get_ydata(), [5.0, 3.0, 1.5])
    np.testing.assert_allclose(lines["observed, 5th and 95th"].get_ydata(), [2.0, 1.2, np.nan])
    np.testing.assert_allclose(lines["observed, below the LLOQ"].get_xdata(), [20.0])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "simulated, 50th, 90 %" in legend
    assert "observed, 50th" in legend


def test_bands_fill_their_bins(table):
    upper = plot_vpc(table).axes[0]
    median = upper.collections[1].get_paths()[0].vertices
    first = median[(median[:, 0] > 0) & (median[:, 0] < 3.0 + 1e-9)]
    assert {4.0, 6.0} <= set(np.round(first[:, 1], 9))


def test_the_fraction_below_the_limit_has_a_panel_only_where_there_is_a_limit(table):
    lower = plot_vpc(table).axes[2]
    assert lower.get_ylabel() == "Fraction BLQ"
    np.testing.assert_allclose(lower.lines[0].get_ydata(), [0.0, 0.0, 0.2])
    table["blq_observed"] = table["blq_observed"] * np.nan
    assert len(plot_vpc(table).axes) == 2


def test_log_axes_and_a_fit_that_has_not_converged(table):
    table.attrs["converged"] = 0
    upper = plot_vpc(table, log=True).axes[0]
    assert upper.get_yscale() == "log"
    assert any("not converged" in text.get_text() for text in upper.texts)


def test_something_else_is_refused(table):
    table.attrs["kind"] = "popk npde"
    with pytest.raises(PlotError, match=r"not the result of popk\.vpc"):
        plot_vpc(table)
