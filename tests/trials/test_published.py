"""Published simulations and trials of natalizumab, from the published estimates.

Weights are lognormal with a median of 74 kg and an SD of 0.21 on the logarithm, as in the published
cohorts. van den Berg et al. 2025 (doi 10.1002/psp4.70014): target 2 mg/L, 7 weeks and 40 % fewer
infusions; errors of trough against target, decision tree against model-informed: 24 against 4.8 %
(RMSE 4.0 against 2.3 mg/L) at target 10, 86 against 4.8 % (5 against 1.5) at target 5. NEXT-MS
(Toorop et al. 2024): at target 5 a third went beyond 6 weeks. van Kempen et al. 2017: 94 % of q4w
troughs at 10 mg/L or more. The published trees were not seen, so that only the order of the errors
is asked for, not their size.
"""

import numpy as np
import pandas as pd
import pytest
from popk.models import natalizumab

import popk.trials.bank
from popk.individual import Trough
from popk.model import PopModel
from popk.regimen import Regimen
from popk.statistics import IIV, Fixed, LogNormalError, Power
from popk.trials import ORACLE, Conduct, DecisionTree, FixedInterval, ModelInformed, trial

NAMES = ("CL", "V1", "Q", "V2", "VMAX", "KM")
DAYS = np.arange(28, 71) / 7
CONDUCT = Conduct(run_in=Regimen(amount=300, interval=28, repeats=6, duration=1 / 24))


@pytest.fixture(scope="module")
def model():
    """The published estimates, without their uncertainty."""
    drug = natalizumab
    units = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
    on = (("CL", drug.WEIGHT_ON_CL), ("V1", drug.WEIGHT_ON_V1))
    return PopModel(
        drug.model.structure,
        typical={name: Fixed(getattr(drug, name)) for name in NAMES},
        iiv=IIV({name: Fixed(getattr(drug, f"OMEGA_{name}")) for name in ("CL", "V2", "VMAX")}),
        covariates=[Power(x, "WT", reference=70, exponent=Fixed(beta)) for x, beta in on],
        error=LogNormalError(Fixed(drug.SIGMA_PROP)),
        units=units,
        name="natalizumab, published estimates",
    )


@pytest.fixture(scope="module")
def weights():
    return pd.DataFrame({"WT": 74 * np.exp(0.21 * np.random.default_rng(3).normal(size=2000))})


def tried(model, weights, policies, target, *, patients, particles=40, **more):
    return trial(
        model, policies, target=Trough(target, "mg/L"), conduct=CONDUCT, patients=patients,
        covariates=weights, particles=particles, **more,
    )  # fmt: skip


def estimate(result, policy, measure):
    return float(result["summary"]["estimate"].sel(policy=policy, measure=measure))


def beyond(result, policy, weeks):
    last = result["patients"]["last"].sel(policy=policy).values
    return float((last > weeks).mean())


def errors(result, policy, target):
    """Mean relative error (%) and RMSE of true troughs against the target, in the second year."""
    own = result["visits"].to_dataset().sel(policy=policy)
    second = (own["week"] > 52) & (own["week"] <= 104)
    off = own["trough"].values[second.values] - target
    return float(100 * off.mean() / target), float(np.sqrt((off**2).mean()))


def check_known_truth(model, weights, patients, tolerance):
    """What does not depend on how patients are estimated: the policy that knows them."""
    two = tried(model, weights, [FixedInterval(4)], 2.0, patients=patients)
    troughs = two["visits"]["trough"].sel(policy="every 4 weeks", visit=0).values
    assert (troughs >= 10).mean() == pytest.approx(0.94, abs=tolerance)
    assert estimate(two, ORACLE, "interval") == pytest.approx(7.0, abs=0.3 + 3 * tolerance)
    assert estimate(two, ORACLE, "saved") == pytest.approx(40, abs=2 + 50 * tolerance)
    five = tried(model, weights, [FixedInterval(4)], 5.0, patients=patients)
    assert beyond(five, ORACLE, 6) == pytest.approx(1 / 3, abs=0.05 + 2 * tolerance)


def check_order(result, target, tree, most):
    """The tree errs more than what the model says, and neither is exact."""
    first = errors(result, tree, target)
    second = errors(result, "model-informed 0.5", target)
    assert 20 < first[0] < 90
    assert abs(second[0]) < most
    assert 0 < second[1] < 0.6 * first[1]


def test_published_intervals(model, weights):
    check_known_truth(model, weights, 250, 0.04)


def test_the_tree_errs_more_than_the_model(model, weights):
    policies = [DecisionTree(target=10), ModelInformed(probability=0.5, weeks=DAYS[::2])]
    found = tried(model, weights, policies, 10.0, patients=40)
    check_order(found, 10, "decision tree, 10", 12)


def test_amounts_carried_on_give_what_the_whole_history_gives(model, weights, monkeypatch):
    settings = {"patients": 12, "particles": 60, "weeks": 16}
    on = tried(model, weights, [ModelInformed()], 5.0, **settings)
    monkeypatch.setattr(popk.trials.bank, "can_restart", lambda structure: False)
    whole = tried(model, weights, [ModelInformed()], 5.0, **settings)
    for name, tolerance in (("probability", 1e-6), ("ess", 0.02)):
        one, other = (
            r["visits"][name].sel(policy="model-informed 0.9").values for r in (on, whole)
        )
        first = np.isfinite(one).argmax(axis=1)[0]
        assert other[:, first] == pytest.approx(one[:, first], rel=tolerance)
        later = np.isfinite(one) & np.isfinite(other)
        assert np.median(abs(other - one)[later]) <= tolerance * np.nanmax(one)


@pytest.mark.slow
def test_published_figures_with_more_patients(model, weights):
    check_known_truth(model, weights, 2000, 0.012)
    for target, published in ((10.0, 24), (5.0, 86)):
        tree = DecisionTree(target=target)
        policies = [
            FixedInterval(4),
            tree,
            ModelInformed(),
            ModelInformed(probability=0.5, weeks=DAYS),
        ]
        found = tried(model, weights, policies, target, patients=400, particles=100)
        check_order(found, target, tree.name, 8)
        assert errors(found, tree.name, target)[0] > 0.3 * published
        if target == 5:
            for policy in (tree.name, "model-informed 0.9"):
                assert beyond(found, policy, 6) == pytest.approx(1 / 3, abs=0.08)
        # The asked probability is held, if not by much more.
        assert 88 < estimate(found, "model-informed 0.9", "attained") < 99
