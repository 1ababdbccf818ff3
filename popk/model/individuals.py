"""Equations of the individual parameters: typical value, covariates, random effects."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch
from typing import TYPE_CHECKING

from popk.model.derivation import derived, hill_of
from popk.model.formula import Formula, Section, population
from popk.model.latent import latent_section
from popk.model.notation import (
    Choice,
    Expression,
    Number,
    Symbol,
    add,
    call,
    divide,
    multiply,
    power,
    subtract,
)
from popk.statistics import (
    IIV,
    BoxCox,
    Correlated,
    CovariateEffect,
    CustomEffect,
    Exponential,
    Fold,
    Folds,
    HeavyTails,
    LatentCategory,
    Level,
    LinearEffect,
    LinearScale,
    LogitScale,
    LogScale,
    Maturation,
    Mixture,
    Power,
    Scale,
    Variability,
)

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel

__all__ = ["individual_sections"]

_ONE = Number(1.0)


def individual_sections(model: PopModel) -> Iterator[Section]:
    """Individual parameters, sub-populations, then the random effects of each level."""
    formulas: list[Formula] = []
    taken: list[str] = []
    for name, scale in model.scale_of.items():
        value: Expression = Symbol(name, "parameter")
        for effect in model.covariates:
            if effect.parameter == name:
                own, factor = _factor_in(effect, taken)
                formulas += own
                taken += [line.left.name for line in own if isinstance(line.left, Symbol)]
                value = multiply(value, factor)
        for factor in _class_factors(model, name):
            value = multiply(value, factor)
        formulas.append(_individual(name, scale, value, _shift(model, name)))
    note = (
        "The index i marks a subject's own parameters, which the structure's equations use; "
        "without it they are typical values."
    )
    yield Section("Individual parameters", tuple(formulas), (note,))
    if model.subpopulations is not None:
        yield _mixture(model.subpopulations)
    for level, letter in ((model.iiv, "eta"), (model.iov, "kappa")):
        if level.effects:
            yield _variability(level, letter)
    for further in model.levels:
        yield _variability(further, further.effects_name)
    if model.latent:
        yield latent_section(model.latent)


def _class_factors(model: PopModel, name: str) -> Iterator[Expression]:
    """What a parameter is multiplied by in each sub-population: a fold to the power of 0 or 1."""
    for parameter, own in model.subpopulations.factors if model.subpopulations is not None else ():
        if parameter == name:
            for label, _ in own:
                yield power(population(f"fold_{name}_{label}"), _covariate(f"is_{label}"))


def _mixture(given: Mixture) -> Section:
    """Distribution of the class, and the shares that follow from others."""
    shares = [population(f"share_{name}") for name in given.names]
    label = _covariate(given.observed_in or "class")
    formulas = [Formula(label, call("Categorical", *shares), "~")]
    rest: Expression = _ONE
    for k, part in enumerate(given.share_parameters, start=1):
        stick = population(part.name)
        if k > 1:
            formulas.append(Formula(shares[k], multiply(stick, rest)))
        rest = multiply(rest, subtract(_ONE, stick))
    formulas.append(Formula(shares[0], rest))
    if isinstance(given, LatentCategory):
        name, levels = given.covariate, ", ".join(f"{level:g}" for level in given.levels)
        note = (
            f"{name} is one of {levels}. Where it was measured it informs the shares; where not, "
            "it is summed out of the likelihood."
        )
        return Section("Category that may be missing", tuple(formulas), (note,))
    names = ", ".join(given.names)
    first = given.names[1]
    note = (
        f"The class of a subject ({names}) was not observed and is summed out of the likelihood; "
        f"is_{first} is 1 for a subject of class {first} and else 0."
    )
    return Section("Sub-populations", tuple(formulas), (note, *given.notes))


def _shift(model: PopModel, name: str) -> Expression | None:
    """The sum of a parameter's random effects, or None."""
    found: Expression | None = None
    for effect in model.iiv.effects:
        if name in model.iiv.acts_on(effect):
            found = population(f"eta_{effect}")
    if name in model.iov.effects:
        kappa = population(f"kappa_{name}")
        found = kappa if found is None else add(found, kappa)
    for level in model.levels:
        if name in level.effects:
            shared = population(f"{level.effects_name}_{name}")
            found = shared if found is None else add(found, shared)
    return found


def _individual(name: str, scale: Scale, value: Expression, shift: Expression | None) -> Formula:
    own = Symbol(name, "subject")
    if shift is None:
        return Formula(own, value)
    if type(scale) is LogScale:
        return Formula(own, multiply(value, call("exp", shift)))
    if type(scale) is LinearScale:
        return Formula(own, add(value, shift))
    if type(scale) is LogitScale:
        left, right = (_between(x, scale.low, scale.high) for x in (own, value))
        return Formula(call("logit", left), add(call("logit", right), shift))
    return Formula(call("scale", own), add(call("scale", value), shift), where=repr(scale))


