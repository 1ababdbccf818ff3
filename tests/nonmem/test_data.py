"""$INPUT and $DATA, final estimates, and NONMEM's individual predictions computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from popk import from_nonmem
from popk.nonmem import NonmemError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
TABLE = """ID,HOUR,DOSE,CONC,WT,FLAG,OCC
#comment,0,0,0,0,0,0
1,0,100,.,60,0,1
1,2,0,2.5,60,0,1
1,8,0,1.5,60,1,1
1,24,0,0.6,60,0,1
2,0,120,.,80,0,1
2,4,0,3.1,80,0,1
3,0,50,.,80,0,1
3,4,0,1.1,80,0,1
"""
COLUMNS = "ID TIME=HOUR AMT=DOSE DV=CONC WT FLAG OCC=DROP"
PK = "CL = THETA(1)*(WT/70)**0.75*EXP(ETA(1))\nV = THETA(2)*EXP(ETA(2))\nS1 = V"


@pytest.fixture
def run(nm, tmp_path):
    """A control stream in a folder with its data."""

    def write(options="IGNORE=# IGNORE=(FLAG.EQ.1)", pk=PK, **parts):
        (tmp_path / "data.csv").write_text(TABLE.split("\n", 1)[1])
        text = nm.stream(pk, columns=COLUMNS, **parts)
        path = tmp_path / "run1.mod"
        path.write_text(text.replace("IGNORE=@", options))
        return path

    return write


def test_data_as_the_control_stream_reads_them(run):
    found = from_nonmem(run(), units=UNITS)
    data = found.dataset()
    assert list(data.subjects) == ["1", "2", "3"]
    table = data.table
    assert table["TIME"].values.tolist() == [0, 2, 24, 0, 4, 0, 4]
    assert table["EVID"].values.tolist() == [1, 0, 0, 1, 0, 1, 0]
    assert data.covariates == ("WT",)
    assert found.reading.names["CONC"] == "DV"
    assert "columns OCC" in {item.what for item in found.left_out}


def test_accept(run):
    found = from_nonmem(run("IGNORE=# ACCEPT=(ID.LT.3)"), units=UNITS)
    assert list(found.dataset().subjects) == ["1", "2"]
    assert found.dataset().n_observations == 4


def test_amounts_are_converted(run):
    path = run(pk=PK.replace("S1 = V", "S1 = V/1000"))
    found = from_nonmem(path, units={**UNITS, "concentration": "ng/mL"})
    assert found.dataset().table["AMT"].values.max() == 120_000
    assert found.dataset().units.amount == "ug"


def test_individual_predictions_at_etas(run):
    found = from_nonmem(run(), units=UNITS)
    data = found.dataset()
    etas = pd.DataFrame({"ID": [3, 1, 2], "ETA(1)": [0.3, 0.1, -0.2], "ETA(2)": [0.0, 0.2, 0.4]})
    predicted = found.individual_predictions(data, etas)
    expected = []
    for weight, dose, times, eta in (
        (60, 100, (2, 24), (0.1, 0.2)), (80, 120, (4,), (-0.2, 0.4)), (80, 50, (4,), (0.3, 0.0)),
    ):  # fmt: skip
        cl = 2 * (weight / 70) ** 0.75 * math.exp(eta[0])
        v = 30 * math.exp(eta[1])
        expected += [dose / v * math.exp(-cl / v * t) for t in times]
    assert predicted == pytest.approx(np.array(expected), rel=1e-12)
    with pytest.raises(NonmemError, match="no row for the subjects 3"):
        found.individual_predictions(data, etas[etas["ID"] < 3])


def test_between_occasions_predictions_switch(nm, tmp_path):
    """The eta of an occasion holds on its records, those at the end of an interval included."""
    (tmp_path / "d.csv").write_text(
        "1,0,100,0,1\n1,2,0,2.5,1\n1,12,100,0,2\n1,14,0,2.0,2\n1,20,0,1.0,2\n"
    )
    pk = "IOV = ETA(3)\nIF (PER.EQ.2) IOV = ETA(4)\n" + nm.SIMPLE.replace(
        "(ETA(1))", "(ETA(1)+IOV)"
    )
    omega = "$OMEGA 0.09 0.04\n$OMEGA BLOCK(1) 0.01\n$OMEGA BLOCK(1) SAME"
    pk = pk.replace("IOV = ETA(3)\n", "IOV = 0\nIF (PER.EQ.1) IOV = ETA(3)\n")
    text = nm.stream(pk, omega=omega, columns="ID TIME AMT DV PER")
    path = tmp_path / "r.mod"
    path.write_text(text.replace("data.csv IGNORE=@", "d.csv"))
    found = from_nonmem(path, units=UNITS)
    assert found.reading.occasion == "PER"
    eta = (0.1, 0.2, 0.3, -0.4)
    etas = pd.DataFrame({"ID": [1], **{f"ETA{k}": [x] for k, x in enumerate(eta, 1)}})
    predicted = found.individual_predictions(found.dataset(), etas)
    v = 30 * math.exp(0.2)
    first, second = (2 * math.exp(0.1 + x) / v for x in (0.3, -0.4))
    # NONMEM's parameters of a record govern the interval that ends there.
    before = 100 / v * math.exp(-2 * first) * math.exp(-10 * second)
    after = before + 100 / v
    expected = [
        100 / v * math.exp(-2 * first), after * math.exp(-2 * second), after * math.exp(-8 * second)
    ]  # fmt: skip
    assert predicted == pytest.approx(np.array(expected), rel=1e-9)


BELOW = "F_FLAG = 1\nY = PHI((0.1-IPRED)/(THETA(3)*IPRED))\n"
ABOVE = "F_FLAG = 0\nY = IPRED + THETA(3)*IPRED*EPS(1)\n"


@pytest.mark.parametrize(
    "code",
    [
        f"IF (BLQ.EQ.1) THEN\n{BELOW}ELSE\n{ABOVE}ENDIF",
        f"IF (BLQ.EQ.0) THEN\n{ABOVE}ELSE\n{BELOW}ENDIF",
        f"IF (BLQ.EQ.0) THEN\n{ABOVE}ENDIF\nIF (BLQ.EQ.1) THEN\n{BELOW}ENDIF",
    ],
)
def test_below_the_limit(nm, tmp_path, code):
    (tmp_path / "d.csv").write_text("1,0,100,0,0\n1,2,0,2.5,0\n1,60,0,0,1\n")
    text = nm.stream(nm.SIMPLE, error=f"IPRED = F\n{code}", theta="2 30 0.2", sigma="1 FIX",
                     columns="ID TIME AMT DV BLQ")  # fmt: skip
    path = tmp_path / "r.mod"
    path.write_text(text.replace("data.csv IGNORE=@", "d.csv"))
    table = from_nonmem(path, units=UNITS).dataset().table
    assert table["CENS"].values.tolist() == [0, 0, 1]
    assert table["LLOQ"].values.tolist()[1:] == [0.1, 0.1]


def test_logarithms(nm, tmp_path):
    (tmp_path / "d.csv").write_text("1,0,100,0\n1,2,0,0.9\n")
    text = nm.stream(nm.SIMPLE, error="Y = LOG(F) + EPS(1)", columns="ID TIME AMT DV")
    path = tmp_path / "r.mod"
    path.write_text(text.replace("data.csv IGNORE=@", "d.csv"))
    table = from_nonmem(path, units=UNITS).dataset().table
    assert table["DV"].values[1] == pytest.approx(math.exp(0.9))


def test_compartments_are_renumbered(nm, tmp_path):
    (tmp_path / "d.csv").write_text("1,0,100,0,0\n1,1,50,0,3\n1,2,0,2.5,1\n")
    model = (
        "$MODEL COMP=(CENTRAL,DEFOBS,DEFDOSE) COMP=(PERI) COMP=(DEPOT)\n$DES\n"
        "DADT(1) = KA*A(3) - CL*A(1)/V - K12*A(1) + K21*A(2)\nDADT(2) = K12*A(1) - K21*A(2)\n"
        "DADT(3) = -KA*A(3)\n"
    )
    pk = nm.SIMPLE + "\nKA = 1\nK12 = 0.2\nK21 = 0.1"
    text = nm.stream(pk, advan="ADVAN6", before=model, columns="ID TIME AMT DV CMT")
    path = tmp_path / "r.mod"
    path.write_text(text.replace("data.csv IGNORE=@", "d.csv"))
    table = from_nonmem(path, units=UNITS).dataset().table
    assert table["CMT"].values.tolist() == [2, 1, 2]


def test_data_that_are_not_there_are_named(nm, run, tmp_path):
    found = from_nonmem(nm.stream(nm.SIMPLE), units=UNITS)
    with pytest.raises(NonmemError, match="came as text"):
        found.dataset()
    with pytest.raises(NonmemError, match=r"no data file .*elsewhere\.csv"):
        from_nonmem(run(), units=UNITS).dataset(tmp_path / "elsewhere.csv")


EXT = """TABLE NO.     1: First Order: Goal Function=MINIMUM VALUE OF OBJECTIVE FUNCTION
 ITERATION THETA1 THETA2 SIGMA(1,1) OMEGA(1,1) OMEGA(2,1) OMEGA(2,2) OBJ
 0 2 30 0.01 0.09 0 0.04 100
 -1000000000 9 9 9 9 9 9 80
