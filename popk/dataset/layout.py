"""How a file is written, where that is not as popk would write it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from popk.errors import SettingError

__all__ = ["Layout"]

_WORDS = MappingProxyType({"tab": "\t", "\\t": "\t", "semicolon": ";", "comma": ",", "bar": "|"})
_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Layout:
    """How a file is written: what popk asks for rather than guesses.

    Parameters
    ----------
    separator
        What stands between columns of a text file: ``","``, ``";"``, tab (``"tab"``) or ``"|"``.
        A comma if None; a tab in a file ending in .tsv or .tab.
    decimal
        Decimal mark of a text file, ``"."`` or ``","``; the latter not with commas as separators.
    encoding
        Of a text file, as Python names it (``"cp1252"`` is that of Western spreadsheets on
        Windows). UTF-8 if None, or what the file's byte-order mark says.
    sheet
        Of an Excel file; its only one if None.
    names
        Whose column names they are: ``"nonmem"``, or ``"adppk"`` for those of CDISC's ADPPK
        (USUBJID, AFRLT, AVAL …). That of SAS transport files is the latter if None.

    Raises
    ------
    SettingError
        When one makes no sense, in a sentence.
    """

    separator: str | None = None
    decimal: Literal[".", ","] = "."
    encoding: str | None = None
    sheet: str | None = None
    names: Literal["nonmem", "adppk"] | None = None

    def __post_init__(self) -> None:
        if self.separator is not None:
            object.__setattr__(self, "separator", _WORDS.get(self.separator, self.separator))
            if self.separator not in _SEPARATORS:
                raise SettingError(
                    f"separator is {self.separator!r}; expected a comma, ';', tab or '|'."
                )
        if self.decimal not in (".", ","):
            raise SettingError(f"decimal is {self.decimal!r}; expected '.' or ','.")
        if self.decimal == "," and self.separator in (None, ","):
            raise SettingError(
                "decimal is ',', and so is the separator of the columns: no number could be told "
                "from two. Say what stands between the columns, as separator ';'."
            )
        if self.names not in (None, "nonmem", "adppk"):
            raise SettingError(f"names is {self.names!r}; expected nonmem or adppk.")
        if self.encoding is not None:
            try:
                "a".encode(self.encoding)  # some of Python's codecs are none of text
            except (LookupError, ValueError):
                raise SettingError(
                    f"encoding is {self.encoding!r}, which Python does not know as one of text; "
                    "expected utf-8, utf-16, cp1252, latin-1 or another of its names."
                ) from None
