"""How a drug leaves the central compartment.

An elimination is a part of a compartmental structure: it names its parameters and gives the rate
at which the drug is eliminated at a time and a concentration.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, override

from popk.structure.base import Parameter
from popk.structure.functions import exp
from popk.structure.smooth import hill, positive

__all__ = [
    "DecliningClearance",
    "Elimination",
    "Linear",
    "MichaelisMenten",
    "ParallelMichaelisMenten",
    "TimeVaryingClearance",
    "examples",
]

_VMAX = Parameter("VMAX", "amount/time", "maximum rate of saturable elimination", 3.0)
_KM = Parameter("KM", "concentration", "concentration at half of VMAX", 1.0)


class Elimination(ABC):
    """How the drug is eliminated. Concrete ones are frozen dataclasses."""

    has_clearance: ClassVar[bool] = True
    """Whether the structure's first parameter is the clearance CL."""

    clearance: ClassVar[str] = "clearance"
    """What CL means here."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters besides CL."""
        return ()

    @abstractmethod
    def rate(self, t: Any, c: Any, p: Any) -> Any:
        """Rate of elimination (amount/time) at the time t and the concentration c."""


@dataclass(frozen=True, slots=True)
class Linear(Elimination):
    """Elimination proportional to the concentration: ``CL c``."""

    @override
    def rate(self, t: Any, c: Any, p: Any) -> Any:
        return p.CL * c


class _Saturable(Elimination):
    """Elimination that VMAX and KM limit."""

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (_VMAX, _KM)


@dataclass(frozen=True, slots=True)
class MichaelisMenten(_Saturable):
    """Saturable elimination alone: ``VMAX c / (KM + c)``.

    Source: Michaelis & Menten, Biochem Z 1913;49:333.
    """

    has_clearance: ClassVar[bool] = False

    @override
    def rate(self, t: Any, c: Any, p: Any) -> Any:
        return p.VMAX / (p.KM + c) * c


@dataclass(frozen=True, slots=True)
class ParallelMichaelisMenten(_Saturable):
    """A linear and a saturable path at once: ``CL c + VMAX c / (KM + c)``."""

    clearance: ClassVar[str] = "linear clearance"

    @override
    def rate(self, t: Any, c: Any, p: Any) -> Any:
        return (p.CL + p.VMAX / (p.KM + c)) * c


@dataclass(frozen=True, slots=True)
class TimeVaryingClearance(Elimination):
    """Clearance that falls along a sigmoid curve of the time.

    ``CL exp(-IMAXCL t**GAMMA / (T50CL**GAMMA + t**GAMMA))``, with t the TIME of the data, which
    should be 0 at the first dose; before 0 the clearance is CL. IMAXCL above zero is a fall, to
    ``CL exp(-IMAXCL)`` in the end. Publications that write ``exp(Emax ...)`` with Emax below zero
    mean ``IMAXCL = -Emax``, and by T50 T50CL: parameters of popk are above zero, and have one
    meaning also where the drug has an effect.

    Source: nivolumab, Bajaj et al., CPT Pharmacometrics Syst Pharmacol 2017;6:58-66.
    """

    clearance: ClassVar[str] = "clearance at time 0"

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("IMAXCL", "1", "largest fall of the logarithm of CL", 0.3),
            Parameter("T50CL", "time", "time of half the fall of the logarithm of CL", 60.0),
            Parameter("GAMMA", "1", "steepness of the fall of CL", 3.0),
        )

    @override
    def rate(self, t: Any, c: Any, p: Any) -> Any:
        return p.CL * exp(-p.IMAXCL * hill(1.0 / p.T50CL * t, p.GAMMA)) * c


@dataclass(frozen=True, slots=True)
class DecliningClearance(Elimination):
    """Clearance of which a part vanishes exponentially with the time.

    ``CL + CL0 exp(-KDES t)``, with t the TIME of the data, which should be 0 at the first dose;
    before 0 it is ``CL + CL0``. CL is the clearance that remains (CL-infinity in publications).

    Source: ocrelizumab, Gibiansky et al., Br J Clin Pharmacol 2021;87:2511-2520.
    """

    clearance: ClassVar[str] = "clearance that remains in the end"

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("CL0", "volume/time", "part of the clearance that vanishes", 0.05),
            Parameter("KDES", "1/time", "rate constant at which CL0 vanishes", 0.003),
        )

    @override
    def rate(self, t: Any, c: Any, p: Any) -> Any:
        return (p.CL + p.CL0 * exp(-positive(p.KDES * t))) * c


def examples() -> tuple[Elimination, ...]:
    """Every elimination."""
    return (
        Linear(),
        MichaelisMenten(),
        ParallelMichaelisMenten(),
        TimeVaryingClearance(),
        DecliningClearance(),
    )
