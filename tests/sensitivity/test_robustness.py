"""All that a report says of what conclusions hang on."""

import json

import numpy as np
import pytest

from popk.errors import PopkError
from popk.individual import Trough, decide, individualise
from popk.sensitivity import influence, power_scaling, robustness


@pytest.fixture(scope="module")
def advice(grid_fit):
    first = individualise(grid_fit, target=Trough(12.0, "mg/L"), samples=100, draws=100)
    return [first, decide(first, target=Trough(5.0, "mg/L"), probability=0.9)]


def test_each_look_is_what_its_function_gives(grid_fit, advice):
    asked = []
    found = robustness(
        grid_fit, advice, draws=100, seed=2, progress=lambda *done: asked.append(done)
    )
    assert set(found.children) == {"power_scaling", "power_scaling_2", "influence"}
    alone = power_scaling(grid_fit, advice[0], draws=100, seed=2)
    for name in ("parameters", "intervals"):
        assert found["power_scaling"][name].to_dataset().identical(alone[name].to_dataset())
    assert found["power_scaling"].attrs["notes"] == alone.attrs["notes"]
    assert found["power_scaling_2"].attrs["target"] == 5.0
    own = found["influence"].to_dataset()
    assert own.identical(influence(grid_fit, draws=100, seed=2))
    total = len(own["subject"])
    assert asked == [(k, total) for k in range(1, total + 1)]
    assert json.loads(found.attrs["notes"]) == []


def test_loo_pit_only_where_it_is_asked_for(grid_fit):
    found = robustness(grid_fit, which=["loo_pit"], draws=100, seed=1)
    assert set(found.children) == {"loo_pit"}
    assert np.isfinite(found["loo_pit"]["pit"].values).all()
    with pytest.raises(PopkError, match="which holds smoke; known are power_scaling"):
        robustness(grid_fit, which=["smoke"])


def test_advice_of_another_fit_leaves_a_note_and_the_rest(grid_fit, advice):
    other = advice[0].copy()
    other.attrs["fit_data_hash"] = "0" * 64
    found = robustness(grid_fit, other, which=["power_scaling"], draws=100, seed=1)
    assert set(found["power_scaling"].children) == {"parameters"}
    (note,) = json.loads(found.attrs["notes"])
    assert note.startswith("What becomes of advice 1 could not be computed. The advice rests on")
