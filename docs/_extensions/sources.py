"""Before Sphinx reads its sources: the pages written from the code, and the guides' example."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from command_line import write_command_line
from example import write_example
from reference import write_reference
from sphinx.application import Sphinx
from tutorials import write_tutorials
from validation import write_validation
from written import write_pages

HERE = Path(__file__).resolve().parent


def _write(app: Sphinx) -> None:
    docs, root = Path(app.srcdir), Path(app.srcdir).parent
    write_tutorials(root / "notebooks", docs / "tutorials")
    write_reference(docs / "reference")
    write_command_line(docs / "command-line")
    write_validation(root, docs / "validation")
    if app.config.nb_execution_mode == "off":
        return
    example = docs / "_build" / "example"
    write_example(example)
    startup = docs / "_build" / "ipython" / "profile_default" / "startup"
    write_pages(startup, {"00_example.py": (HERE / "kernel_start.py").read_bytes()})
    # Kernels inherit these: each works in a copy of the example, and finds the command popk.
    os.environ["POPK_DOCS_EXAMPLE"] = str(example)
    os.environ["IPYTHONDIR"] = str(docs / "_build" / "ipython")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


# A section "Returns" or "Yields" up to the next section or the end.
_RETURNS = re.compile(r"^(Returns|Yields)\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}$|\Z)", re.M | re.S)


def _prose(app: object, what: str, name: str, obj: object, options: object, lines: list) -> None:
    """Keep sections "Returns" that are prose (not a type and its meaning) as they stand."""
    lines[:] = _RETURNS.sub(_as_it_stands, "\n".join(lines)).split("\n")


def _as_it_stands(match: re.Match[str]) -> str:
    body = match[2].rstrip().split("\n")
    if len(body) > 1 and body[1].startswith(" ") and not body[0].startswith("- "):
        return match[0]  # a type, and below it what it is: napoleon's form
    return "\n".join(["Result", "------", *body, "", ""])  # one of napoleon's custom sections


def _write_one_by_one(app: Sphinx, env: object) -> None:
    """Pages are read side by side, where kernels run, and written one after another.

    Written side by side some were missing from a build that said it had succeeded (Sphinx 9.2).
    """
    app.parallel = 1


def setup(app: Sphinx) -> dict[str, bool]:
    """Write when the builder is ready; look at docstrings before napoleon does."""
    app.connect("builder-inited", _write)
    app.connect("autodoc-process-docstring", _prose, priority=100)
    app.connect("env-check-consistency", _write_one_by_one)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
