"""Flip-flop: absorption that is slower than elimination, or an exchange of the two.

With oral data alone the two rate constants of one compartment can be exchanged (with the volume
scaled) and give the same concentrations; which of them is the absorption is then said by the prior.

Source: Gibaldi & Perrier, Pharmacokinetics, 2nd edition 1982, chapter 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.model import PopModel
from popk.population import model_of
from popk.structure.compartments import Mammillary
from popk.structure.elimination import Linear

__all__ = ["FlipFlop", "flip_flop", "flip_flop_in", "notes_on_flip_flop"]

type Floats = NDArray[np.float64]

_CERTAIN = 0.01  # probability below which, or above one minus which, nothing is said


@dataclass(frozen=True)
class FlipFlop:
    """Posterior probabilities that KA is below the slowest rate of disposition.

    ``rate`` names that rate; ``typical`` is the probability for the typical values, ``subjects``
    (subject) for each subject's own parameters, at its first record.
    """

    rate: str
    typical: float
    subjects: xr.DataArray

    def __str__(self) -> str:
        low, high = (float(x) for x in (self.subjects.min(), self.subjects.max()))
        return (
            f"P(KA < {self.rate}) is {self.typical:.2f} for the typical values, {low:.2f} to "
            f"{high:.2f} for the {self.subjects.sizes['subject']} subjects."
        )


def flip_flop(fit: xr.DataTree) -> FlipFlop | None:
    """How probable it is that absorption is slower than elimination.

    Parameters
    ----------
    fit
        A fit of popk.

    Returns
    -------
    The probabilities; None where the structure has no first-order absorption, or no linear
    elimination, with whose rate it could be compared.

    Raises
    ------
    FitError
        When the tree is not a fit.
    """
    return flip_flop_in(model_of(fit), fit["posterior"].to_dataset())


def flip_flop_in(model: PopModel, posterior: xr.Dataset) -> FlipFlop | None:
    """As `flip_flop`, of draws (chain, draw, …)."""
    structure = model.structure
    if not isinstance(structure, Mammillary) or "KA" not in structure.names:
        return None
    if not isinstance(structure.elimination, Linear):
        return None
    volume = structure.volume.name
    flows = [(p.flow.name, p.volume.name) for p in structure.peripherals]
    names = ("KA", "CL", volume, *(name for pair in flows for name in pair))
    own = posterior["parameters"].transpose("chain", "draw", "subject", "parameter")
    shape = (-1, own.sizes["subject"])
    of_subjects = {n: own.sel(parameter=n).values.reshape(shape) for n in names}
    typical = {n: posterior[n].transpose("chain", "draw").values.ravel() for n in names}
    slower = _slower(of_subjects, volume, flows).mean(axis=0)
    return FlipFlop(
        f"CL/{volume}" if not flows else "the terminal rate",
        float(_slower(typical, volume, flows).mean()),
        xr.DataArray(
            slower,
            dims="subject",
            coords={"subject": own["subject"].values},
            attrs={"units": "1", "long_name": "probability that absorption is slower"},
        ),
    )


def notes_on_flip_flop(found: FlipFlop | None) -> tuple[str, ...]:
    """A sentence where a probability is neither 0 nor 1, to within 1 %; empty otherwise."""
    if found is None:
        return ()
    own = found.subjects.values
    open_ = (own > _CERTAIN) & (own < 1 - _CERTAIN)
    if not (open_.any() or _CERTAIN < found.typical < 1 - _CERTAIN):
        return ()
    return (
        f"Absorption may be slower than elimination (flip-flop): {found} For {open_.sum()} "
        "subjects neither is certain. Concentrations after oral doses alone may not tell the two "
        "apart: inform KA or the volume by a prior from a source, or collect samples during "
        "absorption or after an intravenous dose.",
    )


def _slower(
    values: Mapping[str, Floats], volume: str, flows: list[tuple[str, str]]
) -> NDArray[np.bool_]:
    """Where KA is below the slowest rate of disposition; values of any shape."""
    central = values["CL"] / values[volume]
    if not flows:
        return np.asarray(values["KA"] < central)
    size = 1 + len(flows)
    rates = np.zeros((*central.shape, size, size))
    rates[..., 0, 0] = central
    for k, (flow, peripheral) in enumerate(flows, start=1):
        # Symmetric, by scaling amounts with the roots of the volumes: the rates stay the same.
        rates[..., 0, 0] += values[flow] / values[volume]
        rates[..., k, k] = values[flow] / values[peripheral]
        across = values[flow] / np.sqrt(values[volume] * values[peripheral])
        rates[..., 0, k] = rates[..., k, 0] = -across
    return np.asarray(values["KA"] < np.linalg.eigvalsh(rates)[..., 0])
