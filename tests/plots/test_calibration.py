import numpy as np
import pytest
import xarray as xr

from popk.plots import PlotError, plot_calibration


@pytest.fixture
def result():
    """As `popk.sbc` gives it: a quantity inside its band, one outside, and two bins."""
    z = np.arange(1, 100) / 100
    wave = np.sin(2 * np.pi * z)
    band = 0.1 * np.sqrt(4 * z * (1 - z))
    ecdf = xr.Dataset(
        {
            "difference": (("quantity", "z"), [0.03 * wave, 0.3 * wave]),
            "low": (("quantity", "z"), [-band, -band]),
            "high": (("quantity", "z"), [band, band]),
        },
        coords={"quantity": ["CL", "omega_CL"], "z": z},
    )
    summary = xr.Dataset({"inside": ("quantity", [1, 0])}, coords={"quantity": ["CL", "omega_CL"]})
    columns = {"said": [0.2, 0.8], "happened": [0.25, 0.5], "band_low": [0.1, 0.6],
               "band_high": [0.3, 0.9], "inside": [1, 0]}  # fmt: skip
    bins = xr.Dataset({name: ("bin", values) for name, values in columns.items()})
    tree = xr.DataTree.from_dict({"summary": summary, "ecdf": ecdf, "reliability": bins})
    tree.attrs = {"kind": "popk calibration", "n_replicates": 200}
    return tree


def test_each_quantity_has_a_panel_and_what_is_outside_is_named(result):
    figure = plot_calibration(result)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["CL", "omega_CL: outside", "P(trough ≥ target): outside"]
    line = figure.axes[0].get_lines()[-1].get_ydata()
    assert line[0] == line[-1] == 0
    assert line[1:-1] == pytest.approx(result["ecdf"]["difference"].values[0])
    assert figure.axes[0].get_xlabel() == "Place of the truth among draws"
    assert any("200 replicates" in text.get_text() for text in figure.legends[0].get_texts())


def test_without_a_trough_there_is_no_panel_of_it(result):
    del result["reliability"]
    assert len(plot_calibration(result).axes) == 2


def test_something_else_is_refused(result):
    result.attrs["kind"] = "popk fit"
    with pytest.raises(PlotError, match=r"not the result of popk\.sbc"):
        plot_calibration(result)