TABLE NO.     2: First Order Conditional Estimation with Interaction
 ITERATION THETA1 THETA2 SIGMA(1,1) OMEGA(1,1) OMEGA(2,1) OMEGA(2,2) OBJ
 -1000000000 2.5 28 0.0225 0.16 0.02 0.0625 77.1
 -1000000001 0.1 1 0 0 0 0 0
"""


def test_final_estimates(run):
    path = run(omega="$OMEGA BLOCK(2)\n0.09\n0.01 0.04")
    with pytest.raises(NonmemError, match=r"no .*run1\.ext|\.ext file beside"):
        from_nonmem(path, units=UNITS, estimates="final")
    file = path.with_suffix(".ext")
    file.write_text(EXT)
    found = from_nonmem(path, units=UNITS, estimates="final")
    assert found.values["CL"] == pytest.approx(2.5)
    assert found.values["omega_CL"] == pytest.approx(0.4)
    assert found.values["sigma_prop"] == pytest.approx(0.15)
    assert found.values["corr_CL_V"] == pytest.approx(0.02 / (0.4 * 0.25))
    initial = from_nonmem(path, units=UNITS)
    assert initial.values["CL"] == pytest.approx(2)
    assert any("run1.ext" in str(item) for item in initial.left_out)
    file.write_text(EXT.replace("THETA1 THETA2", "THETA1 THETA3"))
    with pytest.raises(NonmemError, match="lacks THETA2"):
        from_nonmem(path, units=UNITS, estimates=file)
