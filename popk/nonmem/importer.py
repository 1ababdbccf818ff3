"""From a NONMEM control stream to a population model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from popk.model import ModelError, PopModel
from popk.nonmem.account import Account
from popk.nonmem.covariate_effects import effects_of
from popk.nonmem.data import RESERVED, Reading, canonical
from popk.nonmem.differential import micro_constants_of, rates_of, rates_of_constants
from popk.nonmem.evaluation import Code, evaluate, names_in, symbol
from popk.nonmem.imported import Imported
from popk.nonmem.individual import Taken, columns_in, take_apart
from popk.nonmem.kinetics import (
    LINEAR,
    Kinetics,
    Micro,
    default_dosed,
    default_observed,
    micro_constants,
    reads_amounts,
    scaling,
    structure_of,
)
from popk.nonmem.observation import Observation, observation_of
from popk.nonmem.points import Points, levels_in
from popk.nonmem.priors import Estimates
from popk.nonmem.random_effects import (
    Between,
    between_occasions,
    between_subjects,
    covariance_of,
    zero_variances,
)
from popk.nonmem.refusal import NonmemError
from popk.nonmem.residual import Residual, residual_of
from popk.nonmem.results import results_beside, with_final_estimates
from popk.nonmem.stream import ControlStream, parse
from popk.nonmem.verification import unequal
from popk.statistics import Correlated, LogScale, ResidualError
from popk.units import UnitError, Units, rescaled

__all__ = ["from_nonmem"]

_GENERAL = ("ADVAN6", "ADVAN8", "ADVAN9", "ADVAN13", "ADVAN14", "ADVAN18")


def from_nonmem(
    source: str | Path,
    *,
    units: Mapping[str, str] | Units,
    cv: float = 1.0,
    estimates: str | Path = "initial",
    error: ResidualError | None = None,
    name: str | None = None,
) -> Imported:
    """A population model from a NONMEM control stream, with an account of every part of it.

    pharmpy reads the control stream (``pip install "popk[nonmem]"``). Imported are ADVAN1 to 4 and
    10 to 12 with all TRANS, and ADVAN5 to 9 and 13 where the equations are a structure of popk.

    The priors are centred on the control stream's values: typical values and factors
    ``LogNormal(value, cv)`` (``LogitNormal`` on the logit scale), coefficients
    ``Normal(value, cv * |value|)``, SDs of random effects and residual error half-normal with the
    value as the median, correlations in a BLOCK the LKJ prior; what is FIX is ``Fixed``. They are a
    start, no knowledge: replace them by what is known.

    Parameters
    ----------
    source
        Path of the control stream, or its text.
    units
        Units of its data: ``time``, ``amount``, ``concentration``, and of each covariate that the
        model uses. Where amounts over concentrations give no plain volume (mg and ng/mL), the
        model has amounts in the unit that does, and `Imported.dataset` converts them.
    cv
        Coefficient of variation of the priors, as a fraction.
    estimates
        ``"initial"``: the values in the control stream; ``"final"``: those in the .ext file beside
        it; or the path of an .ext file.
    error
        A residual error to have instead of that in $ERROR.
    name
        Of the model; that of the file without it.

    Returns
    -------
    Imported
        The model, what was carried over, and what was left out.

    Raises
    ------
    NonmemError
        When no model can be made of it, with the reasons.
    UnitError
        When a unit is unknown.
    """
    text, path = _text(source)
    stream = parse(text)
    if estimates != "initial":
        stream = with_final_estimates(stream, estimates, path)
    return _Import(stream, text, path, Units.parse(_mapping(units)), float(cv), estimates).run(
        error, name or (path.stem if path is not None else "imported")
    )


def _mapping(units: Mapping[str, str] | Units) -> Mapping[str, str]:
    return units.to_dict() if isinstance(units, Units) else units


def _text(source: str | Path) -> tuple[str, Path | None]:
    if isinstance(source, str) and "\n" in source:
        return source, None
    path = Path(source)
    if not path.is_file():
        raise NonmemError([f"there is no file {path}; give the path of a control stream."])
    return path.read_text(encoding="utf-8", errors="replace"), path


def _rescaling(units: Units) -> tuple[Units, float]:
    """Units whose volumes have a plain unit, and by what amounts are multiplied to be in them."""
    try:
        _ = units.volume
    except UnitError:
        litres = units.litres
        amount = None if litres is None else rescaled(units.amount, 1 / litres)
        if litres is None or amount is None:
            raise
        return replace(units, amount=amount), litres
    return units, 1.0


@dataclass
class _Import:
    """The steps of one import; later ones use what earlier ones found."""

    stream: ControlStream
    text: str
    path: Path | None
    given: Units
    cv: float
    estimates_are: str | Path

    def run(self, error: ResidualError | None, name: str) -> Imported:
        stream = self.stream
        self.units, self.amount = _rescaling(self.given)
        self.account = Account(stream)
        self.account.check_records()
        self.names = canonical(stream.columns)
        self.estimates = Estimates({t.number: t for t in stream.thetas}, self.cv)
        pk = evaluate(stream.code["PK"], self._columns())
        des = evaluate(stream.code.get("DES", ()), {})
        errors = evaluate(stream.code["ERROR"], pk.values)
        self.account.check_code({"PK": pk, "DES": des, "ERROR": errors})
        self._check_names(pk, errors)
        observation = observation_of(errors.values, stream.where("ERROR"))
        kinetics, micro = self._kinetics(observation, pk.values, des.values)
        self.points = Points(
            self.estimates.values, levels_in([*kinetics.parameters.values(), *pk.values.values()])
        )
        taken = self._taken(kinetics)
        between, occasions, column = self._variability(taken)
        covariates, ties = effects_of(taken, self.estimates, self.points, self.account, stream)
        residual = self._residual(observation, error)
        model = self._model(kinetics, taken, between, occasions, covariates, residual, name)
        values = self._values(model, between, occasions)
        random, still = (between, occasions, column), zero_variances(stream.omegas)
        if wrong := unequal(model, values, taken, random, self.points, still):
            raise NonmemError(
                [f"popk would compute another {' and '.join(wrong)} than the control stream "
                 f"({stream.where('PK')}). Write the model in popk."]
            )  # fmt: skip
        self.account.follow(kinetics.names, observation, residual, replaced=error is not None)
        self.account.describe(model, taken, between, occasions, residual, self.estimates)
        self.account.describe_units(self.given, self.units, self.amount, micro)
        self.account.describe_ties(taken, ties, self.estimates)
        below = None
        if residual.limit is not None and observation.flagged is not None:
            flagged = observation.flagged
            below = (replace(flagged, column=self.names[flagged.column]), residual.limit)
        dosed = default_dosed(stream.compartments, micro, stream.where("MODEL"))
        reading = Reading(
            self.text, self.path.parent if self.path else None, self.units, self.names,
            self.amount, micro.order, dosed, column, below, observation.logarithmic,
        )  # fmt: skip
        self.account.describe_data(reading)
        beside = results_beside(self.path)
        if beside is not None and self.estimates_are == "initial":
            self.account.leave(
                beside.name, "beside the control stream", "its final estimates are not used.",
                'Give estimates="final" to centre the priors on them.', matters=False,
            )  # fmt: skip
        return Imported(
            model, tuple(self.account.carried), tuple(self.account.left_out), reading, values,
            between, occasions,
        )  # fmt: skip

    def _columns(self) -> dict[str, Any]:
        return {other: symbol(name) for other, name in self.names.items() if other != name}

    def _check_names(self, pk: Code, errors: Code) -> None:
        """Refuse initial amounts, model event times and what a mixture model has."""
        names = {n for code in (pk, errors) for value in code.values.values()
                 for n in names_in(value)}  # fmt: skip
        assigned = set(pk.values) | set(errors.values)
        for word, why in (
            ("A_0(", "amounts at the start; popk's compartments start empty"),
            ("MTIME(", "event times that the model computes"),
            ("MIXNUM", "a mixture model"),
            ("MIXEST", "a mixture model"),
            ("COM(", "memory between records"),
        ):
            if any(n.startswith(word) for n in names | assigned):
                raise NonmemError([f"the code uses {word.rstrip('(')}: {why}, not imported."])

    def _kinetics(
        self, observation: Observation, pk: Mapping[str, Any], des: Mapping[str, Any]
    ) -> tuple[Kinetics, Micro]:
        stream, advan = self.stream, self.stream.advan or "no ADVAN"
        observed = self._observed(observation)
        if advan in LINEAR or advan == "ADVAN10":
            micro = micro_constants(advan, stream.trans, pk)
            if observed is not None and observed != micro.central:
                raise NonmemError(
                    [f"$ERROR observes compartment {observed}; popk observes the central one "
                     f"(compartment {micro.central} of {advan})."]
                )  # fmt: skip
        elif advan in ("ADVAN5", "ADVAN7") or advan in _GENERAL:
            central = observed if observed is not None else default_observed(stream.compartments)
            if advan in _GENERAL:
                rates = rates_of(des)
            else:
                rates = rates_of_constants(pk, len(stream.compartments))
            micro = micro_constants_of(rates, central, stream.where("DES" if advan in _GENERAL
                                       else "PK"))  # fmt: skip
            micro = self._substituted(micro, pk)
        else:
            raise NonmemError([f"$SUBROUTINES has {advan}; imported are ADVAN1 to 14 and 18."])
        divisor = observation.divisor
        if observation.source == "F":
            scale, own = scaling(pk, micro.central, central=advan not in _GENERAL)
            divisor = divisor * scale
            micro = replace(micro, names=micro.names | ({own} if own else set()))
        if reads_amounts(divisor):
            raise NonmemError(["the scale of the prediction depends on amounts."])
        return structure_of(micro, divisor, pk, {"amount": self.amount}), micro

    def _observed(self, observation: Observation) -> int | None:
        source = observation.source
        return None if source == "F" else int(source[2:-1])

    def _substituted(self, micro: Micro, pk: Mapping[str, Any]) -> Micro:
        """Rate constants with the variables of $PK replaced by what they are."""

        def known(x: Any) -> Any:
            if x is None:
                return None
            undefined = sorted(n for n in columns_in(x) if n not in pk and n not in self.names)
            if undefined:
                raise NonmemError(
                    [f"the equations use {', '.join(undefined)}, which $PK does not define."]
                )
            return x.xreplace({s: pk[s.name] for s in x.free_symbols if s.name in pk})

        return replace(
            micro,
            absorption=known(micro.absorption),
            elimination=known(micro.elimination),
            peripherals=tuple((known(a), known(b)) for a, b in micro.peripherals),
            saturable=None if micro.saturable is None else tuple(map(known, micro.saturable)),
        )

    def _taken(self, kinetics: Kinetics) -> list[Taken]:
        """Every parameter taken apart; refused are those that rest on what varies otherwise."""
        where, found, faults = self.stream.where("PK"), [], []
        data = set(self.names.values())
        for name in kinetics.structure.names:
            expression = kinetics.parameters[name]
            for column in sorted(columns_in(expression)):
                if column in RESERVED or column in ("T", "NEWIND", "DOSTIM", "DOSREC"):
                    faults.append(
                        f"{name} depends on {column} ({where}); parameters of popk depend on "
                        "covariates only, which are columns of their own."
                    )
                elif column not in data:
                    faults.append(
                        f"{name} uses {column} ({where}), which neither the code nor $INPUT "
                        "defines, or $INPUT drops."
                    )
            if not faults:
                found.append(take_apart(name, expression, self.points, where))
        if faults:
            raise NonmemError(faults)
        return found

    def _variability(self, taken: list[Taken]) -> tuple[Between, dict[float, Between], str | None]:
        blocks = self.stream.omegas
        between = between_subjects(taken, blocks, self.estimates)
        effects = [effect for p in taken for effect in p.effects if effect.column is not None]
        columns = sorted({effect.column for effect in effects if effect.column is not None})
        if len(columns) > 1:
            raise NonmemError(
                [f"random effects switch with {' and '.join(columns)}; popk has one column of "
                 "occasions."]
            )  # fmt: skip
        levels = sorted({effect.level for effect in effects if effect.level is not None})
        occasions = {}
        if levels:
            occasions = between_occasions(taken, blocks, self.estimates, levels)
        return between, occasions, columns[0] if columns else None

    def _residual(self, observation: Observation, error: ResidualError | None) -> Residual:
        if error is not None:
            return Residual(error, None, (), ())
        size = sum(block.size for block in self.stream.sigmas)
        sigma = covariance_of(self.stream.sigmas, size)
        return residual_of(observation, self.estimates, sigma, self.stream.where("ERROR"))

    def _model(
        self,
        kinetics: Kinetics,
        taken: list[Taken],
        between: Between,
        occasions: Mapping[float, Between],
        covariates: Any,
        residual: Residual,
        name: str,
    ) -> PopModel:
        where = self.stream.where("PK")
        used = {c for effect in covariates for c in effect.covariates}
        declared = dict(self.units.covariates)
        if unknown := sorted(used - set(declared)):
            raise NonmemError(
                [f"the model uses the covariates {', '.join(unknown)}; units does not say their "
                 f'units. Add, for example, "{unknown[0]}": "kg", or "1" where it has none.']
            )  # fmt: skip
        units = replace(
            self.units, covariates=tuple((n, u) for n, u in self.units.covariates if n in used)
        )
        self.units = units
        typical = {p.name: self.estimates.typical(p.name, p.typical, p.scale, where) for p in taken}
        level = next(iter(occasions.values()), None)
        notes = [
            "Imported from a NONMEM control stream; its priors are centred on the values there."
        ]
        if self.stream.title:
            notes.append(f"$PROBLEM: {self.stream.title}")
        try:
            return PopModel(
                kinetics.structure,
                typical=typical,
                iiv=between.iiv,
                iov=level.iov if level is not None else None,
                scales={p.name: p.scale for p in taken if not isinstance(p.scale, LogScale)},
                covariates=covariates,
                error=residual.error,
                units=units,
                name=name,
                notes=notes,
            )
        except ModelError as fault:
            raise NonmemError(fault.faults) from fault

    def _values(
        self, model: PopModel, between: Between, occasions: Mapping[float, Between]
    ) -> dict[str, float]:
        """The control stream's value of each population parameter."""
        found = {p.name: float(p.prior.median) for p in model.parameters}
        levels = [(between, "")] + [(b, "iov_") for b in list(occasions.values())[:1]]
        for level, prefix in levels:
            start = 0
            for block in level.correlations:
                pairs = len(block.pairs)
                known = Correlated(block.effects, fixed=level.starting[start : start + pairs])
                start += pairs
                found |= {n: float(p.median) for n, p, _ in known.priors(prefix)}
        assert all(np.isfinite(list(found.values())))
        return found
