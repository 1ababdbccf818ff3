"""Advice for a table of any number of patients, on the command line: `popk batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from popk.cli.fitted import fit_of, trough_of
from popk.cli.options import CommandError, Reading, parse_columns, parse_missing, parse_weeks
from popk.cli.output import open_console, print_plain, print_written, track

__all__ = ["batch"]


def batch(  # noqa: PLR0913
    run: Path,
    patients: Path,
    *,
    target: float,
    out: Path,
    probability: float = 0.9,
    weeks: str = "4:8",
    seed: int = 1,
    checks: Annotated[bool, Parameter(negative="--no-checks")] = True,
    sustained: Annotated[bool, Parameter(negative="")] = False,
    csv: Annotated[bool, Parameter(negative="")] = False,
    chunk: int = 200,
    cores: int | None = None,
    scheduler: str | None = None,
    reading: Reading | None = None,
) -> None:
    """Find the longest interval of every patient in a table of any size, on all cores.

    Example: popk batch RUN patients.parquet --target 10 --out advice-of-june

    The table is never held whole. Patients who cannot be advised are listed in OUT/errors and stop
    nobody else. After an interruption the same command goes on where it was.

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    patients
        CSV or Parquet file, the records of each patient together, in the units of the fit
    target
        Trough to hold, in the concentration unit of the fit
    out
        Folder for the results, new or that of the same command: advice/ and errors/, a file for
        each chunk, and manifest.json. pandas.read_parquet("OUT/advice") reads all
    probability
        Probability with which to hold it
    weeks
        Candidate intervals: 4:8 (both ends included) or 4,5,6
    seed
        Seed of the random numbers
    checks
        Check what speaks against trusting each patient's advice. Without, it takes a small part of
        the time, and unsafe advice is not withheld
    sustained
        Also what holds after going on at an interval
    csv
        Write CSV instead of Parquet
    chunk
        Patients to a chunk
    cores
        Processes; all processors without it
    scheduler
        Address of a Dask scheduler whose workers compute instead: tcp://host:8786
    """
    candidates = parse_weeks(weeks)
    if not 0 < probability < 1:
        raise CommandError(f"--probability is {probability:g}; it lies between 0 and 1, as 0.9.")
    reading = reading or Reading()
    if reading.units is not None:
        raise CommandError("popk batch reads the table in the units of the fit: leave --units out.")
    if reading.as_it_is() != Reading().as_it_is():
        raise CommandError(
            "popk batch reads CSV and Parquet as popk writes it: leave --given, --molar-mass, "
            "--separator, --decimal, --encoding, --sheet, --names and the options of dates out."
        )
    fitted = fit_of(run)
    goal = trough_of(fitted, target)

    from popk.batch import individualise_table
    from popk.batch.folder import ADVICE

    console = open_console()
    try:
        with track(console, "patients") as progress:
            found = individualise_table(
                fitted, patients, out,
                target=goal, probability=probability, weeks=candidates, seed=seed, checks=checks,
                sustained=sustained, columns=parse_columns(reading), log_dv=reading.log_dv,
                carry=reading.carry, missing=parse_missing(reading),
                form="csv" if csv else "parquet", chunk=chunk, cores=cores, scheduler=scheduler,
                progress=progress,
            )  # fmt: skip
    except (KeyboardInterrupt, SystemExit) as end:
        end.add_note(f"What was done is in {out}; the same command goes on from there.")
        raise
    print_plain(console, found.words)
    if not checks:
        print_plain(console, "Patients were not checked: unsafe advice is not withheld.")
    print_written(console, out / ADVICE)
    print_plain(console, found.statement)
