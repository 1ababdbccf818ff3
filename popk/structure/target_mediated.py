"""Target-mediated drug disposition: the drug binds a target, which clears it.

Amounts and concentrations of the target and of the complex are equivalents of the drug: as much
drug as they can bind, in the drug's units, at one binding site for each molecule of drug counted.

The engine starts every amount at 0, and a reset makes it 0 again, but a target is there before the
drug. The equations therefore hold the target as its deviation from the baseline R0, times the
central volume: 0 is the baseline.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, override

from popk.errors import SettingError
from popk.structure.absorption import Absorption, FirstOrder, route_of
from popk.structure.base import TOLERANCE, Dosing, Output, Parameter, Structure
from popk.structure.checks import check_dosing, check_names, check_part, check_tolerance
from popk.structure.functions import sqrt

__all__ = [
    "Binding",
    "Full",
    "QuasiSteadyState",
    "TargetMediated",
    "Wagner",
    "examples",
]

_KSS = Parameter("KSS", "concentration", "steady-state constant of binding, (KOFF + KINT)/KON", 0.1)
_KD = Parameter("KD", "concentration", "dissociation constant, KOFF/KON", 0.05)
_KON = Parameter("KON", "1/(concentration*time)", "association rate constant of the complex", 100.0)
_KSYN = Parameter("KSYN", "concentration/time", "synthesis rate of the target", 0.75)
_R0 = Parameter("R0", "concentration", "baseline of the target, KSYN/KDEG", 1.5)
_KDEG = Parameter("KDEG", "1/time", "degradation rate constant of the target", 0.5)
_KINT = Parameter("KINT", "1/time", "internalisation rate constant of the complex", 0.2)


class State(NamedTuple):
    """What is in the central volume, as concentrations."""

    free: Any
    complex: Any
    target: Any


class Binding(ABC):
    """How binding is described. Concrete ones are frozen dataclasses."""

    is_stiff: ClassVar[bool] = False
    """Whether binding is followed on its own time scale."""

    tolerance: ClassVar[float] = TOLERANCE
    """Of the ODE solver, unless the structure is given another."""

    compartments: ClassVar[tuple[str, ...]] = ()
    """What is followed besides the drug in central."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters."""

    @abstractmethod
    def state(self, a: Any, p: Any, volume: Any) -> State:
        """Free drug, complex and free target."""

    @abstractmethod
    def rates(self, state: State, a: Any, p: Any, volume: Any) -> tuple[Any, ...]:
        """What binding adds to the rate of central, then the rates of its own compartments."""


@dataclass(frozen=True, slots=True)
class Full(Binding):
    """Binding and dissociation followed as such: KD KOFF R0 KDEG KINT.

    With C, R and RC the free drug, free target and complex, KON = KOFF/KD and KSYN = KDEG R0::

        dC/dt  = -(CL/V) C - KON C R + KOFF RC
        dR/dt  = KSYN - KDEG R - KON C R + KOFF RC
        dRC/dt = KON C R - (KOFF + KINT) RC

    Compartments: central (free drug), target (free, as deviation from R0) and complex.

    Source: Mager & Jusko, J Pharmacokinet Pharmacodyn 2001;28:507-532.

    Parameters
    ----------
    rate_constants
        Whether the parameters are the rate constants, KON KOFF KSYN KDEG KINT, in place of the
        ratios KD and R0.
    """

    is_stiff: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-6
    compartments: ClassVar[tuple[str, ...]] = ("target", "complex")

    rate_constants: bool = False

    def __post_init__(self) -> None:
        check_part(self, "rate_constants", bool, "True or False")

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        koff = Parameter("KOFF", "1/time", "dissociation rate constant of the complex", 5.0)
        if self.rate_constants:
            return (_KON, koff, _KSYN, _KDEG, _KINT)
        return (_KD, koff, _R0, _KDEG, _KINT)

    @override
    def state(self, a: Any, p: Any, volume: Any) -> State:
        baseline = p.KSYN / p.KDEG if self.rate_constants else p.R0
        return State(a.central / volume, a.complex / volume, baseline + a.target / volume)

    @override
    def rates(self, state: State, a: Any, p: Any, volume: Any) -> tuple[Any, ...]:
        kon = p.KON if self.rate_constants else p.KOFF / p.KD
        bound = kon * state.free * state.target * volume - p.KOFF * a.complex
        return -bound, -p.KDEG * a.target - bound, bound - p.KINT * a.complex


