"""The account of an import: every record and every line is carried over, left out, or refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from popk.nonmem.evaluation import Code, flat, idle
from popk.nonmem.imported import Carried, LeftOut
from popk.nonmem.individual import Taken, thetas_in
from popk.nonmem.kinetics import Micro
from popk.nonmem.observation import Observation
from popk.nonmem.priors import Estimates
from popk.nonmem.random_effects import Between
from popk.nonmem.refusal import NonmemError
from popk.nonmem.residual import Residual
from popk.nonmem.statements import Assignment, Condition, Other, Statement
from popk.nonmem.stream import ControlStream, Record
from popk.units import Units

if TYPE_CHECKING:
    from popk.model import PopModel
    from popk.nonmem.data import Reading

__all__ = ["Account"]

_IMPORTED = (
    "PROBLEM", "INPUT", "DATA", "SUBROUTINES", "MODEL", "PK", "DES", "ERROR", "THETA", "OMEGA",
    "SIGMA", "ABBREVIATED",
)  # fmt: skip
_FITTING = "this is how NONMEM fits; popk has its own methods."
_PRINTING = "this is what NONMEM prints or simulates."
# Names are matched by their first letters, as in NM-TRAN.
_HARMLESS = MappingProxyType(
    {
        "ESTIMATION": _FITTING, "ESTM": _FITTING, "COVARIANCE": _FITTING, "COVR": _FITTING,
        "NONPARAMETRIC": _FITTING, "TABLE": _PRINTING, "SCATTERPLOT": _PRINTING,
        "SIMULATION": _PRINTING, "SIML": _PRINTING, "SIZES": _FITTING, "WARNINGS": _PRINTING,
        "FORMAT": _PRINTING, "RCOV": _FITTING, "RCOVI": _FITTING, "CHAIN": _FITTING,
        "ANNEAL": _FITTING, "ETAS": _FITTING, "PHIS": _FITTING, "THETAI": _PRINTING,
        "THETAR": _PRINTING, "TOL": _FITTING, "DESIGN": _FITTING, "THETAN": _PRINTING,
        "OLKJDF": _FITTING, "OVARF": _FITTING, "SLKJDF": _FITTING, "SVARF": _FITTING,
        "TTDF": _FITTING, "OMIT": _FITTING,
    }
)  # fmt: skip
_PRIORS = ("PRIOR", "THETAP", "THETAPV", "OMEGAP", "OMEGAPD", "SIGMAP", "SIGMAPD")
_REFUSED = MappingProxyType(
    {
        "PRED": "a model without compartments, written out; popk has no such structures. Write it "
        "with ADVAN, or with popk.Custom.",
        "MIX": "a mixture of subpopulations, which popk does not import. Import one subpopulation.",
        "MIXTURE": "a mixture of subpopulations, which popk does not import.",
        "AES": "algebraic equations, which popk does not have.",
        "INFN": "code that changes the data or the run, which popk does not import. Do the same to "
        "the data file.",
        "BIND": "data bound to other names, which popk does not import.",
        "LEVEL": "random effects above subjects, which popk does not have.",
        "CONTR": "a subroutine of the user's that changes the likelihood.",
    }
)


class Account:
    """Collects what was carried over and what was left out."""

    def __init__(self, stream: ControlStream) -> None:
        self.stream = stream
        self.carried: list[Carried] = []
        self.left_out: list[LeftOut] = []
        self._code: dict[str, Code] = {}
        self._used: set[int] = set()

    def carry(self, what: str, where: str, became: str) -> None:
        """Something is in the model."""
        self.carried.append(Carried(what, where, became))

    def leave(self, what: str, where: str, why: str, todo: str, *, matters: bool) -> None:
        """Something is not."""
        self.left_out.append(LeftOut(what, where, why, todo, matters))

    def used(self, thetas: Iterable[int]) -> None:
        """These thetas are in the model."""
        self._used |= set(thetas)

    def check_records(self) -> None:
        """Refuse records that make another model; list those that do not matter, and priors."""
        faults = []
        for record in self.stream.records:
            name = _full(record.name)
            if name in _REFUSED:
                faults.append(f"{record.where}: {_REFUSED[name]}")
            elif name in _IMPORTED:
                continue
            elif name in _PRIORS:
                self._leave_prior(record)
            elif name in _HARMLESS:
                self.leave(f"${name}", f"line {record.line}", _HARMLESS[name], "", matters=False)
            elif name == "MSFI":
                self.leave(
                    "$MSFI", f"line {record.line}", "estimates in a file of NONMEM's own format "
                    "cannot be read.", "Give the .ext file of that run as estimates.", matters=True,
                )  # fmt: skip
            else:
                faults.append(f"{record.where} is a record that is not known here. Remove it.")
        faults += [
            f"there is no ${name} record. Add it."
            for name in ("INPUT", "PK", "ERROR", "THETA", "SUBROUTINES")
            if self.stream.first(name) is None and not faults
        ]
        if faults:
            raise NonmemError(faults)

    def _leave_prior(self, record: Record) -> None:
        if _full(record.name) == "PRIOR" and "NTHETA" in record.text.upper().replace(" ", ""):
            raise NonmemError(
                [f"{record.where} counts priors among $THETA and $OMEGA (NTHETA=…); give them as "
                 "$THETAP, $THETAPV, $OMEGAP and $OMEGAPD, which tell them apart."]
            )  # fmt: skip
        self.leave(
            f"${record.name}", f"line {record.line}",
            "NONMEM's priors (NWPRI) are normal on the thetas and inverse-Wishart on OMEGA; popk's "
            "are on its own parameters.", "Write the priors of the model by hand.", matters=True,
        )  # fmt: skip

    def check_code(self, code: Mapping[str, Code]) -> None:
        """List statements that are no assignments; those that may change the model matter."""
        self._code = dict(code)
        for ran in code.values():
            for other in ran.others:
                self._leave_other(other)
            for statement in ran.skipped:
                for part in flat([statement]):
                    self.leave(
                        _quoted(part), part.where, "it runs only when NONMEM simulates or begins "
                        "(ICALL).", "", matters=False,
                    )  # fmt: skip

    def _leave_other(self, other: Other) -> None:
        if other.text.upper().startswith(("EXIT", "(")):
            why = "it ends NONMEM's search at impossible values, or says when code runs."
            self.leave(_quoted(other), other.where, why, "", matters=False)
            return
        self.leave(
            _quoted(other), other.where, "subroutines, loops and verbatim code are not imported.",
            "Check whether it changes a parameter or Y; if so write that in popk.", matters=True,
        )  # fmt: skip

    def follow(
        self, names: Iterable[str], observation: Observation, residual: Residual, *, replaced: bool
    ) -> None:
        """List the lines of code on which nothing in the model rests."""
        code = self.stream.code
        needed = {"Y", "F_FLAG"} | set(names)
        unused = idle(code["ERROR"], needed)
        if "DES" in code:
            needed |= {f"DADT({k + 1})" for k in range(len(self.stream.compartments) or 20)}
            unused = [*idle(code["DES"], needed), *unused]
        unused = [*idle(code["PK"], needed), *unused]
        for statement in unused:
            self._leave_idle(statement)
        what = "logarithm of the prediction" if observation.logarithmic else "prediction"
        became = f"{residual.error!r}"
        if replaced:
            self.leave(
                "the residual error", self.stream.where("ERROR"), "another was given as error.",
                "", matters=True,
            )  # fmt: skip
        self.carry(f"Y, {what} with residual error", self.stream.where("ERROR"), became)
        for remark in residual.remarks:
            self.carry("Y", self.stream.where("ERROR"), remark)
        for sentence in residual.left_out:
            self.leave(
                "residual error", self.stream.where("ERROR"), sentence,
                "popk.StudentTError or HeavyTails may describe it.", matters=True,
            )  # fmt: skip
        if residual.limit is not None:
            self.carry(
                "F_FLAG", self.stream.where("ERROR"), "observations below the limit "
                f"({residual.limit}) by their probability (M3): popk does so where CENS is 1.",
            )  # fmt: skip
        for condition in observation.small:
            self.leave(
                f"the branch for {condition}", self.stream.where("ERROR"),
                "it guards against predictions near zero; popk has the other branch everywhere.",
                "", matters=True,
            )  # fmt: skip
        if observation.guard:
            self.leave(
                f"{observation.guard:g} added to the prediction", self.stream.where("ERROR"),
                "it guards a logarithm; popk refuses observations where the prediction is 0.", "",
                matters=True,
            )  # fmt: skip

    def _leave_idle(self, statement: Statement) -> None:
        if isinstance(statement, Other):
            return  # listed already
        self.leave(
            _quoted(statement), statement.where,
            "neither a parameter nor Y rests on it.", "", matters=False,
        )  # fmt: skip

    def describe(
        self,
        model: PopModel,
        taken: Sequence[Taken],
        between: Between,
        occasions: Mapping[float, Between],
        residual: Residual,
        estimates: Estimates,
    ) -> None:
        """What structure, typical values and random effects became."""
        stream = self.stream
        advan = " ".join(filter(None, (stream.advan, stream.trans if "DES" not in stream.code
                                       else "")))  # fmt: skip
        self.carry(
            advan, stream.where("SUBROUTINES"),
            f"{type(model.structure).__name__} with {', '.join(model.structure.names)}",
        )  # fmt: skip
        priors = dict(model.typical)
        for parameter in taken:
            numbers = sorted(thetas_in(parameter.typical))
            self.used(numbers)
            titles = ", ".join(estimates.thetas[k].title for k in numbers) or "a number"
            self.carry(
                f"typical {parameter.name} = {parameter.typical}",
                stream.where("PK"), f"{priors[parameter.name]!r} (from {titles})",
            )  # fmt: skip
            for effect in parameter.effects:
                self.used(thetas_in(effect.coefficient))
        self._describe_random(between, occasions)
        for k in sorted(residual.thetas & self._used):
            if not estimates.thetas[k].fixed:
                self.leave(
                    f"{estimates.thetas[k].title} in the residual error and a parameter",
                    stream.where("ERROR"), "popk has a prior for each; that they share it is lost.",
                    "Check their priors.", matters=True,
                )  # fmt: skip
        self.used(residual.thetas)
        for theta in stream.thetas:
            if theta.number not in self._used:
                why = "nothing in the model rests on it."
                self.leave(theta.title, stream.where("THETA"), why, "", matters=False)
            finite = [b for b in (theta.low, theta.high) if math.isfinite(b) and b != 0.0]
            if finite and not theta.fixed:
                self.leave(
                    f"bounds ({theta.low:g}, {theta.high:g}) of {theta.title}",
                    stream.where("THETA"), "popk's priors are wide, without hard bounds.",
                    "Write Uniform or a narrower prior where the bound is knowledge.",
                    matters=False,
                )  # fmt: skip

    def _describe_random(self, between: Between, occasions: Mapping[float, Between]) -> None:
        where = self.stream.where("OMEGA")
        levels = [("between subjects", between)]
        levels += [("between occasions", b) for b in list(occasions.values())[:1]]
        for words, level in levels:
            for name, prior in level.omegas.items():
                others = [n for n, owner in level.shared.items() if owner == name]
                on = " and ".join([name, *others])
                self.carry(f"variability of {on} {words}", where, repr(prior))
            for block in level.correlations:
                self.carry(f"correlations of {', '.join(block.effects)}", where, repr(block))
        used = {k for _, level in [*levels, *((0, b) for b in occasions.values())]
                for row in level.matrix for k, x in enumerate(row, 1) if x != 0.0}  # fmt: skip
        for random in self.stream.omegas:
            for k in random.numbers:
                if k in used:
                    continue
                zero = random.covariance[k - random.first][k - random.first] == 0.0
                why = "its variance is 0." if zero else "no parameter of the model has it."
                self.leave(f"ETA({k})", where, why, "", matters=False)

    def describe_units(self, given: Units, own: Units, amount: float, micro: Micro) -> None:
        """That amounts are converted, and compartments counted otherwise."""
        if amount != 1.0:
            self.carry(
                "the scale of amounts", self.stream.where("PK"),
                f"the model has amounts in {own.amount}, so that volumes are in {own.volume}: AMT "
                f"and RATE of the data (in {given.amount}) are multiplied by {amount:g}, which "
                "Imported.dataset does.",
            )  # fmt: skip
        if micro.order != tuple(range(1, len(micro.order) + 1)):
            listed = ", ".join(f"{n} is {k}" for k, n in enumerate(micro.order, 1))
            self.carry(
                "the numbers of compartments", self.stream.where("MODEL"),
                f"CMT {listed} in popk; Imported.dataset renumbers the data.",
            )  # fmt: skip

    def describe_ties(
        self,
        taken: Sequence[Taken],
        effects: Sequence[tuple[Sequence[str], Iterable[int]]],
        estimates: Estimates,
    ) -> None:
        """Say where a theta stands behind several parameters of popk.

        Parameters
        ----------
        taken
            The parameters.
        effects
            Names of coefficients and numbers of the thetas behind them.
        estimates
            Of the thetas.
        """
        uses: dict[int, set[str]] = {}
        sources = [((p.name,), thetas_in(p.typical)) for p in taken]
        for names, numbers in [*sources, *effects]:
            for k in numbers:
                if not estimates.thetas[k].fixed:
                    uses.setdefault(k, set()).update(names)
        for k, own in sorted(uses.items()):
            if len(own) < 2:
                continue
            related, behind = _related(k, uses)
            lost = len(related) > len(behind)
            self.leave(
                f"{estimates.thetas[k].title} in {' and '.join(sorted(own))}",
                self.stream.where("PK"),
                "popk has a prior for each of these, and none for this theta"
                + ("; that they share it is lost." if lost else "."),
                "Check their priors.", matters=lost,
            )  # fmt: skip

    def describe_data(self, reading: Reading) -> None:
        """How the data are read; refuse thetas that nothing uses."""
        where = self.stream.where("INPUT")
        dropped = [first for first, _, gone in self.stream.columns if gone and first]
        kept = [f"{a}={n}" if a != n else n for a, n in reading.names.items()]
        self.carry("columns", where, ", ".join(kept))
        if dropped:
            self.leave("columns " + ", ".join(dropped), where, "DROP.", "", matters=False)
        record = self.stream.first("DATA")
        if record is not None:
            text = " ".join(record.text.split())
            self.carry(text, record.where, "Imported.dataset() reads it so, by pharmpy.")


def _related(theta: int, uses: Mapping[int, set[str]]) -> tuple[set[str], set[int]]:
    """Parameters and thetas that are connected with a theta by standing behind each other."""
    names, behind = set(uses[theta]), {theta}
    while more := {k for k, own in uses.items() if own & names} - behind:
        behind |= more
        names = names.union(*(uses[k] for k in more))
    return names, behind


def _full(name: str) -> str:
    """The full name of a record that is written in short."""
    known = (*_IMPORTED, *_HARMLESS, *_PRIORS, *_REFUSED, "MSFI")
    if name in known or len(name) < 3:
        return name
    return next((full for full in known if full.startswith(name)), name)


def _quoted(part: Statement | Assignment | Condition | Other) -> str:
    text = " ".join(part.text.split())
    return text if len(text) <= 90 else text[:87] + "..."
