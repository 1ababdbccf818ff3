"""Imported control streams at NONMEM's etas: NONMEM's individual predictions.

The control streams are written here from what the sets say of their models; the predictions and
etas are NONMEM's. Sources: `SOURCE.md` of each set; mapbayr: Le Louedec et al., CPT Pharmacometrics
Syst Pharmacol 2021;10:1208-1220; infliximab: Fasanmade et al., Eur J Clin Pharmacol
2009;65:1211-1228; ACOP: Schoemaker et al., CPT Pharmacometrics Syst Pharmacol 2019;8:923-930.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from popk import from_nonmem

MICRO = {"time": "h", "amount": "ug", "concentration": "ug/L"}
ORAL = """
TVCL = THETA(1)
CL = TVCL*EXP(ETA(1))
V = THETA(2)*EXP(ETA(2))
KA = THETA(3)*EXP(ETA(3))
S2 = V
"""
THREE = "$THETA (0,4) (0,70) (0,1)"
OMEGAS = "$OMEGA 0.2 0.2 0.2"
PROPORTIONAL = ("Y = F*(1+EPS(1))", "$SIGMA 0.05")
MM_DES = """$MODEL COMP=(DEPOT,DEFDOSE) COMP=(CENTRAL,DEFOBS)
$DES
CONC = A(2)/V
DADT(1) = -KA*A(1)
DADT(2) = KA*A(1) - {elimination}
"""


def stream(pk, error, *, advan, thetas, omegas, sigma, code=""):
    """A control stream; $INPUT and $DATA are added from the file."""
    return (
        f"$PROBLEM reference\n$INPUT @COLUMNS\n$DATA @FILE IGNORE=@\n$SUBROUTINES {advan}\n{code}"
        f"$PK\n{pk}\n$ERROR\n{error}\n{thetas}\n{omegas}\n{sigma}\n$EST METHOD=1 INTER MAXEVAL=0\n"
    )


def oral(error=PROPORTIONAL, *, pk=ORAL, advan="ADVAN2 TRANS2", thetas=THREE, omegas=OMEGAS,
         code=""):  # fmt: skip
    return stream(
        pk, error[0], advan=advan, thetas=thetas, omegas=omegas, sigma=error[1], code=code
    )


def mm(elimination, thetas, pk):
    return oral(
        pk=f"{pk}\nV = THETA(2)*EXP(ETA(2))\nKA = THETA(3)*EXP(ETA(3))\nS2 = V",
        advan="ADVAN13 TOL=9", thetas=thetas, omegas="$OMEGA 0.2 0.2 0.2 0.2",
        code=MM_DES.format(elimination=elimination),
    )  # fmt: skip


SATURABLE = mm(
    "VM*CONC/(KM+CONC)", "$THETA (0,10000) (0,70) (0,1) (0,2500)",
    "VM = THETA(1)*EXP(ETA(1))\nKM = THETA(4)*EXP(ETA(4))",
)  # fmt: skip
WITH_KM = mm(
    "CL*CONC - VM*CONC/(KM+CONC)", "$THETA (0,4) (0,70) (0,1) (0,2500) 10000 FIX",
    "CL = THETA(1)*EXP(ETA(1))\nKM = THETA(4)*EXP(ETA(4))\nVM = THETA(5)",
)  # fmt: skip
WITH_VMAX = mm(
    "(CL + VM/(KM+CONC))*CONC", "$THETA (0,4) (0,70) (0,1) (0,10000) 2500 FIX",
    "CL = THETA(1)*EXP(ETA(1))\nVM = THETA(4)*EXP(ETA(4))\nKM = THETA(5)",
)  # fmt: skip
LAG = ORAL + "ALAG1 = THETA(4)*EXP(ETA(4))\n"
FOUR = "$OMEGA 0.2 0.2 0.2 0.2"
MAPBAYR = {
    **dict.fromkeys(("001", "002", "501", "502", "503", "511"), oral()),
    "003": oral(pk=LAG, thetas=THREE + " (0,1)", omegas=FOUR),
    "004": oral(
        pk="CL = THETA(1)*EXP(ETA(1))\nV = THETA(2)*EXP(ETA(2))\nD2 = THETA(3)*EXP(ETA(3))\n"
        "KA = 1\nS2 = V", thetas="$THETA 4 70 4",
    ),
    "005": oral(
        pk=ORAL + "D1 = THETA(4)*EXP(ETA(4))\n", thetas=THREE + " (0,1)", omegas=FOUR,
    ),
    "008": oral(
        pk=ORAL + "LGT = LOG(THETA(4)/(1-THETA(4)))\nF1 = 1/(1+EXP(-(LGT+ETA(4))))\n",
        thetas=THREE + " (0,0.5,1)", omegas=FOUR,
    ),
    "101": oral(
        pk="CL = THETA(1)*EXP(ETA(1))\nV2 = THETA(2)*EXP(ETA(2))\nKA = THETA(3)*EXP(ETA(3))\n"
        "Q = THETA(4)\nV3 = THETA(5)*EXP(ETA(4))\nS2 = V2\n",
        advan="ADVAN4 TRANS4", thetas=THREE + " (0,4) (0,50)", omegas=FOUR,
    ),
    "201": SATURABLE,
    "202": SATURABLE,
    "203": WITH_KM,
    "204": WITH_KM,
    "205": WITH_VMAX,
    "206": WITH_VMAX,
    "301": oral(
        pk=ORAL.replace("TVCL = THETA(1)", "TVCL = THETA(1)*(BW/75)**THETA(4)*THETA(5)**SEX"),
        thetas=THREE + " 1.5 (0,0.75)",
    ),
    "403": oral(("Y = F + EPS(1)", "$SIGMA 5000")),
    "404": oral(("W = SQRT(SIGMA(1,1))\nY = F + EPS(1)", "$SIGMA 5000")),
    "405": oral(("IPRED = F\nY = IPRED*(1+EPS(1)) + EPS(2)", "$SIGMA 0.05 5000")),
    "407": oral(("IPRED = -5\nIF (F.GT.0) IPRED = LOG(F)\nY = IPRED + EPS(1)", "$SIGMA 0.05")),
    "408": oral(("IPRED = LOG(F)\nY = IPRED + EPS(1)", "$SIGMA 0.05")),
    "901": stream(
        "CL = THETA(1)*EXP(ETA(1))\nV1 = THETA(2)*1.73*EXP(ETA(2))\nQ = THETA(3)\n"
        "V2 = THETA(4)*EXP(ETA(3))\nS1 = V1", PROPORTIONAL[0], advan="ADVAN3 TRANS4",
        thetas="$THETA 6.38 9.5 2.7 9.56", omegas="$OMEGA 0.1 0.1 0.1", sigma="$SIGMA 0.05",
    ),
}  # fmt: skip
READ = ("ID", "TIME", "EVID", "AMT", "CMT", "RATE", "II", "ADDL", "SS", "MDV", "DV", "BW", "SEX")


def imported_from(text, file, keep, units, tmp_path, **renamed):
    """The import of a control stream whose $INPUT and $DATA are those of a file."""
    header = pd.read_csv(file, nrows=0).columns
    names = [renamed.get(name, name if name in keep else f"X{k}=DROP")
             for k, name in enumerate(header)]  # fmt: skip
    path = tmp_path / "run.mod"
    named = text.replace("@COLUMNS", " ".join(names)).replace("@FILE", f"'{file.name}'")
    path.write_text(named)
    return from_nonmem(path, units=units)


@pytest.mark.parametrize("run", sorted(MAPBAYR))
def test_models_of_mapbayr(reference_data, tightly, tmp_path, run):
    folder = reference_data / "mapbayr_nonmem"
    file = folder / f"run{run}_data.csv"
    renamed = {"LDV": "DV", "DV": "X=DROP"} if run in ("407", "408") else {}
    units = {**MICRO, **({"BW": "kg", "SEX": "1"} if run == "301" else {})}
    result = imported_from(MAPBAYR[run], file, READ, units, tmp_path, **renamed)
    assert result.complete, str(result)
    structure = result.model.structure
    if structure.closed_form is None:
        result = replace(result, model=replace(result.model, structure=tightly(structure)))
    table = pd.read_csv(file, na_values=".")
    observed = (table["EVID"] == 0) & (table["MDV"] == 0)
    column = "NIPRED_NONMEM" if run in ("407", "408") else "IPRED_NONMEM"
    expected = table.loc[observed, column].to_numpy()
    dataset = result.dataset(file)
    found = result.individual_predictions(dataset, pd.read_csv(folder / f"run{run}_ebe.csv"))
    assert len(found) == len(expected) >= 50
    zero = expected == 0.0
    assert np.all(found[zero] == 0.0)
    error = np.abs(found[~zero] / expected[~zero] - 1.0)
    assert np.median(error) <= 1e-7
    assert error.max() <= 1e-5


INFLIXIMAB = """$PROBLEM infliximab
$INPUT @COLUMNS
$DATA @FILE IGNORE=@
$SUBROUTINES ADVAN3 TRANS4
$PK
COVCL = (WT/70)**THETA(5)*(ALB/4)**THETA(6)
IF (ADA.EQ.1) COVCL = COVCL*(1+THETA(7))
CL = THETA(1)*COVCL*EXP(ETA(1))
V1 = THETA(2)*(WT/70)**THETA(8)*EXP(ETA(2))
Q = THETA(3)*(WT/70)**THETA(9)*EXP(ETA(3))
V2 = THETA(4)*(WT/70)**THETA(10)*EXP(ETA(4))
D1 = 0.08333
S1 = V1
$ERROR
IPRED = F
W = THETA(11)*IPRED
Y = IPRED + W*EPS(1)
$THETA 0.294 3.33 0.0719 1.14 0.614 -1.17 0.257 0.691 1.10 0.59 0.419
$OMEGA 0.106929 0.0225 1.21 0.638401
$SIGMA 1 FIX
"""


def test_infliximab(reference_data, tmp_path):
    folder = reference_data / "infliximab_nonmem"
    file = folder / "data.csv"
    units = {"time": "d", "amount": "mg", "concentration": "mg/L"}
    units |= {"WT": "kg", "ALB": "g/dL", "ADA": "1"}
    keep = (*READ, "WT", "ALB", "ADA")
    result = imported_from(INFLIXIMAB, file, keep, units, tmp_path)
    assert result.complete, str(result)
    table = pd.read_csv(file)
    expected = table.loc[(table["EVID"] == 0) & (table["MDV"] == 0), "IPRED_NONMEM"].to_numpy()
    # Two observations are below zero, which popk refuses.
    table.assign(DV=table["DV"].clip(lower=0.01).fillna(0)).to_csv(tmp_path / "c.csv", index=False)
    ebe = pd.read_csv(folder / "ebe.csv")
    found = result.individual_predictions(result.dataset(tmp_path / "c.csv"), ebe)
    assert len(found) == len(expected) == 180
    # The set keeps a record every 28 days: of antibodies that come between, it does not say when.
    before = (table.groupby("ID")["ADA"].cummax() == 0)[(table["EVID"] == 0) & (table["MDV"] == 0)]
    error = np.abs(found / expected - 1.0)[before]
    assert len(error) >= 90
    # Five digits of the predictions, six of the etas.
    assert error.max() <= 1e-4


ACOP = {
    "runN004": ("ADVAN1 TRANS2", "Bolus_1CPT", "V = EXP(THETA(2)+ETA(2))\nS1 = V\n", 2),
    "runN026": ("ADVAN2 TRANS2", "Oral_1CPT",
                "V = EXP(THETA(2)+ETA(2))\nKA = EXP(THETA(3)+ETA(3))\nS2 = V\n", 3),
    "runN035": ("ADVAN3 TRANS4", "Bolus_2CPT",
                "V1 = EXP(THETA(2)+ETA(2))\nQ = EXP(THETA(3)+ETA(3))\n"
                "V2 = EXP(THETA(4)+ETA(4))\nS1 = V1\n", 4),
}  # fmt: skip


@pytest.mark.parametrize("run", ACOP)
def test_acop(reference_data, tmp_path, run):
    folder = reference_data / "acop2016_nonmem"
    advan, name, pk, size = ACOP[run]
    values = pd.read_csv(folder / "nonmem_estimates.csv").query("run == @run")
    values = values.set_index("parameter")["estimate"]
    thetas = "\n".join(repr(float(values[f"THETA{k}"])) for k in range(1, size + 2))
    omegas = " ".join(repr(float(values[f"OMEGA({k},{k})"])) for k in range(1, size + 1))
    text = stream(
        "CL = EXP(THETA(1)+ETA(1))\n" + pk,
        f"IPRED = F\nW = THETA({size + 1})*IPRED\nY = IPRED + W*EPS(1)",
        advan=advan, thetas=f"$THETA\n{thetas}", omegas=f"$OMEGA {omegas}", sigma="$SIGMA 1 FIX",
    )  # fmt: skip
    file = folder / f"{name}.csv"
    keep = ("ID", "TIME", "EVID", "AMT", "RATE", "MDV", "DV", "CMT")
    result = imported_from(text, file, keep, MICRO, tmp_path)
    assert result.complete, str(result)
    nonmem = pd.read_csv(folder / "ipred" / f"{run}.csv")
    table = pd.read_csv(file)
    expected = nonmem.loc[(table["EVID"] == 0) & (table["MDV"] == 0), "IPRED"].to_numpy()
    ebe = pd.read_csv(folder / "ebe" / f"{run}_phi.csv")
    found = result.individual_predictions(result.dataset(file), ebe)
    assert len(found) == len(expected) >= 6900
    # Five digits of the predictions, six of thetas and etas.
    assert np.abs(found / expected - 1.0).max() <= 5e-4


BAUER = """$PROBLEM two compartments
$INPUT @COLUMNS
$DATA @FILE IGNORE=@
$SUBROUTINES ADVAN3 TRANS4
$PK
MU_1 = LOG(THETA(1))
V1 = EXP(MU_1+ETA(1))
CL = THETA(2)*EXP(ETA(2))
V2 = THETA(3)*EXP(ETA(3))
Q = THETA(4)*EXP(ETA(4))
S1 = V1
$ERROR
Y = F + F*EPS(1)
$THETA (0,9.760346) (0,3.876825) (0,30.81783) (0,8.7739)
$OMEGA 0.014869 0.019972 0.029188 0.023183
$SIGMA 0.0088413
"""


def test_bauer_objective_functions(reference_data, tmp_path):
    """No IPRED is tabled: NONMEM's objective function of each subject at its etas is."""
    folder = reference_data / "bauer402_2cpt_bolus"
    file = folder / "data.csv"
    units = {"time": "h", "amount": "mg", "concentration": "mg/L"}
    result = imported_from(BAUER, file, ("ID", "TIME", "DV", "AMT"), units, tmp_path)
    assert result.complete, str(result)
    ebe = pd.read_csv(folder / "nonmem_ebe.csv")
    found = result.individual_predictions(result.dataset(file), ebe)
    table = pd.read_csv(file, na_values=".")
    own = table[table["AMT"].isna()].reset_index(drop=True)
    variance = (result.values["sigma_prop"] * found) ** 2
    terms = np.log(variance) + (own["DV"] - found) ** 2 / variance
    eta = ebe[[f"ETA({k})" for k in range(1, 5)]].to_numpy()
    omega = np.array([result.values[f"omega_{name}"] for name in ("V1", "CL", "V2", "Q")]) ** 2
    spread = np.zeros((len(ebe), 4, 4))
    for i in range(4):
        for j in range(i + 1):
            spread[:, i, j] = spread[:, j, i] = ebe[f"ETC({i + 1},{j + 1})"]
    objective = terms.groupby(own["ID"]).sum().to_numpy() + (eta**2 / omega).sum(axis=1)
    objective += np.log(omega).sum() - np.linalg.slogdet(spread)[1]
    assert len(objective) == 30
    assert np.abs(objective - ebe["OBJ"]).max() <= 0.01
