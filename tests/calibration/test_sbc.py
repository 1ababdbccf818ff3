import json

import numpy as np
import pytest
from scipy.stats import norm

from popk.calibration import calibration_frame, rank_frame, reliability_frame, sbc
from popk.calibration.planning import calibration_of
from popk.calibration.setting import observing
from popk.calibration.truth import simulate
from popk.errors import SettingError
from popk.inference import Laplace, sample
from popk.storage import StorageError

TROUGH = {"interval": 28.0, "target": 19.0}


@pytest.fixture(scope="module")
def right(volume, tmp_path_factory):
    """24 replicates with the known posterior, and their folder."""
    folder = tmp_path_factory.mktemp("right")
    found = sbc(
        volume.model(), volume.design(), replicates=24, seed=2, method=volume.Exact(),
        folder=folder, **TROUGH,
    )  # fmt: skip
    return found, folder


def few(volume, folder, **changed):
    asked = {
        "model": volume.model(),
        "design": volume.design(),
        "replicates": 4,
        "seed": 2,
        "method": volume.Exact(),
        "folder": folder,
        **TROUGH,
    }
    return sbc(**(asked | changed))


def test_the_known_posterior_is_calibrated(right):
    found, _ = right
    assert found.attrs["calibrated"] == 1
    assert found.attrs["words"].startswith("No sign of miscalibration")
    table = calibration_frame(found)
    assert list(table.index) == ["V", "log likelihood", "eta[V]", "trough", "P(trough >= target)"]
    assert table.loc["V", "n"] == 24
    assert table.loc["eta[V]", "n"] == 96
    assert table.loc["V", "words"].startswith("V: inside the simultaneous 95 % band (p ")
    assert len(reliability_frame(found)) >= 3
    assert reliability_frame(found)["n"].sum() == 96


def test_ranks_are_those_of_the_truth_among_the_draws(right, volume):
    """The PIT of log V is that of the known normal posterior."""
    found, _ = right
    pits = rank_frame(found).query("quantity == 'V'")
    setting = calibration_of(
        volume.model(), volume.design(), None, None, method=volume.Exact(), seed=2, ranks=200,
        interval=28.0, target=19.0,
    )  # fmt: skip
    for number in range(4):
        simulated = simulate(setting, number)
        data = simulated.data
        y = np.log(data.table["DV"].values[data.is_observation]).reshape(4, -1)
        mean, covariance = volume.known(y, dict(volume.model().typical)["V"])
        truth = np.log(float(simulated.truth["posterior"]["V"].item()))
        exact = norm.cdf((truth - mean[0]) / np.sqrt(covariance[0, 0]))
        assert pits["pit"].values[number] == pytest.approx(exact, abs=0.13)
        assert 100 <= pits["draws"].values[number] <= 200


@pytest.fixture(scope="module")
def narrow(volume):
    return sbc(volume.model(), volume.design(), replicates=20, seed=3, method=volume.Exact(0.4))


def test_a_posterior_that_is_too_narrow_is_flagged(narrow):
    assert narrow.attrs["calibrated"] == 0
    assert narrow.attrs["words"].startswith("NOT CALIBRATED")
    table = calibration_frame(narrow)
    assert not table.loc[["V", "eta[V]"], "inside"].any()
    assert table.loc["V", "words"].endswith("Its posterior is too narrow.")
    assert (table.loc["V", ["p_value", "p_adjusted"]] < 0.01).all()


def test_without_a_second_dose_no_trough_is_predicted_and_it_is_said(narrow):
    note, *_ = json.loads(narrow.attrs["notes"])
    assert note.startswith("No trough is predicted")
    assert "give the interval" in note
    assert "reliability" not in narrow


def test_a_wrong_prior_is_flagged(volume):
    found = sbc(
        volume.model(), volume.design(), fitted_model=volume.model(9.0, 0.1), replicates=12,
        seed=4, method=volume.Exact(),
    )  # fmt: skip
    table = calibration_frame(found)
    assert not table.loc["V", "inside"]
    assert "Its posterior lies too high" in table.loc["V", "words"]
    assert any(
        "Simulated by volume, fitted by" in note for note in json.loads(found.attrs["notes"])
    )


