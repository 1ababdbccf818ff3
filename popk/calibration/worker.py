"""A process that makes replicates: ``python -m popk.calibration.worker FOLDER``.

It reads numbers of replicates, one a line, and answers each with ``done`` once its file is written.
It ends when there are no more lines, so also when the process that started it is gone.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from popk.calibration.folder import read_setting, write_replicate
from popk.calibration.replicate import replicated

__all__ = ["main"]


def main(folder: Path) -> None:
    """Make the replicates that standard input asks for."""
    # An interruption is the parent's affair: it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setting = read_setting(folder)
    for line in sys.stdin:
        write_replicate(folder, replicated(setting, int(line)))
        sys.stdout.write(f"done {int(line)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
