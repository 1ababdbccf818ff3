"""Where a result comes from and whether it may be used: verdict, fingerprints, versions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import xarray as xr

from popk.reporting.table import Cell, Table, number

__all__ = ["provenance_table", "verdict_facts"]


def verdict_facts(verdict: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The figures behind a verdict, each with the quantity that is worst."""
    method: list[tuple[str, str]] = []
    if verdict["ebfmi_min"] is not None:
        method = [
            ("divergences", f"{verdict['divergences']}"),
            ("smallest E-BFMI", f"{verdict['ebfmi_min']:.2f}"),
        ]
    if verdict.get("khat") is not None:
        method.append(("Pareto k-hat of the proposals", f"{verdict['khat']:.2f}"))
    # Minus infinity where no subject has a random effect to integrate over.
    if (worst := verdict.get("khat_subject_max")) is not None and worst > -math.inf:
        named = f"{worst:.2f} ({verdict['khat_subject_worst']})"
        method.append(("largest Pareto k-hat of a subject's integral", named))
    if verdict.get("kind") == "point":
        return (("draws", "1: the mode"),)
    return (
        ("largest R-hat", f"{verdict['rhat_max']:.3f} ({verdict['rhat_worst']})"),
        (
            "smallest bulk ESS",
            f"{number(verdict['ess_bulk_min'])} ({verdict['ess_bulk_worst']})",
        ),
        (
            "smallest tail ESS",
            f"{number(verdict['ess_tail_min'])} ({verdict['ess_tail_worst']})",
        ),
        *method,
        ("chains × draws", f"{verdict['n_chains']} × {verdict['n_draws']}"),
    )


def provenance_table(fit: xr.DataTree) -> Table:
    """Fingerprints, seed, method, versions and times of a fit."""
    attrs = fit.attrs
    versions = json.loads(attrs["versions"])
    rows = [
        ("Model", f"{attrs['model_name']}"),
        ("Fingerprint of the model (SHA-256)", attrs["model_hash"]),
        ("Fingerprint of the data (SHA-256)", attrs["data_hash"]),
        ("Seed", f"{attrs['seed']}"),
        ("Method", _method(json.loads(attrs["method"]), attrs.get("method_note", ""))),
        ("Made", f"{attrs['created']} by popk {attrs['popk_version']}"),
        ("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())),
        (
            "Time taken",
            f"{number(float(attrs['seconds_total']))} s in all, "
            f"{number(float(attrs['seconds_sampling']))} s of it sampling",
        ),
    ]
    cells = tuple((Cell(name), Cell(str(text))) for name, text in rows)
    return Table("Where these numbers come from", ("What", "Value"), cells, texts=2)


def _method(method: Mapping[str, Any], note: str) -> str:
    settings = [
        f"{k} {v}" for k, v in method.items() if k not in ("name", "otherwise") and v is not None
    ]
    return f"{method['name']}: {', '.join(settings)}" + (f". {note}" if note else "")
