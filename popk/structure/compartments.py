"""Mammillary structures: a central compartment, none to two peripheral ones, and a depot."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, override

from popk.errors import SettingError
from popk.structure import absorption as absorptions
from popk.structure import elimination as eliminations
from popk.structure.absorption import (
    Absorption,
    FirstOrder,
    ParallelFirstOrder,
    Sequential,
    Transit,
    ZeroOrder,
    route_of,
    with_durations,
)
from popk.structure.base import TOLERANCE, Dosing, Output, Parameter, Structure
from popk.structure.checks import check_dosing, check_names, check_part, check_tolerance
from popk.structure.elimination import (
    DecliningClearance,
    Elimination,
    Linear,
    MichaelisMenten,
    ParallelMichaelisMenten,
)

__all__ = ["Mammillary", "OneCompartment", "ThreeCompartment", "TwoCompartment", "examples"]

_Q = "inter-compartmental clearance"


class Peripheral(NamedTuple):
    """A peripheral compartment: its name, inter-compartmental clearance and volume."""

    name: str
    flow: Parameter
    volume: Parameter


_V = Parameter("V", "volume", "volume of distribution", 3.5)
_V1 = Parameter("V1", "volume", "central volume", 3.5)
_PERIPHERAL = Peripheral(
    "peripheral",
    Parameter("Q", "volume/time", _Q, 0.45),
    Parameter("V2", "volume", "peripheral volume", 2.8),
)
_TWO_PERIPHERALS = (
    Peripheral(
        "peripheral",
        Parameter("Q2", "volume/time", f"{_Q}, first peripheral", 0.9),
        Parameter("V2", "volume", "first peripheral volume", 2.0),
    ),
    Peripheral(
        "peripheral2",
        Parameter("Q3", "volume/time", f"{_Q}, second peripheral", 0.15),
        Parameter("V3", "volume", "second peripheral volume", 2.5),
    ),
)


@dataclass(frozen=True)
class Mammillary(Structure):
    """What `OneCompartment`, `TwoCompartment` and `ThreeCompartment` share.

    The compartments are those of the absorption (``depot``), ``central``, the peripheral ones, and
    those that the absorption counts last (``depot2``). The parameters are CL (unless elimination is
    saturable alone) and volumes with NONMEM's names (TRANS4), then those of the elimination, then
    those of the absorption, then those of the doses.

    Source of the equations and of the closed forms: Gibaldi & Perrier, Pharmacokinetics, 2nd
    edition 1982.

    Parameters
    ----------
    absorption
        None: doses go into central. Otherwise `FirstOrder`, `ZeroOrder`, `Sequential`, `Transit` or
        `ParallelFirstOrder`.
    elimination
        `Linear`, `MichaelisMenten`, `ParallelMichaelisMenten`, `TimeVaryingClearance` or
        `DecliningClearance`.
    dosing
        Which properties of the doses are parameters.
    tolerance
        Where there is no closed form: relative error, 1e-12 to 1e-2, that the ODE solver may make
        in each amount in each step. Concentrations are then right to about a tenth of it in the
        median, and to a few times it at worst. Amounts are resolved to 1e-10 of the largest dose,
        so that less than 1e-9 gains little.

    Raises
    ------
    SettingError
        When a part is of another kind, a compartment of `dosing` does not exist, or the tolerance
        is out of range.
    """

    absorption: Absorption | None = None
    elimination: Elimination = field(default_factory=Linear)
    dosing: Dosing = field(default_factory=Dosing)
    tolerance: float = field(default=TOLERANCE, kw_only=True)

    @property
    @abstractmethod
    def volume(self) -> Parameter:
        """The volume of the central compartment."""

    @property
    @abstractmethod
    def peripherals(self) -> tuple[Peripheral, ...]:
        """The peripheral compartments."""

    def __post_init__(self) -> None:
        check_part(self, "absorption", (Absorption, type(None)), "None or one such as FirstOrder()")
        check_part(self, "elimination", Elimination, "one such as Linear() or MichaelisMenten()")
        check_part(self, "dosing", Dosing, "Dosing(...), for example Dosing(lag=(1,))")
        object.__setattr__(self, "dosing", with_durations(self.dosing, self._route))
        check_dosing(self)
        check_names(self)
        check_tolerance(self)
        if self._route.needs_elimination and not isinstance(self.elimination, Linear):
            raise SettingError(
                f"{type(self).__name__} was given {self.absorption!r} with {self.elimination!r}; "
                "absorption that is faster than elimination needs Linear(), whose rate constant is "
                "CL/V. Leave faster out."
            )

    @property
    def _route(self) -> Absorption:
        return route_of(self.absorption)

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        meaning = self.elimination.clearance
        clearance = Parameter("CL", "volume/time", meaning, 0.2)
        return (
            *((clearance,) if self.elimination.has_clearance else ()),
            self.volume,
            *(parameter for _, flow, volume in self.peripherals for parameter in (flow, volume)),
            *self.elimination.parameters,
            *self._route.parameters,
        )

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        peripherals = (peripheral.name for peripheral in self.peripherals)
        return (*self._route.before, "central", *peripherals, *self._route.after)

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        has = self.compartments
        places = ["central", *(peripheral.name for peripheral in self.peripherals)]
        names = ["concentration", *(f"{place}_concentration" for place in places[1:])]
        concentrations = (
            Output(name, "concentration", f"concentration, {place}", has.index(place) + 1)
            for name, place in zip(names, places, strict=True)
        )
        return (*concentrations, *self._route.outputs(has))

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        route = self._route
        ke = p.CL / getattr(p, self.volume.name) if route.needs_elimination else None
        before, entry, after = route.flow(a, p, ke)
        c = self.concentration(a, p)
        central = -self.elimination.rate(t, c, p)
        exchanges = []
        for name, flow, volume in self.peripherals:
            peripheral = getattr(a, name) / getattr(p, volume.name)
            exchanges.append(getattr(p, flow.name) * (c - peripheral))
            central = central - exchanges[-1]
        if entry is not None:
            central = central + entry
        return (*before, central, *exchanges, *after)

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        peripherals = (
            getattr(a, name) / getattr(p, volume.name) for name, _, volume in self.peripherals
        )
        depots = (getattr(a, name) for name in self._route.depots)
        return (self.concentration(a, p), *peripherals, *depots)

    def concentration(self, a: Any, p: Any) -> Any:
        """Concentration in the central compartment, given amounts and parameters by name."""
        return a.central / getattr(p, self.volume.name)

    @property
    @override
    def closed_form(self) -> tuple[int, bool] | None:
        depot = self._route.closed_form
        if depot is None or not isinstance(self.elimination, Linear):
            return None
        return 1 + len(self.peripherals), depot

    @property
    @override
    def zero_order(self) -> tuple[int, ...]:
        return self._route.zero_order


@dataclass(frozen=True)
class OneCompartment(Mammillary):
    """One compartment: CL V.

    See `popk.structure.compartments.Mammillary` for the parts. Doses go into central (CMT 1), or,
    with absorption, into the depot (CMT 1) and central is CMT 2.
    """

    @property
    @override
    def volume(self) -> Parameter:
        return _V

    @property
    @override
    def peripherals(self) -> tuple[Peripheral, ...]:
        return ()


@dataclass(frozen=True)
class TwoCompartment(Mammillary):
    """A central and a peripheral compartment: CL V1 Q V2.

    See `popk.structure.compartments.Mammillary` for the parts.
    """

    @property
    @override
    def volume(self) -> Parameter:
        return _V1

    @property
    @override
    def peripherals(self) -> tuple[Peripheral, ...]:
        return (_PERIPHERAL,)


@dataclass(frozen=True)
class ThreeCompartment(Mammillary):
    """A central and two peripheral compartments: CL V1 Q2 V2 Q3 V3.

    See `popk.structure.compartments.Mammillary` for the parts.
    """

    @property
    @override
    def volume(self) -> Parameter:
        return _V1

    @property
    @override
    def peripherals(self) -> tuple[Peripheral, ...]:
        return _TWO_PERIPHERALS


def examples() -> tuple[Structure, ...]:
    """Each absorption, each elimination and each number of compartments at least once."""
    dosed = Dosing(bioavailability=(1,), lag=(1,), duration=(2,), rate=(2,))
    kinds = (OneCompartment, TwoCompartment, ThreeCompartment)
    return (
        *(kind() for kind in kinds),
        *(kind(FirstOrder()) for kind in kinds),
        OneCompartment(FirstOrder(faster=True)),
        *(OneCompartment(absorption) for absorption in absorptions.examples()[2:]),
        *(TwoCompartment(elimination=elimination) for elimination in eliminations.examples()[1:]),
        TwoCompartment(FirstOrder(), dosing=dosed),
        OneCompartment(FirstOrder(), ParallelMichaelisMenten(), dosed),
        OneCompartment(elimination=MichaelisMenten()),
        TwoCompartment(ZeroOrder(), DecliningClearance()),
        TwoCompartment(Transit(2), ParallelMichaelisMenten()),
        ThreeCompartment(Sequential(), MichaelisMenten()),
        ThreeCompartment(ParallelFirstOrder(), ParallelMichaelisMenten()),
    )
