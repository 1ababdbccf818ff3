"""The program as a whole: help, examples, exit codes, completions, --json."""

import errno
import json
import re
import shlex

import pandas as pd
import pytest

from popk.cli import app, main
from popk.cli.options import UNSURE
from popk.storage import save

UNITS = "time=d,amount=mg,concentration=mg/L,WT=kg"


def commands():
    """Every command as its words."""
    for name in app:
        if name.startswith("-"):
            continue
        inner = [word for word in app[name] if not word.startswith("-")]
        yield from ((name, word) for word in inner) if inner else ((name,),)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_an_example_that_can_be_parsed(words, capsys):
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    text = " ".join(shown.partition("╭")[0].split())
    found = re.search(
        rf"Example: popk ({' '.join(words)}(?: .*?)?)(?=, then| [A-Z][a-z]+ |$)", text
    )
    assert found, text
    app.parse_args(shlex.split(found[1]), exit_on_error=False, print_error=False)
    assert "--json" in shown
    assert "Exit codes: 0 done" in shown


def test_the_help_reads_as_a_table_of_contents(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    groups = ["Data", "Models and fits", "Checks and comparison", "Patients", "Files and"]
    places = [shown.index(f"╭─ {group}") for group in groups]
    assert places == sorted(places)
    listed = re.findall(r"^│ ([a-z-]+) ", shown, flags=re.MULTILINE)
    assert {name for name, *_ in commands()} <= set(listed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_commands_and_options(shell):
    script = app.generate_completion(shell=shell)
    assert "individualise" in script
    assert "molar-mass" in script


def document(capsys, *words, code=0):
    """The JSON document of a command, and what it said on standard error."""
    assert main([*map(str, words), "--json"]) == code
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert set(found) >= {"popk", "command", "exit_code", "error", "messages", "tables", "written"}
    assert found["exit_code"] == code
    return found, shown.err


@pytest.fixture
def table(fits, tmp_path):
    path = tmp_path / "patients.csv"
    rows = [*fits.history("P1"), *fits.history("P2", weight=90.0)]
    pd.DataFrame(rows, columns=fits.COLUMNS).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, fits):
    folder = tmp_path_factory.mktemp("run")
    data = fits.dataset(*fits.history("A", weight=60.0), *fits.history("B", weight=80.0))
    save(fits.fit_of(fits.one_compartment(covariates=True), data), folder / "fit.nc")
    return folder


def test_check_gives_what_was_read(table, tmp_path, capsys):
    figure = tmp_path / "patients.png"
    found, said = document(capsys, "check", table, "--units", UNITS, "--plot", figure)
    assert found["command"] == "check"
    assert found["dataset"]["subjects"] == 2
    assert len(found["dataset"]["fingerprint"]) == 64
    first = found["tables"]["subjects"]["rows"][0]
    assert (first["ID"], first["doses"], first["samples"], first["WT (kg)"]) == ("P1", 4, 2, 70.0)
    assert found["written"] == [str(figure)]
    assert "subjects: 2" in said


def test_individualise_gives_every_patient_in_full_precision(run, table, capsys):
    words = ("individualise", run, table, "--target", "10", "--weeks", "4,6")
    found, said = document(capsys, *words)
    rows = found["tables"]["intervals"]["rows"]
    assert [row["ID"] for row in rows] == ["P1", "P2"]
    stored = pd.read_csv(run / "advice_10.csv")
    for name in stored.select_dtypes("number").dropna(axis=1):
        assert [row[name] for row in rows] == pytest.approx(stored[name].tolist(), nan_ok=True)
    assert found["written"] == [str(run / "advice_10.nc"), str(run / "advice_10.csv")]
    assert "Patients by longest interval" in said


def test_models_and_a_card_are_given_as_values(capsys):
    found, _ = document(capsys, "models")
    assert {"natalizumab", "theophylline"} <= {row["model"] for row in found["models"]}
    found, _ = document(capsys, "models", "natalizumab")
    assert found["model"]["name"] == "natalizumab"


def test_a_refusal_is_a_document_too(table, capsys):
    found, said = document(capsys, "check", table, code=2)
    assert "The units are missing" in found["error"]
    assert found["error"] in " ".join(said.split())
    found, _ = document(capsys, "decide", "visit", "nowhere", table, "--target", "10", code=2)
    assert found["command"] == "decide visit"
    assert "holds no fit" in found["error"]
    found, _ = document(capsys, "check", table, "--untis", "x", code=2)
    assert "--untis" in found["error"]


def test_what_is_not_to_be_relied_upon_has_an_exit_code_of_its_own(table, capsys):
    frame = pd.read_csv(table)
    frame["DV"] *= 1000  # ng/mL, declared to be mg/L
    frame.to_csv(table, index=False)
    found, _ = document(capsys, "check-priors", "natalizumab", table, code=UNSURE)
    assert found["plausible"] is False


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (MemoryError("array"), "There is not enough memory for what was asked."),
        (OSError(errno.ENOSPC, "Detail: x", "a.csv"), "The disk that holds a.csv is full."),
        (OSError(errno.EFBIG, "Can't write data (x)", "a.nc"), "a.nc: File too large."),
        (OSError(errno.EROFS, "Unable to create", "a.nc"), "a.nc: Read-only file system."),
    ],
)
def test_what_the_machine_refuses_is_one_sentence(monkeypatch, table, capsys, fault, said):
    def fails(*given, **more):
        raise fault

    monkeypatch.setattr("popk.cli.commands.read", fails)
    assert main(["check", str(table), "--units", UNITS]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(said)
    assert len(shown.err.splitlines()) == 1
