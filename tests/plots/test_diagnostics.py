"""Figures of diagnostics, from tables as the diagnostics give them."""

import numpy as np
import pytest
import xarray as xr

from popk import plots

RNG = np.random.default_rng(1)
N = 60


def table(kind, data, coords=None, **attrs):
    return xr.Dataset(
        data, coords=coords, attrs={"kind": f"popk {kind}", "converged": 1, "notes": "[]", **attrs}
    )


def observations():
    cens = np.zeros(N, dtype=np.int64)
    cens[:4] = 1
    return {
        "CENS": ("observation", cens),
        "TIME": ("observation", np.arange(N) * 1.0, {"units": "h"}),
        "TAD": ("observation", RNG.uniform(0, 24, N), {"units": "h"}),
        "ID": ("observation", np.repeat(np.arange(N // 4).astype(str), 4)),
    }


def test_criticism_marks_what_flags():
    names = ["time after dose", "two groups of CL"]
    data = {"p_adjusted": ("check", [1e-9, 0.6]), "flagged": ("check", [1, 0])}
    figure = plots.plot_criticism(table("criticism", data, {"check": names}, level=0.05))
    ticks = figure.axes[0].get_yticklabels()
    assert [tick.get_text() for tick in ticks] == names
    assert [tick.get_fontweight() for tick in ticks] == ["bold", "normal"]
    flags = next(line for line in figure.axes[0].lines if line.get_label() == "flags the model")
    np.testing.assert_allclose(flags.get_xdata(), [1e-6])


@pytest.fixture
def effects():
    edges = np.linspace(-1, 1, 11)
    bins = {"low": np.tile(edges[:-1], (2, 1)), "high": np.tile(edges[1:], (2, 1))}
    bins |= {"density": np.full((2, 10), 0.5), "expected": np.full((2, 10), 0.4)}
    data = {name: (("effect", "bin"), values) for name, values in bins.items()}
    data |= {
        "mean": (("subject", "effect"), RNG.normal(0, 0.3, (20, 2))),
        "sd": (("subject", "effect"), np.full((20, 2), 0.1)),
        "covariate_value": (
            ("subject", "covariate"),
            np.column_stack([RNG.normal(70, 9, 20), np.arange(20) % 2]),
        ),
        **{
            name: (("effect", "covariate"), np.full((2, 2), value))
            for name, value in (
                ("correlation", 0.4), ("correlation_low", 0.1), ("correlation_high", 0.6),
            )
        },
    }  # fmt: skip
    coords = {
        "effect": ["CL", "V"],
        "covariate": ["WT", "SEX"],
        "unit": ("covariate", ["kg", "1"]),
        "subject": np.arange(20).astype(str),
    }
    return table("random effects", data, coords)


def test_random_effects_and_covariates(effects):
    figure = plots.plot_random_effects(effects)
    assert [ax.get_xlabel() for ax in figure.axes] == ["η of CL", "η of V"]
    axes = np.array(plots.plot_effects_against_covariates(effects).axes).reshape(2, 2)
    assert [ax.get_xlabel() for ax in axes[1]] == ["WT (kg)", "SEX"]
    assert axes[0, 0].get_title() == "r 0.40 (0.10 to 0.60)"
    assert axes[0, 1].get_xticks().tolist() == [0.0, 1.0]
    with pytest.raises(plots.PlotError, match="no covariates"):
        plots.plot_effects_against_covariates(effects.isel(covariate=[]))


def test_contraction_influence_and_sensitivity_have_a_row_each():
    data = {"contraction": ("parameter", [0.9, -0.1]), "overlap": ("parameter", [0.1, 0.9])}
    names = {"parameter": ["CL", "omega_V"]}
    ax = plots.plot_contraction(table("contraction", data, names)).axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == names["parameter"]
    change = np.array([[0.1, 0.0], [-0.8, 0.0], [0.3, 0.0]])
    data = {
        "mean_change": (("subject", "parameter"), change),
        "reliable": ("subject", [1, 0, 1]),
    }
    influence = table("influence", data, names | {"subject": ["1", "2", "3"]})
    ax = plots.plot_influence(influence, parameter="CL", most=2).axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["ID 2", "ID 3"]
    with pytest.raises(plots.PlotError, match="no parameter KA"):
        plots.plot_influence(influence, parameter="KA")


def test_power_scaling_of_one_patients_intervals():
    sensitivity = (("parameter", "component"), np.array([[0.02, 0.3], [0.2, 0.1]]))
    coords = {"parameter": ["CL", "V"], "component": ["prior", "likelihood"]}
    probability = np.broadcast_to([0.99, 0.9, 0.6], (2, 3, 1, 3))
    intervals = xr.Dataset(
        {"probability": (("component", "power", "subject", "week"), probability)},
        coords={
            "component": coords["component"], "power": [0.8, 1.0, 1.25], "subject": ["A"],
            "week": [4.0, 6.0, 8.0],
        },
    )  # fmt: skip
    parameters = xr.Dataset({"sensitivity": sensitivity}, coords=coords)
    tree = xr.DataTree.from_dict({"parameters": parameters, "intervals": intervals})
    tree.attrs = {
        "kind": "popk power scaling", "converged": 1, "target": 10.0, "target_units": "mg/L",
        "probability": 0.9,
    }  # fmt: skip
    assert len(plots.plot_power_scaling(tree).axes[0].get_yticklabels()) == 2
    figure = plots.plot_interval_sensitivity(tree, subject="A")
    assert figure.axes[0].get_ylabel() == "P(trough ≥ 10 mg/L)"
    labels = [line.get_label() for line in figure.axes[0].lines if line.get_label()[0] != "_"]
    assert labels == ["0.8", "1", "1.25"]
    with pytest.raises(plots.PlotError, match="no subject B"):
        plots.plot_interval_sensitivity(tree, subject="B")


def test_intervals_that_become_shorter_and_longer_are_counted():
    longest = np.full((2, 3, 4), 6.0)
    longest[0, 0] = [4.0, np.nan, 8.0, 6.0]
    intervals = xr.Dataset(
        {"longest": (("component", "power", "subject"), longest)},
        coords={"component": ["prior", "likelihood"], "power": [0.8, 1.0, 1.25]},
    )
    tree = xr.DataTree.from_dict({"intervals": intervals})
    tree.attrs = {"kind": "popk power scaling", "converged": 1}
    (ax,) = plots.plot_interval_shifts(tree).axes
    widths = [[bar.get_width() for bar in kind] for kind in ax.containers]
    assert widths == [[2, 0, 0, 0], [1, 4, 4, 4], [1, 0, 0, 0]]
    assert ax.get_yticklabels()[0].get_text() == "prior, power 0.8"
    hatches = {kind.get_label(): kind[0].get_hatch() for kind in ax.containers}
    assert hatches == {"shorter": "///", "the same": None, "longer": "..."}
    del tree["intervals"]
    with pytest.raises(plots.PlotError, match="No advice was given"):
        plots.plot_interval_shifts(tree)


def test_left_out_ranks_against_the_uniform_distribution():
    data = {
        "pit": ("observation", (np.arange(N) + 0.5) / N),
        "DV": ("observation", np.ones(N), {"units": "mg/L"}),
    }
    figure = plots.plot_loo_pit(table("loo pit", data, observations()))
    curve = next(line for line in figure.axes[1].lines if line.get_label() == "LOO-PIT")
    assert np.abs(curve.get_ydata()).max() < 1 / N


@pytest.mark.parametrize(
    "draw",
    [
        plots.plot_criticism,
        plots.plot_random_effects, plots.plot_effects_against_covariates, plots.plot_contraction,
        plots.plot_power_scaling, plots.plot_loo_pit,
    ],
)  # fmt: skip
def test_something_else_is_refused(draw):
    with pytest.raises(plots.PlotError, match="This is not the result of popk"):
        draw(table("vpc", {}))
