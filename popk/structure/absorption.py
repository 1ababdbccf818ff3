"""How doses reach the central compartment.

An absorption is a part of a compartmental structure: it names its compartments and parameters and
gives what flows out of them. The lag of any of these is a property of the doses:
``Dosing(lag=1)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, override

from popk.errors import SettingError
from popk.structure.base import Dosing, Output, Parameter

__all__ = [
    "Absorption",
    "FirstOrder",
    "Flow",
    "ParallelFirstOrder",
    "Sequential",
    "Transit",
    "ZeroOrder",
    "examples",
    "route_of",
    "with_durations",
]

_KA = Parameter("KA", "1/time", "first-order absorption rate constant", 0.25)
_DKA = Parameter("DKA", "1/time", "first-order absorption rate constant less CL/V", 0.2)
_MOST_TRANSITS = 50


class Flow(NamedTuple):
    """Rates of the compartments that stand before and after the others, and what enters central.

    ``entry`` is None where nothing enters but doses.
    """

    before: tuple[Any, ...] = ()
    entry: Any = None
    after: tuple[Any, ...] = ()


class Absorption(ABC):
    """How doses reach the central compartment. Concrete ones are frozen dataclasses."""

    zero_order: ClassVar[tuple[int, ...]] = ()
    """Compartments (CMT) whose doses enter over a modelled duration whatever RATE says."""

    @property
    def needs_elimination(self) -> bool:
        """Whether it rests on CL/V, the rate constant of linear elimination."""
        return False

    @property
    def closed_form(self) -> bool | None:
        """With a closed form: whether a first-order depot belongs to it; None without."""
        return None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters."""
        return ()

    @property
    def before(self) -> tuple[str, ...]:
        """Its compartments that are counted before the central one."""
        return ()

    @property
    def after(self) -> tuple[str, ...]:
        """Its compartments that are counted after all others."""
        return ()

    @property
    def depots(self) -> tuple[str, ...]:
        """Those of its compartments whose amount can be observed."""
        return tuple(name for name in (*self.before, *self.after) if name.startswith("depot"))

    @abstractmethod
    def flow(self, a: Any, p: Any, ke: Any = None) -> Flow:
        """Rates of its compartments and of the entry into central, all amount/time.

        ``ke`` is CL over the central volume, given where it ``needs_elimination``.
        """

    def outputs(self, compartments: tuple[str, ...]) -> tuple[Output, ...]:
        """Amounts in its depots, as outputs of a structure with these compartments."""
        return tuple(
            Output(f"{name}_amount", "amount", f"amount in {name}", compartments.index(name) + 1)
            for name in self.depots
        )


@dataclass(frozen=True, slots=True)
class _Direct(Absorption):
    """Doses go into the central compartment: what absorption=None means."""

    @property
    @override
    def closed_form(self) -> bool | None:
        return False

    @override
    def flow(self, a: Any, p: Any, ke: Any = None) -> Flow:
        return Flow()


@dataclass(frozen=True, slots=True, repr=False)
class FirstOrder(Absorption):
    """First-order absorption from a depot (CMT 1) into the central compartment (CMT 2).

    Doses into CMT 2 are intravenous. A zero-order path beside the first-order one is a second dose
    record into CMT 2 with RATE -2, ``Dosing(bioavailability=1, complement={2: 1}, duration=2)``.

    Parameters
    ----------
    faster
        Absorption is faster than elimination, in every subject: the parameter DKA stands for KA,
        and KA = CL/V + DKA (CL/V1 with peripheral compartments, which is above the terminal rate).
        That leaves out the second mode in which the two rates are exchanged (flip-flop), by an
        assumption that must come from elsewhere: an intravenous dose, or another formulation. The
        elimination must be linear; there is no closed form, so that a fit takes longer.

    Raises
    ------
    SettingError
        When ``faster`` is something else than True or False.
    """

    faster: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.faster, bool):
            raise SettingError(
                f"{type(self).__name__} was given faster={self.faster!r}; expected True or False."
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'faster=True' if self.faster else ''})"

    @property
    @override
    def needs_elimination(self) -> bool:
        return self.faster

    @property
    @override
    def closed_form(self) -> bool | None:
        return None if self.faster else True

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (_DKA,) if self.faster else (_KA,)

    @property
    @override
    def before(self) -> tuple[str, ...]:
        return ("depot",)

    @override
    def flow(self, a: Any, p: Any, ke: Any = None) -> Flow:
        absorbed = (ke + p.DKA if self.faster else p.KA) * a.depot
        return Flow((-absorbed,), absorbed)


@dataclass(frozen=True, slots=True)
class ZeroOrder(_Direct):
    """Zero-order absorption: every dose into the central compartment (CMT 1) enters over D1.

    D1 is added to the parameters of the doses, and holds for doses with RATE 0 and with RATE -2;
    a dose with RATE above zero keeps the rate of the data.
    """

    zero_order: ClassVar[tuple[int, ...]] = (1,)


