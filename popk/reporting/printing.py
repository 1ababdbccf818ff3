"""A page to PDF, printed by a browser that is installed already."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from popk.reporting.material import ReportError
from popk.storage import write_atomically

__all__ = ["find_browser", "print_pdf"]

_NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "msedge",
)  # fmt: skip
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
_CHOICE = "POPK_BROWSER"
_SECONDS = 120


def find_browser() -> str | None:
    """The program of a browser that prints: that of POPK_BROWSER, or one that is installed."""
    if chosen := os.environ.get(_CHOICE):
        return shutil.which(chosen)
    found = (shutil.which(name) for name in (*_NAMES, *_PLACES))
    return next((path for path in found if path), None)


def print_pdf(html: str, path: Path) -> Path:
    """Print a page; the browser gets no network, and a profile that is thrown away.

    Raises
    ------
    ReportError
        When there is no browser, or it does not print.
    """
    browser = find_browser()
    if browser is None:
        raise ReportError(
            "There is no Chromium, Chrome or Edge to print the PDF with. Install one, name its "
            f"program in the variable {_CHOICE}, or open the HTML page and print it."
        )
    with tempfile.TemporaryDirectory(prefix="popk-") as folder:
        page, printed = Path(folder) / "page.html", Path(folder) / "page.pdf"
        page.write_text(html, encoding="utf-8")
        words = [
            browser, "--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer",
            "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}", page.as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            words.insert(1, "--no-sandbox")  # which root cannot have
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise ReportError(f"{browser} did not print the PDF: {fault}.") from None
        if not printed.is_file():
            last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise ReportError(
                f"{browser} did not print the PDF (exit {done.returncode}): {last[0]}"
            )
        return write_atomically(path, lambda file: file.write_bytes(printed.read_bytes()))
