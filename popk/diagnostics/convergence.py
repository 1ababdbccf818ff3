"""Whether a sampled posterior may be believed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from html import escape

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.effective import chain_figures
from popk.diagnostics.method import method_failures, notes_on_method

__all__ = ["RHAT_LIMIT", "Verdict", "convergence_table", "judge", "verdict_of"]

type Floats = NDArray[np.float64]

# Vehtari et al., Bayesian Analysis 16:667 (2021); Betancourt, arXiv:1604.00695; Vehtari et al.,
# JMLR 25:72 (2024).
RHAT_LIMIT = 1.01
ESS_LIMIT = 400
EBFMI_LIMIT = 0.2
KHAT_LIMIT = 0.7
DISTANCE_LIMIT = 0.1  # of a mode that was found from the true one, in posterior SDs
_FIGURES = ("rhat_max", "ess_bulk_min", "ess_tail_min")  # NaN where there is none
_INFINITE = "infinite"  # in JSON, the signs of the figures that are
_BLOCK = 250_000  # draws of a variable that are looked at at a time


@dataclass(frozen=True, repr=False)
class Verdict:
    """The convergence of one fit: every figure, and what failed.

    ``failures`` holds one sentence for each check that failed: the worst quantity, its figure, the
    limit, and what to do. Figures that the method does not have are None: E-BFMI (and divergences
    zero) where there are no trajectories; ``khat``, the Pareto k-hat of independent proposals'
    weights, and ``khat_subject_max``, the largest of a subject's integral over its random effects,
    where nothing was proposed independently or integrated. The latter is minus infinity where
    there were no random effects.

    ``kind`` is ``"draws"`` of the posterior, an ``"approximation"`` of it, which ``converged`` says
    may be used, or a ``"point"``, which is never ``converged``; ``basis`` says in a sentence what
    the latter two are. ``notes`` are sentences on what the posterior rests on: none of them is a
    failure of the sampling.
    """

    converged: bool
    failures: tuple[str, ...]
    rhat_max: float
    rhat_worst: str
    ess_bulk_min: float
    ess_bulk_worst: str
    ess_tail_min: float
    ess_tail_worst: str
    divergences: int
    ebfmi_min: float | None
    n_chains: int
    n_draws: int
    khat: float | None = None
    khat_subject_max: float | None = None
    khat_subject_worst: str = ""
    kind: str = "draws"
    basis: str = ""
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The verdict in a word or a few."""
        if self.kind == "point":
            return "A point, not a posterior"
        if not self.converged:
            return "NOT CONVERGED"
        return "Approximate, may be used" if self.kind == "approximation" else "Converged"

    def __str__(self) -> str:
        lines = [self._first_line, *(f"  - {failure}" for failure in self.failures)]
        if self.kind == "approximation":
            lines.append(f"  {self.basis}")
        return "\n".join(lines + [f"  Note: {note}" for note in self.notes])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        first = self._first_line.removeprefix(self.headline)
        failures = "".join(f"<li>{escape(text)}</li>" for text in self.failures)
        basis = [self.basis] if self.kind == "approximation" else []
        notes = "".join(f"<p>{escape(text)}</p>" for text in [*basis, *self.notes])
        listed = f"<ul>{failures}</ul>" if failures else ""
        head = f"<p><strong>{escape(self.headline)}</strong>{escape(first)}</p>"
        return f"<div>{head}{listed}{notes}</div>"

    @property
    def _first_line(self) -> str:
        if self.kind == "point":
            return f"{self.headline}, these are not final results: {self.basis}."
        figures = (
            f"{self.n_chains} chains x {self.n_draws} draws; R-hat <= {self.rhat_max:.3f} "
            f"({self.rhat_worst}); ESS bulk >= {self.ess_bulk_min:.0f} ({self.ess_bulk_worst}), "
            f"tail >= {self.ess_tail_min:.0f} ({self.ess_tail_worst})"
        )
        figures = "; ".join([figures, *self._of_method])
        warning = "" if self.converged else ", these are not final results"
        return f"{self.headline}{warning}: {figures}."

    @property
    def _of_method(self) -> list[str]:
        found = []
        if self.ebfmi_min is not None:
            found.append(f"{self.divergences} divergences; E-BFMI >= {self.ebfmi_min:.2f}")
        if self.khat is not None:
            found.append(f"Pareto k-hat of the proposals {self.khat:.2f}")
        # Minus infinity where no subject has a random effect to integrate over.
        if self.khat_subject_max is not None and self.khat_subject_max > -np.inf:
            integrals = (
                f"of the subjects' integrals <= {self.khat_subject_max:.2f} "
                f"({self.khat_subject_worst})"
            )
            if self.khat is None:
                found.append(f"Pareto k-hat {integrals}")
            else:
                found[-1] += f", {integrals}"
        return found

    def to_json(self) -> str:
        """As JSON, for the attributes of a fit.

        JSON has neither NaN nor infinity: such a figure is null, and under ``infinite`` stands the
        sign of one that is infinite.
        """
        content = asdict(self)
        odd = {k: v for k, v in content.items() if isinstance(v, float) and not np.isfinite(v)}
        content |= dict.fromkeys(odd)
        content[_INFINITE] = {k: int(np.sign(v)) for k, v in odd.items() if np.isinf(v)}
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """The verdict that `to_json` wrote."""
        content = json.loads(text)
        for name in ("failures", "notes"):
            content[name] = tuple(content.get(name, ()))
        for name, sign in content.pop(_INFINITE, {}).items():
            content[name] = sign * float("inf")
        for name in _FIGURES:
            content[name] = float("nan") if content[name] is None else content[name]
        return cls(**content)


