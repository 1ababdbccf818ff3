"""A run as one file, and made again from it."""

import json
import shutil
import zipfile
from dataclasses import replace

import pytest

import popk
from popk.bundle import contents_of, open_bundle, repeat_bundle, write_bundle
from popk.bundle.means import limit_for, means_of, paired
from popk.bundle.repetition import _compared
from popk.cli import main
from popk.inference import MAP, sample
from popk.storage import StorageError, checksum, load
from popk.verification import verify


@pytest.fixture(scope="module")
def bundle(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "run.zip"
    popk.export_run(finished_run, path)
    return path


@pytest.fixture(scope="module")
def repeated(bundle, tmp_path_factory):
    """What `popk.repeat_run` gives."""
    out = tmp_path_factory.mktemp("repeated") / "deep" / "run"
    return popk.repeat_run(bundle, out, expect=checksum(bundle), progress=False)


def test_the_same_run_gives_the_same_bytes(finished_run, bundle, tmp_path):
    copy = shutil.copytree(finished_run, tmp_path / "elsewhere")
    digest = popk.export_run(copy, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    assert digest == checksum(bundle)


def test_it_holds_all_that_a_repetition_needs_and_says_that_patients_are_in_it(
    finished_run, bundle, tmp_path, capsys
):
    with zipfile.ZipFile(bundle) as archive:
        assert archive.namelist() == [
            "README.txt", "bundle.json", "run.json", "model.json", "data.nc", "history.json",
            "verdict.json", "journal.jsonl",
        ]  # fmt: skip
        text = archive.read("README.txt").decode()
        index = json.loads(archive.read("bundle.json"))
        for name in archive.namelist()[2:]:
            assert archive.read(name) == (finished_run / name).read_bytes()
    for words in ("THE DATA OF ALL PATIENTS ARE IN THIS FILE", "popk repeat", "no code is in it"):
        assert words in text
    assert index["expected"]["draws"] in text
    told = json.loads((finished_run / "journal.jsonl").read_text().splitlines()[-1])
    # As it was computed when the fit was made, before it was on disk.
    assert index["expected"]["draws"] == told["draws"]
    assert index["expected"]["values"] == told["values"]
    assert main(["export", str(finished_run), "--out", str(tmp_path / "a.zip")]) == 0
    out = capsys.readouterr().out
    assert out.index("The bundle holds the data of 4 patients") < out.index("SHA-256 of the bundle")
    assert checksum(bundle) in out
    assert main(["export", str(finished_run), "--out", str(tmp_path / "a.tar")]) == 2


def test_on_the_same_machine_the_draws_are_identical_to_the_bit(repeated, finished_run):
    assert repeated.identical
    assert repeated.agrees
    assert repeated.same_place
    assert not repeated.notes
    assert str(repeated) == "Repeated: the draws are identical to the bit."
    assert {one.difference for one in repeated.means} == {0.0}
    first, second = load(finished_run / "fit.nc"), load(repeated.out / "fit.nc")
    assert first["posterior"].identical(second["posterior"])
    found = verify(repeated.out)
    assert found.intact
    assert "repeat.json" in {one.file for one in found.files}
    kept = json.loads((repeated.out / "repeat.json").read_text(encoding="utf-8"))
    assert (kept["identical"], kept["agrees"]) == (True, True)
    assert repeated.table().headers[-1] == "Difference (MCSE)"


def moved(bundle, by, **index):
    """A bundle with other draws, whose means lie ``by`` Monte Carlo errors higher."""
    opened = open_bundle(bundle)
    own = opened.index["means"]
    means = [{**one, "mean": one["mean"] + by * 2**0.5 * one["mcse"]} for one in own]
    expected = {**opened.index["expected"], "draws": "0" * 64}
    return replace(opened, index={**opened.index, "means": means, "expected": expected, **index})


def test_elsewhere_the_means_are_compared_in_monte_carlo_errors(bundle, repeated):
    versions = {**open_bundle(bundle).index["versions"], "numpy": "1.0"}
    near = _compared(moved(bundle, 2.0, versions=versions), repeated.out)
    assert (near.identical, near.agrees, near.same_place) == (False, True, False)
    assert "numpy 1.0 there" in near.notes[0]
    assert abs(near.largest.difference) == pytest.approx(2.0)
    assert "within Monte Carlo error" in near.words
    far = _compared(moved(bundle, 6.0, versions=versions), repeated.out)
    assert not far.agrees
    assert far.words.startswith("DOES NOT AGREE: the largest difference of a mean is 6")


def test_here_other_draws_do_not_agree_however_near(bundle, repeated):
    found = _compared(moved(bundle, 0.5), repeated.out)
    assert found.same_place
    assert not found.agrees
    assert "are to be identical to the bit, and are not" in found.words


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"resumed": [{"draws": 3}], "method": {"name": "NUTS"}}, "interrupted and went on;"),
        ({"one_version": False}, "continued with other versions"),
        ({"environment": {"python": "CPython 1", "system": "", "machine": "", "processor": ""}},
         "Another Python: CPython 1 there"),
    ],
)  # fmt: skip
def test_where_draws_may_differ_it_is_said_why(bundle, repeated, more, words):
    found = _compared(moved(bundle, 0.5, **more), repeated.out)
    assert found.agrees
    assert words in found.notes[0]


