"""Structures on top of another one: what they hand on from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import override

from popk.structure.base import Structure
from popk.structure.checks import check_names

__all__ = ["Layered"]


@dataclass(frozen=True)
class Layered(Structure):
    """A structure that another one, `pk`, is the first part of.

    Its compartments, parameters and outputs begin with those of `pk`; doses and the way in which it
    is solved are those of `pk`.
    """

    pk: Structure

    def check_layers(self) -> None:
        """Take the doses as they are in `pk`, and refuse names that it has already.

        Raises
        ------
        SettingError
            When two parts name a parameter, a compartment or an output alike.
        """
        object.__setattr__(self, "dosing", self.pk.dosing)
        check_names(self)

    @property
    @override
    def is_stiff(self) -> bool:
        return self.pk.is_stiff

    @property
    @override
    def tolerance(self) -> float:
        return self.pk.tolerance

    @property
    @override
    def deviations(self) -> tuple[str, ...]:
        return self.pk.deviations

    @property
    @override
    def undosed(self) -> tuple[str, ...]:
        return self.pk.undosed

    @property
    @override
    def zero_order(self) -> tuple[int, ...]:
        return self.pk.zero_order
