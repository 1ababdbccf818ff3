"""Equations of the latent covariates."""

from __future__ import annotations

from collections.abc import Iterable

from popk.model.formula import Formula, Section, population
from popk.model.notation import Expression, Number, Symbol, call, divide, subtract
from popk.statistics import LatentCovariate, LinearScale, LogitScale, LogScale, Scale

__all__ = ["latent_section"]


def latent_section(latent: Iterable[LatentCovariate]) -> Section:
    """The distribution of each covariate that may be missing in a subject."""
    formulas = []
    for one in latent:
        own, mean = Symbol(one.covariate, "word"), population(one.mean_name)
        left, centre = (_on_scale(one.scale, x) for x in (own, mean))
        formulas.append(
            Formula(left, call("Normal", centre, population(one.sd_name)), "~", where=_kind(one))
        )
    note = (
        "Where the value was measured it informs the mean and the SD; where not, it is estimated."
    )
    return Section("Covariates that may be missing", tuple(formulas), (note,))


def _on_scale(scale: Scale, x: Expression) -> Expression:
    if type(scale) is LogScale:
        return call("log", x)
    if type(scale) is LinearScale:
        return x
    if type(scale) is LogitScale:
        width = Number(scale.high - scale.low)
        return call("logit", divide(subtract(x, Number(scale.low)), width))
    return call("scale", x)


def _kind(one: LatentCovariate) -> str:
    known = (LogScale, LinearScale, LogitScale)
    return "" if type(one.scale) in known else repr(one.scale)
