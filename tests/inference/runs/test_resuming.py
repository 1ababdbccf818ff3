"""Runs that are interrupted for real, and what becomes of them."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from popk.cli import main
from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference import Marginal, Run, discard_run, resume, sample, state_of
from popk.inference.runs import chunks
from popk.statistics import IIV, LogNormal
from popk.storage import StorageError, load
from popk.structure import MichaelisMenten, OneCompartment
from popk.verification import verify

METHOD = Marginal(draws=2500, chains=2, round_size=100, cores=1)
SEED = 5
FIT = """
import sys
import pandas as pd
from popk import Marginal, Run, sample
from popk.dataset import Dataset
from popk.model import PopModel
from popk.storage import load
model = PopModel.from_json(open(sys.argv[1], encoding="utf-8").read())
data = Dataset.from_xarray(load(sys.argv[2]).to_dataset())
method = Marginal(draws=2000, chains=2, round_size=100, cores=1)
sample(model, data, method, seed=5, run=Run(sys.argv[3], seconds=0.02), progress=False)
"""


class StopError(Exception):
    """Stands for whatever ends a run."""


def digest(fit):
    values = fit["posterior"].to_dataset()
    parts = [np.ascontiguousarray(values[name].values).tobytes() for name in sorted(values)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def stop_at(stage, done=0):
    """A listener that interrupts the run."""

    def listen(report):
        if report.stage == stage and report.done >= done:
            raise StopError

    return listen


@pytest.fixture(scope="module")
def model(fits):
    return fits.one_compartment(cv=0.3)


@pytest.fixture(scope="module")
def data(fits):
    records = [
        record
        for k, troughs in enumerate([(20.0, 22.0), (14.0, 19.0), (27.0, 25.0), (9.0, 13.0)])
        for record in fits.history(f"S{k}", troughs)
    ]
    return fits.dataset(*records)


@pytest.fixture(scope="module")
def whole(model, data):
    """The fit without interruption and without a folder."""
    return sample(model, data, METHOD, seed=SEED, progress=False)


@pytest.fixture(scope="module")
def interrupted(model, data, tmp_path_factory):
    """The folder of a run that was interrupted while it sampled, with two chunks at least."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(StopError):
        sample(
            model, data, METHOD, seed=SEED, run=Run(folder, seconds=0),
            progress=stop_at("sampling", 2001),
        )  # fmt: skip
    return folder


@pytest.fixture
def begun(interrupted, tmp_path):
    """A copy of it."""
    return shutil.copytree(interrupted, tmp_path / "run")


def proposals(folder):
    return sorted((folder / "draws").glob("proposals-*.chunk"))


def test_a_folder_changes_nothing_and_holds_everything(model, data, whole, tmp_path):
    run = tmp_path / "deep" / "run"
    fit = sample(model, data, METHOD, seed=SEED, run=run, progress=False)
    assert digest(fit) == digest(whole)
    assert fit.attrs["resumed"] == whole.attrs["resumed"] == "[]"
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert described["model_hash"] == model.hash
    assert described["data_hash"] == data.fingerprint
    assert described["seed"] == SEED
    assert described["method"]["draws"] == 2500
    assert described["versions"]["numpy"] == np.__version__
    assert described["environment"]["processors"] >= 1
    assert described["environment"] == json.loads(whole.attrs["environment"])
    assert (run / "model.json").read_text(encoding="utf-8") == model.to_json()
    stored = Dataset.from_xarray(load(run / "data.nc").to_dataset())
    assert stored.fingerprint == data.fingerprint
    assert json.loads((run / "verdict.json").read_text(encoding="utf-8")) == json.loads(
        fit.attrs["verdict"]
    )
    assert load(run / "fit.nc").identical(fit)
    assert state_of(run) == "finished"
    said = []
    again = sample(model, data, METHOD, seed=SEED, run=run, progress=said.append)
    assert again.identical(fit)
    assert [report.stage for report in said] == [f"the run in {run} is finished: its fit is read"]


