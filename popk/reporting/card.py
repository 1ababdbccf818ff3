"""The stored description of a model as tables."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import xarray as xr

from popk.model import PopModel
from popk.model.faults import names_of
from popk.reporting.table import MISSING, Cell, Table, header
from popk.structure import Equations

__all__ = ["model_tables", "notes", "part"]


def part(content: Any) -> str:
    """A part of a model as it would be written, for example ``LogNormal(median=0.164, cv=0.3)``."""
    if isinstance(content, Mapping):
        arguments = [f"{k}={part(v)}" for k, v in content.items() if k != "type"]
        return f"{content.get('type', '')}({', '.join(arguments)})"
    if isinstance(content, list | tuple):
        return f"[{', '.join(part(item) for item in content)}]"
    return f"{content:g}" if isinstance(content, float) else str(content)


def model_tables(fit: xr.DataTree) -> tuple[Table, ...]:
    """What the model assumes: structure and error, typical values, variability, covariates."""
    model = json.loads(fit.attrs["model"])
    population = PopModel.from_json(fit.attrs["model"])
    posterior = fit["posterior"].to_dataset()

    def attribute(name: str, key: str) -> str:
        return str(posterior[name].attrs.get(key, "")) if name in posterior else ""

    parts = [
        ("Structure", part(model["structure"])),
        ("Residual error", part(model["error"])),
        ("Units", ", ".join(f"{name} {unit}" for name, unit in model["units"].items())),
        ("Random effects", _random_effects(population)),
    ]
    typical = [
        (header(name, attribute(name, "units")), attribute(name, "long_name"), part(prior))
        for name, prior in model["typical"].items()
    ]
    levels = (population.iiv, population.iov, *population.levels)
    variability = _priors(population, [name for level in levels for name in names_of(level)])
    covariates = [_effect(effect) for effect in model["covariates"]]
    latent = _priors(
        population, [name for one in population.latent for name in (one.mean_name, one.sd_name)]
    )
    found = [_table("The model", ("Part", "As written"), parts)]
    headers = ("Parameter", "Meaning", "Prior")
    found.append(_table("Typical values", headers, typical))
    if population.subpopulations is not None:
        made = [own.name for own in population.subpopulations.parameters]
        title = f"Sub-populations, not observed: {', '.join(population.classes)}"
        if population.category is not None:
            title = f"Shares of {population.category.covariate}, which may be missing"
        found.append(_table(title, headers, _priors(population, made)))
    if variability:
        further = " and further levels" if population.levels else ""
        found.append(_table(f"Variability (IIV, IOV{further})", headers, variability))
    if covariates:
        found.append(_table("Covariates", ("Covariate", "Parameter", "Effect"), covariates))
    if latent:
        found.append(_table("Covariates that may be missing", headers, latent))
    return tuple(found)


def _priors(model: PopModel, names: Collection[str]) -> list[tuple[str, str, str]]:
    """Name, meaning and prior of some of the population parameters, in the order of tables."""
    return [(p.name, p.meaning, repr(p.prior)) for p in model.parameters if p.name in names]


def _random_effects(model: PopModel) -> str:
    """How random effects act, in a sentence."""
    told = ["log-normal: parameter = typical value × exp(η), η ~ Normal(0, ω)"]
    others = dict(model.scales)
    told += [f"{name} on {scale!r}" for name, scale in others.items() if name in model.iiv.effects]
    told += [f"{name} as {shape!r}" for name, shape in model.iiv.shapes]
    told += [f"{name} shares that of {other}" for name, other in model.iiv.shared]
    if model.iov.effects:
        told.append(f"{', '.join(model.iov.effects)} vary between occasions too")
    for level in model.levels:
        told.append(f"{', '.join(level.effects)} vary between groups of {level.covariate} too")
    return "; ".join(told)


def notes(fit: xr.DataTree) -> tuple[str, ...]:
    """The model's notes: population, sources, assumptions."""
    return tuple(str(note) for note in json.loads(fit.attrs["model"]).get("notes", ()))


def _effect(effect: Mapping[str, Any]) -> tuple[str, str, str]:
    own = {k: v for k, v in effect.items() if k not in ("covariate", "covariates", "parameter")}
    if (factor := own.get("factor")) and factor.get("type") == "Equations":
        equations = Equations(factor["steps"], factor["results"])
        own["factor"] = "; ".join(equations.lines(["factor"]))
    names = effect.get("covariates", [effect.get("covariate", MISSING)])
    return (
        ", ".join(map(str, names)),
        str(effect.get("parameter", MISSING)),
        part(own),
    )


def _table(title: str, headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    cells = tuple(tuple(Cell(text) for text in row) for row in rows)
    return Table(title, headers, cells, texts=len(headers))