@dataclass(frozen=True, slots=True)
class QuasiSteadyState(Binding):
    """Complex in quasi-steady state with free drug and target: KSS R0 KDEG KINT.

    With Ct and Rt the total drug and total target, RC = Rt C / (KSS + C) and C the free drug that
    satisfies Ct = C + RC::

        dCt/dt = -(CL/V) C - KINT RC
        dRt/dt = KDEG (R0 - Rt) - (KINT - KDEG) RC

    With KSS read as KD it is the rapid-binding (quasi-equilibrium) approximation: Mager &
    Krzyzanski, Pharm Res 2005;22:1589-1596.

    Compartments: central (total drug) and target (total, as deviation from R0).

    Source: Gibiansky, Gibiansky, Kakkar & Ma, J Pharmacokinet Pharmacodyn 2008;35:573-591.
    """

    compartments: ClassVar[tuple[str, ...]] = ("target",)

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (_KSS, _R0, _KDEG, _KINT)

    @override
    def state(self, a: Any, p: Any, volume: Any) -> State:
        return _steady_state(a.central / volume, p.R0 + a.target / volume, p.KSS)

    @override
    def rates(self, state: State, a: Any, p: Any, volume: Any) -> tuple[Any, ...]:
        bound = state.complex * volume
        return -p.KINT * bound, -p.KDEG * a.target - (p.KINT - p.KDEG) * bound


@dataclass(frozen=True, slots=True)
class Wagner(Binding):
    """Quasi-steady state with a total target that stays at R0: KSS R0 KINT.

    It is exact in the quasi-steady state where KINT = KDEG. Where the target is little beside the
    drug it becomes the parallel Michaelis-Menten elimination with VMAX = KINT R0 V and KM = KSS,
    which `TwoCompartment(elimination=ParallelMichaelisMenten())` describes.

    Compartment: central (total drug).

    Source: Gibiansky & Gibiansky, Expert Opin Drug Metab Toxicol 2009;5:803-812, who name it after
    Wagner, Biopharmaceutics and Relevant Pharmacokinetics, 1971.
    """

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (_KSS, _R0, _KINT)

    @override
    def state(self, a: Any, p: Any, volume: Any) -> State:
        return _steady_state(a.central / volume, p.R0, p.KSS)

    @override
    def rates(self, state: State, a: Any, p: Any, volume: Any) -> tuple[Any, ...]:
        return (-p.KINT * state.complex * volume,)


def _steady_state(drug: Any, target: Any, kss: Any) -> State:
    """Free drug, complex and free target, given total drug and total target.

    The free drug is the positive root of C² + (target + KSS - drug) C - KSS drug = 0. Both the
    root, as a quotient, and the discriminant, as a sum of squares and products of what is above
    zero, are written so that little drug beside much target loses no digits.
    """
    apart = drug - target
    root = sqrt(apart * apart + kss * (kss + 2.0 * (drug + target)))
    free = 2.0 * kss * drug / (kss - apart + root)
    shared = target / (kss + free)
    return State(free, shared * free, shared * kss)


