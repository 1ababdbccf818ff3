"""$OMEGA and the way the etas act, as variability between subjects and between occasions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.nonmem.individual import Effect, Taken
from popk.nonmem.priors import Estimates, half_normal
from popk.nonmem.refusal import NonmemError
from popk.nonmem.stream import RandomBlock
from popk.statistics import IIV, IOV, Correlated, Prior

__all__ = ["Between", "between_occasions", "between_subjects"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Between:
    """Random effects of popk as sums of NONMEM's etas.

    ``matrix`` (n_effects, n_etas) gives popk's effects from the etas; between occasions there is
    one for each level of the occasion's column.
    """

    effects: tuple[str, ...]
    matrix: Floats
    omegas: dict[str, Prior]
    correlations: tuple[Correlated, ...]
    starting: tuple[float, ...]
    shared: dict[str, str]

    @property
    def iiv(self) -> IIV:
        """Between subjects."""
        return IIV(self.omegas, correlations=self.correlations, shared=self.shared)

    @property
    def iov(self) -> IOV:
        """Between occasions."""
        return IOV(self.omegas, correlations=self.correlations)


def covariance_of(blocks: Iterable[RandomBlock], size: int) -> tuple[Floats, list[bool]]:
    """The whole covariance matrix, and which effects are fixed."""
    found, fixed = np.zeros((size, size)), [False] * size
    for block in blocks:
        at = slice(block.first - 1, block.first - 1 + block.size)
        found[at, at] = block.covariance
        for k in block.numbers:
            fixed[k - 1] = block.fixed
    return found, fixed


def zero_variances(blocks: Iterable[RandomBlock]) -> set[int]:
    """Numbers of the effects whose variance is 0."""
    return {
        k for block in blocks for i, k in enumerate(block.numbers) if not block.covariance[i][i]
    }


def between_subjects(
    parameters: Sequence[Taken], blocks: Sequence[RandomBlock], estimates: Estimates
) -> Between:
    """Variability between subjects: the effects that act on all occasions."""
    chosen = [(p, [e for e in p.effects if e.column is None]) for p in parameters]
    return _between(chosen, blocks, estimates, sharing=True)


def between_occasions(
    parameters: Sequence[Taken],
    blocks: Sequence[RandomBlock],
    estimates: Estimates,
    levels: Sequence[float],
) -> dict[float, Between]:
    """Variability between occasions, by the level of the column that numbers them.

    Raises
    ------
    NonmemError
        When it is not the same on all occasions.
    """
    found = {}
    for level in levels:
        chosen = [(p, [e for e in p.effects if e.level == level]) for p in parameters]
        found[level] = _between(chosen, blocks, estimates, sharing=False)
    first, *others = found.values()
    for other in others:
        if (other.omegas, other.correlations) != (first.omegas, first.correlations):
            raise NonmemError(
                ["the random effects between occasions differ from one occasion to another; popk "
                 "has the same on all. Give their $OMEGA as BLOCK SAME."]
            )  # fmt: skip
    return found


def _between(
    chosen: Sequence[tuple[Taken, list[Effect]]],
    blocks: Sequence[RandomBlock],
    estimates: Estimates,
    *,
    sharing: bool,
) -> Between:
    size = sum(block.size for block in blocks)
    omega, fixed = covariance_of(blocks, size)
    names: list[str] = []
    rows: list[Floats] = []
    held: list[bool] = []
    shared: dict[str, str] = {}
    for parameter, effects in chosen:
        row, known = np.zeros(size), True
        for effect in effects:
            if omega[effect.eta - 1, effect.eta - 1] == 0.0:
                continue
            row[effect.eta - 1] = estimates.value(effect.coefficient)
            known &= fixed[effect.eta - 1] and estimates.is_fixed(effect.coefficient)
        if not row.any():
            continue
        same = [name for name, other in zip(names, rows, strict=True) if np.array_equal(row, other)]
        if same and sharing:
            shared[parameter.name] = same[0]
            continue
        names.append(parameter.name)
        rows.append(row)
        held.append(known)
    matrix = np.array(rows).reshape(len(rows), size)
    whole = matrix @ omega @ matrix.T
    _check_rank(names, whole)
    sds = np.sqrt(np.diag(whole))
    omegas = {n: half_normal(float(s), fixed=h) for n, s, h in zip(names, sds, held, strict=True)}
    correlated, starting = _correlated(names, whole, held)
    return Between(tuple(names), matrix, omegas, correlated, starting, shared)


def _check_rank(names: Sequence[str], whole: Floats) -> None:
    """Refuse random effects of which one is determined by others."""
    if not len(names):
        return
    sd = np.sqrt(np.diag(whole))
    smallest = float(np.linalg.eigvalsh(whole / np.outer(sd, sd))[0])
    if smallest < 1e-10:
        raise NonmemError(
            [f"the random effects on {', '.join(names)} share etas in a way that leaves fewer "
             "independent ones than parameters; popk lets parameters share a whole random effect "
             "(with the same coefficient), or have one each."]
        )  # fmt: skip


def _correlated(
    names: Sequence[str], whole: Floats, held: Sequence[bool]
) -> tuple[tuple[Correlated, ...], tuple[float, ...]]:
    """Blocks of effects that are correlated, and their correlations in the control stream."""
    sd = np.sqrt(np.diag(whole))
    correlation = whole / np.outer(sd, sd) if len(names) else whole
    left, blocks, starting = set(range(len(names))), [], []
    while left:
        block = _connected(min(left), correlation, left)
        left -= block
        places = sorted(block)
        if len(places) == 1:
            continue
        values = [float(correlation[i, j]) for k, i in enumerate(places) for j in places[:k]]
        starting += values
        known = all(held[k] for k in places)
        inside = tuple(names[k] for k in places)
        blocks.append(Correlated(inside, fixed=values) if known else Correlated(inside))
    return tuple(blocks), tuple(starting)


def _connected(start: int, correlation: Floats, among: set[int]) -> set[int]:
    found, fresh = {start}, {start}
    while fresh:
        fresh = {j for i in fresh for j in among if abs(correlation[i, j]) > 1e-12} - found
        found |= fresh
    return found


def eta_values(matrix: Floats, etas: Mapping[int, Any]) -> list[Any]:
    """Popk's effects from etas by number."""
    return [
        sum((x * etas[k + 1] for k, x in enumerate(row) if x != 0.0), start=0.0 * etas[1])
        for row in matrix
    ]
