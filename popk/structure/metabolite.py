"""A drug and a metabolite that is formed from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, override

from popk.structure.absorption import FirstOrder
from popk.structure.base import Output, Parameter, Structure
from popk.structure.checks import check_part
from popk.structure.compartments import Mammillary, OneCompartment, TwoCompartment
from popk.structure.elimination import ParallelMichaelisMenten
from popk.structure.layered import Layered

__all__ = ["ParentMetabolite", "examples"]


@dataclass(frozen=True)
class ParentMetabolite(Layered):
    """A drug whose elimination forms a metabolite with one compartment: FM CLM VM.

    The fraction FM of what is eliminated becomes metabolite, counted as drug equivalents::

        dM/dt = FM (rate of elimination of the parent) - CLM M / VM

    From concentrations of both alone, FM and VM cannot be told apart: fix one. The compartments are
    those of the parent, then ``metabolite``, which also takes doses. The outputs are those of the
    parent, then ``metabolite_concentration``, which observations with its CMT are.

    Source: Houston, Drug metabolite kinetics, Pharmacol Ther 1981, doi
    10.1016/0163-7258(81)90056-5.

    Parameters
    ----------
    pk
        `OneCompartment`, `TwoCompartment` or `ThreeCompartment` of the parent; its parameters come
        first, and its doses and its tolerance are those of the whole.

    Raises
    ------
    SettingError
        When `pk` is something else, or has a parameter, a compartment or an output of these names.
    """

    pk: Mammillary = field(default_factory=OneCompartment)

    def __post_init__(self) -> None:
        wanted = "the parent as OneCompartment(...), TwoCompartment(...) or ThreeCompartment(...)"
        check_part(self, "pk", Mammillary, wanted)
        self.check_layers()

    @property
    @override
    def kinetics(self) -> tuple[Parameter, ...]:
        return (
            *self.pk.kinetics,
            Parameter("FM", "1", "fraction of the eliminated drug that becomes metabolite", 0.7),
            Parameter("CLM", "volume/time", "clearance of the metabolite", 0.3),
            Parameter("VM", "volume", "volume of the metabolite", 2.0),
        )

    @property
    @override
    def compartments(self) -> tuple[str, ...]:
        return (*self.pk.compartments, "metabolite")

    @property
    @override
    def outputs(self) -> tuple[Output, ...]:
        metabolite = Output(
            "metabolite_concentration",
            "concentration",
            "concentration of the metabolite",
            len(self.compartments),
        )
        return (*self.pk.outputs, metabolite)

    @override
    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        formed = p.FM * self.pk.elimination.rate(t, self.pk.concentration(a, p), p)
        return (*self.pk.rates(t, a, p), formed - p.CLM * a.metabolite / p.VM)

    @override
    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return (*self.pk.read(t, a, p), a.metabolite / p.VM)


def examples() -> tuple[Structure, ...]:
    """Parents with linear and with saturable elimination."""
    return (
        ParentMetabolite(),
        ParentMetabolite(OneCompartment(FirstOrder())),
        ParentMetabolite(TwoCompartment(FirstOrder(), ParallelMichaelisMenten())),
    )
