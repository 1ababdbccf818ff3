"""Between-subject variability (IIV)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from popk.statistics.priors import Prior


@dataclass(frozen=True, repr=False)
class IIV:
    """Independent log-normal variability between subjects.

    The individual parameter is the typical value times ``exp(eta)``, eta ~ Normal(0, omega). As a
    CV, omega is sqrt(exp(omega^2) - 1).

    Parameters
    ----------
    omegas
        Prior of omega, the SD of the logarithm, for each parameter that varies.
    """

    omegas: tuple[tuple[str, Prior], ...]

    def __init__(self, omegas: Mapping[str, Prior] | Iterable[tuple[str, Prior]] = ()) -> None:
        pairs = omegas.items() if isinstance(omegas, Mapping) else omegas
        object.__setattr__(self, "omegas", tuple((str(name), prior) for name, prior in pairs))

    def __repr__(self) -> str:
        return "IIV({" + ", ".join(f"{name!r}: {prior!r}" for name, prior in self.omegas) + "})"

    @property
    def effects(self) -> tuple[str, ...]:
        """Parameters that vary, in order: the ``effect`` dimension of eta."""
        return tuple(name for name, _ in self.omegas)

    def omega_name(self, effect: str) -> str:
        """Name of an effect's SD in the posterior."""
        return f"omega_{effect}"
