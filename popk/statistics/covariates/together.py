"""The covariate effects of a model taken together: their coefficients, and whether they agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from popk.statistics.covariates.base import ON, Coefficient, CovariateEffect, quantity
from popk.statistics.shrinkage import Horseshoe, Shrunk

# What the PyMC model and its posterior call something else.
_RESERVED = frozenset(
    (
        *("z", "u", "eta", "parameters", "row_parameters", "row_subject", "row_count", "row_start"),
        *("class", "class_eta", "class_kappa", "class_parameters", "class_probability", "label"),
        *("curvature", "pull", "coordinates", "possible", "DV", "dv", "cens", "lloq"),
        *("z_latent", "latent_covariates", "missing"),
        *("forms", "centred_location", "centred_scale"),
        *("subject_of", "chain", "draw", "subject", "parameter", "effect", "observation", "row"),
    )
)


def coefficients_of(
    effects: Iterable[CovariateEffect], units: Mapping[str, str]
) -> tuple[Coefficient, ...]:
    """The coefficients of all effects, each name once, with all parameters it acts on.

    Parameters
    ----------
    effects
        The covariate effects.
    units
        Unit of each covariate, by name.
    """
    acts: dict[str, dict[str, list[str]]] = {}  # name: meaning: parameters
    first: dict[str, Coefficient] = {}
    for effect in effects:
        for coefficient in effect.coefficients_in(units):
            first.setdefault(coefficient.name, coefficient)
            meanings = acts.setdefault(coefficient.name, {})
            meanings.setdefault(coefficient.meaning, []).append(effect.parameter)
    return tuple(
        replace(
            coefficient,
            meaning="; ".join(
                meaning.replace(ON, _listed(parameters))
                for meaning, parameters in acts[name].items()
            ),
        )
        for name, coefficient in first.items()
    )


def estimated(coefficients: Iterable[Coefficient]) -> tuple[Coefficient, ...]:
    """The population parameters that make up coefficients, each once."""
    return tuple({part.name: part for c in coefficients for part in c.parts}.values())


def centred_effects(
    effects: Iterable[CovariateEffect],
    medians: Mapping[str, float],
    units: Mapping[str, str],
    n_subjects: Mapping[str, int],
) -> tuple[tuple[CovariateEffect, ...], tuple[str, ...]]:
    """The effects with open references set to medians of two significant digits, and notes on it.

    Parameters
    ----------
    effects
        The covariate effects.
    medians
        Median of each covariate whose reference an effect leaves open.
    units
        Unit of each covariate, by name.
    n_subjects
        Number of subjects that each median is of.
    """
    references = {name: float(f"{median:.2g}") for name, median in medians.items()}
    notes = tuple(
        f"The reference of {name} is {quantity(references[name], name, units)}: the median of the "
        f"{n_subjects[name]} subjects' first values, {median:g}, rounded to two significant digits."
        for name, median in medians.items()
    )
    return tuple(e.centred(references) if e.uncentred else e for e in effects), notes


def faults_of(
    effects: Sequence[CovariateEffect],
    names: Sequence[str],
    *,
    lacks: str,
    units: Mapping[str, str],
    taken: Collection[str],
) -> Iterator[str]:
    """Sentences on everything that is wrong with the effects of a model.

    Parameters
    ----------
    effects
        The covariate effects.
    names
        Parameters of the structure.
    lacks
        End of the sentence on a parameter that is not one of them.
    units
        Unit of each covariate, by name.
    taken
        Names of the other population parameters.
    """
    for effect in effects:
        if effect.parameter not in names:
            yield f"a covariate effect acts on {effect.parameter}, {lacks}"
        for covariate in effect.covariates:
            if covariate not in units:
                yield (
                    f"the covariate {covariate} has no unit; add it to units, for example "
                    f'"{covariate}": "kg" ("1" if it has none).'
                )
    yield from _repeated(effects)
    yield from _misnamed(effects, {*names, *taken, *units, *_RESERVED})
    yield from _ungrouped(effects)


def _repeated(effects: Sequence[CovariateEffect]) -> Iterator[str]:
    """The same effect twice: of one kind, or with one coefficient, on the same parameter."""
    seen: set[tuple[object, ...]] = set()
    for effect in effects:
        place = (effect.parameter, effect.covariates)
        custom = [c.name for c in effect.coefficients] if effect.kind == "custom" else []
        keys = {(*place, effect.kind, *custom)}
        keys |= {(*place, c.name) for c in effect.coefficients}
        if keys & seen:
            listed = " and ".join(effect.covariates)
            yield f"the effect of {listed} on {effect.parameter} is given twice."
        seen |= keys


def _misnamed(effects: Sequence[CovariateEffect], taken: Collection[str]) -> Iterator[str]:
    """A coefficient whose name belongs to something else, or that has two priors."""
    found: dict[str, Coefficient] = {}
    for effect in effects:
        for coefficient in effect.coefficients:
            other = found.setdefault(coefficient.name, coefficient)
            if other.prior != coefficient.prior:
                yield (
                    f"the coefficient {coefficient.name} has two priors, {other.prior!r} and "
                    f"{coefficient.prior!r}; effects that share a coefficient need the same one. "
                    "Give one of them another label."
                )
    named = [(c.name, part.name) for c in found.values() for part in c.parts]
    derived = {c.name for c in found.values() if isinstance(c.prior, Shrunk)}
    for owner, name in dict.fromkeys([*named, *((name, name) for name in derived)]):
        if name in taken or (name in found and name != owner):
            yield (
                f"{name} would be the name of a coefficient and of something else. Give the effect "
                "another label (a CustomEffect's coefficient another name)."
            )


def _ungrouped(effects: Sequence[CovariateEffect]) -> Iterator[str]:
    """Groups of coefficients that are not what they say."""
    groups: dict[str, tuple[Horseshoe, set[str]]] = {}
    for effect in effects:
        for coefficient in effect.coefficients:
            if not isinstance(coefficient.prior, Shrunk):
                continue
            group = coefficient.prior.group
            first, members = groups.setdefault(group.name, (group, set()))
            members.add(coefficient.name)
            if group != first:
                yield (
                    f"two groups are named {group.name}: {first!r} and {group!r}. Coefficients of "
                    "one group need the same Horseshoe."
                )
    for group, members in groups.values():
        if len(members) != group.candidates:
            yield (
                f"the Horseshoe {group.name} says candidates={group.candidates}, but "
                f"{len(members)} coefficients use it: {', '.join(sorted(members))}."
            )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
