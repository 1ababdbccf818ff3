"""Checks that structures share: what makes no sense is refused in the user's words."""

from __future__ import annotations

from dataclasses import fields
from numbers import Real
from typing import Any

from popk.errors import SettingError
from popk.structure.base import Dosing, Structure

__all__ = ["check_dosing", "check_names", "check_part", "check_tolerance"]

_TIGHTEST, _WIDEST = 1e-12, 1e-2  # of tolerances: digits of a double; where a step means something


def check_part(owner: object, field: str, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Refuse a part of a structure that is not of the kind expected.

    Raises
    ------
    SettingError
        Naming the structure, what was given and what was ``wanted``.
    """
    given: Any = getattr(owner, field)
    if not isinstance(given, kinds):
        raise SettingError(
            f"{type(owner).__name__} was given {field}={given!r}; expected {wanted}."
        )


def check_dosing(structure: Structure) -> None:
    """Refuse a `Dosing` that names compartments the structure does not have.

    Raises
    ------
    SettingError
        Naming the compartments that it has.
    """
    check_part(structure, "dosing", Dosing, "Dosing(...), for example Dosing(lag=(1,))")
    has = structure.compartments
    dosing = structure.dosing
    named = {field.name: getattr(dosing, field.name) for field in fields(Dosing)}
    # The other compartment of a pair is one of the bioavailability.
    named["complement"] = tuple(into for into, _ in dosing.complement)
    for field_name, numbers in named.items():
        for number in numbers:
            if number > len(has):
                listed = ", ".join(f"{k} ({name})" for k, name in enumerate(has, 1))
                raise SettingError(
                    f"{type(structure).__name__} was given Dosing({field_name}=...) with "
                    f"compartment {number}; its compartments are {listed}."
                )


def check_names(structure: Structure) -> None:
    """Refuse a structure whose parameters, compartments or outputs are not named apart.

    Raises
    ------
    SettingError
        Naming what occurs twice.
    """
    kinds = {
        "parameter": structure.names,
        "compartment": structure.compartments,
        "output": tuple(output.name for output in structure.outputs),
    }
    for kind, names in kinds.items():
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingError(
                f"{type(structure).__name__} would have the {kind} {', '.join(twice)} twice; its "
                f"parts each bring one of that name. Combine parts whose {kind}s differ, or write "
                "the equations with Custom."
            )


def check_tolerance(structure: Structure) -> None:
    """Refuse a tolerance that the ODE solver cannot keep, or that is none; keep it as a float.

    Raises
    ------
    SettingError
        Naming what was given and what is possible.
    """
    given: Any = structure.tolerance
    is_number = isinstance(given, Real) and not isinstance(given, bool)
    if not is_number or not _TIGHTEST <= given <= _WIDEST:
        raise SettingError(
            f"{type(structure).__name__} was given tolerance={given!r}; expected a number from "
            f"{_TIGHTEST:g} to {_WIDEST:g}, the relative error that the ODE solver may make in an "
            "amount in one step."
        )
    object.__setattr__(structure, "tolerance", float(given))
