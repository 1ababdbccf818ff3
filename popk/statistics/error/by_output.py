"""Several kinds of observation, each with an error of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, override

from popk.errors import SettingError
from popk.statistics.error.base import ErrorParameter, Observed, ResidualError, Sigma
from popk.statistics.error.several import Part, Several
from popk.statistics.operations import Operations

__all__ = ["ByOutput"]


@dataclass(frozen=True, init=False, repr=False)
class ByOutput(Several):
    """An error for each kind of observation: what ``PopModel(error={...})`` becomes.

    Parameters
    ----------
    errors
        Error of each output of the structure, by the output's name. Where there are several, the
        names of their parameters end in it (``sigma_prop_effect``).

    Raises
    ------
    SettingError
        When there is none, or what is given for an output is no error of one output.
    """

    errors: tuple[tuple[str, ResidualError], ...]

    def __init__(
        self, errors: Mapping[str, ResidualError] | Iterable[tuple[str, ResidualError]]
    ) -> None:
        pairs = tuple(errors.items() if isinstance(errors, Mapping) else errors)
        object.__setattr__(self, "errors", tuple((str(name), error) for name, error in pairs))
        if not pairs:
            raise SettingError(
                "error names no output; expected, for example, "
                '{"concentration": Proportional(...), "effect": Additive(...)}.'
            )
        for name, error in self.errors:
            if not isinstance(error, ResidualError) or isinstance(error, ByOutput):
                raise SettingError(
                    f"error[{name!r}] was given {error!r}; expected a residual error such as "
                    "Proportional(...)."
                )

    def in_order(self, names: Sequence[str]) -> ByOutput:
        """The same with the outputs in the order of `names`, unknown ones last."""
        place = {name: k for k, name in enumerate(names)}
        return ByOutput(sorted(self.errors, key=lambda pair: place.get(pair[0], len(place))))

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {error!r}" for name, error in self.errors) + "}"

    @property
    @override
    def title(self) -> str:
        return ", ".join(f"{name} {error.title}" for name, error in self.errors)

    @property
    @override
    def outputs(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.errors)

    @override
    def of(self, output: str) -> ResidualError | None:
        return dict(self.errors).get(output)

    @property
    @override
    def assays(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(level for _, error in self.errors for level in error.assays))

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        if len(self.errors) == 1:
            ((name, error),) = self.errors
            return tuple(_belonging(p, name) for p in error.parameters)
        return tuple(
            p.suffixed(name, name, output=name)
            for name, error in self.errors
            for p in error.parameters
        )

    @property
    @override
    def _errors(self) -> tuple[ResidualError, ...]:
        return tuple(error for _, error in self.errors)

    @override
    def _parts(self, observed: Observed, sigma: Sigma, ops: Operations) -> Iterator[Part]:
        for k, (_, error) in enumerate(self.errors):
            yield Part(ops.equal(observed.output, k), error, 1.0, self._named(k, sigma))

    @override
    def correlation(self, observed: Observed, sigma: Sigma, ops: Operations) -> Any:
        found: Any = 0.0
        for k, (_, error) in enumerate(self.errors):
            own = error.correlation(observed, self._named(k, sigma), ops)
            found = ops.where(ops.equal(observed.output, k), own, found)
        return found

    def _named(self, k: int, sigma: Sigma) -> dict[str, Any]:
        """The parameters of one of the errors, under its own names."""
        name, error = self.errors[k]
        suffix = f"_{name}" if len(self.errors) > 1 else ""
        return {own: sigma[own + suffix] for own, _ in error.priors}


def _belonging(parameter: ErrorParameter, output: str) -> ErrorParameter:
    return ErrorParameter(
        parameter.name,
        parameter.prior,
        parameter.dimension,
        parameter.meaning,
        parameter.positive,
        output,
    )
