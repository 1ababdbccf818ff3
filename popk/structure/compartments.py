"""One- and two-compartment structures with intravenous bolus or infusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast, override

from popk.errors import SettingError
from popk.structure import linear, nonlinear
from popk.structure.base import Parameter, Structure
from popk.structure.events import Events, expand
from popk.structure.jit import specialise
from popk.structure.ode import Equations, integrator
from popk.structure.rows import linear_rows

_CL = Parameter("CL", "volume/time", "linear clearance")
_V = Parameter("V", "volume", "volume of distribution")
_V1 = Parameter("V1", "volume", "central volume")
_Q = Parameter("Q", "volume/time", "inter-compartmental clearance")
_V2 = Parameter("V2", "volume", "peripheral volume")
_VMAX = Parameter("VMAX", "amount/time", "maximum rate of saturable elimination")
_KM = Parameter("KM", "concentration", "concentration at half of VMAX")


@dataclass(frozen=True, slots=True)
class Linear:
    """Elimination proportional to the concentration: CL c."""


@dataclass(frozen=True, slots=True)
class ParallelMichaelisMenten:
    """A linear and a saturable path at once: CL c + VMAX c / (KM + c)."""


type Elimination = Linear | ParallelMichaelisMenten


class _Compartmental(Structure):
    """What the structures here share: closed form when linear, otherwise the ODE solver."""

    elimination: Elimination

    @property
    def is_linear(self) -> bool:
        return isinstance(self.elimination, Linear)

    @property
    def label(self) -> str:
        return f"{type(self).__name__}_{type(self.elimination).__name__}"

    def prepare(self, events: Events) -> Events:
        return events if self.is_linear else expand(events)

    def _check(self) -> None:
        if not isinstance(self.elimination, Linear | ParallelMichaelisMenten):
            raise SettingError(
                f"{type(self).__name__} was given elimination={self.elimination!r}; "
                "expected Linear() or ParallelMichaelisMenten()."
            )


@dataclass(frozen=True)
class OneCompartment(_Compartmental):
    """One compartment. Doses go into it (CMT 1) and its concentration is observed."""

    elimination: Elimination = field(default_factory=Linear)

    def __post_init__(self) -> None:
        self._check()

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (_CL, _V) if self.is_linear else (_CL, _V, _VMAX, _KM)

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return ("central",)

    @property
    @override
    def kernel(self) -> Callable[..., Any]:
        if self.is_linear:
            return _closed_form(self.label, linear.one_compartment)
        return _integrator(self.label, nonlinear.one_compartment, 1, 4)


@dataclass(frozen=True)
class TwoCompartment(_Compartmental):
    """A central (CMT 1, observed) and a peripheral compartment (CMT 2)."""

    elimination: Elimination = field(default_factory=Linear)

    def __post_init__(self) -> None:
        self._check()

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        linear_part = (_CL, _V1, _Q, _V2)
        return linear_part if self.is_linear else (*linear_part, _VMAX, _KM)

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return ("central", "peripheral")

    @property
    @override
    def kernel(self) -> Callable[..., Any]:
        if self.is_linear:
            return _closed_form(self.label, linear.two_compartment)
        return _integrator(self.label, nonlinear.two_compartment, 2, 6)


@cache
def _integrator(label: str, equations: Equations, n: int, m: int) -> Callable[..., Any]:
    return cast(Callable[..., Any], integrator(equations, n, m, label=label))


@cache
def _closed_form(label: str, subject_kernel: Callable[..., Any]) -> Callable[..., Any]:
    return specialise(linear_rows, f"closed_form_{label}", subject_kernel=subject_kernel)
