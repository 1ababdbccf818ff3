"""A page that shows itself in a notebook, and writes itself as HTML and PDF."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from popk.reporting.printing import print_pdf
from popk.storage import check_place, write_atomically

__all__ = ["Document"]

_HEIGHT = "85vh"  # of the page in a notebook


class Document:
    """A page with a ``title`` and ``html``, one HTML document that loads nothing."""

    title: str
    if TYPE_CHECKING:  # a field of one kind of page, computed by another

        @property
        def html(self) -> str:
            """The document."""

    def _repr_html_(self) -> str:
        # A document of its own: the notebook's style does not reach it, nor the other way round.
        return (
            f'<iframe srcdoc="{escape(self.html, quote=True)}" title="{escape(self.title)}" '
            f'style="width:100%;height:{_HEIGHT};border:1px solid #dfe4e8;background:#fff">'
            "</iframe>"
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page; its folder must exist, and the file appears whole or not at all.

        Raises
        ------
        StorageError
            When the folder of `path` does not exist, or `path` is a folder.
        """
        return write_atomically(
            check_place(path), lambda file: file.write_text(self.html, encoding="utf-8")
        )

    def write_pdf(self, path: str | os.PathLike[str]) -> Path:
        """Print the page to a PDF by an installed Chromium, Chrome or Edge, offline.

        Raises
        ------
        ReportError
            When there is no such browser, or it does not print.
        StorageError
            When the folder of `path` does not exist, or `path` is a folder.
        """
        return print_pdf(self.html, check_place(path))
