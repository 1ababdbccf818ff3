"""The commands `popk decide …`."""

import pandas as pd
import pytest

from popk.cli import main
from popk.storage import save


@pytest.fixture(scope="module")
def run(fits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = fits.dataset(*fits.history("A"), *fits.history("B", (30.0, 27.0)))
    save(fits.fit_of(fits.one_compartment(), data), folder / "fit.nc")
    new = fits.dataset(*fits.history("C"), *fits.history("D", (25.0, 21.0)))
    new.to_frame().to_csv(folder / "new.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("words", "said", "rows"),
    [
        (["visit", "--weekdays", "Mon,Thu", "--longest", "5", "--shortest", "4", "--last-dose",
          "2026-05-04", "--assay"], "2026-06-04", 6),
        (["visit", "--weeks", "4,6"], "Feasible visits", 4),
        (["plan", "--weeks", "4,5,6", "--stop-below", "15"], "q4w -> q5w -> q6w", 12),
        (["slip", "--week", "5", "--days", "3"], "When the visit slips", 8),
        (["sample", "--days", "14,28", "--infusion", "1"], "The next sample", 4),
    ],
)  # fmt: skip
def test_the_questions_are_answered_with_what_they_rest_on(
    run, tmp_path, capsys, words, said, rows
):
    name, *rest = words
    out = tmp_path / "answer.csv"
    asked = ["decide", name, str(run), str(run / "new.csv"), "--target", "10", "--out", str(out)]
    assert main([*asked, *rest]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (said, "It rests on 500 draws", "Research software", "ID C: ", "ID D: "):
        assert part in shown
    assert len(pd.read_csv(out)) == rows


def test_a_plan_is_drawn(run, tmp_path, capsys):
    figure = tmp_path / "plan.svg"
    words = ["decide", "plan", str(run), "cohort", "--target", "10", "--weeks", "5,6"]
    assert main([*words, "--figure", str(figure)]) == 0
    assert figure.stat().st_size > 5000
    assert "ID A: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["visit", "--weekdays", "Mon", "--shortest", "4", "--longest", "8"],
            "last dose of ID A is not given",
        ),
        (["plan", "--weeks", "four"], "--weeks is 'four'"),
        (["slip", "--days", "0"], "days is 0"),
        (["sample", "--days", "60"], "too late"),
        (["slip", "--out", "answer.txt"], "expected a file ending in .csv"),
    ],
)
def test_what_makes_no_sense_is_refused(run, capsys, words, said):
    name, *rest = words
    assert main(["decide", name, str(run), "cohort", "--target", "10", *rest]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
