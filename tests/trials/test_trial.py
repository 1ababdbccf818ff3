"""Trials whose results are known: by hand, by brute force, and from `popk.individualise`."""

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from popk.dataset import read_dataset
from popk.errors import SettingError
from popk.individual import individualise, patients_of
from popk.individual.forecast import present_of, troughs_of
from popk.individual.posterior import patient_posterior
from popk.model import ModelError
from popk.population import PopulationDraws
from popk.statistics import Autocorrelated, Fixed, LogNormalError
from popk.trials import (
    ORACLE,
    Conduct,
    DecisionTree,
    FixedInterval,
    ModelInformed,
    Rule,
    WeightBands,
    trial,
    trial_frame,
    trial_records,
)


def _shared():
    path = Path(__file__).with_name("conftest.py")
    spec = spec_from_file_location("popk_trial_models", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


known = _shared()
linear, by_hand, TARGET, UNITS = known.linear, known.by_hand, known.TARGET, known.UNITS
PLAIN = {name: unit for name, unit in UNITS.items() if name != "WT"}


def of(result, policy, name):
    return result["visits"].to_dataset()[name].sel(policy=policy)


@pytest.fixture(scope="module")
def result(conduct):
    policies = [
        FixedInterval(4), FixedInterval(6), DecisionTree(target=15), ModelInformed(),
        ModelInformed(probability=0.8, step=1),
    ]  # fmt: skip
    return trial(
        linear(sigma=1e-6), policies, target=TARGET, conduct=conduct, patients=3, weeks=48,
        particles=20,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return linear(omega=0.35, omega_v=0.2)


@pytest.fixture(scope="module")
def asked():
    """What the particles said, visit by visit."""
    return []


@pytest.fixture(scope="module")
def found(model, conduct, asked):
    def decide(history):
        asked.append(history)
        return ModelInformed().interval(history)

    return trial(
        model, [Rule("informed", decide, candidates=(4, 5, 6, 7, 8))], target=TARGET,
        conduct=replace(conduct, lloq=4.0, scatter=1.0, missed=0.1), patients=10, weeks=52,
        particles=200,
    )  # fmt: skip


class TestNoVariability:
    """Everybody is the same and nothing is noisy: every trough can be computed by hand."""

    def test_troughs_of_fixed_intervals(self, result):
        for policy, weeks in (("every 4 weeks", 4), ("every 6 weeks", 6)):
            own = of(result, policy, "trough").sel(visit=slice(-3, 48 // weeks))
            assert own.values == pytest.approx(
                np.tile(by_hand([weeks] * (48 // weeks)), (3, 1)), rel=1e-6
            )

    def test_informed_is_the_longest_that_holds(self, result):
        # The present level counts: the first interval after the run-in may be the longest.
        expected = []
        while sum(expected) < 48:
            holds = [w for w in range(4, 9) if by_hand([*expected, w])[-1] >= 15]
            expected.append(max(holds, default=4))
        assert len(set(expected)) > 1 or expected[0] in (5, 6)
        for policy in ("model-informed 0.9", ORACLE):
            planned = of(result, policy, "planned").sel(visit=slice(1, len(expected)))
            assert planned.values.tolist() == [expected] * 3
        stepped = of(result, "model-informed 0.8", "planned").sel(visit=1).values
        assert (stepped == 5).all()

    def test_the_tree_steps_as_its_rule_says(self, result):
        planned = of(result, "decision tree, 15", "planned").values[0]
        troughs = of(result, "decision tree, 15", "trough").values[0]
        start = 4
        seen = [4.0, 4.0]
        present, own = 4.0, list(troughs[3:5])
        for visit in range(start, int(np.isfinite(planned).sum())):
            if own[-1] < 15:
                nxt = max(present - 1, 4)
            elif len(own) >= 2 and np.mean(own) >= 22.5:
                nxt = min(present + 1, 8)
            else:
                nxt = present
            assert planned[visit + 1] == nxt
            own = [*own, troughs[visit + 1]] if nxt == present else [troughs[visit + 1]]
            present = nxt
            seen.append(nxt)
        assert max(seen) > 4

    def test_measures_by_hand(self, result):
        own = result["patients"].to_dataset().sel(patient=1)
        six = own.sel(policy="every 6 weeks")
        troughs = by_hand([6] * 8)[4:]
        assert six["attained"] == pytest.approx(100 * (troughs >= 15).mean())
        assert six["always"] == 100 * (troughs >= 15).all()
        assert six["infusions"] == pytest.approx(365.25 / 42)
        assert six["saved"] == pytest.approx(100 / 3)
        assert six["interval"] == pytest.approx(6)
        # Time under the target of each interval, from its peak.
        peaks = np.concatenate([by_hand([])[-1:], troughs[:-1]]) + known.DOSE / known.V
        under = np.maximum(42 - np.log(peaks / 15) * known.V / known.CL, 0).sum() / (48 * 7)
        assert float(six["under"]) == pytest.approx(100 * under, abs=0.5)  # by days
        loss = six["infusions"] + six["under"] / 100 * 365.25 / 7
        best = own.sel(policy=ORACLE)
        assert six["regret"] == pytest.approx(
            float(loss - best["infusions"] - best["under"] / 100 * 365.25 / 7)
        )
        assert best["regret"] == 0

    def test_the_end_cuts_an_interval(self, conduct):
        found = trial(
            linear(), [FixedInterval(5)], target=TARGET, conduct=conduct, patients=2, weeks=12
        )
        own = found["patients"].to_dataset().sel(policy="every 5 weeks")
        assert own["infusions"].values == pytest.approx([365.25 / 35] * 2)
        assert own["troughs"].values.tolist() == [2, 2]


class TestChance:
    def test_attainment_of_fixed_intervals_is_that_of_brute_force(self, conduct):
        omega = 0.4
        found = trial(
            linear(omega=omega), [FixedInterval(4), FixedInterval(6)], target=TARGET,
            conduct=conduct, patients=600, weeks=48,
        )  # fmt: skip
        cl = known.CL * np.exp(omega * np.random.default_rng(9).normal(size=20000))
        summary = found["summary"].to_dataset().sel(policy="every 6 weeks")
        troughs = by_hand([6] * 8, cl=cl)[4:]
        for name, expected in (
            ("attained", 100 * (troughs >= 15).mean()),
            ("always", 100 * (troughs >= 15).all(axis=0).mean()),
        ):
            at = summary.sel(measure=name)
            assert 0.2 < float(at["se"]) < 3
            assert abs(float(at["estimate"]) - expected) < 4 * float(at["se"])

    def test_the_laboratory_and_its_limit(self, conduct):
        sigma, lloq = 0.3, 18.0
        found = trial(
            linear(sigma=sigma), [FixedInterval(4)], target=TARGET,
            conduct=replace(conduct, lloq=lloq, measured=1, lost=0.25), patients=400, weeks=24,
        )  # fmt: skip
        own = found["visits"].to_dataset().sel(policy="every 4 weeks")
        assert np.isnan(own["measured"].sel(visit=slice(None, -1))).all()
        later = own.sel(visit=slice(1, 6))
        value, below, true = (later[name].values for name in ("measured", "below", "trough"))
        measured = np.isfinite(value)
        assert measured.mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.25 * 0.75 / value.size))
        expected = ndtr(np.log(lloq / true) / sigma).mean()
        assert below[measured].mean() == pytest.approx(expected, abs=0.05)
        assert (value[below == 1] == lloq).all()
        shown = np.log(value / true)[below == 0]
        assert shown.min() > np.log(lloq / true.max())
        assert shown.max() == pytest.approx(sigma * 3.2, abs=0.3)

    def test_visits_scatter_and_are_missed_alike_under_every_policy(self, conduct):
        found = trial(
            linear(), [FixedInterval(4), FixedInterval(6)], target=TARGET,
            conduct=replace(conduct, scatter=1.5, missed=0.2, delay=2.0), patients=300, weeks=60,
        )  # fmt: skip
        week = found["visits"].to_dataset()["week"]
        slips = []
        for policy, weeks in (("every 4 weeks", 4), ("every 6 weeks", 6)):
            gaps = week.sel(policy=policy).diff("visit").sel(visit=slice(1, 7)).values
            slips.append(gaps - weeks)
        assert slips[0] == pytest.approx(slips[1], abs=1e-9)
        late = slips[0] > 1
        assert late.mean() == pytest.approx(0.2, abs=0.04)
        assert 7 * slips[0][~late].std() == pytest.approx(1.5, rel=0.2)
        assert abs(7 * slips[0][~late]).max() <= 3.0 + 1e-9

    def test_occasions_of_the_truth(self, conduct):
        found = trial(
            linear(omega=0.2), [FixedInterval(4)], truth=linear(omega=0.2, iov=0.3), target=TARGET,
            conduct=conduct, patients=300, weeks=40,
        )  # fmt: skip
        troughs = np.log(of(found, "every 4 weeks", "trough").sel(visit=slice(0, 10)).values)
        within = troughs.std(axis=1).mean()
        # d log C / d log CL of one interval is about -CL t / V beside what was there before.
        assert within == pytest.approx(0.3 * known.CL / known.V * 28, rel=0.35)

    def test_covariates_are_those_of_the_table(self, conduct, people):
        found = trial(
            linear(weight=0.75), [FixedInterval(4), WeightBands({70: 6}, above=5)], target=TARGET,
            conduct=conduct, patients=80, weeks=24, covariates=people,
        )  # fmt: skip
        own = found["patients"].to_dataset()
        weight = own["WT"].values
        assert set(weight) <= set(people["WT"])
        expected = known.CL * (weight / 70) ** 0.75
        theta = found["truth"]["parameters"].sel(parameter="CL").values
        assert theta == pytest.approx(expected)
        banded = own["interval"].isel(policy=1).values
        assert banded == pytest.approx(np.where(weight <= 70, 6, 5))

    def test_seeds_repeat_and_more_policies_change_nothing(self, conduct):
        settings = {"target": TARGET, "conduct": replace(conduct, scatter=1.0, missed=0.1),
                    "patients": 12, "weeks": 30, "particles": 30}  # fmt: skip
        model, calls = linear(omega=0.3), []
        one = trial(
            model, [ModelInformed()], **settings, progress=lambda k, n: calls.append((k, n))
        )
        again = trial(model, [FixedInterval(5), ModelInformed()], **settings)
        other = trial(model, [ModelInformed()], **settings, seed=2)
        name = "model-informed 0.9"
        for column in ("trough", "measured", "planned", "ess"):
            first, second = of(one, name, column), of(again, name, column)
            size = min(first.sizes["visit"], second.sizes["visit"])
            assert first.values[:, :size] == pytest.approx(second.values[:, :size], nan_ok=True)
        assert not np.allclose(of(one, name, "trough")[:, 4], of(other, name, "trough")[:, 4])
        assert calls == [(1, 2), (2, 2)]


class TestForecasts:
    """The particles against the patient kernel that `popk.individualise` rests on."""

    @staticmethod
    def kernel(model, found, policy, patient, visit, *, samples=6000):
        data = read_dataset(trial_records(found, policy, patient, until=visit), units=PLAIN)
        population = PopulationDraws.from_prior(model, 100, np.random.default_rng(4))
        rng = np.random.default_rng(patient)
        person = patients_of(population, data)[0]
        posterior = patient_posterior(population, person, samples=samples, rng=rng)
        assert posterior.reliable
        weeks = 7.0 * np.arange(4, 9)
        troughs = troughs_of(model, posterior.parameters, present_of(model, data)[0], weeks)
        return (troughs >= TARGET.concentration).mean(axis=0)

    def test_probabilities_and_decisions_are_those_of_the_kernel(self, model, found, asked):
        differences, decisions = [], []
        for history in asked:
            if history.decided not in (0, 3, 6):
                continue
            times = of(found, "informed", "week").values * 1.0
            at = 4 + history.decided
            ours = times[:, at] - times[:, 0]
            patient = int(np.argmin(abs(ours - history.times[-1]))) + 1
            expected = self.kernel(model, found, "informed", patient, history.decided)
            differences.append(history.probability - expected)
            holds = [np.logical_and.accumulate(p >= 0.9).sum() for p in (
                history.probability, expected)]  # fmt: skip
            decisions.append(holds[0] == holds[1])
        differences = np.array(differences)
        assert len(differences) >= 25
        # About 130 effective particles, evenly spread: less than sqrt(p (1 - p) / 130).
        assert np.sqrt((differences**2).mean()) < 0.025
        assert abs(differences.mean()) < 0.008
        assert abs(differences).max() < 0.12
        assert np.mean(decisions) > 0.85

    def test_effective_numbers_are_told(self, found):
        ess = of(found, "informed", "ess").values
        ess = ess[np.isfinite(ess)]
        assert len(ess) > 50
        assert (ess > 200 / 3 - 1).mean() > 0.95
        assert (ess <= 200).all()

    def test_chosen_probability_is_kept(self, found, asked):
        shown = of(found, "informed", "probability").values
        said = np.concatenate([h.probability for h in asked])
        assert np.isin(shown[np.isfinite(shown)], said).all()

    def test_individualise_gives_the_decision_made(self, fits, conduct):
        """From a fit, by the public function, at the first decision."""
        model = fits.one_compartment(cv=0.02)
        fit = fits.fit_of(model, fits.dataset(*fits.history("A"), *fits.history("B")), draws=60)
        result = trial(
            fit, [FixedInterval(4), ModelInformed(probability=0.8)], target=TARGET, patients=6,
            weeks=12, particles=300, draws=120,
        )  # fmt: skip
        assert result.attrs["run_in"].startswith('{"amount": 300.0, "interval": 28.0')
        agreed = []
        for patient in range(1, 7):
            frame = trial_records(result, "model-informed 0.8", patient, until=0)
            frame["ID"] = f"new {patient}"
            frame = frame.assign(WT=70.0)
            advice = individualise(
                fit, read_dataset(frame, units=fits.UNITS), target=TARGET, probability=0.8,
                draws=120, samples=2000,
            )  # fmt: skip
            own = advice["decision"].to_dataset().isel(subject=0)
            longest = 4.0 if np.isnan(own["longest"]) else float(own["longest"])
            chosen = float(
                of(result, "model-informed 0.8", "planned").sel(patient=patient, visit=1)
            )
            said = float(
                of(result, "model-informed 0.8", "probability").sel(patient=patient, visit=0)
            )
            there = float(own["probability"].sel(week=chosen))
            assert said == pytest.approx(there, abs=0.06)
            agreed.append(longest == chosen)
        assert np.mean(agreed) >= 0.8

    def test_informed_policies_are_calibrated_and_cost_little_regret(self, model, conduct):
        result = trial(
            model, [FixedInterval(4), ModelInformed(probability=0.9)], target=TARGET,
            conduct=conduct, patients=150, weeks=78, particles=60,
        )  # fmt: skip
        visits = result["visits"].to_dataset().sel(policy="model-informed 0.9")
        said = visits["probability"].sel(visit=slice(0, None)).values[:, :-1]
        held = visits["trough"].sel(visit=slice(1, None)).values >= TARGET.concentration
        sure = np.isfinite(said) & np.isfinite(visits["week"].sel(visit=slice(1, None)).values)
        sure &= said >= 0.9
        missed = 1 - held[sure].mean()
        assert missed < 0.12
        assert 1 - said[sure].mean() == pytest.approx(missed, abs=0.03)
        regret = result["summary"]["estimate"].sel(measure="regret").values
        assert 0 < regret[1] < regret[0]
        assert regret[2] == 0


def test_a_wrong_model_is_worse_than_the_right_one(conduct):
    truth, wrong = linear(omega=0.3, cl=0.3), linear(omega=0.1, cl=0.15)
    settings = {"target": TARGET, "patients": 60, "weeks": 52, "particles": 60,
                "conduct": replace(conduct, measured=1)}  # fmt: skip
    right = trial(truth, [ModelInformed()], **settings)
    off = trial(wrong, [ModelInformed()], truth=truth, **settings)
    first = [
        float((of(r, "model-informed 0.9", "trough").sel(visit=1) >= 15).mean())
        for r in (right, off)
    ]
    assert first[1] <= first[0]
    at = [float(r["summary"]["estimate"].sel(measure="regret")[0]) for r in (right, off)]
    assert at[1] > at[0] > 0


def test_records_and_frame(conduct):
    found = trial(linear(), [FixedInterval(4)], target=TARGET, conduct=conduct, patients=2, weeks=8)
    frame = trial_records(found, "every 4 weeks", 2)
    doses = frame[frame["EVID"] == 1]
    assert doses["TIME"].tolist() == pytest.approx([28.0 * k for k in range(7)])
    assert (doses["AMT"] == 300).all()
    assert frame[frame["EVID"] == 0]["TIME"].tolist() == pytest.approx([84, 112, 140, 168])
    assert set(trial_frame(found)["policy"]) == {"every 4 weeks", ORACLE}
    assert trial_frame(found).set_index(["policy", "measure"]).loc[
        ("every 4 weeks", "infusions"), "unit"
    ] == "1/yr"  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policies": []}, "No policy was given"),
        ({"policies": [4]}, "4 is not a policy"),
        ({"policies": [FixedInterval(4), FixedInterval(4.0)]}, "Two policies are called"),
        ({"patients": 1}, "patients is 1"),
        ({"weeks": 0}, "weeks is 0"),
        ({"particles": 5}, "particles is 5"),
        ({"week_under": -1}, "week_under is -1"),
        ({"conduct": None}, "A model has no doses"),
        ({"covariates": pd.DataFrame({"WT": []})}, "no row"),
        ({"policies": [Rule("zero", lambda _: 0.0)]}, "'zero' gave 0.0"),
        ({"policies": [Rule("daily", lambda _: 1 / 7)]}, "more than"),
        ({"source": linear(iov=0.1), "policies": [ModelInformed()]}, "between occasions"),
        ({"source": linear(weight=0.75)}, "reads WT, which the virtual patients do not have"),
    ],
)
def test_what_makes_no_sense_is_refused(conduct, change, said):
    given = {"source": linear(), "policies": [FixedInterval(4)], "conduct": conduct,
             "patients": 2, "weeks": 8}  # fmt: skip
    given |= change
    source, policies = given.pop("source"), given.pop("policies")
    with pytest.raises((SettingError, ModelError), match=said):
        trial(source, policies, target=TARGET, **given)


def test_autocorrelated_errors_are_refused(conduct):
    model = replace_error(linear())
    with pytest.raises(ModelError, match="autocorrelated"):
        trial(model, [FixedInterval(4)], target=TARGET, conduct=conduct, patients=2, weeks=8)


def replace_error(model):
    from popk.model import PopModel

    return PopModel(
        model.structure, typical=dict(model.typical), iiv=model.iiv, units=UNITS, name="sequence",
        error=Autocorrelated(LogNormalError(Fixed(0.2)), half_time=Fixed(30.0)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [({"missed": 1}, "missed=1"), ({"scatter": -1}, "scatter=-1"), ({"lloq": 0}, "lloq=0"),
     ({"measured": -1}, "measured=-1")],
)  # fmt: skip
def test_conduct_refuses(change, said):
    with pytest.raises(SettingError, match=said):
        Conduct(**change)
