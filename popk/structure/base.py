"""What a structure is: the equations for one subject, with named parameters and outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.structure.symbolic import trace

type Floats = NDArray[np.float64]

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


@dataclass(frozen=True, slots=True)
class Dosing:
    """Which properties of a dose are parameters of the model, by compartment (CMT).

    ``bioavailability=(1,)`` adds the parameter F1, ``lag=(1,)`` ALAG1, ``duration=(2,)`` D2 (of
    doses with RATE -2) and ``rate=(2,)`` R2 (of doses with RATE -1), as NONMEM names them.
    """

    bioavailability: tuple[int, ...] = ()
    lag: tuple[int, ...] = ()
    duration: tuple[int, ...] = ()
    rate: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            numbers = (given,) if isinstance(given, int) else tuple(given)
            object.__setattr__(self, field.name, numbers)
            if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
                raise SettingError(
                    f"Dosing was given {field.name}={given!r}; expected the numbers of "
                    "compartments, counted from 1."
                )
            if len(set(numbers)) < len(numbers):
                raise SettingError(
                    f"Dosing was given {field.name}={given!r}, which names a compartment twice."
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
    def is_linear(self) -> bool:
        """Whether the amounts are proportional to the doses."""
        return self.closed_form is not None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order of theta's columns: `kinetics`, then `dosing`."""
        return (*self.kinetics, *self.dosing.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta's columns."""
        return tuple(parameter.name for parameter in self.parameters)
