"""What is calibrated: a model on a design, or a fit's posterior, and how its replicates are fit."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.individual import Trough
from popk.inference import Method
from popk.inference.method import as_values
from popk.model import PopModel

__all__ = ["Calibration", "observing"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Everything that a replicate depends on but its number.

    Parameters
    ----------
    model
        The model that simulates.
    analysed
        The model that is fitted; the same, unless it is asked what a wrong one does.
    design
        Doses, covariates and the records that are observed (EVID 0, MDV 0), values ignored; with
        ``source`` the fit's data themselves.
    method
        How replicates are fitted.
    seed
        Seed of all random numbers.
    ranks
        Draws, at most, among which the truth is ranked.
    interval, target
        Time from the last dose to the predicted trough, and the concentration it is to reach, in
        the model's units; NaN where nothing is predicted, for which ``notes`` has the reason.
    source
        The fit whose draws generate the replicates, or None: the prior does.
    """

    model: PopModel
    analysed: PopModel
    design: Dataset
    method: Method
    seed: int
    ranks: int
    interval: float
    target: float
    source: xr.DataTree | None = None
    notes: tuple[str, ...] = ()

    @property
    def predicts(self) -> bool:
        """Whether there is a trough to predict."""
        return bool(np.isfinite(self.interval))

    @cached_property
    def described(self) -> dict[str, Any]:
        """As plain values: what a folder must have been made with for its replicates to count."""
        method = {k: v for k, v in as_values(self.method).items() if k != "cores"}
        return {
            "model": self.model.hash,
            "fitted model": self.analysed.hash,
            "design": self.design.fingerprint,
            "fit that replicates come from": None
            if self.source is None
            else _identity(self.source),
            "method or its settings": json.loads(json.dumps(method)),
            "seed": int(self.seed),
            "number of draws to rank among": int(self.ranks),
            "interval": float(self.interval) if self.predicts else None,
            "target": float(self.target) if self.predicts else None,
        }

    @property
    def trough(self) -> Trough:
        """The target, with its unit."""
        return Trough(self.target, self.model.units.concentration)

    @property
    def weeks(self) -> float:
        """The interval, in weeks."""
        return float(self.interval / self.model.units.time_in("wk"))


def observing(design: Dataset) -> Dataset:
    """A design whose observed records are those of the data, or all with EVID 0 if none is.

    Values are put aside: DV is 1, nothing is beyond a limit. A limit that only some records of one
    kind (CMT, DVID and ASSAY) name, and name alike, holds for all of them.

    Raises
    ------
    SettingError
        When there is no record with EVID 0.
    """
    table = design.table.copy(deep=True)
    evid, mdv = table["EVID"].values, table["MDV"].values
    seen = (evid == 0) & (mdv == 0)
    if not seen.any():
        seen = evid == 0
    if not seen.any():
        raise SettingError(
            "The design has no observation (a record with EVID 0), so there is nothing to fit."
        )
    kinds = np.stack([table[n].values for n in ("CMT", "DVID", "ASSAY") if n in table], axis=1)
    values: dict[str, Any] = {
        "DV": np.where(seen, 1.0, np.nan),
        "MDV": np.where(seen, 0, 1),
        "CENS": np.zeros(len(evid), dtype=np.int64),
    }
    for name in ("LLOQ", "ULOQ"):
        if name in table:
            values[name] = _limits(table[name].values.astype(float), kinds, seen)
    return replace(design, table=table.assign({k: ("record", v) for k, v in values.items()}))


def _limits(given: Floats, kinds: NDArray[np.int64], seen: NDArray[np.bool_]) -> Floats:
    found = given.copy()
    for kind in np.unique(kinds[seen], axis=0):
        mine = seen & (kinds == kind).all(axis=1)
        known = np.unique(given[mine & ~np.isnan(given)])
        if len(known) == 1:
            found[mine] = known[0]
    return found


def _identity(fit: xr.DataTree) -> str:
    """What tells a fit from others: seed, method, model, data, and when it was made."""
    names = ("model_hash", "data_hash", "seed", "method", "created")
    return " ".join(str(fit.attrs[name]) for name in names)
