"""`popk import-nonmem`: the file it writes, what it prints and what it refuses."""

from popk.cli import main
from popk.model import PopModel

UNITS = "time=h,amount=mg,concentration=mg/L"


def test_a_model_file_that_other_commands_take(nm, tmp_path, capsys):
    control, out = tmp_path / "run7.mod", tmp_path / "model.json"
    control.write_text(nm.stream(nm.SIMPLE, more="$EST METHOD=1\n"))
    words = ["import-nonmem", str(control), "--out", str(out), "--units", UNITS]
    assert main([*words, "--cv", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "Carried over from the control stream:" in printed
    assert f"Written: {out}." in printed
    model = PopModel.from_json(out.read_text())
    assert model.name == "run7"
    assert dict(model.typical)["CL"].cv == 0.5
    assert main(["models", str(out)]) == 0
    assert "LogNormal(30, cv=0.5)" in capsys.readouterr().out
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_a_refusal_is_a_sentence(nm, tmp_path, capsys):
    control, out = tmp_path / "run7.mod", tmp_path / "model.json"
    control.write_text(nm.stream(nm.SIMPLE, more="$MIX\nNSPOP=2\n"))
    assert main(["import-nonmem", str(control), "--out", str(out), "--units", UNITS]) == 2
    said = capsys.readouterr().err
    assert "The control stream cannot be imported: $MIX, line 14" in said
    assert not out.exists()
    assert main(["models", str(tmp_path / "none.json")]) == 2
    assert "There is no model file" in capsys.readouterr().err
