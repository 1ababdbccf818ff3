"""What a structure is: the equations for one subject, with named parameters and outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.structure.symbolic import trace

type Floats = NDArray[np.float64]
type Compartments = int | Iterable[int]
type Complements = Mapping[int, int] | Iterable[tuple[int, int]]

TOLERANCE = 1e-5  # the default of structures that are solved as an ODE


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a structure.

    Parameters
    ----------
    name
        The field's symbol, in capitals (``CL``).
    dimension
        What it measures, in the words of `popk.units.Units.of` (``"volume/time"``); the unit itself
        follows from the units of the data.
    meaning
        A few words for tables.
    example
        A plausible value (mg, L, day), at which the contract tests solve the equations.
    """

    name: str
    dimension: str
    meaning: str
    example: float = 1.0


@dataclass(frozen=True, slots=True)
class Output:
    """Something that can be observed: a function of the amounts.

    Parameters
    ----------
    name
        What it is, in lower case (``concentration``).
    dimension
        What it measures, in the words of `popk.units.Units.of`.
    meaning
        A few words for tables and axes.
    compartment
        The compartment (CMT, counted from 1) whose observations are this output, where DVID does
        not say which; None if none is.
    """

    name: str
    dimension: str
    meaning: str
    compartment: int | None = None


@dataclass(frozen=True, slots=True, init=False)
class Dosing:
    """Which properties of a dose are parameters of the model, by compartment (CMT).

    ``bioavailability=1`` adds the parameter F1, ``lag=1`` ALAG1, ``duration=2`` D2 (of doses with
    RATE -2) and ``rate=2`` R2 (of doses with RATE -1), as NONMEM names them. Several compartments
    are listed, ``lag=(1, 2)``; the attributes are tuples.

    ``complement={2: 1}`` adds no parameter: what enters compartment 2 is what does not enter
    compartment 1, F2 = 1 - F1, as of a dose that is divided between two paths and has a record into
    either. F1 must then be at most 1; where it is more, outputs are infinite, as where equations
    cannot be solved.

    Parameters
    ----------
    bioavailability, lag, duration, rate
        The number of a compartment, counted from 1, or several.
    complement
        From the number of a compartment to that of the one whose bioavailability it completes.

    Raises
    ------
    SettingError
        When something is not the number of a compartment, a compartment is named twice, or a
        complement is that of no parameter.
    """

    bioavailability: tuple[int, ...] = ()
    lag: tuple[int, ...] = ()
    duration: tuple[int, ...] = ()
    rate: tuple[int, ...] = ()
    complement: tuple[tuple[int, int], ...] = ()

    def __init__(
        self,
        bioavailability: Compartments = (),
        lag: Compartments = (),
        duration: Compartments = (),
        rate: Compartments = (),
        *,
        complement: Complements = (),
    ) -> None:
        given = {"bioavailability": bioavailability, "lag": lag, "duration": duration, "rate": rate}
        for field, what in given.items():
            object.__setattr__(self, field, _numbers(field, what))
        object.__setattr__(self, "complement", _pairs(complement))
        for into, of in self.complement:
            if into in self.bioavailability:
                raise SettingError(
                    f"Dosing was given bioavailability={self.bioavailability} and complement="
                    f"{complement!r}; F{into} is a parameter or 1 - F{of}, not both."
                )
            if of not in self.bioavailability:
                raise SettingError(
                    f"Dosing was given complement={complement!r}, F{into} = 1 - F{of}, but F{of} "
                    f"is no parameter; give bioavailability={of} as well."
                )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters that this adds to a structure, in the order of its last columns."""
        return (
            *(Parameter(f"F{c}", "1", f"bioavailability into compartment {c}", 0.7)
              for c in self.bioavailability),
            *(Parameter(f"ALAG{c}", "time", f"lag of doses into compartment {c}", 0.2)
              for c in self.lag),
            *(Parameter(f"D{c}", "time", f"duration of doses into compartment {c}", 0.6)
              for c in self.duration),
            *(Parameter(f"R{c}", "amount/time", f"rate of doses into compartment {c}", 150.0)
              for c in self.rate),
        )  # fmt: skip


def _numbers(field: str, given: Any) -> tuple[int, ...]:
    """Numbers of compartments, each once."""
    is_list = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    numbers = tuple(given) if is_list else (given,)
    if not all(map(_is_number, numbers)):
        raise SettingError(
            f"Dosing was given {field}={given!r}; expected the number of a compartment, counted "
            "from 1, or several such as (1, 2)."
        )
    if len(set(numbers)) < len(numbers):
        raise SettingError(f"Dosing was given {field}={given!r}, which names a compartment twice.")
    return numbers


def _pairs(given: Any) -> tuple[tuple[int, int], ...]:
    """Pairs of compartments, the first of each once, in their order."""
    refused = SettingError(
        f"Dosing was given complement={given!r}; expected compartments counted from 1, for example "
        "{2: 1} where F2 is 1 - F1."
    )
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise refused
    pairs = tuple(given.items() if isinstance(given, Mapping) else given)
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise refused
    if len({into for into, _ in pairs}) < len(pairs):
        raise SettingError(
            f"Dosing was given complement={given!r}, which names a compartment twice."
        )
    return tuple(sorted(pairs))


def _is_number(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= 1


class Structure(ABC):
    """The equations for ONE subject.

    A concrete structure is a frozen dataclass in a file of its own. It names its compartments,
    parameters and outputs and writes its equations in plain Python, with the functions of
    `popk.structure.functions`; the engine compiles them, with their exact derivatives.
    """

    dosing: Dosing = Dosing()

    @property
    @abstractmethod
    def kinetics(self) -> tuple[Parameter, ...]:
        """Parameters of the equations."""

    @property
    @abstractmethod
    def compartments(self) -> tuple[str, ...]:
        """Names of the compartments; a dose's CMT counts them from 1."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Output, ...]:
        """What can be observed; the first is meant where the data do not say."""

    @abstractmethod
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        """Rates of change of the amounts (amount/time), without doses and infusions.

        Parameters
        ----------
        t
            The time, as in the data.
        a
            Amounts, by position and by the names of the compartments (``a.central``).
        p
            Values of `kinetics`, by name (``p.CL``).
        """

    @abstractmethod
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        """The outputs; arguments as for `rates`."""

    @property
    def undosed(self) -> tuple[str, ...]:
        """Compartments that hold no drug, so that no dose can go into them."""
        return ()

    @property
    def deviations(self) -> tuple[str, ...]:
        """Compartments that hold a difference from a baseline, which may be negative."""
        return ()

    @property
    def closed_form(self) -> tuple[int, bool] | None:
        """The closed form that solves `rates`, if one does, else None.

        ``(n, absorption)``: a mammillary model of n compartments, with CL V (n = 1), CL V1 Q V2
        (n = 2) or CL V1 Q2 V2 Q3 V3 (n = 3) as its first parameters, and, with absorption, KA next
        and a first-order depot as the first compartment.
        """
        return None

    @property
    def zero_order(self) -> tuple[int, ...]:
        """Compartments (CMT) whose doses last for a modelled duration, whatever RATE says."""
        return ()

    @property
    def is_stiff(self) -> bool:
        """Whether the time scales lie so far apart that the implicit solver is the better one."""
        return False

    @property
    def tolerance(self) -> float:
        """Relative tolerance of the ODE solver, of each amount in each step (no closed form)."""
        return TOLERANCE

    @property
    def depends_on_time(self) -> bool:
        """Whether the rates follow the time itself, as where a clearance changes with it."""
        traced = trace(
            self.rates,
            place=f"The rates of {type(self).__name__}",
            compartments=self.compartments,
            parameters=tuple(parameter.name for parameter in self.kinetics),
            results=self.compartments,
        )
        return traced.uses_time

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order of theta's columns: `kinetics`, then `dosing`."""
        return (*self.kinetics, *self.dosing.parameters)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta's columns."""
        return tuple(parameter.name for parameter in self.parameters)