@dataclass(frozen=True, slots=True, repr=False)
class Sequential(FirstOrder):
    """Zero-order, then first-order: every dose enters the depot (CMT 1) over D1 and leaves by KA.

    D1 is added to the parameters of the doses, as for `ZeroOrder`.
    """

    zero_order: ClassVar[tuple[int, ...]] = (1,)


@dataclass(frozen=True, slots=True)
class Transit(Absorption):
    """Absorption through a chain of n transit compartments.

    Doses enter ``transit0`` (CMT 1) and pass, each step with the rate constant
    ``KTR = (n + 1) / MTT``, through ``transit1 ... transitn`` into the depot, which KA empties into
    the central compartment. What enters the depot so follows a gamma density with shape n + 1 and
    mean MTT; the mean absorption time is MTT + 1/KA.

    Source: Savic et al., J Pharmacokinet Pharmacodyn 2007;34:711-726, with n an integer, so that
    doses may overlap freely.

    Parameters
    ----------
    n
        How many transit compartments, 1 to 50.

    Raises
    ------
    SettingError
        When n is something else.
    """

    n: int = 3

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or not self._possible():
            raise SettingError(
                f"Transit was given n={self.n!r}; expected the number of transit compartments, an "
                f"integer from 1 to {_MOST_TRANSITS}."
            )

    def _possible(self) -> bool:
        return 1 <= self.n <= _MOST_TRANSITS

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("MTT", "time", "mean transit time", 2.0), _KA)

    @property
    @override
    def before(self) -> tuple[str, ...]:
        return (*(f"transit{k}" for k in range(self.n + 1)), "depot")

    @override
    def flow(self, a: Any, p: Any, ke: Any = None) -> Flow:
        ktr = (self.n + 1.0) / p.MTT
        passed = [ktr * getattr(a, name) for name in self.before[:-1]]
        absorbed = p.KA * a.depot
        chain = (into - out for into, out in pairwise(passed))
        return Flow((-passed[0], *chain, passed[-1] - absorbed), absorbed)


@dataclass(frozen=True, slots=True)
class ParallelFirstOrder(Absorption):
    """Two first-order paths at once: from ``depot`` (CMT 1) by KA1, from ``depot2`` by KA2.

    ``depot2`` is the last compartment: CMT 3 with one central and no peripheral compartment, as
    data for two depots usually have it. Doses into central are intravenous.

    Parameters
    ----------
    split
        With True, each dose has one record into either depot, both with the whole amount, and the
        parameter FR1 is the fraction that the first path absorbs: of the amounts in the depots, FR1
        and 1 - FR1 reach the central compartment. With False there is no FR1, and all that is in
        the depots reaches it; the data, or ``Dosing(bioavailability=1, complement={3: 1})`` (with
        ``depot2`` the third compartment), divide the dose.

    Raises
    ------
    SettingError
        When split is something else.
    """

    split: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.split, bool):
            raise SettingError(
                f"ParallelFirstOrder was given split={self.split!r}; expected True or False."
            )

    @property
    @override
    def parameters(self) -> tuple[Parameter, ...]:
        paths = (
            Parameter("KA1", "1/time", "absorption rate constant of the first path", 1.0),
            Parameter("KA2", "1/time", "absorption rate constant of the second path", 0.25),
        )
        fraction = Parameter("FR1", "1", "fraction of the dose on the first path", 0.4)
        return (*paths, fraction) if self.split else paths

    @property
    @override
    def before(self) -> tuple[str, ...]:
        return ("depot",)

    @property
    @override
    def after(self) -> tuple[str, ...]:
        return ("depot2",)

    @override
    def flow(self, a: Any, p: Any, ke: Any = None) -> Flow:
        first, second = p.KA1 * a.depot, p.KA2 * a.depot2
        entry = p.FR1 * first + (1.0 - p.FR1) * second if self.split else first + second
        return Flow((-first,), entry, (-second,))


def route_of(absorption: Absorption | None) -> Absorption:
    """The absorption, with doses straight into the central compartment for None."""
    return _Direct() if absorption is None else absorption


def with_durations(dosing: Dosing, route: Absorption) -> Dosing:
    """The dosing, with the durations D that a zero-order route needs."""
    missing = tuple(c for c in route.zero_order if c not in dosing.duration)
    return replace(dosing, duration=(*missing, *dosing.duration)) if missing else dosing


def examples() -> tuple[Absorption | None, ...]:
    """Every absorption, and None."""
    return (
        None,
        FirstOrder(),
        ZeroOrder(),
        Sequential(),
        Transit(),
        ParallelFirstOrder(),
        ParallelFirstOrder(split=False),
    )
