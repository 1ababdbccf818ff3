"""Control streams in parts, and an import's individual parameters and residual SD as numbers."""

import numpy as np
import pytest

from popk import from_nonmem
from popk.nonmem.random_effects import eta_values
from popk.statistics import NUMPY, expected_parameters, individual_parameters

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
COVARIATES = {"WT": "kg", "AGE": "a", "SEX": "1", "CRCL": "mL/min", "RACE": "1", "ALB": "g/L"}
COLUMNS = "ID TIME AMT RATE EVID MDV CMT DV OCC BLQ LLOQ WT AGE SEX CRCL RACE ALB"


def stream(
    pk, *, advan="ADVAN1 TRANS2", error="Y = F*(1+EPS(1))", theta="(0,2) (0,30)",
    omega="0.09 0.04", sigma="0.01", columns=COLUMNS, before="", more="",
):  # fmt: skip
    """A control stream of which only what is said differs from the simplest one."""
    omegas = omega if omega.lstrip().startswith("$") else f"$OMEGA {omega}"
    return (
        f"$PROBLEM a test\n$INPUT {columns}\n$DATA data.csv IGNORE=@\n$SUBROUTINES {advan}\n"
        f"{before}$PK\n{pk}\n$ERROR\n{error}\n$THETA {theta}\n{omegas}\n$SIGMA {sigma}\n{more}"
    )


SIMPLE = "CL = THETA(1)*EXP(ETA(1))\nV = THETA(2)*EXP(ETA(2))\nS1 = V"


class Streams:
    """What the tests of this folder share."""

    SIMPLE = SIMPLE
    stream = staticmethod(stream)

    @staticmethod
    def load(pk=SIMPLE, *, units=None, cv=1.0, **parts):
        """The import of a control stream in parts."""
        return from_nonmem(stream(pk, **parts), units={**UNITS, **COVARIATES, **(units or {})},
                           cv=cv)  # fmt: skip

    @staticmethod
    def parameters(found, etas=(), occasion=None, **covariates):
        """Individual parameters at NONMEM's etas (from the first) and at values of covariates."""
        model = found.model
        size = found.subjects.matrix.shape[1]
        given = {k: np.array([etas[k - 1] if k <= len(etas) else 0.0]) for k in range(1, size + 1)}
        shift = {}
        levels = [found.subjects]
        levels += [found.occasions[occasion]] if occasion is not None else []
        for level in levels:
            values = eta_values(level.matrix, given) if size else []
            for name, value in zip(level.effects, values, strict=True):
                moved = model.iiv.acts_on(name) if level is found.subjects else (name,)
                for other in moved:
                    k = model.structure.names.index(other)
                    shift[k] = shift.get(k, 0.0) + value
        expected = expected_parameters(
            model.scale_of, model.covariates, population=found.values,
            covariates={n: np.array([float(x)]) for n, x in covariates.items()}, ops=NUMPY,
        )  # fmt: skip
        columns = individual_parameters(model.scale_of, expected, shift, NUMPY)
        return {
            name: float(np.ravel(x)[0])
            for name, x in zip(model.structure.names, columns, strict=True)
        }

    @staticmethod
    def sd(found, prediction):
        """The residual SD at a prediction."""
        sigma = {name: found.values[name] for name, _ in found.model.error.priors}
        return float(found.model.error.sd(np.float64(prediction), sigma, NUMPY))


@pytest.fixture(scope="session")
def nm():
    """Makers of control streams, and numbers of imports."""
    return Streams
