"""What every request and response must keep, before and after the page's own work.

Written as plain ASGI: nothing of a request is logged, and a fault of popk tells where it happened,
not what was sent.
"""

from __future__ import annotations

import ipaddress
import logging
import traceback
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "host_of", "is_loopback"]

_LOG = logging.getLogger("popk.serving")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # no-referrer would take the Origin from forms, too.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}


def host_of(header: str) -> str:
    """The name or address in a header ``Host``, without port and brackets, in lower case."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """Refuses other hosts and origins, sets the headers, and answers where popk fails.

    Parameters
    ----------
    app
        What is guarded.
    names
        Names under which the page may be asked for, beside this machine's own address.
    addresses
        Whether any IP address may be. A name that was rebound to one (DNS rebinding) is a name.
    """

    def __init__(self, app: ASGIApp, *, names: Iterable[str] = (), addresses: bool = False) -> None:
        self._app = app
        self._names = {name.lower() for name in names}
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, begun = Headers(scope=scope), False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - nothing of a request may reach a log
            _LOG.error("A fault of popk: %s", _where(error))
            if not begun:
                await _fault()(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        """Why a request is not answered, as an answer."""
        host = host_of(headers.get("host", ""))
        known = is_loopback(host) or host in self._names
        if not known and not (self._addresses and _is_address(host)):
            return PlainTextResponse(
                "This page is not served under that name. Use the address that popk serve "
                "printed, or start it with --name.",
                status_code=421,
            )
        if method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("Only GET and POST are answered.", status_code=405)
        origin = headers.get("origin")
        if method == "POST" and origin is not None:
            try:
                same = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
            except ValueError:
                same = False
            if not same:
                return PlainTextResponse("Asked from another page, and refused.", status_code=403)
        if method == "POST" and headers.get("sec-fetch-site", "none") not in (
            "same-origin", "none",
        ):  # fmt: skip
            return PlainTextResponse("Asked from another page, and refused.", status_code=403)
        return None


def _where(error: Exception) -> str:
    """Kind and place of a fault; its text may hold what was entered."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{last[0].name}, line {last[0].lineno}" if last else "an unknown place"
    return f"{type(error).__name__} in {place}"


def _fault() -> Response:
    message = (
        "popk made a mistake and could not answer; nothing was kept. Please report it with what "
        "the terminal says, which holds no data of patients."
    )
    return JSONResponse({"problems": [{"field": "", "message": message}]}, status_code=500)