@pytest.mark.parametrize(
    ("stage", "done"),
    [("learning the proposals", 2), ("sampling", 0), ("integrating out the random effects", 0)],
)  # fmt: skip
def test_wherever_it_is_interrupted_the_posterior_is_the_same_to_the_bit(
    model, data, whole, tmp_path, stage, done
):
    run = Run(tmp_path / "run", seconds=0)
    with pytest.raises(StopError):
        sample(model, data, METHOD, seed=SEED, run=run, progress=stop_at(stage, done))
    assert state_of(tmp_path / "run") == "unfinished"
    fit = resume(tmp_path / "run", progress=False)
    assert digest(fit) == digest(whole)
    assert fit["log_likelihood_subject"].identical(whole["log_likelihood_subject"])


def test_the_same_call_goes_on_too_and_says_where_it_was(begun, model, data, whole):
    stages = []
    fit = sample(
        model, data, replace(METHOD, cores=2), seed=SEED, run=begun,
        progress=lambda report: stages.append(report.stage),
    )  # fmt: skip
    assert "learning the proposals" not in stages
    assert digest(fit) == digest(whole)
    (where,) = json.loads(fit.attrs["resumed"])
    assert where["kept"] > 500
    history = json.loads((begun / "history.json").read_text(encoding="utf-8"))
    assert [one["resumed_at"] for one in history] == [None, where]
    assert history[1]["process"] == os.getpid()


def test_no_more_is_lost_than_what_was_not_in_a_chunk(begun):
    first = sum(int(chunks.read_chunk(path)["counts"].sum()) for path in proposals(begun))
    assert first > 500
    told = []
    with pytest.raises(StopError):
        resume(begun, progress=lambda report: told.append(report) or stop_at("sampling")(report))
    assert told[-1].done == first


def test_a_damaged_chunk_is_refused_but_the_last_one_is_made_again(begun, whole):
    first, *_, last = proposals(begun)
    intact = first.read_bytes()
    first.write_bytes(intact[:-1])
    with pytest.raises(StorageError, match=f"{first.name} is damaged"):
        resume(begun, progress=False)
    first.write_bytes(intact)
    last.write_bytes(b"")
    said = []
    fit = resume(begun, progress=said.append)
    assert any(f"{last.name} is damaged" in report.stage for report in said)
    assert digest(fit) == digest(whole)
    assert verify(begun).intact


def test_a_half_written_line_of_the_journal_stops_nothing(begun, whole):
    """As if the process had been killed while it wrote that a chunk is there."""
    journal = begun / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    found = verify(begun)
    assert "The last line of journal.jsonl is not whole" in found.damages[0]
    assert digest(resume(begun, progress=False)) == digest(whole)
    found = verify(begun)
    assert found.intact
    assert "is half-written, as when a process is killed" in found.notes[0]


def test_draws_of_a_run_that_is_not_there_are_not_taken_for_another(begun, model, data):
    (begun / "run.json").unlink()
    with pytest.raises(StorageError, match=r"holds draws .* run\.json is missing"):
        sample(model, data, METHOD, seed=SEED, run=begun, progress=False)


def test_a_damaged_fit_is_made_again_from_the_draws(model, data, whole, tmp_path):
    sample(model, data, METHOD, seed=SEED, run=tmp_path, progress=False)
    (tmp_path / "fit.nc").write_bytes(b"nothing")
    stages = []
    fit = resume(tmp_path, progress=lambda report: stages.append(report.stage))
    assert digest(fit) == digest(whole)
    assert "made again from the draws" in stages[0]
    assert load(tmp_path / "fit.nc").identical(fit)


def test_another_run_in_the_folder_is_refused(begun, model, data, fits):
    cases = {
        "the model": (fits.one_compartment(cv=0.31), data, METHOD, SEED),
        "the data": (model, data.select(["S0", "S1"]), METHOD, SEED),
        "the method or its settings": (model, data, replace(METHOD, draws=300), SEED),
        r"the seed \(6, not 5\)": (model, data, METHOD, 6),
    }
    for words, (what, on, method, seed) in cases.items():
        with pytest.raises(StorageError, match=f"holds another run: it differs in {words}"):
            sample(what, on, method, seed=seed, run=begun, progress=False)


