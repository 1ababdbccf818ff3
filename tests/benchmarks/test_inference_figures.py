"""The arithmetic behind benchmarks/RESULTS_INFERENCE.md, and that every tool is given one model."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from popk.design import design_of
from popk.structure.solve import Solver

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def importable():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def figures(importable):
    from inference import figures

    return figures


@pytest.fixture(scope="module")
def cohorts(importable):
    from inference import cohorts

    return cohorts


def run(ess=400.0, *, sampling=(4.0, 8.0), **more):
    """A run of 3 s (5 CPU-s) of adaptation and, unless told otherwise, 4 s (8 CPU-s) of draws."""
    phases = [
        ["importing", 100.0, 100.0, 1],
        ["compiling", 50.0, 50.0, 2],
        ["learning the proposals", 3.0, 5.0, 3],
        ["sampling", *sampling, 4],
    ]
    return {"phases": phases, "ess": ess, "rhat": 1.001, "divergences": 0, **more}


def test_rates_leave_out_what_comes_before_the_fit(figures):
    assert figures.seconds(run()) == 7.0
    assert figures.seconds_before(run()) == 150.0
    assert figures.rate(run()) == pytest.approx(400 / 7)
    assert figures.rate(run(), figures.CPU) == pytest.approx(400 / 13)
    assert figures.rate_of_draws(run(khat=0.1)) == pytest.approx(400 / 8)
    assert figures.rate_of_draws(run(cpu_of_draws=2.0)) == pytest.approx(400 / 2)
    assert figures.rate_of_draws(run()) is None
    assert figures.rate({"phases": [], "why_not": "no compiler"}) is None


def test_a_run_still_in_warm_up_has_a_bound_and_no_rate(figures):
    stopped = {**run(), "cut": "in warm-up after 7 s", "iterations": 26}
    assert figures.bound(stopped) is None
    del stopped["ess"], stopped["rhat"]
    assert figures.bound(stopped, figures.CPU) == pytest.approx(2.0)
    assert figures.rate(stopped) is None
    assert figures.bound({"phases": [], "iterations": 3}) is None


def test_memory_is_the_most_up_to_a_phase(figures):
    assert figures.peak(run()) == 4
    assert figures.peak(run(), "learning the proposals") == 3
    assert figures.peak(run(), "pilot run") is None
    assert figures.peak({"phases": []}) is None


def test_the_ratio_is_the_median_of_each_repeats_ratio(figures):
    ours = [run(700.0), run(1400.0), run(70.0)]  # 100, 200 and 10 per second
    theirs = [run(7.0), run(70.0), run(7.0)]  # 1, 10 and 1 per second
    assert figures.ratios(ours, theirs) == pytest.approx([100.0, 20.0, 10.0])
    assert figures.median_ratio(ours, theirs) == pytest.approx(20.0)
    without = [run(7.0), {"phases": []}, {"phases": []}]
    assert figures.median_ratio(ours, without) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, []),
        ({"rhat": 1.02}, ["R-hat 1.020"]),
        ({"rhat": math.nan}, ["R-hat nan"]),
        ({"divergences": 3}, ["3 divergences"]),
        ({"khat": 0.2, "khat_subject": 0.8}, ["k-hat 0.80"]),
        ({"khat": math.nan}, ["k-hat nan"]),
        ({"instead": "Sampled by NUTS instead."}, ["Sampled by NUTS instead."]),
        ({"cut": "ended after 9 s with 50 of 100 draws a chain"}, []),
    ],
)
def test_a_run_that_has_not_converged_is_marked(figures, more, told):
    assert figures.faults(run(**more)) == told


def test_distance_is_in_the_references_sds_and_refuses_another_model(figures):
    ours = run(means={"CL": 1.0, "V": 5.0}, sds={"CL": 0.1, "V": 2.0})
    theirs = run(means={"CL": 1.05, "V": 4.0}, sds={"CL": 9.0, "V": 9.0})
    assert figures.distance(theirs, ours) == (pytest.approx(0.5), "CL")
    with pytest.raises(ValueError, match="other parameters: V"):
        figures.distance(run(means={"CL": 1.0}, sds={}), ours)


def test_the_page_marks_what_is_not_to_be_believed(importable):
    from inference.page import write

    same = {
        "means": {"CL": 1.0}, "sds": {"CL": 0.1}, "chains": 4, "draws": 50,
        "ess_of": "CL", "rhat_of": "CL",
    }  # fmt: skip
    stopped = {**run(), "cut": "in warm-up after 7 s", "iterations": 26}
    del stopped["ess"]
    runs = {
        "popk, Marginal": [run(700.0, khat=0.1, khat_subject=0.2, **same)],
        "popk, NUTS": [run(7.0, **{**same, "divergences": 2, "means": {"CL": 1.2}})],
        "Stan, centred": [stopped],
        "PyMC, nutpie": [{"phases": [], "why_not": "no compiler"}],
    }
    found = {"date": "a day", "code": "a commit", "processor": "one", "quick": False,
             "patients": 2, "observations": 3, "runs": runs}  # fmt: skip
    lines = write({"linear": found}).splitlines()
    own = next(line for line in lines if line.startswith("| popk, Marginal"))
    other = next(line for line in lines if line.startswith("| popk, NUTS"))
    assert "| 700 (CL) |" in own
    assert "†" not in own
    assert "| 7† (CL) |" in other
    assert "**100**†" in other
    assert "2.00 (CL)" in other
    assert "- † popk, NUTS, 1 of 1 runs: 2 divergences." in lines
    assert "- PyMC, nutpie: no compiler." in lines
    bound = next(line for line in lines if line.startswith("- Stan, centred: in warm-up"))
    # 26 iterations in 13 CPU-seconds, against an ESS of 700 in 13.
    assert "2 per CPU-second, of which `Marginal` makes 26.9 times as many" in bound


def test_peers_are_given_the_linear_cohort_as_it_is(cohorts):
    """Concentrations from the peers' own arrays are those of popk."""
    work = cohorts.linear(5)
    from inference.pymc_fit import pairs

    theta = np.tile([0.15, 3.0, 0.5, 2.5], (5, 1)) * np.linspace(0.8, 1.2, 5)[:, None]
    since, observation, amount, patient = pairs(work.data)
    CL, V1, Q, V2 = theta[patient].T
    k10, k12, k21 = CL / V1, Q / V1, Q / V2
    root = np.sqrt((k10 + k12 + k21) ** 2 - 4 * k10 * k21)
    fast, slow = (k10 + k12 + k21 + root) / 2, (k10 + k12 + k21 - root) / 2
    each = (fast - k21) * np.exp(-fast * since) + (k21 - slow) * np.exp(-slow * since)
    found = np.bincount(observation, amount / V1 * each / (fast - slow))
    exact = Solver(work.model.structure, design_of(work.model, work.dataset).events).run(theta)[0]
    np.testing.assert_allclose(found, exact, rtol=1e-9)


@pytest.mark.parametrize("case", ["theophylline", "linear", "michaelis-menten"])
def test_every_parameter_of_a_model_is_asked_of_the_peers(cohorts, case):
    work = cohorts.WORK[case]()
    wanted = {parameter.name for parameter in work.model.parameters}
    assert {name.removeprefix("log ") for name in work.parameters} == wanted
    assert work.data["K"] == work.dataset.n_observations
    json.dumps(work.data, allow_nan=False)


def test_infusions_are_cut_where_their_rate_changes(cohorts):
    data = cohorts.WORK["michaelis-menten"]().data
    start, end = np.array(data["start"]), np.array(data["end"])
    assert (end > start).all()
    seen = [number for number in data["observation"] if number]
    assert seen == list(range(1, data["K"] + 1))
    rate = np.array(data["infusion"])
    given = np.add.reduceat(rate * (end - start), np.array(data["first"][:-1]) - 1)
    np.testing.assert_allclose(given / 300.0, np.round(given / 300.0), atol=1e-9)
    assert (given > 0).all()
