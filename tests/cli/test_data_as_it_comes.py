"""Options that say how a file is written, its units and its dates."""

import pytest

from popk.cli import main

UNITS = "time=d,amount=mg,concentration=mg/L,WT=kg"
TABLE = """ID;WHEN;EVID;AMT;DV;WT
1;01.03.2026 10:00;1;300;;154,0
1;29.03.2026 10:00;0;;21500,5;154,0
2;02.03.2026 10:00;1;300;;176,4
2;30.03.2026 10:00;0;;18000;176,4
"""
WORDS = [
    "--units", UNITS, "--separator", ";", "--decimal", ",", "--given", "concentration=ug/L,WT=lb",
    "--date", "WHEN", "--date-format", "%d.%m.%Y %H:%M",
]  # fmt: skip


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


def test_check_reads_a_file_as_it_is_said_to_be_and_draws_the_patients(table, tmp_path, capsys):
    figure = tmp_path / "patients.svg"
    assert main(["check", str(table), *WORDS, "--plot", str(figure)]) == 0
    shown = capsys.readouterr().out
    assert "time: 0 to 28 d" in shown
    assert "measured 18 to 21.5005 mg/L" in shown
    assert "WT from lb to kg, times 0.45359237." in shown
    assert "TIME in d since each subject's first record, from WHEN." in shown
    assert "<svg" in figure.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clock", "CLOCK"], "say with --date which column holds them"),
        (["--plot", "figure.txt"], "--plot is figure.txt"),
        (["--separator", "x"], "separator is 'x'"),
        (["--given", "WT"], "--given holds 'WT'; expected NAME=VALUE parts separated by commas"),
        (["--given", "WT=cm"], "another kind of quantity"),
        (["--sheet", "PK"], "sheet was given, which an Excel file has"),
    ],
)
def test_what_makes_no_sense_is_refused(table, capsys, words, said):
    assert main(["check", str(table), "--units", UNITS, *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
