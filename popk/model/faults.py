"""What does not fit together in a model, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from popk import statistics
from popk.model.card import Card
from popk.statistics import (
    IIV,
    IOV,
    Correlated,
    CovariateEffect,
    EffectShape,
    LatentCovariate,
    Level,
    LogScale,
    Mixture,
    Prior,
    ResidualError,
    Scale,
    Variability,
    category_faults,
    faults_of,
    latent_faults,
    level_faults,
)
from popk.structure import Structure

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel


def type_faults(model: PopModel) -> Iterable[str]:
    """What was given where something else was expected."""
    expected: list[tuple[str, object, type, str]] = [
        ("structure", model.structure, Structure, "a structure such as TwoCompartment()"),
        ("iiv", model.iiv, IIV, "IIV({...})"),
        ("iov", model.iov, IOV, "IOV({...})"),
        ("error", model.error, ResidualError, "a residual error such as Proportional(...)"),
    ]
    expected += [
        (f"typical[{name!r}]", prior, Prior, "a prior such as LogNormal(0.2, cv=0.3)")
        for name, prior in model.typical
    ]
    expected += [
        (f"levels[{k}]", level, Level, "such as Level('SITE', {'CL': HalfNormal(0.2)})")
        for k, level in enumerate(model.levels)
    ]
    named: list[tuple[str, object]] = [("iiv", model.iiv), ("iov", model.iov)]
    named += [(_kind(level), level) for level in model.levels if isinstance(level, Level)]
    for level, part in named:
        if isinstance(part, Variability):
            expected += [
                (f"{level}[{name!r}]", prior, Prior, "a prior such as HalfNormal(0.4)")
                for name, prior in part.omegas
            ]
            expected += [
                (f"{level} correlations", block, Correlated, 'such as Correlated(("CL", "V"))')
                for block in part.correlations
            ]
    if isinstance(model.iiv, IIV):
        expected += [
            (f"iiv shapes[{name!r}]", shape, EffectShape, "BoxCox(prior) or HeavyTails(prior)")
            for name, shape in model.iiv.shapes
        ]
    expected += [
        (f"scales[{name!r}]", scale, Scale, "a scale such as LogitScale(0, 1)")
        for name, scale in model.scales
    ]
    expected += [
        (f"covariates[{k}]", effect, CovariateEffect, "an effect such as Power('CL', 'WT', ...)")
        for k, effect in enumerate(model.covariates)
    ]
    expected += [
        (
            f"latent[{k}]",
            one,
            LatentCovariate,
            "such as LatentCovariate('WT', mean, sd) or LatentCategory('SEX', {0: 0.5, 1: 0.5})",
        )
        for k, one in enumerate(model.latent)
    ]
    if isinstance(model.error, ResidualError):
        expected += [
            (f"error ({own.name})", own.prior, Prior, "a prior such as HalfNormal(0.3)")
            for own in model.error.parameters
        ]
    if model.subpopulations is not None:
        wanted = 'Subpopulations(("normal", "fast"), shares=..., folds=...)'
        expected.append(("subpopulations", model.subpopulations, Mixture, wanted))
    if model.card is not None:
        expected.append(("card", model.card, Card, "a popk.model.Card"))
    for place, given, kind, wanted in expected:
        if not isinstance(given, kind):
            yield f"{place} was given {given!r}; expected {wanted}."


def faults_in(model: PopModel) -> Iterable[str]:
    """What is missing, unknown, given twice or impossible, the types being right."""
    names = model.structure.names
    lacks = f"which {type(model.structure).__name__} does not have (it has {', '.join(names)})."
    yield from _typical_faults(model, names, lacks)
    for level in (model.iiv, model.iov, *model.levels):
        yield from _variability_faults(level, names, lacks)
    declared, latent = dict(model.units.covariates), [one.covariate for one in model.latent]
    category = [] if model.category is None else [model.category.covariate]
    yield from level_faults(model.levels, units=declared, latent=[*latent, *category])
    yield from _iiv_faults(model, names, lacks)
    for name, _ in model.scales:
        if name not in names:
            yield f"scales names {name}, {lacks}"
    taken = [
        *names_of(model.iiv),
        *names_of(model.iov),
        *(name for name, _ in model.error.priors),
    ]
    for level in model.levels:
        yield from _names_taken(level, [*names, *taken])
        taken += names_of(level)
    yield from faults_of(
        model.covariates,
        names,
        lacks=lacks,
        units=dict(model.units.covariates),
        taken=taken,
    )
    coefficients = [c.name for effect in model.covariates for c in effect.coefficients]
    yield from latent_faults(model.latent, model.covariates, [*names, *taken, *coefficients])
    yield from _error_faults(model, names)
    if model.subpopulations is not None:
        yield from _class_faults(model, model.subpopulations, names, lacks)
    if model.category is not None:
        yield from category_faults(model.category, model.covariates, latent)


def several_mixtures(given: Sequence[Mixture]) -> str:
    """A sentence on more than one label that is to be summed out."""
    listed = " and ".join(one.title for one in given)
    return (
        f"it has {listed}, and a model sums one label out; for other categories whose values are "
        'missing choose missing={"NAME": "mode"} when the data are read, or a level of their own.'
    )


def _typical_faults(model: PopModel, names: tuple[str, ...], lacks: str) -> Iterable[str]:
    given = dict(model.typical)
    for name in names:
        if name not in given:
            kind = type(model.structure).__name__
            yield f"{kind} needs a typical value for {name}; typical has none."
    for name in given:
        if name not in names:
            yield f"typical names {name}, {lacks}"
    scales = model.scale_of
    for name, prior in given.items():
        if name in names and (fault := _outside(prior, scales[name])):
            yield f"the typical value of {name} has the prior {prior!r}, {fault}"


def _outside(prior: Prior, scale: Scale) -> str | None:
    """What is wrong with a typical value's prior on a scale, or None."""
    low, high = prior.support
    fixed = isinstance(prior, statistics.Fixed)
    if (low > scale.low or (not fixed and low == scale.low)) and (
        high < scale.high or (not fixed and high == scale.high)
    ):
        return None
    if isinstance(scale, LogScale):
        return "which allows values of zero or below; use LogNormal(median, cv)."
    return (
        f"which allows values from {low:g} to {high:g}; its scale is {scale!r}: expected values "
        f"between {scale.low:g} and {scale.high:g}, such as those of LogitNormal or Uniform."
    )


