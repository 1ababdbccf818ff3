"""Whether a sampled posterior may be believed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

__all__ = ["RHAT_LIMIT", "Verdict", "convergence_table", "judge", "verdict_of"]

type Floats = NDArray[np.float64]

# Vehtari et al., Bayesian Analysis 16:667 (2021); Betancourt, arXiv:1604.00695; Vehtari et al.,
# JMLR 25:72 (2024).
RHAT_LIMIT = 1.01
ESS_LIMIT = 400
EBFMI_LIMIT = 0.2
KHAT_LIMIT = 0.7
TAILS = (0.05, 0.95)  # the quantiles whose ESS is that of the tails


@dataclass(frozen=True)
class Verdict:
    """The convergence of one fit: every figure, and what failed.

    ``failures`` holds one sentence for each check that failed: the worst quantity, its figure, the
    limit, and what to do. Figures that the method does not have are None: E-BFMI (and divergences
    zero) where there are no trajectories; ``khat``, the Pareto k-hat of independent proposals'
    weights, and ``khat_subject_max``, the largest of a subject's integral over its random effects,
    where nothing was proposed independently or integrated.
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

    def __str__(self) -> str:
        figures = (
            f"{self.n_chains} chains x {self.n_draws} draws; R-hat <= {self.rhat_max:.3f} "
            f"({self.rhat_worst}); ESS bulk >= {self.ess_bulk_min:.0f} ({self.ess_bulk_worst}), "
            f"tail >= {self.ess_tail_min:.0f} ({self.ess_tail_worst}); {self._of_method}"
        )
        if self.converged:
            return f"Converged: {figures}."
        lines = [f"NOT CONVERGED, these are not final results: {figures}."]
        return "\n".join(lines + [f"  - {failure}" for failure in self.failures])

    @property
    def _of_method(self) -> str:
        found = []
        if self.ebfmi_min is not None:
            found.append(f"{self.divergences} divergences; E-BFMI >= {self.ebfmi_min:.2f}")
        if self.khat is not None:
            found.append(
                f"Pareto k-hat of the proposals {self.khat:.2f}, of the subjects' integrals <= "
                f"{self.khat_subject_max:.2f} ({self.khat_subject_worst})"
            )
        return "; ".join(found)

    def to_json(self) -> str:
        """As JSON, for the attributes of a fit."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """The verdict that `to_json` wrote."""
        content = json.loads(text)
        content["failures"] = tuple(content["failures"])
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
    parts: list[Floats] = []
    for name in sampled.data_vars:
        inner = [dim for dim in sampled[name].dims if dim not in ("chain", "draw")]
        values = sampled[name].transpose(*inner, "chain", "draw").values.astype(float)
        parts.append(values.reshape(-1, *values.shape[-2:]))
        labels = [sampled[name][dim].values for dim in inner]
        for index in np.ndindex(*(len(label) for label in labels)):
            where = ", ".join(str(label[k]) for label, k in zip(labels, index, strict=True))
            names.append(f"{name}[{where}]" if where else str(name))
    draws = np.concatenate(parts)
    moving = np.flatnonzero(~(draws == draws[:, :1, :1]).all(axis=(1, 2)))
    draws = draws[moving]
    return xr.Dataset(
        {key: ("quantity", value) for key, value in _figures(draws).items()},
        coords={"quantity": [names[k] for k in moving]},
    )


def _figures(draws: Floats) -> dict[str, Floats]:
    """R-hat and ESS (n) of draws (n, chain, draw), NaN where they are not defined."""
    usable = np.isfinite(draws).all(axis=(1, 2))
    several = draws.shape[1] > 1
    found = {key: np.full(len(draws), np.nan) for key in ("rhat", "ess_bulk", "ess_tail")}
    if not usable.any():
        return found
    # Chains that each stay where they are have an infinite R-hat.
    with np.errstate(divide="ignore", invalid="ignore"):
        if several:
            found["rhat"][usable] = array_stats.rhat(draws[usable], chain_axis=-2, draw_axis=-1)
        for kind in ("bulk", "tail"):
            found[f"ess_{kind}"][usable] = array_stats.ess(
                draws[usable],
                chain_axis=-2,
                draw_axis=-1,
                method=kind,
                prob=TAILS if kind == "tail" else None,
            )
    return found


def judge(table: xr.Dataset, sample_stats: xr.Dataset) -> Verdict:
    """The verdict on a sampled posterior.

    Parameters
    ----------
    table
        From `convergence_table`, over ALL sampled quantities.
    sample_stats
        Of the sampler: ``diverging`` and ``energy`` (chain, draw); or ``khat``, and
        ``khat_subject`` (subject).
    """
    chains, draws = sample_stats.sizes["chain"], sample_stats.sizes["draw"]
    worst_rhat = _worst(table, "rhat", largest=True)
    worst_bulk, worst_tail = (_worst(table, f"ess_{k}", largest=False) for k in ("bulk", "tail"))
    divergences, ebfmi = _trajectories(sample_stats)
    khat, own = _weights(sample_stats)
    failures = []
    if not table.sizes["quantity"]:
        failures.append("There was nothing to sample: every parameter has a fixed value.")
    else:
        failures += _quantity_failures(worst_rhat, worst_bulk, worst_tail, chains=chains)
    if ebfmi is not None:
        failures += _trajectory_failures(divergences, ebfmi)
    if khat is not None:
        failures += _weight_failures(khat, own)
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
        khat_subject_max=None if khat is None else own[1],
        khat_subject_worst=own[0],
    )


def _trajectories(stats: xr.Dataset) -> tuple[int, float | None]:
    """Divergences, and the smallest E-BFMI; 0 and None for a sampler without trajectories."""
    if "energy" not in stats:
        return 0, None
    energy = stats["energy"].transpose("chain", "draw").values
    return int(stats["diverging"].sum()), float(np.min(array_stats.bfmi(energy)))


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


def _weights(stats: xr.Dataset) -> tuple[float | None, tuple[str, float]]:
    """k-hat of the proposals, and the worst subject's with its ID; None where there are none."""
    if "khat" not in stats:
        return None, ("", float("nan"))
    own = stats["khat_subject"]
    worst = int(np.argmax(own.values))
    return float(stats["khat"]), (str(own["subject"].values[worst]), float(own.values[worst]))


def _weight_failures(khat: float, own: tuple[str, float]) -> list[str]:
    failures = []
    if khat >= KHAT_LIMIT:
        failures.append(
            f"Pareto k-hat of the proposals is {khat:.2f}, not below {KHAT_LIMIT}: they miss part "
            "of the posterior. Sample by NUTS, or inform the parameters that the data do not "
            "identify."
        )
    if own[1] >= KHAT_LIMIT:
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
