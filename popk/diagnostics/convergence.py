"""Whether a sampled posterior may be believed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import arviz_stats as azs
import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

__all__ = ["RHAT_LIMIT", "Verdict", "convergence_table", "judge", "verdict_of"]

# Vehtari et al., Bayesian Analysis 16:667 (2021); Betancourt, arXiv:1604.00695.
RHAT_LIMIT = 1.01
ESS_LIMIT = 400
EBFMI_LIMIT = 0.2


@dataclass(frozen=True)
class Verdict:
    """The convergence of one fit: every figure, and what failed.

    ``failures`` holds one sentence for each check that failed: the worst quantity, its figure, the
    limit, and what to do.
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
    ebfmi_min: float
    n_chains: int
    n_draws: int

    def __str__(self) -> str:
        figures = (
            f"{self.n_chains} chains x {self.n_draws} draws; R-hat <= {self.rhat_max:.3f} "
            f"({self.rhat_worst}); ESS bulk >= {self.ess_bulk_min:.0f} ({self.ess_bulk_worst}), "
            f"tail >= {self.ess_tail_min:.0f} ({self.ess_tail_worst}); {self.divergences} "
            f"divergences; E-BFMI >= {self.ebfmi_min:.2f}"
        )
        if self.converged:
            return f"Converged: {figures}."
        lines = [f"NOT CONVERGED, these are not final results: {figures}."]
        return "\n".join(lines + [f"  - {failure}" for failure in self.failures])

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
    Quantities that never change (fixed values) are left out.
    """
    names: list[str] = []
    parts: dict[str, list[np.ndarray]] = {"rhat": [], "ess_bulk": [], "ess_tail": []}
    moving = [name for name in sampled.data_vars if float(sampled[name].std()) > 0]
    sampled = sampled[moving]
    computed = {
        "rhat": azs.rhat(sampled),
        "ess_bulk": azs.ess(sampled, method="bulk"),
        "ess_tail": azs.ess(sampled, method="tail"),
    }
    for name in moving:
        inner = [dim for dim in sampled[name].dims if dim not in ("chain", "draw")]
        labels = [sampled[name][dim].values for dim in inner]
        for index in np.ndindex(*(len(label) for label in labels)):
            where = ", ".join(str(label[k]) for label, k in zip(labels, index, strict=True))
            names.append(f"{name}[{where}]" if where else str(name))
        for key, values in computed.items():
            parts[key].append(values[name].transpose(*inner).values.reshape(-1))
    variables = {key: ("quantity", np.concatenate(values)) for key, values in parts.items()}
    return xr.Dataset(variables, coords={"quantity": names})


def judge(table: xr.Dataset, sample_stats: xr.Dataset) -> Verdict:
    """The verdict on a sampled posterior.

    Parameters
    ----------
    table
        From `convergence_table`, over ALL sampled quantities.
    sample_stats
        ``diverging`` and ``energy`` (chain, draw) of the sampler.
    """
    names = table["quantity"].values
    rhat, bulk, tail = (table[key].values for key in ("rhat", "ess_bulk", "ess_tail"))
    worst = int(np.nanargmax(rhat)), int(np.nanargmin(bulk)), int(np.nanargmin(tail))
    divergences = int(sample_stats["diverging"].sum())
    ebfmi = float(
        np.min(array_stats.bfmi(sample_stats["energy"].transpose("chain", "draw").values))
    )
    chains, draws = sample_stats.sizes["chain"], sample_stats.sizes["draw"]
    failures = []
    if chains < 2:
        failures.append("There is one chain only, so R-hat means little; run at least 4 chains.")
    if not rhat[worst[0]] < RHAT_LIMIT:
        failures.append(
            f"R-hat of {names[worst[0]]} is {rhat[worst[0]]:.3f}, not below {RHAT_LIMIT}: the "
            "chains have not come together. Run longer (tune, draws), or inform the parameter."
        )
    for kind, values, at in (("bulk", bulk, worst[1]), ("tail", tail, worst[2])):
        if not values[at] >= ESS_LIMIT:
            failures.append(
                f"The {kind} ESS of {names[at]} is {values[at]:.0f}, below {ESS_LIMIT}: too few "
                "independent draws. Run more draws, or inform the parameter."
            )
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
    return Verdict(
        converged=not failures,
        failures=tuple(failures),
        rhat_max=float(rhat[worst[0]]),
        rhat_worst=str(names[worst[0]]),
        ess_bulk_min=float(bulk[worst[1]]),
        ess_bulk_worst=str(names[worst[1]]),
        ess_tail_min=float(tail[worst[2]]),
        ess_tail_worst=str(names[worst[2]]),
        divergences=divergences,
        ebfmi_min=ebfmi,
        n_chains=chains,
        n_draws=draws,
    )