def verdict_of(fit: xr.DataTree) -> Verdict:
    """The verdict stored with a fit."""
    return Verdict.from_json(fit.attrs["verdict"])


def convergence_table(sampled: xr.Dataset) -> xr.Dataset:
    """R-hat and effective sample sizes of every sampled quantity.

    Parameters
    ----------
    sampled
        Variables with dimensions (chain, draw, …).

    Returns
    -------
    ``rhat``, ``ess_bulk`` and ``ess_tail`` over ``quantity`` (names such as ``eta[3, CL]``).
    Quantities that never change (fixed values) are left out; those with draws that are not numbers
    have NaN, and so has R-hat where there is one chain.
    """
    names: list[str] = []
    figures: dict[str, list[Floats]] = {"rhat": [], "ess_bulk": [], "ess_tail": []}
    for name in sampled.data_vars:
        inner = [dim for dim in sampled[name].dims if dim not in ("chain", "draw")]
        values = sampled[name].transpose(*inner, "chain", "draw").values
        labels = [sampled[name][dim].values for dim in inner]
        every = []
        for index in np.ndindex(*(len(label) for label in labels)):
            where = ", ".join(str(label[k]) for label, k in zip(labels, index, strict=True))
            every.append(f"{name}[{where}]" if where else str(name))
        # A few at a time: every step of the figures makes copies of all the draws it is given.
        for indices in np.array_split(np.arange(len(every)), 1 + values.size // _BLOCK):
            where_in = np.unravel_index(indices, values.shape[:-2]) if inner else (None,)
            draws = values[where_in].astype(float)
            moving = np.flatnonzero(~(draws == draws[:, :1, :1]).all(axis=(1, 2)))
            names += [every[indices[k]] for k in moving]
            for key, found in _figures(draws[moving]).items():
                figures[key].append(found)
    return xr.Dataset(
        {key: ("quantity", np.concatenate([[], *parts])) for key, parts in figures.items()},
        coords={"quantity": names},
    )


def _figures(draws: Floats) -> dict[str, Floats]:
    """R-hat and ESS (n) of draws (n, chain, draw), NaN where they are not defined."""
    usable = np.isfinite(draws).all(axis=(1, 2))
    found = {key: np.full(len(draws), np.nan) for key in ("rhat", "ess_bulk", "ess_tail")}
    if usable.any():
        for key, own in zip(found, chain_figures(draws[usable]), strict=True):
            found[key][usable] = own
    return found


def judge(table: xr.Dataset, sample_stats: xr.Dataset, *, notes: tuple[str, ...] = ()) -> Verdict:
    """The verdict on a sampled posterior.

    Parameters
    ----------
    table
        From `convergence_table`, over ALL sampled quantities.
    sample_stats
        Of the sampler: ``diverging`` and ``energy`` (chain, draw); or ``khat``, and
        ``khat_subject`` (subject); or ``log_evidence`` (chain). Of a method that gives something
        else than draws of the posterior, the attribute ``approximation`` or ``point`` says what.
    notes
        Sentences for a reader, see `Verdict`.
    """
    chains, draws = sample_stats.sizes["chain"], sample_stats.sizes["draw"]
    worst_rhat = _worst(table, "rhat", largest=True)
    worst_bulk, worst_tail = (_worst(table, f"ess_{k}", largest=False) for k in ("bulk", "tail"))
    divergences, ebfmi = _trajectories(sample_stats)
    khat, own = _weights(sample_stats)
    kind, basis = _kind(sample_stats)
    failures: list[str] = []
    if kind == "point":
        failures += _point_failures(sample_stats, basis)
    elif not table.sizes["quantity"]:
        failures.append("There was nothing to sample: every parameter has a fixed value.")
    else:
        failures += _quantity_failures(worst_rhat, worst_bulk, worst_tail, chains=chains)
    if ebfmi is not None:
        failures += _trajectory_failures(divergences, ebfmi)
    limit = float(sample_stats.attrs.get("khat_limit", KHAT_LIMIT))
    failures += _weight_failures(khat, own, limit, is_exact=kind == "draws")
    failures += method_failures(sample_stats)
    return Verdict(
        converged=not failures,
        failures=tuple(failures),
        rhat_max=worst_rhat[1],
        rhat_worst=worst_rhat[0],
        ess_bulk_min=worst_bulk[1],
        ess_bulk_worst=worst_bulk[0],
        ess_tail_min=worst_tail[1],
        ess_tail_worst=worst_tail[0],
        divergences=divergences,
        ebfmi_min=ebfmi,
        n_chains=chains,
        n_draws=draws,
        khat=khat,
        khat_subject_max=own[1],
        khat_subject_worst=own[0],
        kind=kind,
        basis=basis,
        notes=(*notes_on_method(sample_stats), *notes),
    )


def _kind(stats: xr.Dataset) -> tuple[str, str]:
    """What the draws are, and in words where they are not those of the posterior."""
    for kind in ("point", "approximation"):
        if kind in stats.attrs:
            return kind, str(stats.attrs[kind])
    return "draws", ""


def _point_failures(stats: xr.Dataset, basis: str) -> list[str]:
    failures = [
        f"This is {basis}: it has no uncertainty, and neither have predictions and advice made "
        "from it. Sample by Marginal for results, or by Laplace for a quick approximation."
    ]
    if not float(stats["distance"]) < DISTANCE_LIMIT:
        failures.append(
            f"The mode was not reached: it may be {float(stats['distance']):.2g} posterior SDs "
            f"away, not below {DISTANCE_LIMIT:g}. Inform the parameters that the data do not "
            "identify, or sample by Marginal."
        )
    if not np.isfinite(stats["standard_error"].values).all():
        failures.append(
            "There are no standard errors: the curvature is not that of a mode. Inform the "
            "parameters that the data do not identify."
        )
    return failures


def _trajectories(stats: xr.Dataset) -> tuple[int, float | None]:
    """Divergences, and the smallest E-BFMI; 0 and None for a sampler without trajectories."""
    if "energy" not in stats:
        return 0, None
    energy = stats["energy"].transpose("chain", "draw").values
    # Betancourt (2016): squared steps of the energy, by its variance.
    steps, spread = np.diff(energy, axis=1), energy.var(axis=1, ddof=1)
    return int(stats["diverging"].sum()), float(np.min((steps**2).mean(axis=1) / spread))


def _trajectory_failures(divergences: int, ebfmi: float) -> list[str]:
    failures = []
    if divergences:
        failures.append(
            f"{divergences} transitions diverged: part of the posterior may be missing. Raise "
            "target_accept, or inform the parameters that the data do not identify."
        )
    if not ebfmi > EBFMI_LIMIT:
        failures.append(
            f"E-BFMI is {ebfmi:.2f}, not above {EBFMI_LIMIT}: the tails are explored slowly. Run "
            "longer, or inform the parameters that the data do not identify."
        )
    return failures


def _weights(stats: xr.Dataset) -> tuple[float | None, tuple[str, float | None]]:
    """k-hat of the proposals, and the worst subject's with its ID; None where there are none."""
    khat = float(stats["khat"]) if "khat" in stats else None
    if "khat_subject" not in stats:
        return khat, ("", None)
    own = stats["khat_subject"]
    worst = int(np.argmax(own.values))
    return khat, (str(own["subject"].values[worst]), float(own.values[worst]))


def _weight_failures(
    khat: float | None, own: tuple[str, float | None], limit: float, *, is_exact: bool
) -> list[str]:
    """Sentences on k-hat; draws that are no approximation come from Marginal itself."""
    failures = []
    if khat is not None and not khat < limit:
        other = "NUTS" if is_exact else "Marginal or NUTS"
        failures.append(
            f"Pareto k-hat of the proposals is {khat:.2f}, not below {limit:g}: they miss part "
            f"of the posterior. Sample by {other}, or inform the parameters that the data do not "
            "identify."
        )
    if own[1] is not None and not own[1] < KHAT_LIMIT:
        failures.append(
            f"Pareto k-hat of the integral over the random effects of subject {own[0]} is "
            f"{own[1]:.2f}, not below {KHAT_LIMIT}: its likelihood is not to be trusted. Check its "
            "records, or sample by NUTS."
        )
    return failures


def _worst(table: xr.Dataset, key: str, *, largest: bool) -> tuple[str, float]:
    """Name and figure of the worst quantity; one without a figure is worse than any."""
    values = table[key].values
    if not len(values):
        return "none", float("nan")
    at = int(np.argmax(np.where(np.isnan(values), np.inf, values if largest else -values)))
    return str(table["quantity"].values[at]), float(values[at])


def _quantity_failures(
    rhat: tuple[str, float], bulk: tuple[str, float], tail: tuple[str, float], *, chains: int
) -> list[str]:
    """Sentences on the worst R-hat and effective sample sizes, each a name and a figure."""
    failures = []
    if np.isnan(bulk[1]):
        failures.append(
            f"Draws of {bulk[0]} are not numbers: the model cannot be computed everywhere. Inform "
            "its parameters better."
        )
        return failures
    if chains < 2:
        failures.append(
            "There is one chain only, so there is no R-hat: nothing shows that it has come to the "
            "right place. Run at least 4 chains."
        )
    elif not rhat[1] < RHAT_LIMIT:
        failures.append(
            f"R-hat of {rhat[0]} is {rhat[1]:.3f}, not below {RHAT_LIMIT}: the chains have not "
            "come together. Run longer (tune, draws), or inform the parameter."
        )
    for kind, (name, value) in (("bulk", bulk), ("tail", tail)):
        if not value >= ESS_LIMIT:
            failures.append(
                f"The {kind} ESS of {name} is {value:.0f}, below {ESS_LIMIT}: too few "
                "independent draws. Run more draws, or inform the parameter."
            )
    return failures