def _variability_faults(level: Variability, names: tuple[str, ...], lacks: str) -> Iterable[str]:
    kind = _kind(level)
    seen: set[str] = set()
    for name, prior in level.omegas:
        if name not in names:
            yield f"{kind} names {name}, {lacks}"
        if name in seen:
            yield f"{kind} names {name} twice."
        seen.add(name)
        if not _allows_only_positive(prior):
            yield (
                f"{kind} of {name} has the prior {prior!r}; an SD needs one above zero "
                "(HalfNormal)."
            )
    blocked: set[str] = set()
    for block in level.correlations:
        for name in block.effects:
            if name not in seen:
                yield (
                    f"{kind} correlates {name}, which has no random effect there (those that do: "
                    f"{', '.join(level.effects) or 'none'})."
                )
            if name in blocked:
                yield (
                    f"{kind} has {name} in two blocks of correlations; put all that are correlated "
                    "into one."
                )
            blocked.add(name)


def _kind(level: Variability) -> str:
    if isinstance(level, Level):
        return f"the level {level.covariate}"
    return type(level).__name__.lower()


def _names_taken(level: Level, taken: list[str]) -> Iterable[str]:
    for name in names_of(level):
        if name in taken:
            yield (
                f"the level {level.covariate} would name a parameter {name}, a name that is taken "
                "already; give the covariate another name."
            )


def _iiv_faults(model: PopModel, names: tuple[str, ...], lacks: str) -> Iterable[str]:
    effects = model.iiv.effects
    listed = ", ".join(effects) or "none"
    for name, _ in model.iiv.shapes:
        if name not in effects:
            yield f"iiv shapes names {name}, which has no random effect (those that do: {listed})."
    for name, other in model.iiv.shared:
        if name not in names:
            yield f"iiv shared names {name}, {lacks}"
        elif name in effects:
            yield f"iiv shared names {name}, which has a random effect of its own."
        if other not in effects:
            yield (
                f"iiv shared gives {name} the random effect of {other}, which has none (those that "
                f"do: {listed})."
            )


def _class_faults(
    model: PopModel, given: Mixture, names: tuple[str, ...], lacks: str
) -> Iterable[str]:
    typical, scales = dict(model.typical), model.scale_of
    for parameter, _ in given.factors:
        if parameter not in names:
            yield f"subpopulations has a fold of {parameter}, {lacks}"
            continue
        prior = typical.get(parameter)
        if isinstance(prior, statistics.Fixed) and prior.value == 0:
            yield (
                f"subpopulations has a fold of {parameter}, whose typical value is {prior!r}: "
                "times any factor it stays 0."
            )
        elif isinstance(scales[parameter], statistics.LinearScale) and not (
            prior is None or prior.positive
        ):
            yield (
                f"subpopulations has a fold of {parameter}, whose typical value may be 0 "
                f"({prior!r}), where a factor changes nothing; give it a prior above zero."
            )
    taken = {coefficient.name for coefficient in model.coefficients}
    taken |= {parameter.name for parameter in model.error.parameters}
    taken |= {part.name for coefficient in model.coefficients for part in coefficient.parts}
    taken |= {*names, *names_of(model.iiv), *names_of(model.iov)}
    taken |= {name for level in model.levels for name in names_of(level)}
    own = [part.name for part in given.parameters]
    what = "subpopulations" if given.observed_in is None else f"latent {given.observed_in}"
    for name in (*own, *(share.name for share in given.derived)):
        if name in taken:
            yield (
                f"{what} would name a parameter {name}, a name that is taken already; give "
                f"{'the class' if given.observed_in is None else 'the other'} another name."
            )
        taken.add(name)


def names_of(level: Variability) -> list[str]:
    """Names of the parameters of one level."""
    names = [level.omega_name(effect) for effect in level.effects]
    names += [name for block in level.correlations for name, _, _ in block.priors(level.level)]
    shapes = level.shapes if isinstance(level, IIV) else ()
    return names + [f"{shape.name}_{name}" for name, shape in shapes]


def _error_faults(model: PopModel, names: tuple[str, ...]) -> Iterable[str]:
    outputs = [output.name for output in model.structure.outputs]
    for name in model.error.outputs:
        if name not in outputs:
            lacks = f"of which {type(model.structure).__name__} has no output"
            yield f"error names {name}, {lacks} (it has {', '.join(outputs)})."
    seen = set(names)
    for own in model.error.parameters:
        if own.name in seen:
            yield f"error has a parameter {own.name}, a name that is taken already."
        seen.add(own.name)
        if own.positive and not _allows_only_positive(own.prior):
            needs = "an SD needs one" if own.name.startswith("sigma") else "it needs one"
            yield f"{own.name} has the prior {own.prior!r}; {needs} above zero (HalfNormal)."


def _allows_only_positive(prior: Prior) -> bool:
    return prior.positive or (isinstance(prior, statistics.Fixed) and prior.value > 0)
