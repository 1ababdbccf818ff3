import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import xarray as xr

from popk.cli import main
from popk.cli.options import UNSURE
from popk.monitoring import Finding, to_json
from popk.storage import load, save

UNITS = "time=d,amount=mg,concentration=mg/L,WT=kg"
GOOD = """ID,TIME,EVID,AMT,DV,CENS,LLOQ,WT
1,0,1,300,,0,1,70
1,28,0,,21.5,0,1,70
2,0,1,300,,0,1,80
2,28,0,,1,1,1,80
"""
MODEL = """
from popk.model import PopModel
from popk.statistics import LogNormal, HalfNormal, Proportional
from popk.structure import Linear, OneCompartment

model = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5, cv=0.3)},
    error=Proportional(HalfNormal(0.4)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L"},
)
other = "not a model"
"""


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    return path


@pytest.fixture(scope="module")
def stored(trees, tmp_path_factory):
    """A run's folder with a fit and two advices; copied before it is used."""
    folder = tmp_path_factory.mktemp("stored")
    data = trees.cohort(2)
    fit = trees.fit_tree(data)
    save(fit, folder / "fit.nc")
    for target in (10.0, 5.0):
        advice = trees.advice_tree(data, target=target, fit=fit)
        save(advice, folder / f"advice_{target:g}.nc")
    return folder


@pytest.fixture
def run(stored, tmp_path):
    return shutil.copytree(stored, tmp_path / "run")


@pytest.fixture
def sampled(monkeypatch, trees):
    """Stands for the sampler, which takes minutes: what it was asked, and a ready fit back."""
    asked = {}

    def sample(model, dataset, *, method, seed, progress, run):
        asked.update(model=model, dataset=dataset, method=method, seed=seed)
        found = trees.fit_tree(trees.cohort(2), converged=asked.get("converges", True))
        run.mkdir(parents=True, exist_ok=True)
        save(found, run / "fit.nc")
        return found

    monkeypatch.setattr("popk.inference.sample", sample)
    return asked


@pytest.fixture
def advised(monkeypatch, trees):
    """Stands for the computation of intervals: what it was asked, and ready advice back."""
    asked = {}

    def individualise(fit, patients, *, target, probability, weeks, seed, progress):
        progress(1, 1)
        asked.update(patients=patients, target=target, probability=probability, weeks=weeks)
        advice = trees.advice_tree(trees.cohort(asked.get("patients_found", 2)), fit=fit)
        asked.get("found", lambda tree: None)(advice)
        return advice

    monkeypatch.setattr("popk.monitoring.individualise", individualise)
    return asked


def refused(capsys, *words, code=2):
    """The one message on stderr of a command that must be refused."""
    assert main([str(word) for word in words]) == code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from popk.cli import main; status = main(['--help']);"
        "heavy = {'pymc', 'arviz', 'xarray', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules);"
        "sys.exit(status or (str(heavy) if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in (
        "check",
        "check-priors",
        "demo",
        "fit",
        "individualise",
        "models",
        "report",
        "resume",
    ):
        assert command in done.stdout


def test_check_prints_the_summary_of_a_good_file(data, capsys):
    assert main(["check", str(data), "--units", UNITS]) == 0
    shown = capsys.readouterr()
    for words in ("subjects: 2", "doses: 2", "1 BLQ (50 %)", "70 to 80 kg", "can be used"):
        assert words in shown.out
    assert shown.err == ""


def test_check_prints_the_warnings_of_an_accepted_file(data, capsys):
    data.write_text("".join(GOOD.splitlines(keepends=True)[:3]))
    assert main(["check", str(data), "--units", UNITS]) == 0
    assert "warning:" in capsys.readouterr().out


