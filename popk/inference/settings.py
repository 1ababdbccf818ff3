"""Checks that the settings of several methods share."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from popk.errors import SettingError
from popk.statistics import FORMS

__all__ = ["check_cores", "check_flag", "check_proposals", "check_trajectories", "check_whole"]


def check_whole(method: object, lowest: dict[str, int]) -> None:
    """Refuse settings of a method that are not whole numbers of at least so much.

    Raises
    ------
    SettingError
        When one is not, in a sentence.
    """
    for name, least in lowest.items():
        value = getattr(method, name)
        if not _is_whole(value) or value < least:
            raise SettingError(
                f"{type(method).__name__} was given {name}={value!r}; expected a whole number, "
                f"{least} or more."
            )


def check_cores(method: object, cores: object) -> None:
    """Refuse a number of cores that is none; None means all of them.

    Raises
    ------
    SettingError
        When it is none, in a sentence.
    """
    if cores is not None and not (_is_whole(cores) and float(str(cores)) >= 1):
        raise SettingError(
            f"{type(method).__name__} was given cores={cores!r}; expected 1 or more, or None for "
            "all of them."
        )


def check_flag(method: object, name: str) -> None:
    """Refuse what is neither True nor False.

    Raises
    ------
    SettingError
        When it is something else, in a sentence.
    """
    value = getattr(method, name)
    if not isinstance(value, bool):
        raise SettingError(
            f"{type(method).__name__} was given {name}={value!r}; expected True or False."
        )


def check_proposals(method: object, *, weighted: bool = True) -> None:
    """Refuse draws, chains and proposals of a method that are too few, or do not go together.

    Without ``weighted`` nothing is chosen among the proposals.

    Raises
    ------
    SettingError
        When one makes no sense, in a sentence.
    """
    check_whole(method, {"draws": 10, "chains": 1, "proposals": 100})
    proposals, draws = (getattr(method, name) for name in ("proposals", "draws"))
    if weighted and proposals < draws:
        raise SettingError(
            f"{type(method).__name__} was given proposals={proposals} for draws={draws}; draws are "
            "chosen among proposals, so give at least as many of these."
        )


def check_trajectories(method: object) -> None:
    """Refuse a ``target_accept`` or ``forms`` that make no sense.

    Raises
    ------
    SettingError
        When one makes none, in a sentence.
    """
    name = type(method).__name__
    target, forms = (getattr(method, setting) for setting in ("target_accept", "forms"))
    if not 0.5 <= target < 1:
        raise SettingError(f"{name} was given target_accept={target!r}; expected 0.5 to below 1.")
    if not isinstance(forms, Mapping):
        raise SettingError(
            f'{name} was given forms={forms!r}; give a mapping such as {{"CL": "centred"}}.'
        )
    for effect, form in forms.items():
        if form not in FORMS:
            raise SettingError(
                f"{name} was given the form {form!r} for {effect}; expected one of "
                f"{', '.join(FORMS)}."
            )


def _is_whole(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return float(value).is_integer()
