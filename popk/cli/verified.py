"""Whether a run is what was written, and whether it can be made again: verify, export, repeat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.cli.options import UNSURE, CommandError
from popk.cli.outcome import add_table, emit, is_json
from popk.cli.output import open_console, print_plain, print_rows, print_table, print_written

if TYPE_CHECKING:
    from popk.verification import Verification

__all__ = ["export", "repeat", "verify"]

_REFUSED = 2
_SHOWN = 40  # intact files in the table; all others are in it always


def verify(folder: Path, *, expect: str | None = None) -> int:
    """Find any byte in a run's folder that is not as popk wrote it; also of a study or a batch.

    Example: popk verify runs/first

    Each line of a run's journal carries the hash of the one before, and digests of the files that
    popk wrote. The command ends with 0 when all is as it was written, with 2 when something is not,
    with 3 when nothing contradicts but there is no journal to hold it against.

    Parameters
    ----------
    folder
        Folder that `popk fit`, `popk run` or `popk batch` wrote
    expect
        Hash that popk verify printed before and that was kept elsewhere, or its first 16 digits or
        more: finds a journal that was rewritten as a whole
    """
    from popk.verification import verify as check

    console = open_console()
    found = check(folder, expect=expect)
    _print_files(found)
    for sentence in (*found.damages, *found.notes):
        print_plain(console, f"  - {sentence}")
    print_plain(console, found.words)
    if found.limits:
        print_plain(console, found.limits)
    emit("intact", found.intact)
    emit("vouched", found.vouched)
    emit("hash", found.head)
    if not found.intact:
        return _REFUSED
    return 0 if found.vouched else UNSURE


def _print_files(found: Verification) -> None:
    """A row for each file; of many intact ones the first."""
    title = f"Files of the {found.kind} in {found.folder}"
    if is_json():
        add_table("files", found.to_frame(), title=title)
        return
    intact = [one for one in found.files if one.state == "intact"]
    left_out = set(map(id, intact[_SHOWN:]))
    rows = [
        (one.file, one.state, one.against or "–") for one in found.files if id(one) not in left_out
    ]
    print_rows(open_console(), title, ("File", "State", "Held against"), rows)
    if left_out:
        print_plain(open_console(), f"… and {len(left_out)} more files that are intact.")


def export(run: Path, *, out: Path) -> None:
    """Write a finished run as one file from which it can be repeated elsewhere.

    Example: popk export runs/first --out first.zip

    It holds the model, the data, the settings, the seed, the versions, the journal, the verdict and
    the digests that a repetition is to give, and a README. THE DATA OF ALL PATIENTS ARE IN IT. The
    same run gives the same bytes.

    Parameters
    ----------
    run
        Folder of a finished run
    out
        The file, ending in .zip
    """
    from popk.bundle import contents_of, write_bundle

    if out.suffix != ".zip":
        raise CommandError(f"--out is {out}; expected a file ending in .zip.")
    console = open_console()
    contents = contents_of(run)
    print_plain(console, contents.warning)
    digest = write_bundle(contents, out)
    print_plain(console, f"SHA-256 of the bundle: {digest}. popk repeat {out} --out FOLDER.")
    emit("sha256", digest)
    print_written(console, out)


def repeat(
    bundle: Path,
    *,
    out: Path,
    expect: Annotated[
        str | None, Parameter(help="SHA-256 of the bundle, as popk export printed it")
    ] = None,
) -> int:
    """Check a bundle, sample it anew with its settings, and say whether the same came out.

    Example: popk repeat first.zip --out runs/again

    With the versions and the kind of machine it was made on the draws are to be identical to the
    bit; elsewhere the means of the population are compared in Monte Carlo standard errors. The
    command ends with 3 when they do not agree.

    Parameters
    ----------
    bundle
        File that `popk export` wrote
    out
        A new folder for the run, or that of a repetition that was interrupted
    """
    from popk.bundle import open_bundle, repeat_bundle
    from popk.inference import terminal_progress

    console = open_console()
    opened = open_bundle(bundle, expect=expect)
    print_plain(console, opened.words)
    with terminal_progress(console) as progress:
        found = repeat_bundle(opened, out, progress=progress)
    print_table(console, found.table(), key="means", frame=found.to_frame())
    for sentence in found.notes:
        print_plain(console, f"  - {sentence}")
    print_plain(console, found.words)
    emit("identical", found.identical)
    emit("agrees", found.agrees)
    print_written(console, *found.written)
    return 0 if found.agrees else UNSURE