def test_interrupted_and_resumed_ranks_are_the_same(right, volume, tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as end:
        few(volume, tmp_path, progress=stop)
    assert "2 of 4 replicates are kept" in end.value.__notes__[0]
    (tmp_path / "replicates" / "000000.json").unlink()
    seen = []
    found = few(volume, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    whole = rank_frame(right[0])
    same = whole[whole["replicate"] < 4].reset_index(drop=True)
    ours = rank_frame(found)
    for name in ("replicate", "quantity", "member", "pit", "draws"):
        assert ours.sort_values(["quantity", "replicate"])[name].tolist() == (
            same.sort_values(["quantity", "replicate"])[name].tolist()
        )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 9}, "differs in the seed"),
        ({"target": 5.0}, "the target"),
        ({"ranks": 50}, "the number of draws to rank among"),
    ],
)
def test_another_setting_is_refused(right, volume, changed, words):
    with pytest.raises(StorageError, match=words):
        few(volume, right[1], **changed)


def test_another_model_design_or_method_is_refused(right, volume):
    other = volume.model(6.0)
    changed = {
        "model": other,
        "design": volume.design().select([0, 1]),
        "method": volume.Exact(0.5),
    }
    with pytest.raises(StorageError) as refused:
        few(volume, right[1], **changed)
    for what in ("the model", "the fitted model", "the design", "the method or its settings"):
        assert what in str(refused.value)


def test_failed_replicates_are_counted_and_shown(volume):
    found = sbc(
        volume.model(), volume.design(), replicates=10, seed=2,
        method=volume.Exact(fails_above=float(np.log(65.0))),
    )  # fmt: skip
    failed = found.attrs["n_failed"]
    assert 0 < failed < 10
    assert found.attrs["calibrated"] == 0
    assert f"{failed} without a result" in found.attrs["words"]
    assert "ValueError: the sampler stopped here" in found.attrs["notes"]
    table = found["replicates"].to_dataset()
    assert int((table["status"] == "failed").sum()) == failed
    assert calibration_frame(found).loc["V", "n"] == 10 - failed


def test_given_data_replicates_are_fitted_together_with_them(volume):
    model, design = volume.model(), volume.design()
    setting = calibration_of(
        model, design, None, None, method=volume.Exact(), seed=1, ranks=200, interval=28.0,
        target=19.0,
    )  # fmt: skip
    data = simulate(setting, 0).data
    fit = sample(model, data, method=volume.Exact(draws=2000), seed=1, progress=False)
    found = sbc(fit=fit, replicates=10, seed=5, method=volume.Exact())
    assert found.attrs["version_of"] == "posterior"
    assert found.attrs["calibrated"] == 1
    again = calibration_of(
        None, None, fit, None, method=volume.Exact(), seed=5, ranks=200, interval=28.0,
        target=19.0,
    )  # fmt: skip
    both = simulate(again, 3).data
    dv = both.table["DV"].values[both.is_observation]
    assert np.array_equal(dv[::2], data.table["DV"].values[data.is_observation])
    assert not np.isin(dv[1::2], dv[::2]).any()
    with pytest.raises(SettingError, match="brings its own model"):
        sbc(model, design, fit=fit, seed=1)


def test_a_design_needs_no_values(volume):
    design = volume.design()
    assert design.n_observations == 0
    seen = observing(design)
    assert seen.n_observations == 8
    assert observing(seen) == seen


def test_what_cannot_be_done_is_refused_in_a_sentence(volume):
    model, design = volume.model(), volume.design()
    for changed, words in (
        ({"replicates": 1}, "replicates is 1"),
        ({"processes": 0}, "processes is 0"),
        ({"ranks": 5}, "ranks is 5"),
        ({"target": -1.0}, "The target is -1.0"),
        ({"seed": -1}, "The seed is -1"),
        ({"target": 3.0}, "give the interval"),
        ({"fitted_model": None, "model": None}, "nothing to simulate"),
    ):
        asked = {"model": model, "design": design, "seed": 1} | changed
        with pytest.raises(SettingError, match=words):
            sbc(**asked)


def test_a_fit_that_has_not_converged_generates_nothing(volume):
    model, design = volume.model(), volume.design()
    data = observing(design)
    fit = sample(model, data, method=volume.Exact(draws=20), seed=1, progress=False)
    with pytest.raises(ValueError, match="has not converged"):
        sbc(fit=fit, seed=1)


@pytest.mark.slow
def test_processes_make_the_same_ranks(volume, tmp_path):
    found = [
        sbc(
            volume.model(), volume.design(), replicates=4, seed=1, method=Laplace(),
            processes=processes, folder=tmp_path / str(processes), **TROUGH,
        )
        for processes in (1, 2)
    ]  # fmt: skip
    assert np.allclose(rank_frame(found[0])["pit"], rank_frame(found[1])["pit"], atol=0)
