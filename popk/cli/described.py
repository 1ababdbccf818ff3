"""What a cohort's troughs say, on the command line: `popk describe`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from popk.cli.options import UNSURE, CommandError, Reading, read
from popk.cli.output import open_console, print_plain, print_table, print_verdict, print_written

__all__ = ["describe"]


def describe(  # noqa: PLR0913
    data: str,
    *,
    targets: str | None = None,
    interval: float | None = None,
    tolerance: float | None = None,
    assay_cv: float | None = None,
    stable: float = 0.2,
    draws: int = 2000,
    seed: int = 1,
    out: Annotated[Path | None, Parameter(help="Folder for the tables as CSV")] = None,
    figure: Path | None = None,
    reading: Reading | None = None,
) -> int:
    """Describe a cohort's troughs before any kinetic model: shares, spread, trend, stability.

    Example: popk describe cohort.csv --units time=d,amount=mg,concentration=mg/L,WT=kg

    Parameters
    ----------
    data
        Event table: CSV or TSV, Parquet, Excel, SAS transport
    targets
        Concentrations in the data's unit; 10,5,2 mg/L without it
    interval
        The dosing interval whose troughs are described, in weeks; the commonest without it
    tolerance
        Share of the dosing interval that may be left at a trough
    assay_cv
        The assay's coefficient of variation, as 0.1, where it is known
    stable
        A relative change in a year that is small, and how exactly a level is to be known
    draws
        Draws of each of four chains
    seed
        Seed of the random numbers
    figure
        File for a figure of all troughs, .png, .svg or .pdf
    """
    reading = reading or Reading()
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise CommandError(f"--figure is {figure}; expected a file ending in .png, .svg or .pdf.")
    if reading.units is None:
        raise CommandError(
            "The units are missing. Add, for example, "
            "--units time=d,amount=mg,concentration=mg/L,WT=kg."
        )
    wanted = None if targets is None else _numbers(targets)
    dataset = read(data, reading, {})

    # Slow to import, and not needed to refuse what was given above.
    from popk.cohort import describe as described
    from popk.cohort import description_frame
    from popk.dataset.dosing_times import NEAR_THE_NEXT
    from popk.reporting import description_tables
    from popk.storage import write_atomically

    found = described(
        dataset, targets=wanted, interval=interval,
        tolerance=NEAR_THE_NEXT if tolerance is None else tolerance,
        assay_cv=assay_cv, stable=stable, draws=draws, seed=seed,
    )  # fmt: skip
    console = open_console()
    print_verdict(console, found)
    names = ("shares", "bands", "figures")
    for name, table in zip(names, description_tables(found), strict=True):
        print_table(console, table, found, key=name)
    print_plain(console, str(found.attrs["words"]))
    for note in _notes(found.attrs["notes"]):
        print_plain(console, f"Note: {note}")
    print_plain(console, str(found.attrs["statement"]))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in (*names, "patients", "troughs"):
            text = description_frame(found, name).to_csv(index=False, lineterminator="\n")
            place = out / f"{name}.csv"
            write_atomically(place, partial(_write, text))
            print_written(console, place)
    if figure is not None:
        from popk.plots import plot_description

        plot_description(found).savefig(figure, dpi=150)
        print_written(console, figure)
    return 0 if int(found.attrs["converged"]) else UNSURE


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise CommandError(
            f"--targets is {text!r}; expected concentrations such as 10,5,2."
        ) from None


def _notes(text: str) -> list[str]:
    import json

    return [str(note) for note in json.loads(text)]
