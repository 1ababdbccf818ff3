"""Bodies of requests, read up to a limit while they arrive."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request

from popk.serving.faults import Fault, FormError

__all__ = ["LIMIT", "BodyError", "parsed_entries", "read_body", "sent_form", "sent_json"]

LIMIT = 256 * 1024  # bytes
_DRAINED = 32 * LIMIT  # read and thrown away, so that whoever sends it still gets the answer
_SECONDS = 20.0


class BodyError(FormError):
    """A body that is not read; ``status`` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__([Fault("", message)])


async def read_body(request: Request) -> bytes:
    """The body.

    Raises
    ------
    BodyError
        When it is larger than the limit, or arrives too slowly.
    """
    found, size = bytearray(), 0
    try:
        async with asyncio.timeout(_SECONDS):
            if _stated(request) > _DRAINED:
                raise _too_large()
            async for chunk in request.stream():
                size += len(chunk)
                if size <= LIMIT:
                    found += chunk
                elif size > _DRAINED:
                    break
    except TimeoutError:
        raise BodyError(
            408, f"The entries did not arrive within {_SECONDS:g} s; send them again."
        ) from None
    if size > LIMIT:
        raise _too_large()
    return bytes(found)


async def sent_json(request: Request) -> Any:
    """The value of a JSON body.

    Raises
    ------
    BodyError
        Also when it is no JSON.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BodyError(415, "Expected JSON, with content-type application/json.")
    return _parsed(await read_body(request))


async def sent_form(request: Request, *names: str) -> dict[str, str]:
    """The fields of a form that a page sent (urlencoded); empty where one is missing.

    Raises
    ------
    BodyError
        Also when it is no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise BodyError(415, "Expected a form (application/x-www-form-urlencoded).")
    try:
        text = (await read_body(request)).decode("utf-8")
        fields = parse_qs(text, max_num_fields=8, strict_parsing=bool(text))
    except ValueError:
        raise BodyError(400, "The form that was sent cannot be read.") from None
    return {name: fields.get(name, [""])[0] for name in names}


def parsed_entries(text: str) -> Any:
    """The entries that a form carries as JSON.

    Raises
    ------
    BodyError
        When it is no JSON.
    """
    return _parsed(text.encode("utf-8", "replace"))


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError):
        raise BodyError(400, "What was sent is no JSON that can be read.") from None


def _refused(text: str) -> float:
    raise ValueError(text)


def _finite(text: str) -> float:
    """A number, of which 1e999 is none."""
    value = float(text)
    return value if math.isfinite(value) else _refused(text)


def _stated(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _too_large() -> BodyError:
    return BodyError(
        413,
        f"More than {LIMIT // 1024} kB were sent; one patient has at most 200 rows of doses and "
        "100 of samples here. Use “further doses” for doses that repeat.",
    )
