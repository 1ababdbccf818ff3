"""The covariate effects of all parameters, with coefficients shared where the thetas are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from popk.nonmem.account import Account
from popk.nonmem.factors import differs, effect_of
from popk.nonmem.individual import Taken, thetas_in
from popk.nonmem.points import Points
from popk.nonmem.priors import Estimates
from popk.nonmem.refusal import NonmemError
from popk.nonmem.stream import ControlStream
from popk.statistics import CovariateEffect, CustomEffect, Fixed, Folds

__all__ = ["effects_of"]

_WITH_LEVELS = "; data with other levels are refused"


def effects_of(
    taken: Sequence[Taken],
    estimates: Estimates,
    points: Points,
    account: Account,
    stream: ControlStream,
) -> tuple[tuple[CovariateEffect, ...], list[tuple[tuple[str, ...], set[int]]]]:
    """The covariate effects on all parameters; what they became goes into the account.

    Second comes which thetas stand behind which coefficients.

    Raises
    ------
    NonmemError
        When one cannot be written in popk.
    """
    found: list[tuple[CovariateEffect, Any]] = []
    for parameter in taken:
        for factor in parameter.factors:
            effect = effect_of(parameter.name, factor, estimates, points)
            if differs(effect, factor, estimates, points):
                raise NonmemError(
                    [f"the factor {factor} on {parameter.name} ({stream.where('PK')}) is another "
                     "function in popk; write the effect in popk."]
                )  # fmt: skip
            found.append((effect, factor))
    effects = _sharing(found)
    ties: list[tuple[tuple[str, ...], set[int]]] = []
    for effect, (_, factor) in zip(effects, found, strict=True):
        account.carry(
            f"{effect.parameter} with {', '.join(effect.covariates)}: {_short(factor)}",
            stream.where("PK"),
            f"{effect!r}{_WITH_LEVELS if isinstance(effect, Folds) else ''}",
        )
        account.used(thetas_in(factor))
        if isinstance(effect, CustomEffect):
            ties += [((f"theta_{k}",), {k}) for k in thetas_in(factor)]
        else:
            names = tuple(c.name for c in effect.coefficients if not isinstance(c.prior, Fixed))
            ties.append((names, thetas_in(factor)))
    return tuple(effects), ties


def _short(factor: Any) -> str:
    from popk.nonmem.ratio import written_out

    text = str(factor).replace("Ratio", "")
    return text if "(" in text and len(text) < 120 else str(written_out(factor))


def _sharing(found: Sequence[tuple[CovariateEffect, Any]]) -> list[CovariateEffect]:
    """Effects of one kind with the same estimated thetas and priors get one label."""
    groups: dict[Any, list[int]] = {}
    for k, (effect, factor) in enumerate(found):
        numbers = tuple(sorted(thetas_in(factor)))
        if not numbers or isinstance(effect, CustomEffect):
            continue
        own = tuple(
            repr(getattr(effect, f.name))
            for f in fields(effect)  # type: ignore[arg-type]
            if f.name in ("exponent", "slope", "factor", "factors", "reference")
        )
        groups.setdefault((numbers, type(effect).__name__, own), []).append(k)
    effects = [effect for effect, _ in found]
    for (numbers, _, _), places in groups.items():
        if len(places) > 1:
            label = "theta_" + "_".join(map(str, numbers))
            for k in places:
                effects[k] = replace(effects[k], label=label)  # type: ignore[type-var]
    return effects