def test_points_and_fixed_values_are_compared_without_errors(finished_run):
    own = means_of(load(finished_run / "fit.nc"))
    assert all(one["mcse"] > 0 for one in own)
    for mcse in (None, 0.0):
        there = [{**own[0], "mean": 1.0, "mcse": mcse}]
        for mean, same in ((1.0005, True), (1.01, False)):
            (pair,) = paired(there, [{**own[0], "mean": mean, "mcse": mcse}])
            assert (pair.difference == 0) == same
    # Of one normal the probability beyond is that of a false alarm; of more the limit is larger.
    assert limit_for(1) == pytest.approx(3.2905, abs=1e-4)
    assert limit_for(10) > limit_for(5) > limit_for(1)


def test_a_run_that_is_not_whole_or_not_finished_is_not_exported(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / "verdict.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StorageError, match=r"is not what was written: verdict\.json is not the"):
        contents_of(run)
    (run / "fit.nc").unlink()
    with pytest.raises(StorageError, match=r"holds no finished run.*popk resume"):
        contents_of(run)
    with pytest.raises(StorageError, match=r"The folder .* does not exist"):
        write_bundle(contents_of(finished_run), tmp_path / "nowhere" / "a.zip")


def test_the_command_says_whether_they_agree(bundle, tmp_path, capsys, monkeypatch):
    """The repetition itself is left out, which takes its time above."""
    from popk.bundle import repetition

    asked = {}

    def sample(model, dataset, method, *, seed, progress, run):
        asked.update(model=model, dataset=dataset, method=method, seed=seed)
        raise popk.PopkError("stopped here")

    monkeypatch.setattr(repetition, "sample", sample)
    assert main(["repeat", str(bundle), "--out", str(tmp_path / "new")]) == 2
    shown = capsys.readouterr()
    assert f"SHA-256 {checksum(bundle)}) is whole: one compartment, 4 patients" in shown.out
    assert (asked["seed"], asked["method"].draws) == (5, 300)
    assert main(["repeat", str(bundle), "--out", str(bundle.parent)]) == 2
    assert "is there already; name a new folder" in capsys.readouterr().err
    words = ["repeat", str(bundle), "--out", str(tmp_path / "new"), "--expect"]
    assert main([*words, "0" * 64]) == 2
    assert "is another bundle than expected" in capsys.readouterr().err
    assert main([*words, "0"]) == 2
    assert "The expected SHA-256 is '0'" in capsys.readouterr().err


def test_a_repetition_that_is_interrupted_goes_on(bundle, tmp_path):
    opened = open_bundle(bundle)

    def stop(report):
        if report.stage == "sampling" and report.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as end:
        repeat_bundle(opened, tmp_path / "run", progress=stop)
    assert "the same command goes on from there" in end.value.__notes__[0]
    assert repeat_bundle(opened, tmp_path / "run", progress=False).identical
    with pytest.raises(StorageError, match="is there already"):
        repeat_bundle(opened, tmp_path / "run", progress=False)


def test_a_run_without_journal_and_a_point_are_exported_and_repeated(fits, tmp_path):
    run = tmp_path / "run"
    data = fits.dataset(*fits.history("A"), *fits.history("B", (25.0, 27.0)))
    sample(fits.one_compartment(cv=0.3), data, MAP(), seed=1, run=run, progress=False)
    (run / "journal.jsonl").unlink()
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del described["journal"]
    (run / "run.json").write_text(json.dumps(described), encoding="utf-8")
    popk.export_run(run, tmp_path / "b.zip")
    opened = open_bundle(tmp_path / "b.zip")
    assert opened.index["expected"]["journal"] is None
    found = repeat_bundle(opened, tmp_path / "again", progress=False)
    assert found.identical
    assert all(one.difference == 0 for one in found.means)


def test_the_command_ends_with_3_where_they_do_not(bundle, repeated, capsys, monkeypatch, tmp_path):
    found = _compared(moved(bundle, 9.0), repeated.out)
    monkeypatch.setattr("popk.bundle.repeat_bundle", lambda *given, **more: found)
    assert main(["repeat", str(bundle), "--out", str(tmp_path / "new")]) == 3
    assert "DOES NOT AGREE" in capsys.readouterr().out
