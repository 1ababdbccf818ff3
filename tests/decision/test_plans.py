import numpy as np
import pytest

from popk.decision import Plan, transition_plan
from popk.errors import SettingError
from popk.individual import Trough


def run(fit, advice, ten, weeks, **options):
    return transition_plan(fit, advice, plan=Plan(weeks, **options), target=ten)["decision"]


def test_a_plan_without_samples_is_the_doses_written_out(fit, advice, ten, draws):
    found = run(fit, advice, ten, (5, 6, 6)).to_dataset().sel(subject="high", sampling="none")
    _, _, at = draws("high")
    days = 7.0 * np.cumsum([5, 6, 6])
    troughs = np.concatenate([at(days[k : k + 1], more=days[:k]) for k in range(3)], axis=1)
    np.testing.assert_allclose(found["probability"], (troughs >= 10).mean(axis=0))
    assert found["plan_probability"].item() == (troughs.min(axis=1) >= 10).mean()
    assert found["plan_weeks"].item() == 17
    np.testing.assert_allclose(found["infusions_per_year"], 3 * 365.25 / 119)


def test_a_limit_that_nobody_reaches_sends_everybody_back(fit, advice, ten, draws):
    stop = Trough(1e4, "mg/L")
    found = run(fit, advice, ten, (5, 6, 6), stop_below=stop).to_dataset()
    own = found.sel(subject="high", sampling="each visit")
    assert own["stops"].values.tolist() == [1, 0, 0]
    assert own["gone_back"].values.tolist() == [0, 1, 1]
    assert own["interval"].values.tolist() == [5, 4, 4]
    assert own["completed"].item() == 0
    _, _, at = draws("high")
    after = at(np.array([63.0]), more=(35.0,))
    np.testing.assert_allclose(own["probability"][1], (after >= 10).mean())
    chosen = run(fit, advice, ten, (5, 6, 6), stop_below=stop, back_to=3).to_dataset()
    back = chosen.sel(subject="high", sampling="each visit")
    assert back["interval"].values.tolist() == [5, 3, 3]


def test_stops_happen_as_often_as_measurements_are_low(fit, advice, ten, draws):
    found = run(fit, advice, ten, (5, 6), stop_below=Trough(15, "mg/L")).to_dataset()
    own = found.sel(subject="high", sampling="each visit")
    _, _, at = draws("high")
    true = at(np.array([35.0]))
    noisy = true * (1 + 0.2 * np.random.default_rng(1).standard_normal((len(true), 200)))
    expected = (noisy < 15).mean()
    assert abs(own["stops"][0].item() - expected) < 4 * np.sqrt(expected * (1 - expected) / 400)
    blind = found.sel(subject="high", sampling="none")
    assert own["plan_under"] < blind["plan_under"]


def test_plans_that_make_no_sense_are_refused(fits, fit, advice, ten):
    for weeks, options, said in (
        ((), {}, "intervals are"),
        ((5,), {"back_to": 4}, "without stop_below"),
        ((5, -1), {}, "above zero"),
    ):
        with pytest.raises(SettingError, match=said):
            Plan(weeks, **options)
    single = fits.dataset(fits.dose("one", 0.0), fits.observe("one", 20.0, 20.0))
    with pytest.raises(SettingError, match="single dose"):
        run(fit, single, ten, (5, 6), stop_below=ten)