def _between(x: Expression, low: float, high: float) -> Expression:
    """How far x lies on the way from low to high."""
    return divide(subtract(x, Number(low)), Number(high - low))


def _factor_in(effect: CovariateEffect, taken: list[str]) -> tuple[list[Formula], Expression]:
    """A covariate's factor, and the definitions that it needs before it."""
    if not isinstance(effect, CustomEffect):
        # By the type itself: what is derived from it may compute something else.
        write = _factor.registry.get(type(effect), _factor.registry[object])
        return [], write(effect)
    leaves = {"a": _covariate, "p": population}
    names = [*taken, *effect.covariates, *(c.name for c in effect.coefficients)]
    parts, (factor,) = derived(effect.factor, [None], leaves=leaves, taken=names)
    return [Formula(part.name, part.value) for part in parts], factor


def _covariate(name: str) -> Symbol:
    return Symbol(name, "word")


@singledispatch
def _factor(effect: CovariateEffect) -> Expression:
    """The factor of a covariate; of an effect that is not known here, only what it depends on."""
    inputs = [_covariate(name) for name in effect.covariates]
    inputs += [population(coefficient.name) for coefficient in effect.coefficients]
    return call(f"factor_{type(effect).__name__}", *inputs)


def _from_reference(effect: Exponential | LinearEffect) -> Expression:
    return subtract(_covariate(effect.covariate), _reference(effect))


def _reference(effect: Power | Exponential | LinearEffect) -> Expression:
    if effect.reference is None:
        return Symbol(f"median_{effect.covariate}", "population")
    return Number(effect.reference)


@_factor.register
def _(effect: Power) -> Expression:
    relative = divide(_covariate(effect.covariate), _reference(effect))
    return power(relative, population(f"beta_{effect.named}"))


@_factor.register
def _(effect: Exponential) -> Expression:
    slope = population(f"slope_{effect.named}")
    return call("exp", multiply(slope, _from_reference(effect)))


@_factor.register
def _(effect: LinearEffect) -> Expression:
    slope = population(f"slope_{effect.named}")
    return add(_ONE, multiply(slope, _from_reference(effect)))


@_factor.register
def _(effect: Maturation) -> Expression:
    half, steepness = (population(f"{word}_{effect.named}") for word in ("tm50", "hill"))
    return hill_of(divide(_covariate(effect.covariate), half), steepness)


@_factor.register
def _(effect: Fold) -> Expression:
    return power(population(f"fold_{effect.named}"), _covariate(effect.covariate))


@_factor.register
def _(effect: Folds) -> Expression:
    found: Expression = _ONE
    for (level, _), coefficient in reversed(
        list(zip(effect.factors, effect.coefficients, strict=True))
    ):
        tested = _covariate(effect.covariate)
        found = Choice(tested, level, population(coefficient.name), found, equal=True)
    return found


def _variability(level: Variability, letter: str) -> Section:
    """Distributions of the random effects of a level, and their correlations."""
    formulas: list[Formula] = []
    notes = ["Normal(mean, SD)."]
    if isinstance(level, Level):
        notes.append(f"All subjects with the same {level.covariate} share these effects.")
    shapes = dict(level.shapes) if isinstance(level, IIV) else {}
    for name in level.effects:
        effect, omega = population(f"{letter}_{name}"), population(level.omega_name(name))
        shape = shapes.get(name)
        normal = population(f"n_{name}") if shape else effect
        formulas.append(Formula(normal, call("Normal", Number(0.0), omega), "~"))
        if isinstance(shape, BoxCox):
            bend = population(f"boxcox_{name}")
            bent = subtract(call("exp", multiply(bend, normal)), _ONE)
            formulas.append(Formula(effect, divide(bent, bend)))
        elif isinstance(shape, HeavyTails):
            freedom = population(f"freedom_{name}")
            scaled = call("t", divide(normal, omega), freedom)
            formulas.append(Formula(effect, multiply(omega, scaled)))
            notes.append(
                f"t(z, freedom_{name}) turns a standard normal z into Student's t with so many "
                "degrees of freedom (the expansion of Fisher & Cornish)."
            )
    for block in level.correlations:
        formulas += _correlations(block, level, letter, set(shapes))
    return Section(f"Variability {level.between}", tuple(formulas), tuple(notes))


def _correlations(
    block: Correlated, level: Variability, letter: str, shaped: set[str]
) -> Iterator[Formula]:
    """Correlations of a block: known ones as numbers, others by the parameters they are."""

    def effect(name: str) -> Symbol:
        return population(f"n_{name}" if name in shaped else f"{letter}_{name}")

    known = iter(block.fixed)
    for (later, earlier), (name, _, _) in zip(block.pairs, block.priors(level.level), strict=True):
        left = call("corr", effect(later), effect(earlier))
        if block.fixed:
            yield Formula(left, Number(float(f"{next(known):.4g}")))
            continue
        before = block.effects[: block.effects.index(earlier)]
        given = " and ".join(f"{letter}_{other}" for other in before)
        where = f"partial, given {given}" if given else ""
        yield Formula(left, population(name), where=where)
