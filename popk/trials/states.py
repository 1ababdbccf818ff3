"""A structure whose amounts can be read at one time and put back, so that a course goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, override

from popk.structure import Dosing, Output, Parameter, Structure

__all__ = ["WithState", "can_restart"]


@dataclass(frozen=True)
class WithState(Structure):
    """A structure with the amount in each compartment as more outputs, after its own.

    Every compartment has a bioavailability, the last parameters: a unit dose into each, with the
    amounts as bioavailabilities, puts the amounts back.
    """

    structure: Structure

    @property
    @override
    def dosing(self) -> Dosing:  # type: ignore[override]
        return Dosing(bioavailability=range(1, len(self.compartments) + 1))

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        return self.structure.kinetics

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return self.structure.compartments

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        amounts = (Output(f"amount {x}", "amount", f"amount in {x}") for x in self.compartments)
        return (*self.structure.outputs, *amounts)

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return self.structure.rates(t, a, p)

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return (*self.structure.read(t, a, p), *(getattr(a, x) for x in self.compartments))

    @property
    @override
    def closed_form(self) -> tuple[int, bool] | None:
        return self.structure.closed_form

    @property
    @override
    def is_stiff(self) -> bool:
        return self.structure.is_stiff

    @property
    @override
    def tolerance(self) -> float:
        return self.structure.tolerance


def can_restart(structure: Structure) -> bool:
    """Whether a course goes on best from the amounts at a visit.

    They are not all that the future depends on where doses may still be on their way (a lag, a
    modelled duration), and cannot be put back where a compartment takes no dose. A closed form
    sums the whole history in less time than it takes to begin anew.
    """
    return not (
        structure.closed_form is not None
        or structure.dosing.parameters
        or structure.zero_order
        or structure.undosed
        or structure.deviations
    )