@dataclass(frozen=True)
class TargetMediated(Structure):
    """Target-mediated drug disposition with linear clearance of the free drug.

    Parameters are CL V1 Q V2 (CL V without a peripheral compartment), those of the binding, and KA
    with absorption. Of each pair of rates the literature gives, popk uses the ratio that the data
    can tell and that has the unit of a concentration: R0 = KSYN/KDEG, KD = KOFF/KON (see `Full` for
    the rates themselves).

    Outputs are the total and the free drug, the total and the free target. Observations in central
    are total drug; DVID 2, 3 and 4 choose the others, and observations in the compartment target,
    if there is one, are total target. While parameters change with time-varying covariates, the
    deviation of the target from its baseline is what stays.

    Source: those of the bindings; that deviations from the baseline take the target's place is
    popk's own, and leaves the equations what they are.

    Parameters
    ----------
    binding
        `Full`, or one of its approximations, `QuasiSteadyState` or `Wagner`.
    peripheral
        Whether the free drug also distributes into a peripheral compartment.
    absorption
        None, or `FirstOrder`.
    dosing
        Which properties of the doses are parameters.
    tolerance
        Relative error, 1e-12 to 1e-2, that the ODE solver may make in each amount in each step, as
        for `Mammillary`; by default 1e-6 with `Full`, whose free target is a small difference of
        what is bound and released, and 1e-5 otherwise.

    Raises
    ------
    SettingError
        When a part is of another kind, a compartment of `dosing` does not exist, or the tolerance
        is out of range.
    """

    binding: Binding = field(default_factory=QuasiSteadyState)
    peripheral: bool = True
    absorption: Absorption | None = None
    dosing: Dosing = field(default_factory=Dosing)
    # None becomes that of the binding.
    tolerance: float = field(default=None, kw_only=True)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_part(self, "binding", Binding, "Full(), QuasiSteadyState() or Wagner()")
        check_part(self, "peripheral", bool, "True or False")
        if self.absorption not in (None, FirstOrder()):
            raise SettingError(
                f"TargetMediated was given absorption={self.absorption!r}; expected None or "
                "FirstOrder()."
            )
        if self.tolerance is None:
            object.__setattr__(self, "tolerance", self.binding.tolerance)
        check_dosing(self)
        check_names(self)
        check_tolerance(self)

    @property
    def _volume(self) -> str:
        return "V1" if self.peripheral else "V"

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        peripheral = (
            Parameter("Q", "volume/time", "inter-compartmental clearance", 0.45),
            Parameter("V2", "volume", "peripheral volume", 2.8),
        )
        return (
            Parameter("CL", "volume/time", "clearance of the free drug", 0.2),
            Parameter(self._volume, "volume", "central volume", 3.5),
            *(peripheral if self.peripheral else ()),
            *self.binding.parameters,
            *route_of(self.absorption).parameters,
        )

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        peripheral = ("peripheral",) if self.peripheral else ()
        depot = route_of(self.absorption).before
        return (*depot, "central", *peripheral, *self.binding.compartments)

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        has = self.compartments
        target = has.index("target") + 1 if "target" in has else None
        return (
            Output(
                "total_concentration",
                "concentration",
                "total concentration of the drug",
                has.index("central") + 1,
            ),
            Output("free_concentration", "concentration", "free concentration of the drug"),
            Output("total_target", "concentration", "total target", target),
            Output("free_target", "concentration", "free target"),
        )

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        before, entry, _ = route_of(self.absorption).flow(a, p)
        volume = getattr(p, self._volume)
        state = self.binding.state(a, p, volume)
        bound, *own = self.binding.rates(state, a, p, volume)
        central = bound - p.CL * state.free
        peripheral: tuple[Any, ...] = ()
        if self.peripheral:
            exchange = p.Q * (state.free - a.peripheral / p.V2)
            central = central - exchange
            peripheral = (exchange,)
        if entry is not None:
            central = central + entry
        return (*before, central, *peripheral, *own)

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        free, bound, target = self.binding.state(a, p, getattr(p, self._volume))
        return free + bound, free, target + bound, target

    @property
    @override
    def deviations(self) -> tuple[str, ...]:
        return tuple(name for name in self.compartments if name == "target")

    @property
    @override
    def undosed(self) -> tuple[str, ...]:
        return self.binding.compartments

    @property
    @override
    def is_stiff(self) -> bool:
        return self.binding.is_stiff


def examples() -> tuple[Structure, ...]:
    """Each binding with and without a peripheral compartment and absorption."""
    return (
        *(
            TargetMediated(binding, peripheral=peripheral, absorption=absorption)
            for binding in (Full(), QuasiSteadyState(), Wagner())
            for peripheral in (True, False)
            for absorption in (None, FirstOrder())
        ),
        TargetMediated(Full(rate_constants=True), peripheral=False),
    )
