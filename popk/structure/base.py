"""What a structure is: the equations for one subject, with named parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.structure.events import Events

type Floats = NDArray[np.float64]


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
    """

    name: str
    dimension: str
    meaning: str


class Structure(ABC):
    """The pharmacokinetic equations for ONE subject.

    A concrete structure is a frozen dataclass. It names its parameters and gives one compiled
    kernel that fills the concentrations and their gradient from a subject's events; what runs it
    over cohorts and samples is `popk.structure.solve`.
    """

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters in the order of the kernel's columns."""

    @property
    @abstractmethod
    def compartments(self) -> tuple[str, ...]:
        """Names of the compartments; a dose's CMT counts them from 1."""

    @property
    @abstractmethod
    def is_linear(self) -> bool:
        """Whether concentrations are proportional to the dose."""

    @abstractmethod
    def prepare(self, events: Events) -> Events:
        """Bring events into the form that the kernel reads (unchanged where it reads runs)."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the compiled kernel."""

    @property
    @abstractmethod
    def kernel(self) -> Callable[..., Any]:
        """The compiled kernel, shared by fitting, simulation and individual posteriors.

        ``(theta, subject, offset, *events, concentration, gradient, with_gradient)`` solves row r
        of ``theta`` (n_rows, n_parameters) with the prepared events of ``subject[r]`` and writes
        output k of that subject at ``offset[r] + k`` of ``concentration`` and ``gradient``.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the kernel's order."""
        return tuple(parameter.name for parameter in self.parameters)