def test_what_is_no_run_is_refused(begun, tmp_path):
    with pytest.raises(StorageError, match="holds no run"):
        resume(tmp_path / "nothing", progress=False)
    with pytest.raises(SettingError, match="seconds=-1"):
        Run(tmp_path, seconds=-1)
    text = (begun / "model.json").read_text(encoding="utf-8")
    (begun / "model.json").write_text(text.replace("0.3", "0.31"), encoding="utf-8")
    with pytest.raises(StorageError, match=r"model\.json is not what was written: journal"):
        resume(begun, progress=False)
    discard_run(begun)
    assert state_of(begun) == "nothing"
    assert not proposals(begun)


def test_two_at_a_time_are_refused(begun):
    def listen(report):
        with pytest.raises(StorageError, match=f"in use by process {os.getpid()} on"):
            resume(begun, progress=False)
        raise StopError

    with pytest.raises(StopError):
        resume(begun, progress=listen)


def test_equations_solved_step_by_step_are_resumed_to_the_bit_too(fits, data, tmp_path):
    """Polynomials stand in for them, which have to come back as they were."""
    model = replace(
        fits.one_compartment(cv=0.2),
        structure=OneCompartment(elimination=MichaelisMenten()),
        typical={
            "V": LogNormal(5.0, cv=0.2), "VMAX": LogNormal(9.0, cv=0.2),
            "KM": LogNormal(20.0, cv=0.2),
        },
        iiv=IIV({"VMAX": LogNormal(0.3, cv=0.2)}),
    )  # fmt: skip
    method = Marginal(draws=20, chains=2, round_size=100, cores=2, otherwise=None)
    few = data.select(["S0", "S1"])
    with pytest.raises(StopError):
        sample(
            model, few, method, seed=2, run=Run(tmp_path, seconds=0), progress=stop_at("sampling")
        )
    fit = resume(tmp_path, progress=False)
    assert int(fit["sample_stats"]["approximated"]) > 0
    assert digest(fit) == digest(sample(model, few, method, seed=2, progress=False))


@pytest.fixture
def place(begun):
    """Model and data as files, and a folder for a run."""
    folder = begun.parent / "killed"
    return [str(begun / "model.json"), str(begun / "data.nc"), str(folder)], folder


def started(place, folder):
    """A process that samples, when its first chunk is on disk."""
    process = subprocess.Popen(
        [sys.executable, "-c", FIT, *place], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not proposals(folder):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_process_that_is_killed_loses_nothing(place, model, data, number, code):
    files, folder = place
    process = started(files, folder)
    process.send_signal(number)
    assert process.wait(60) == code
    process.stderr.close()
    assert state_of(folder) == "unfinished"
    said = []
    fit = resume(folder, progress=said.append)
    assert ("left behind by process" in said[0].stage) == (number == signal.SIGKILL)
    assert json.loads(fit.attrs["resumed"])[0]["kept"] > 0
    alone = Marginal(draws=2000, chains=2, round_size=100, cores=2)
    assert digest(fit) == digest(sample(model, data, alone, seed=SEED, progress=False))
    assert verify(folder).intact


def test_the_command_resumes_and_says_so(begun, capsys, whole):
    assert main(["resume", str(begun)]) == 0
    out = capsys.readouterr().out
    assert "Population parameters" in out
    assert (begun / "manifest.json").exists()
    assert digest(load(begun / "fit.nc")) == digest(whole)
    assert main(["resume", str(begun)]) == 0
    assert "is finished: there is nothing to resume" in capsys.readouterr().out


def test_the_command_fit_refuses_an_unfinished_run(begun, capsys):
    assert main(["fit", "natalizumab", "data.csv", "--out", str(begun)]) == 2
    assert f"holds an unfinished run: popk resume {begun}" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code", "word"), [
    (KeyboardInterrupt, 130, "Interrupted"), ("SIGTERM", 143, "Terminated"),
])  # fmt: skip
def test_the_command_that_is_interrupted_says_how_to_go_on(
    begun, monkeypatch, capsys, error, code, word
):
    """At the first report of the run: as if the key had been pressed or the signal sent then."""

    def shown(progress, console=None):
        del progress, console

        def listen(*news, **more):
            if error == "SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            raise error

        from contextlib import nullcontext

        return nullcontext(listen)

    monkeypatch.setattr("popk.inference.fit.shown", shown)
    assert main(["resume", str(begun)]) == code
    err = capsys.readouterr().err
    assert err.startswith(f"{word}. popk resume {begun} goes on from what")