def test_check_lists_every_problem_at_once(data, capsys):
    data.write_text(GOOD.replace("300", "-300", 1).replace("21.5", "x"))
    err = refused(capsys, "check", data, "--units", UNITS)
    assert "2 errors" in err
    assert "row 2, ID 1, column AMT" in err
    assert "row 3, ID 1, column DV" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no file"),
        ("", "empty"),
        (GOOD.replace(",", ";"), "semicolon"),
        (GOOD.splitlines()[0] + "\n", "cannot be used"),
        ("\n".join(line for line in GOOD.splitlines() if ",1,300," not in line), "dose"),
        ("\n".join(line for line in GOOD.splitlines() if ",0,," not in line), "observation"),
    ],
    ids=["missing", "empty", "semicolon", "header only", "no doses", "no observations"],
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_exit_code_2(data, capsys, content, words):
    if content is None:
        data.unlink()
    else:
        data.write_text(content)
    err = refused(capsys, "check", data, "--units", UNITS)
    assert words in err
    assert "1 error" in err


def test_columns_called_otherwise_and_logarithms(data, capsys):
    data.write_text(GOOD.replace(",WT", ",WGT").replace("21.5", "3.0"))
    words = ["check", str(data), "--units", UNITS, "--column", "WT=WGT", "--log-dv"]
    assert main(words) == 0
    assert "measured 20.0855 mg/L" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ("time=d,amount", "--units holds 'amount'; expected NAME=VALUE"),
        ("time=d,time=h", "--units gives time twice"),
        ("time=d,amount=mg", "does not say the unit of concentration"),
        ("time=fortnight,amount=mg,concentration=mg/L", "fortnight"),
    ],
)
def test_units_that_cannot_be_read_are_named(data, capsys, units, words):
    assert words in refused(capsys, "check", data, "--units", units)


