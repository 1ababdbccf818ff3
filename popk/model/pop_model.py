"""A population model as a value: what is assumed, before and apart from any fitting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from popk.errors import SettingError
from popk.model.card import Card
from popk.model.coding import written
from popk.model.content import as_content
from popk.model.description import html_card, summary
from popk.model.equations import written_equations
from popk.model.faults import faults_in, several_mixtures, type_faults
from popk.model.reading import read_model, refusing
from popk.model.refusal import ModelError
from popk.statistics import (
    IIV,
    IOV,
    OBSERVED,
    Allometry,
    ByOutput,
    Coefficient,
    CovariateEffect,
    DerivedShare,
    LatentCategory,
    LatentCovariate,
    Level,
    LinearScale,
    LogScale,
    Mixture,
    Prior,
    ResidualError,
    Scale,
    Variability,
    centred_effects,
    coefficients_of,
    estimated,
    written_out,
)
from popk.structure import Structure
from popk.units import UnitError, Units

if TYPE_CHECKING:
    from popk.dataset import Dataset

__all__ = ["PopModel", "PopulationParameter"]

_LOG = LogScale()


@dataclass(frozen=True, slots=True)
class PopulationParameter:
    """One parameter of the population posterior: its name, prior, unit and meaning."""

    name: str
    prior: Prior
    unit: str
    meaning: str


@dataclass(frozen=True, init=False, repr=False)
class PopModel:
    """Structure, typical values, variability, covariates and residual error, each with priors.

    Parameters
    ----------
    structure
        The equations for one subject.
    typical
        Prior of the typical value of every parameter of the structure.
    iiv
        Which parameters vary between subjects, and the prior of each SD.
    covariates
        Effects of covariates; `Allometry` is kept as the power effects that it stands for.
    iov
        Which parameters vary between the occasions of a subject (the data's OCC), and the prior of
        each SD.
    levels
        Variability between groups of subjects, such as sites (`popk.statistics.Level`).
    scales
        How a parameter lies on the real line, where its random effects add, if not log-normally:
        `popk.statistics.LogitScale` (between two limits) or `LinearScale` (normal).
    latent
        Covariates that were not measured in everybody, with the prior of their distribution between
        subjects: `popk.statistics.LatentCovariate`, and of categories one
        `popk.statistics.LatentCategory`, which is kept as `subpopulations`.
    subpopulations
        Classes of subjects that nobody observed, their shares and what they change.
    error
        Residual error of what is observed; where several of the structure's outputs are, a mapping
        from the output's name (`structure.outputs`) to its residual error.
    units
        Units in which the numbers above are meant: time, amount, concentration and covariates;
        data in other units are refused.
    name
        For tables and files.
    notes
        What a reader must know: population, sources, assumptions.
    card
        Of a published model: citation, domain, and the source of each number.

    Raises
    ------
    ModelError
        With every fault found: parameters that the structure needs and were not given, unknown
        ones, priors that allow impossible values.
    """

    structure: Structure
    typical: tuple[tuple[str, Prior], ...]
    iiv: IIV
    iov: IOV
    scales: tuple[tuple[str, Scale], ...]
    covariates: tuple[CovariateEffect, ...]
    latent: tuple[LatentCovariate, ...]
    levels: tuple[Level, ...]
    subpopulations: Mixture | None
    error: ResidualError
    units: Units
    name: str
    notes: tuple[str, ...]
    card: Card | None

    def __init__(  # noqa: PLR0913 - one argument for each part of a population model
        self,
        structure: Structure,
        *,
        typical: Mapping[str, Prior] | Iterable[tuple[str, Prior]],
        iiv: IIV | None = None,
        iov: IOV | None = None,
        scales: Mapping[str, Scale] | Iterable[tuple[str, Scale]] = (),
        covariates: Iterable[CovariateEffect | Allometry] = (),
        latent: Iterable[LatentCovariate | LatentCategory] = (),
        levels: Iterable[Level] = (),
        subpopulations: Mixture | None = None,
        error: ResidualError | Mapping[str, ResidualError],
        units: Units | Mapping[str, str],
        name: str = "model",
        notes: Iterable[str] = (),
        card: Card | None = None,
    ) -> None:
        missing, categories = tuple(latent), list[Mixture]()
        if subpopulations is not None:
            categories.append(subpopulations)
        categories += [one for one in missing if isinstance(one, LatentCategory)]
        if len(categories) > 1:
            raise ModelError([several_mixtures(categories)])
        pairs = dict(typical.items() if isinstance(typical, Mapping) else typical)
        try:
            parsed = Units.parse(units)
            _ = parsed.volume
            effects = written_out(covariates, structure)
        except (UnitError, SettingError) as fault:
            raise ModelError([str(fault)]) from None
        values = {
            "structure": structure,
            "typical": tuple(pairs.items()),
            "iiv": iiv if iiv is not None else IIV(),
            "iov": iov if iov is not None else IOV(),
            "scales": tuple(scales.items() if isinstance(scales, Mapping) else scales),
            "covariates": effects,
            "latent": tuple(x for x in missing if not isinstance(x, LatentCategory)),
            "levels": tuple(levels),
            "subpopulations": categories[0] if categories else None,
            "error": _error_of(error, structure),
            "units": parsed,
            "name": str(name),
            "notes": tuple(str(note) for note in notes),
            "card": card,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)
        faults = list(type_faults(self)) or list(faults_in(self))
        if card is not None and not faults:
            faults = list(card.faults_with(self))
        if faults:
            raise ModelError(faults)
        order = {name: k for k, name in enumerate(structure.names)}
        ordered = tuple(sorted(pairs.items(), key=lambda pair: order[pair[0]]))
        object.__setattr__(self, "typical", ordered)

    @property
    def parameters(self) -> tuple[PopulationParameter, ...]:
        """Population parameters, in the order of tables."""
        units = self.units
        found = []
        priors = dict(self.typical)
        for parameter in self.structure.parameters:
            unit = units.of(parameter.dimension)
            meaning = f"typical {parameter.meaning}"
            found.append(PopulationParameter(parameter.name, priors[parameter.name], unit, meaning))
        for part in estimated(self.coefficients):
            if isinstance(part.prior, Prior):
                found.append(PopulationParameter(part.name, part.prior, part.unit, part.meaning))
        if self.subpopulations is not None:
            for made in self.subpopulations.parameters:
                found.append(PopulationParameter(made.name, made.prior, "1", made.meaning))
        for level in (self.iiv, self.iov, *self.levels):
            found += _variability_parameters(self, level)
        for latent in self.latent:
            unit = units.covariate(latent.covariate) or "1"
            found += [PopulationParameter(*own) for own in latent.described(unit)]
        measured = {output.name: output.dimension for output in self.structure.outputs}
        for own in self.error.parameters:
            dimension = own.dimension
            if dimension == OBSERVED:
                dimension = measured[own.output or self.structure.outputs[0].name]
            unit = units.of(dimension)
            found.append(PopulationParameter(own.name, own.prior, unit, own.meaning))
        return tuple(found)

    def flattened(self, factor: float) -> PopModel:
        """The model with every typical value's prior flattened (`Prior.flattened`), and a note.

        For a cohort unlike the one that the priors come from: their medians stay, `factor` times
        the variance. The priors of variability, covariates and residual error stay as they are.

        Raises
        ------
        SettingError
            When the factor is below one, or a prior cannot be that wide.
        """
        typical = tuple((name, prior.flattened(factor)) for name, prior in self.typical)
        note = f"The variances of the typical values' priors are {factor:g} times those stated."
        return replace(self, typical=typical, notes=(*self.notes, note))

    @cached_property
    def scale_of(self) -> dict[str, Scale]:
        """The scale of every parameter of the structure, in its order."""
        given = dict(self.scales)
        return {name: given.get(name, _LOG) for name in self.structure.names}

    def units_on_scale(self, parameter: str) -> str:
        """Unit of what a random effect adds to a parameter: its own on the linear scale, else 1."""
        if not isinstance(self.scale_of[parameter], LinearScale):
            return "1"
        dimensions = {p.name: p.dimension for p in self.structure.parameters}
        return self.units.of(dimensions[parameter])

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """The coefficients of the covariate effects, those included that shrinkage derives."""
        return coefficients_of(self.covariates, dict(self.units.covariates))

    @property
    def derived(self) -> tuple[Coefficient | DerivedShare, ...]:
        """Coefficients and shares that follow from `parameters`, by their ``value``."""
        shares = self.subpopulations.derived if self.subpopulations is not None else ()
        return (*(c for c in self.coefficients if not isinstance(c.prior, Prior)), *shares)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are summed out, the reference first; empty without.

        They are sub-populations, or the levels of a latent category.
        """
        return () if self.subpopulations is None else self.subpopulations.names

    @property
    def category(self) -> LatentCategory | None:
        """The category that was not measured in everybody, if there is one."""
        found = self.subpopulations
        return found if isinstance(found, LatentCategory) else None

    def centred_on(self, dataset: Dataset) -> PopModel:
        """The model with every reference that was left open (None) taken from data.

        A reference becomes the median of the subjects' first values, rounded to two significant
        digits; the notes say so.

        Raises
        ------
        ModelError
            When the data lack a covariate, or have it in another unit.
        SettingError
            When a median is no possible reference (a power of a covariate that may be 0).
        """
        names = tuple(dict.fromkeys(n for effect in self.covariates for n in effect.uncentred))
        faults = [str(sentence) for sentence in self.units.same_scale(dataset.units)]
        faults += [
            f"it is to be centred on {name}, which the data do not have; they have "
            f"{', '.join(dataset.covariates) or 'no covariates'}."
            for name in names
            if name not in dataset.covariates
        ]
        if faults:
            raise ModelError(faults)
        table = dataset.covariate_table()
        medians = {name: float(table[name].median()) for name in names}
        if nowhere := [name for name in names if table[name].isna().all()]:
            raise ModelError([f"it is to be centred on {nowhere[0]}, which nobody has a value of."])
        units = dict(self.units.covariates)
        known = {name: int(table[name].notna().sum()) for name in names}
        centred, notes = centred_effects(self.covariates, medians, units, known)
        return replace(self, covariates=centred, notes=(*self.notes, *notes))

    @property
    def hash(self) -> str:
        """SHA-256 of everything that determines a number (not name, notes and card)."""
        content = self.to_dict()
        for field in ("name", "notes", "card"):
            content.pop(field, None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def equations(self, style: str = "text") -> str:
        """The equations: structure, doses, individual parameters, variability, residual error.

        Parameters
        ----------
        style
            ``"text"``: plain lines, whose right-hand sides are Python; ``"markdown"``: formulas in
            LaTeX between double dollars; ``"latex"``: a fragment that needs the package amsmath.

        Raises
        ------
        SettingError
            When there is no such style.
        """
        return written_equations(self, style)

    def to_dict(self) -> dict[str, Any]:
        """As plain lists, dicts, strings and numbers."""
        return as_content(self)

    def to_json(self) -> str:
        """The model as JSON; `from_json` reads it back to an equal model."""
        return json.dumps(self.to_dict(), sort_keys=False)

    @classmethod
    def from_json(cls, text: str) -> PopModel:
        """The model that `to_json` wrote.

        Raises
        ------
        ModelError
            When it is no model, names a part that this version of popk (or an imported extension)
            lacks, or has a field that is not known or cannot be used.
        """
        with refusing():
            structure, parts = read_model(text)
            return cls(structure, **parts)

    def __repr__(self) -> str:
        return f"<PopModel {self.name}: {written(self.structure)}, hash {self.hash[:8]}>"

    def __str__(self) -> str:
        return summary(self)

    def _repr_html_(self) -> str:
        return html_card(self)


def _variability_parameters(model: PopModel, level: Variability) -> list[PopulationParameter]:
    """SDs, correlations and shapes of one level."""
    scales, found = model.scale_of, []
    for name, prior in level.omegas:
        unit = model.units_on_scale(name)
        meaning = f"SD of {scales[name].of.format(name=name)} {level.between}"
        found.append(PopulationParameter(level.omega_name(name), prior, unit, meaning))
    for block in level.correlations:
        for name, prior, meaning in block.priors(level.level):
            found.append(PopulationParameter(name, prior, "1", meaning))
    for name, shape in level.shapes if isinstance(level, IIV) else ():
        meaning = shape.meaning.format(name=name)
        found.append(PopulationParameter(f"{shape.name}_{name}", shape.prior, "1", meaning))
    return found


def _error_of(given: Any, structure: Any) -> Any:
    """One residual error, or those of the outputs in the structure's order."""
    if not isinstance(given, Mapping | ByOutput):
        return given
    try:
        errors = given if isinstance(given, ByOutput) else ByOutput(given)
    except SettingError as fault:
        raise ModelError([str(fault)]) from None
    return errors.in_order([output.name for output in getattr(structure, "outputs", ())])
