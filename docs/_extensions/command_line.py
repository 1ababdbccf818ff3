"""The reference of the command line, written from the commands themselves."""

from __future__ import annotations

import re
from pathlib import Path

from written import write_pages

INTRODUCTION = """\
# Command line

Written from the commands themselves; `popk COMMAND --help` prints the same. `--version` prints
the version. A command ends with 0 when it did what was asked, with 2 and one message on stderr
when that cannot be done, with 3 when the result is not to be relied upon, with 130 when interrupted
and with 143 when terminated.

"""


def command_line_page() -> str:
    """The page, in MyST."""
    from popk.cli import app

    text = app.generate_docs(output_format="markdown", heading_level=1, usage_name="popk")
    # The title, usage and table of contents of the whole are replaced; the list of commands stays.
    start = text.index("**Commands**")
    return INTRODUCTION + re.sub(r"\n{3,}", "\n\n", text[start:])


def write_command_line(folder: Path) -> None:
    """Write the page to `folder`."""
    write_pages(folder, {"index.md": command_line_page()})