def test_check_priors_says_that_they_go_together(data, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MODEL)
    assert main(["check-priors", str(tmp_path / "mine.py"), str(data), "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "Units, as --units was not given: those of model (time d" in out
    assert "Priors and data go together:" in out
    assert "1000 draws from the priors, seed 3" in out


def test_check_priors_names_a_mistaken_unit(data, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MODEL)
    data.write_text(GOOD.replace("21.5", "21500").replace(",1,70", ",1000,70"))
    words = ["check-priors", str(tmp_path / "mine.py"), str(data), "--units", UNITS]
    assert main(words) == UNSURE
    out = capsys.readouterr().out
    assert "PRIORS AND DATA DO NOT GO TOGETHER, nothing was changed:" in out


def test_check_priors_refuses_what_makes_no_sense(data, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["check-priors", tmp_path / "mine.py", data, "--draws", "10"]
    assert "10 draws were asked for; give a whole number of 1000" in refused(capsys, *words)
    assert "There is no model other" in refused(capsys, "check-priors", "other", data)


def test_check_asks_for_units(data, capsys):
    assert "The units are missing. Add, for example, --units time=d" in refused(
        capsys, "check", data
    )


def test_a_command_misspelt_is_exit_code_2(capsys):
    assert "chekc" in refused(capsys, "chekc")
    assert "--out" in refused(capsys, "fit", "natalizumab", "data.csv")


def test_fit_refuses_a_folder_that_holds_a_fit(run, data, capsys):
    err = refused(capsys, "fit", "natalizumab", data, "--out", run)
    assert "holds a fit already" in err
    assert "--overwrite" in err


@pytest.mark.parametrize(
    ("content", "suffix", "words"),
    [
        (None, "", "There is no model file"),
        ("x = 1\n", "", "does not define model"),
        (MODEL, ":other", "other is of type str; expected a popk.PopModel"),
        (MODEL, ":missing", "does not define missing"),
        ("import nowhere_at_all\n", "", "line 1, ModuleNotFoundError"),
        ("a = 1\nb = (\n", "", "line 2, SyntaxError"),
        (MODEL.replace("cv=0.3", "cv=-1"), "", "the cv must be above zero"),
        (MODEL.replace('"CL": LogNormal(0.2, cv=0.3), ', ""), "", "needs a typical value for CL"),
    ],
)
def test_a_model_file_that_cannot_be_used_is_explained(
    data, tmp_path, capsys, content, suffix, words
):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    err = refused(capsys, "fit", f"{file}{suffix}", data, "--out", tmp_path / "run")
    assert words in err
    assert not (tmp_path / "run").exists()


def test_fit_passes_on_what_was_asked_and_stores_what_came_back(
    data, tmp_path, capsys, sampled, trees
):
    (tmp_path / "mine.py").write_text(MODEL)
    run = tmp_path / "runs" / "one"
    words = ["fit", tmp_path / "mine.py", data, "--out", run, "--seed", 7, "--draws", 123,
             "--by", "nuts", "--tune", 75, "--chains", 3]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    assert sampled["seed"] == 7
    method = sampled["method"]
    assert (type(method).__name__, method.draws, method.tune, method.chains) == ("NUTS", 123, 75, 3)
    assert sampled["model"].units.time == "d"
    assert sampled["dataset"].n_subjects == 2
    assert load(run / "fit.nc").identical(trees.fit_tree(trees.cohort(2)))
    assert sorted(p.name for p in run.iterdir()) == ["fit.nc", "fit.nc.sha256", "manifest.json"]
    out = capsys.readouterr().out
    assert "Units, as --units was not given: those of model (time d, amount mg" in out
    assert out.index("Converged") < out.index("Population parameters") < out.index("CL (L/d)")


def test_the_marginal_sampler_is_the_usual_one_and_has_no_tuning(data, tmp_path, capsys, sampled):
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["fit", tmp_path / "mine.py", data, "--out", tmp_path / "one", "--draws", 123]
    assert main([str(word) for word in words]) == 0
    assert (type(sampled["method"]).__name__, sampled["method"].draws) == ("Marginal", 123)
    err = refused(capsys, *words[:4], tmp_path / "two", "--tune", 75)
    assert "--tune 75" in err
    assert "--by nuts" in err


@pytest.mark.parametrize(
    ("by", "settings"),
    [
        ("smc", {"particles": 123, "chains": 3}),
        ("laplace", {"draws": 123, "proposals": 246, "chains": 3}),
        ("pathfinder", {"draws": 123, "proposals": 246, "chains": 3}),
        ("vi", {"draws": 123, "proposals": 246, "chains": 3}),
    ],
)
def test_every_method_can_be_chosen_with_draws_and_chains(data, tmp_path, sampled, by, settings):
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["fit", tmp_path / "mine.py", data, "--out", tmp_path / "one", "--by", by]
    assert main([str(word) for word in [*words, "--draws", 123, "--chains", 3]]) == 0
    method = sampled["method"]
    assert type(method).__name__.lower() == by
    assert {name: getattr(method, name) for name in settings} == settings


def test_the_mode_alone_has_no_draws_and_no_chains(data, tmp_path, capsys, sampled):
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["fit", tmp_path / "mine.py", data, "--by", "map", "--out", tmp_path / "one"]
    assert main([str(word) for word in words]) == 0
    assert type(sampled["method"]).__name__ == "MAP"
    err = refused(capsys, *words[:-1], tmp_path / "two", "--chains", 2)
    assert "--chains was given, which --by map does not have: it finds one point" in err
    err = refused(capsys, *words[:-1], tmp_path / "two", "--tune", 75)
    assert "--tune 75 was given, which --by map does not have" in err


def test_a_setting_of_the_sampler_out_of_range_is_refused(data, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MODEL)
    out = tmp_path / "run"
    err = refused(capsys, "fit", tmp_path / "mine.py", data, "--out", out, "--chains", "0")
    assert "chains=0" in err
    assert not out.exists()


def test_a_seed_that_is_none_is_one_sentence(data, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["fit", tmp_path / "mine.py", data, "--out", tmp_path / "run", "--seed=-1"]
    assert "The seed is -1; give a whole number of zero or more." in refused(capsys, *words)


def test_a_fault_of_popk_itself_is_not_taken_for_the_users(data, monkeypatch):
    def broken(*_, **__):
        raise ValueError("shapes (3,) and (4,) not aligned")

    monkeypatch.setattr("popk.dataset.read_dataset", broken)
    with pytest.raises(ValueError, match="not aligned"):
        main(["check", str(data), "--units", UNITS])


def test_a_fit_not_converged_is_stored_and_marked(data, tmp_path, capsys, sampled):
    sampled["converges"] = False
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["fit", str(tmp_path / "mine.py"), str(data), "--out", str(tmp_path / "run")]
    assert main(words) == UNSURE
    out = capsys.readouterr().out
    assert out.index("NOT CONVERGED") < out.index("(not converged: not a final result)")


def test_overwrite_replaces_the_fit(run, data, tmp_path, sampled):
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["fit", str(tmp_path / "mine.py"), str(data), "--out", str(run)]
    assert main(words) == 2
    assert not (run / "manifest.json").exists()
    assert main([*words, "--overwrite"]) == 0
    assert (run / "manifest.json").exists()


def test_individualise_writes_the_table_and_prints_its_first_rows(run, capsys, advised, trees):
    advised["patients_found"] = 22
    words = ["individualise", str(run), "cohort", "--target", "10", "--weeks", "4:6"]
    assert main(words) == 0
    assert advised["patients"] is None
    assert (advised["target"].concentration, advised["target"].unit) == (10.0, "mg/L")
    assert (advised["probability"], list(advised["weeks"])) == (0.9, [4, 5, 6])
    lines = (run / "advice_10.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 23
    assert lines[0].startswith("ID,source,WT (kg),last_dose (mg)")
    assert load(run / "advice_10.nc")["decision"].sizes["subject"] == 22
    out = capsys.readouterr().out
    assert "P20" in out
    assert "P21" not in out
    assert "… and 2 more patients in advice_10.csv" in out
    assert "Patients by longest interval: none" in out
    assert "computation not reliable 1" in out


def test_individualise_prints_what_speaks_against_trusting_it(run, capsys, advised):
    def found(advice):
        decision = advice["decision"].to_dataset()
        texts = [to_json([Finding("units", "withheld", "Concentrations in ug/L?", 0.9)]), "[]"]
        coords = {"findings": texts, "withheld": [1, 0], "widened": [0, 0]}
        coords = {name: ("subject", value) for name, value in coords.items()}
        advice["decision"] = xr.DataTree(decision.assign_coords(coords))

    advised["found"] = found
    assert main(["individualise", str(run), "cohort", "--target", "10", "--weeks", "4:6"]) == 0
    out = capsys.readouterr().out
    assert "What speaks against trusting the advice" in out
    assert "Concentrations in ug/L?" in out
    assert "withheld 1" in out
    header, first, second = (run / "advice_10.csv").read_text(encoding="utf-8").splitlines()
    assert "withheld" in header.split(",")
    assert "Concentrations in ug/L?" in first
    assert "Concentrations" not in second


def test_individualise_reads_new_patients_in_the_units_of_the_fit(run, data, advised, capsys):
    assert main(["individualise", str(run), str(data), "--target", "5"]) == 0
    assert advised["patients"].units.to_dict()["WT"] == "kg"
    assert advised["patients"].n_subjects == 2
    assert (run / "advice_5.csv").exists()
    assert "(older ones are replaced)" in capsys.readouterr().out


def test_individualise_needs_a_fit(tmp_path, data, capsys):
    err = refused(capsys, "individualise", tmp_path, data, "--target", "10")
    assert "holds no fit (fit.nc)" in err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--target", "-1", "a trough target is above zero"),
        ("--probability", "90", "--probability is 90; it lies between 0 and 1"),
        ("--weeks", "8:4", "--weeks is '8:4'"),
        ("--weeks", "4,x", "--weeks is '4,x'"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(run, capsys, option, value, words):
    given = {"--target": "10"} | {option: value}
    options = [f"{name}={text}" for name, text in given.items()]
    assert words in refused(capsys, "individualise", run, "cohort", *options)


def test_report_holds_the_fit_and_all_its_advice_by_target(run, capsys):
    assert main(["report", str(run), "--title", "Ward <3>"]) == 0
    html = (run / "report.html").read_text(encoding="utf-8")
    assert html.index("P(trough ≥ 5 mg/L)") < html.index("P(trough ≥ 10 mg/L)")
    assert "<h1>Ward &lt;3&gt;</h1>" in html
    assert "Tests of NPDE" in html
    assert "report.html" in capsys.readouterr().out


def test_report_writes_tables_and_figures_beside_the_page(run, tmp_path, capsys):
    for path in run.glob("advice_*"):
        path.unlink()
    out = tmp_path / "page.html"
    words = ["report", str(run), "--out", str(out), "--files", "--no-checks"]
    assert main([*words, "--question", "Which clearance?"]) == 0
    html = out.read_text(encoding="utf-8")
    assert "Which clearance?" in html
    assert "Tests of NPDE" not in html
    folder = tmp_path / "page_files"
    assert len(list((folder / "tables").glob("*.csv"))) == html.count('<table class="gt_table"')
    assert len(list((folder / "figures").glob("*.svg"))) == html.count("<figure")
    assert "page_files" in capsys.readouterr().out


def test_report_refuses_advice_of_another_fit_and_names_its_file(run, trees, capsys):
    save(trees.advice_tree(trees.cohort(3)), run / "advice_7.nc")
    err = refused(capsys, "report", run)
    assert "advice_7.nc was made from another fit" in err
    assert not (run / "report.html").exists()


def test_report_refuses_a_damaged_fit(run, capsys):
    with (run / "fit.nc").open("ab") as file:
        file.write(b"!")
    assert "SHA-256 differs" in refused(capsys, "report", run)


def test_report_says_where_it_cannot_write(run, capsys):
    err = refused(capsys, "report", run, "--out", run / "nowhere" / "r.html")
    assert "does not exist" in err


def test_the_manifest_describes_the_fit(run, trees):
    from popk.cli.fitted import write_manifest
    from popk.storage import checksum

    fit = trees.fit_tree(trees.cohort(2))
    write_manifest(fit, run)
    found = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert found["sha256"] == {"fit.nc": checksum(run / "fit.nc")}
    assert found["model_hash"] == fit.attrs["model_hash"]
    assert found["data_hash"] == fit.attrs["data_hash"]
    assert found["seed"] == 1
    assert found["versions"]["pymc"] == "6.4.0"
    assert found["verdict"]["converged"] is True


GROWING = GOOD.replace("1,28,0,,21.5,0,1,70", "1,28,0,,21.5,0,1,75")


def test_a_covariate_that_changes_wants_a_rule(data, capsys):
    data.write_text(GROWING)
    shown = refused(capsys, "check", data, "--units", UNITS)
    assert "WT changes from 70" in shown or "changes from 70" in shown
    assert '"locf" (the last value holds until the next one)' in shown
    assert main(["check", str(data), "--units", UNITS, "--carry", "locf"]) == 0
    shown = refused(capsys, "check", data, "--units", UNITS, "--carry", "last")
    assert "carry is 'last'; it says how a covariate" in shown


def test_what_stands_in_for_a_missing_covariate_is_said(data, capsys):
    data.write_text(re.sub(r"^(1,.*,)70$", r"\1.", GOOD, flags=re.MULTILINE))
    assert "WT is missing" in refused(capsys, "check", data, "--units", UNITS)
    assert main(["check", str(data), "--units", UNITS, "--missing", "WT=72"]) == 0
    shown = capsys.readouterr().out
    assert "72 kg, the constant given with missing, stands in its place" in " ".join(shown.split())
    shown = refused(capsys, "check", data, "--units", UNITS, "--missing", "WT=mean")
    assert "missing says 'mean' for WT; expected \"median\"" in " ".join(shown.split())


def test_carry_reaches_the_fit(data, tmp_path, sampled):
    data.write_text(GROWING)
    model = tmp_path / "model.py"
    model.write_text(MODEL)
    words = ["fit", f"{model}", f"{data}", "--out", f"{tmp_path / 'out'}", "--units", UNITS]
    assert main([*words, "--carry", "nonmem"]) == 0
    assert sampled["dataset"].carry == "nonmem"


@pytest.mark.parametrize(("given", "used"), [((), "locf"), (("--carry", "linear"), "linear")])
def test_patients_are_read_with_the_carry_of_the_fit(
    run, data, capsys, advised, trees, given, used
):
    fit = load(run / "fit.nc")
    own = trees.cohort(2)
    fit["data"] = replace(own, carry="locf").to_xarray()
    save(fit, run / "fit.nc")
    data.write_text(GROWING)
    words = ["individualise", str(run), str(data), "--target", "10", *given]
    assert main(words) == 0, capsys.readouterr().err
    assert advised["patients"].carry == used
