"""Variability between groups of subjects: sites, centres, studies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import override

from popk.errors import SettingError
from popk.statistics.correlation import Correlated
from popk.statistics.priors import Prior
from popk.statistics.variability import Variability

__all__ = ["Level", "level_faults"]

# Those of the variables z_… that a model has anyway.
_TAKEN = ("occasion", "latent")


@dataclass(frozen=True, repr=False, init=False)
class Level(Variability):
    """A further level of variability: random effects that all subjects of a group share.

    ``eta`` ~ Normal(0, omega) adds on the parameter's scale, one for each group, before the
    subject's own (nested random effects; Pinheiro & Bates, Mixed-Effects Models in S and S-PLUS,
    2000, ch. 1-2). With few groups the prior of omega decides much of what is said of it.

    Parameters
    ----------
    covariate
        Name of the covariate that says which group a subject belongs to (``"SITE"``): any numbers,
        one for each subject.
    omegas
        Prior of the SD between groups for each parameter that varies: ``{"CL": HalfNormal(0.2)}``,
        ``omega_SITE_CL`` in the posterior.
    correlations
        Blocks of effects that are correlated.

    Raises
    ------
    SettingError
        When the covariate's name cannot be part of a parameter's name.
    """

    covariate: str
    omegas: tuple[tuple[str, Prior], ...]
    correlations: tuple[Correlated, ...] = ()

    def __init__(
        self,
        covariate: str,
        omegas: Mapping[str, Prior] | Iterable[tuple[str, Prior]],
        *,
        correlations: Iterable[Correlated] = (),
    ) -> None:
        if not isinstance(covariate, str) or not covariate.isidentifier() or covariate in _TAKEN:
            raise SettingError(
                f"Level was given covariate={covariate!r}; expected the name of a covariate of the "
                "data such as 'SITE' (letters, digits and underscores; neither "
                f"{' nor '.join(_TAKEN)})."
            )
        pairs = omegas.items() if isinstance(omegas, Mapping) else omegas
        object.__setattr__(self, "covariate", covariate)
        object.__setattr__(self, "omegas", tuple((str(name), prior) for name, prior in pairs))
        object.__setattr__(self, "correlations", tuple(correlations))

    def __repr__(self) -> str:
        inner = self._written().removeprefix("Level(")
        return f"Level({self.covariate!r}, {inner}"

    @property
    @override
    def level(self) -> str:
        return f"{self.covariate}_"

    @property
    @override
    def between(self) -> str:
        return f"between groups ({self.covariate})"

    @property
    def effects_name(self) -> str:
        """Name of the random effects in the posterior."""
        return f"eta_{self.covariate}"

    @property
    def standardised_name(self) -> str:
        """Name of the standardised effects in the PyMC model."""
        return f"z_{self.covariate}"

    @property
    def dims(self) -> tuple[str, str]:
        """Names of the dimensions of the effects: groups, and parameters that vary."""
        return (f"site_{self.covariate}", f"effect_{self.covariate}")


def level_faults(
    levels: Sequence[Level], *, units: Mapping[str, str], latent: Sequence[str]
) -> Iterator[str]:
    """Sentences on what is wrong with the levels of a model as such.

    Parameters
    ----------
    levels
        The levels.
    units
        Unit of each covariate that the model declares.
    latent
        Names of the latent covariates.
    """
    seen: set[str] = set()
    for level in levels:
        name = level.covariate
        if name not in units:
            yield (
                f"levels names the covariate {name}, which units does not declare (it has "
                f'{", ".join(units) or "no covariates"}); add "{name}": "1".'
            )
        if name in seen:
            yield f"levels names {name} twice; put all its effects into one Level."
        if name in latent:
            yield f"levels names {name}, which is latent: a group has to be known."
        if not level.effects:
            yield f"the level {name} has no effects; give it such as {{'CL': HalfNormal(0.2)}}."
        seen.add(name)
