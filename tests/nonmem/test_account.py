"""What is carried over, left out or refused, and how it is printed."""

import sys

import pytest

from popk import from_nonmem
from popk.nonmem import NonmemError
from popk.nonmem.stream import parse

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}


def left(found, *, matters=None):
    return {
        item.what: item for item in found.left_out if matters is None or item.matters == matters
    }


def test_records_that_do_not_matter_are_listed(nm):
    more = "$EST METHOD=1 INTER\n$COV\n$TABLE ID TIME NOPRINT FILE=a.tab\n$SIM (123)\n"
    found = nm.load(more=more)
    assert found.complete
    assert {"$ESTIMATION", "$COVARIANCE", "$TABLE", "$SIMULATION"} <= set(left(found))


def test_every_line_of_code_is_accounted_for(nm):
    pk = nm.SIMPLE + "\nHALF = LOG(2)*V/CL\nIF (ICALL.EQ.4) X = 1"
    error = "IPRED = F\nIRES = DV - IPRED\nY = IPRED*(1+EPS(1))\nDEL = 0"
    found = nm.load(pk, error=error)
    items = left(found)
    assert found.complete
    assert items["HALF = LOG(2)*V/CL"].where == "$PK, line 9"
    assert items["IRES = DV - IPRED"].where == "$ERROR, line 13"
    assert set(items) >= {"X = 1", "DEL = 0"}
    # What the model rests on is not listed.
    assert not any(what.startswith(("CL =", "V =", "S1", "IPRED", "Y =")) for what in items)


def test_what_may_change_the_model_matters(nm):
    pk = nm.SIMPLE + '\n"  WRITE(50,*) CL\nIF (CL.GT.900) EXIT 1 2'
    found = nm.load(pk, more="$PRIOR NWPRI\n$THETAP (2 FIX) (30 FIX)\n$THETAPV 0.1 FIX 0.1 FIX\n")
    assert not found.complete
    matter = left(found, matters=True)
    assert set(matter) == {'" WRITE(50,*) CL', "$PRIOR", "$THETAP", "$THETAPV"}
    assert matter["$PRIOR"].where == "line 16"
    assert any(what.startswith("EXIT") for what in left(found, matters=False))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("$MIX\nNSPOP=2\nP(1)=0.5\nP(2)=0.5\n", "mixture of subpopulations"),
        ("$PRIOR NWPRI NTHETA=2,NETA=2\n", "counts priors among"),
        ("$NONSENSE 1\n", r"\$NONSENSE, line 14 is a record that is not known"),
        ("$LEVEL SID=(3[1])\n", "random effects above subjects"),
    ],
)
def test_records_that_make_another_model_are_refused(nm, more, said):
    with pytest.raises(NonmemError, match=said):
        nm.load(more=more)


def test_a_model_without_compartments_is_refused():
    text = (
        "$PROBLEM x\n$INPUT ID TIME DV\n$DATA d.csv\n$PRED\nY = THETA(1)*EXP(-TIME)+EPS(1)\n"
        "$THETA 1\n$SIGMA 1\n"
    )
    with pytest.raises(NonmemError, match=r"\$PRED, line 4: a model without compartments"):
        from_nonmem(text, units=UNITS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("A_0(1) = THETA(1)", "compartments start empty"),
        ("IF (MIXNUM.EQ.1) CL = 2*CL", "a mixture model"),
        ("MTIME(1) = THETA(1)", "event times that the model computes"),
    ],
)
def test_code_that_popk_has_nothing_for_is_refused(nm, line, said):
    with pytest.raises(NonmemError, match=said):
        nm.load(f"{nm.SIMPLE}\n{line}")


def test_what_is_no_control_stream_is_refused(tmp_path):
    with pytest.raises(NonmemError, match="no file"):
        from_nonmem(tmp_path / "none.mod", units=UNITS)
    with pytest.raises(NonmemError, match=r"no \$PROBLEM record"):
        from_nonmem("a\nb", units=UNITS)
    with pytest.raises(NonmemError, match=r"2 \$PROBLEM records"):
        from_nonmem("$PROB a\n$PROB b\n", units=UNITS)


def test_what_the_parser_cannot_read_is_placed(nm):
    with pytest.raises(NonmemError, match=r"cannot read it \(the record that begins in line 5\)"):
        nm.load(nm.SIMPLE + "\nX = (1 + ")


def test_without_pharmpy_it_says_what_to_install(nm, monkeypatch):
    monkeypatch.setitem(sys.modules, "pharmpy.model", None)
    with pytest.raises(NonmemError, match=r'pip install "popk\[nonmem\]"'):
        nm.load()


def test_small_letters_continuations_comments_and_abbreviations(nm):
    pk = "cl = theta(CL)*exp(eta(1)) ; V = 3\nV = THETA(2) &\n * EXP(ETA(2))\n  S1 = V ; scale"
    found = nm.load(pk, before="$ABBR REPLACE THETA(CL)=THETA(1)\n")
    assert nm.parameters(found) == pytest.approx({"CL": 2, "V": 30})


def test_a_theta_that_nothing_uses_is_listed(nm):
    found = nm.load(theta="2 30 (0,5)")
    assert "THETA(3)" in left(found)


def test_it_is_printed(nm):
    found = nm.load(more="$EST METHOD=0\n")
    text = str(found)
    assert "typical CL = " in text
    assert "Nothing was left out that predictions or likelihood rest on." in text
    assert "$ESTIMATION (line 14): this is how NONMEM fits" in text
    html = found._repr_html_()
    assert html.count("<table") >= 2
    assert "Carried over from the control stream" in html
    worse = nm.load(more="$PRIOR NWPRI\n")
    assert "the model is another one for it" in str(worse)


@pytest.mark.parametrize("before", ["\n", ";; 1. Based on: 3\n;; 2. Description: base\n", "\n  \n"])
def test_what_stands_before_the_first_record_is_no_record(nm, before):
    found = from_nonmem(before + nm.stream(nm.SIMPLE), units=UNITS)
    assert found.model.hash == from_nonmem(nm.stream(nm.SIMPLE), units=UNITS).model.hash
    lines = before.count("\n")
    assert any(f"$INPUT, line {2 + lines}" in item.where for item in found.carried)


def test_lines_are_counted_from_the_first(nm):
    stream = parse("\n\n" + nm.stream(nm.SIMPLE))
    assert stream.first("PROBLEM").line == 3
    assert stream.code["PK"][0].line == 8
