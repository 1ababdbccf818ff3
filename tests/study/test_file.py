"""Study files: what is refused, and where it is said to be."""

from pathlib import Path

import pytest

from popk.dataset import Dates, Layout
from popk.study import StudyError, read_study

GOOD = """\
seed = 1

[data]
path = "cohort.csv"

[models.plain]
model = "natalizumab"
draws = 50

[advice]
target = 10
"""


@pytest.fixture
def read(tmp_path):
    """read(text): the study of a file with that text."""

    def from_text(text):
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return read_study(path)

    return from_text


def refused(read, text):
    """The lines that refuse a study."""
    with pytest.raises(StudyError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_a_study_is_read_with_what_holds_where_nothing_is_said(read, tmp_path):
    study = read(GOOD)
    assert study.seed == 1
    assert study.out == tmp_path / "study-results"
    assert study.models["plain"].method.draws == 50
    assert study.advice.target == (10,)
    assert study.advice.weeks == (4, 5, 6, 7, 8)
    assert study.advice.patients is None
    assert study.comparison is None  # there is one model
    assert study.checks == {
        "diagnose": True, "robustness": True, "loo_pit": False, "forecasts": False,
    }  # fmt: skip


def test_two_models_are_compared_and_patients_are_read_as_the_data(read):
    text = GOOD.replace("[advice]", '[models.other]\nmodel = "own.py"\n[advice]')
    text = text.replace('"cohort.csv"', '"cohort.csv"\ncolumns = {DV = "CONC"}')
    text = text.replace("target", 'patients = "new.csv"\ntarget')
    study = read(text)
    assert study.comparison.by == ("patient",)
    assert study.advice.patients == {"path": "new.csv", "columns": {"DV": "CONC"}}


def test_everything_that_is_wrong_is_said_at_once_with_key_and_line(read):
    text = """\
sed = 1
[data]
path = "cohort.csv"
untis = {time = "d"}
carry = "last"
[models.plain]
model = "natalizumab"
method = "nuts"
drwas = 100
tune = -5
[models.other]
method = "bayes"
[advice]
target = [10, -1]
probability = 90
weeks = [5, 4]
models = ["plane"]
[reprot]
pdf = true
"""
    lines = refused(read, text)
    assert lines[0] == "study.toml cannot be carried out: 13 problems."
    assert lines[-1] == "Nothing was run."
    for part in (
        "line 1, sed: unknown key. Did you mean seed?",
        "seed: is missing; give a whole number, 0 or more, such as 20261123.",
        "line 4, [data] untis: unknown key. Did you mean units?",
        "line 5, [data] carry: is 'last'; expected nonmem, locf, nocb or linear.",
        "line 9, [models.plain] drwas: unknown key. Did you mean draws?",
        "line 8, [models.plain] method: NUTS was given tune=-5",
        "line 11, [models.other] model: is missing",
        "line 12, [models.other] method: is 'bayes'; expected one of marginal, nuts",
        "line 14, [advice] target: is [10, -1]; expected a trough above zero",
        "line 15, [advice] probability: is 90; expected a number between 0 and 1, as 0.9.",
        "line 16, [advice] weeks: is [5, 4]",
        "line 17, [advice] models: there is no model plane. Did you mean plain?",
        "line 18, [reprot]: unknown key. Did you mean report?",
    ):
        assert sum(part in line for line in lines) == 1, part


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seed = 1", "seed = true"), "line 1, seed: is True"),
        (("draws = 50", "draws = 5"), "Marginal was given draws=5; expected 10 or more."),
        (("draws = 50", 'draws = "many"'), "marginal cannot take draws = 'many'; give numbers."),
        (("draws = 50", "tune = 50"), "line 8, [models.plain] tune: unknown key."),
        (("plain]", '"../up"]'), "it names a folder"),
        (("target = 10", "target = 10\n[comparison]\n"), "there is one model only"),
        (("target = 10", ""), "[advice] target: is missing"),
        (("[data]", "[data"), "study.toml is not TOML"),
        (("seed = 1", "seed = 1\nseed = 2"), "study.toml is not TOML"),
    ],
)
def test_a_mistake_is_named(read, change, said):
    assert any(said in line for line in refused(read, GOOD.replace(*change)))


@pytest.mark.parametrize("path", ["nowhere.toml", "."])
def test_a_file_that_is_not_there_is_said(tmp_path, path):
    with pytest.raises(StudyError, match=r"There is no study file|is a folder"):
        read_study(tmp_path / path)


def test_the_example_is_read():
    root = Path(__file__).resolve().parents[2]
    study = read_study(root / "examples" / "study" / "study.toml")
    assert set(study.models) == {"weight", "plain"}
    assert study.out == root / "examples" / "study" / "results"


def test_how_a_file_is_written_is_said_in_its_table_and_holds_for_the_patients(read):
    keys = 'separator = ";"\ndecimal = ","\ngiven = {WT = "lb"}\ndates = {date = "WHEN"}\n'
    text = GOOD.replace('"cohort.csv"\n', f'"cohort.csv"\n{keys}')
    study = read(text.replace("target", 'patients = "new.csv"\ntarget'))
    assert study.data["layout"] == Layout(";", ",")
    assert study.data["dates"] == Dates("WHEN")
    assert study.advice.patients["layout"] == Layout(";", ",")
    wrong = text.replace('";"', '"x"').replace("date =", "dat =")
    said = "\n".join(refused(read, wrong))
    assert "line 5, [data] separator: separator is 'x'" in said
    assert "line 8, [data.dates] dat: unknown key. Did you mean date?" in said
