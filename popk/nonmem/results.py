"""Final estimates of a run, from its .ext file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from popk.nonmem.refusal import NonmemError
from popk.nonmem.stream import ControlStream, RandomBlock

__all__ = ["results_beside", "with_final_estimates"]


def results_beside(path: Path | None) -> Path | None:
    """The .ext file beside a control stream, if there is one."""
    beside = path.with_suffix(".ext") if path is not None else None
    return beside if beside is not None and beside.is_file() else None


def with_final_estimates(
    stream: ControlStream, estimates: str | Path, path: Path | None
) -> ControlStream:
    """The control stream with the final estimates in the place of its initial ones.

    Parameters
    ----------
    stream
        The control stream.
    estimates
        ``"final"`` or the path of an .ext file.
    path
        Of the control stream.

    Raises
    ------
    NonmemError
        When there is no such file, or it is that of another control stream.
    """
    file = results_beside(path) if estimates == "final" else Path(estimates)
    if file is None or not file.is_file():
        looked = file if file is not None else "an .ext file beside the control stream"
        raise NonmemError(
            [f'there is no {looked}; give estimates="initial", or the path of the .ext file.']
        )
    values = _final(file)
    needed = [f"THETA{t.number}" for t in stream.thetas]
    needed += [f"OMEGA({k},{k})" for block in stream.omegas for k in block.numbers]
    needed += [f"SIGMA({k},{k})" for block in stream.sigmas for k in block.numbers]
    missing = [name for name in needed if name not in values]
    found = sum(name.startswith("THETA") for name in values)
    if missing or found != len(stream.thetas):
        raise NonmemError(
            [f"{file.name} has {found} thetas and lacks {', '.join(missing) or 'nothing'}; the "
             f"control stream has {len(stream.thetas)} thetas. Give the .ext file of this run."]
        )  # fmt: skip
    thetas = tuple(
        theta if theta.fixed else replace(theta, value=values[f"THETA{theta.number}"])
        for theta in stream.thetas
    )
    return replace(
        stream,
        thetas=thetas,
        omegas=_blocks(stream.omegas, "OMEGA", values),
        sigmas=_blocks(stream.sigmas, "SIGMA", values),
    )


def _blocks(
    blocks: tuple[RandomBlock, ...], kind: str, values: Mapping[str, float]
) -> tuple[RandomBlock, ...]:
    found = []
    for block in blocks:
        rows = tuple(
            tuple(values.get(f"{kind}({max(i, j)},{min(i, j)})", 0.0) for j in block.numbers)
            for i in block.numbers
        )
        found.append(block if block.fixed else replace(block, covariance=rows))
    return tuple(found)


def _final(file: Path) -> dict[str, float]:
    """Values by name in the last table of an .ext file: its row -1000000000."""
    header: list[str] = []
    found: dict[str, float] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split()
        if not parts:
            continue
        if parts[0] == "ITERATION":
            header, found = parts, {}
        elif header and parts[0] == "-1000000000":
            found = {n: float(x) for n, x in zip(header[1:], parts[1:], strict=True)}
    if not found:
        raise NonmemError(
            [f"{file.name} has no final estimates (no row -1000000000 in its last table)."]
        )
    return found
