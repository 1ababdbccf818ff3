"""What a page's kernel does first: the example is copied to where it works, a folder of its own."""

import os
import shutil
import subprocess
import sys
import warnings


def _shell(options: str, commands: str) -> None:
    """Run a cell of shell commands, and print what they printed in one piece."""
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", commands], capture_output=True, text=True, check=False
    )
    sys.stdout.write(done.stdout + done.stderr)
    if done.returncode and "--no-raise-error" not in options:
        raise RuntimeError(f"{commands.strip()} ended with {done.returncode}.")


if "POPK_DOCS_EXAMPLE" in os.environ:
    shutil.copytree(os.environ["POPK_DOCS_EXAMPLE"], os.curdir, dirs_exist_ok=True)
    # Jupyter makes commands print as to a terminal; a page wants neither colours nor progress bars.
    for _name in ("FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
        os.environ.pop(_name, None)
    os.environ |= {"NO_COLOR": "1", "COLUMNS": "96", "TERM": "dumb"}
    # A guide shows no warning: one that comes stops the build.
    for _category in (UserWarning, RuntimeWarning, FutureWarning):
        warnings.simplefilter("error", _category)
    del _category, _name
    _ipython = get_ipython()  # noqa: F821 (IPython has it)
    _ipython.run_line_magic("matplotlib", "inline")
    # IPython's own breaks lines where the pipe does.
    _ipython.register_magic_function(_shell, "cell", "sh")
