"""Several assays of one kind of observation, each with an error of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, override

from popk.errors import SettingError
from popk.statistics.error.base import ErrorParameter, Observed, ResidualError, Sigma
from popk.statistics.error.several import Part, Several
from popk.statistics.operations import Operations
from popk.statistics.priors import Prior

__all__ = ["ByAssay"]


@dataclass(frozen=True, init=False, repr=False)
class ByAssay(Several):
    """Assays or laboratories that measure the same thing differently.

    The data say in the column ASSAY which of them measured a record (``columns={"ASSAY": "LAB"}``
    when reading, if it is called otherwise). Each may have an error of its own, and each but the
    reference a factor on the prediction: what it reports where the reference reports 1.
    Predictions for records without an ASSAY are what the reference would report.

    Parameters
    ----------
    errors
        Error of each level, or one error (the same parameters) for all levels.
    scale
        Prior of the factor of each level that has one; 1 elsewhere.
    reference
        The level that measures what the structure predicts; it has no factor.
    label
        What to call the assay in names: ``sigma_prop_LAB1`` and ``scale_LAB1`` for level 1 of
        ``label="LAB"``.

    Raises
    ------
    SettingError
        When the levels do not fit together, or what is given is not an error of one observation.
    """

    errors: ResidualError | tuple[tuple[int, ResidualError], ...]
    scale: tuple[tuple[int, Prior], ...]
    reference: int
    label: str

    def __init__(
        self,
        errors: ResidualError | Mapping[int, ResidualError] | Iterable[tuple[int, ResidualError]],
        *,
        scale: Mapping[int, Prior] | Iterable[tuple[int, Prior]] = (),
        reference: int = 0,
        label: str = "ASSAY",
    ) -> None:
        one = isinstance(errors, ResidualError)
        values = {
            "errors": errors if one else _by_level("errors", errors),
            "scale": _by_level("scale", scale),
            "reference": _level("reference", reference),
            "label": str(label),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        for error in self._errors:
            if not isinstance(error, ResidualError) or isinstance(error, Several):
                raise SettingError(
                    f"ByAssay was given {error!r}; expected a residual error such as "
                    "Proportional(...) for each level."
                )
            if error.is_sequential:
                raise SettingError(
                    "ByAssay was given an Autocorrelated error; write Autocorrelated(ByAssay(...), "
                    "...) instead: the residuals of all assays together are one process."
                )
        levels = self.assays
        held = ", ".join(str(level) for level in levels)
        if not isinstance(self.errors, ResidualError):
            for level in (self.reference, *dict(self.scale)):
                if level not in dict(self.errors):
                    raise SettingError(
                        f"ByAssay names level {level} of {self.label}, for which it has no error "
                        f"(it has {', '.join(map(str, dict(self.errors)))}). The reference is set "
                        "with reference=."
                    )
        if self.reference in dict(self.scale):
            raise SettingError(
                f"ByAssay was given a scale for level {self.reference} of {self.label}, the "
                "reference, to which the others are compared; leave it out of scale, or choose "
                "another with reference=."
            )
        if len(levels) < 2:
            raise SettingError(
                f"ByAssay tells only the level {held} of {self.label} apart; give two or more, in "
                "errors or in scale."
            )

    def __repr__(self) -> str:
        errors = self.errors if isinstance(self.errors, ResidualError) else dict(self.errors)
        scale = f", scale={dict(self.scale)!r}" if self.scale else ""
        return f"ByAssay({errors!r}{scale}, reference={self.reference}, label={self.label!r})"

    @property
    @override
    def title(self) -> str:
        if isinstance(self.errors, ResidualError):
            return f"{self.errors.title} by {self.label}"
        each = (f"{self.label}{level} {error.title}" for level, error in self.errors)
        return f"by {self.label} ({', '.join(each)})"

    @property
    @override
    def assays(self) -> tuple[int, ...]:
        own = () if isinstance(self.errors, ResidualError) else dict(self.errors)
        return tuple(dict.fromkeys((self.reference, *own, *dict(self.scale))))

    @property
    @override
    def is_gaussian(self) -> bool:
        return all(error.is_gaussian for error in self._errors)

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        found: list[ErrorParameter] = []
        if isinstance(self.errors, ResidualError):
            found += self.errors.parameters
        else:
            for level, error in self.errors:
                suffix, of = f"{self.label}{level}", f"{self.label} {level}"
                found += [p.suffixed(suffix, of) for p in error.parameters]
        for level, prior in self.scale:
            meaning = f"{self.label} {level} over {self.label} {self.reference}, factor"
            found.append(ErrorParameter(f"scale_{self.label}{level}", prior, "1", meaning))
        return tuple(found)

    @property
    @override
    def _errors(self) -> tuple[ResidualError, ...]:
        if isinstance(self.errors, ResidualError):
            return (self.errors,)
        return tuple(error for _, error in self.errors)

    @override
    def _parts(self, observed: Observed, sigma: Sigma, ops: Operations) -> Iterator[Part]:
        scaled = dict(self.scale)
        for level in self.assays:
            factor = sigma[f"scale_{self.label}{level}"] if level in scaled else 1.0
            if isinstance(self.errors, ResidualError):
                error, suffix = self.errors, ""
            else:
                error, suffix = dict(self.errors)[level], f"_{self.label}{level}"
            named = {own: sigma[own + suffix] for own, _ in error.priors}
            yield Part(ops.equal(observed.assay, level), error, factor, named)


def _by_level(field: str, given: Any) -> tuple[tuple[int, Any], ...]:
    pairs = given.items() if isinstance(given, Mapping) else given
    return tuple(sorted(((_level(field, level), value) for level, value in pairs), key=_first))


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]


def _level(field: str, given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise SettingError(
            f"ByAssay was given the level {given!r} in {field}; levels are whole numbers of zero "
            "or more, as in the data's column ASSAY."
        )
    return given
