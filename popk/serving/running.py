"""The page on a port of this machine, by uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import xarray as xr
from starlette.types import ASGIApp

from popk.errors import SettingError
from popk.serving.access import new_token
from popk.serving.application import application
from popk.serving.guard import host_of, is_loopback
from popk.serving.settings import Question
from popk.serving.study import Study

__all__ = ["Served", "listening", "quiet", "serve"]

_CONNECTIONS = 200


@dataclass(frozen=True)
class Served:
    """Where the page is, once it is there.

    ``token`` is what it demands, None where it demands nothing; ``made`` says that popk made it;
    ``encrypted`` whether the connection is.
    """

    url: str
    token: str | None
    made: bool
    encrypted: bool
    local: bool


def serve(  # noqa: PLR0913
    fit: xr.DataTree | Study,
    *,
    host: str = "127.0.0.1",
    port: int = 8750,
    token: str | None = None,
    names: Iterable[str] = (),
    certificate: Path | None = None,
    key: Path | None = None,
    question: Question | None = None,
    ready: Callable[[Served], None] | None = None,
) -> None:
    """Serve the dosing page until it is interrupted.

    Parameters
    ----------
    fit
        What `popk.sample` returned, or `popk.serving.study_of` made of it.
    host
        Address to listen on. Any but this machine's own (127.0.0.1, ::1, localhost) demands a
        token.
    port
        Port; 0 takes a free one.
    token
        16 characters or more; without it one is made where it is demanded.
    names
        Names of this machine under which others reach it.
    certificate, key
        PEM files, for an encrypted connection.
    question
        What the page asks first.
    ready
        Called when the page can be asked for.

    Raises
    ------
    SettingError
        When the port is taken, the address is not this machine's, or a setting makes no sense.
    """
    local = is_loopback(host_of(f"[{host}]" if ":" in host else host))
    made = token is None and not local
    token = new_token() if made else token
    encrypted = _check_certificate(certificate, key)
    app = application(fit, token=token, question=question, names=names, addresses=not local)
    place = listening(host, port)
    try:
        config = quiet(app, ssl_certfile=certificate, ssl_keyfile=key)
        if encrypted:
            config.load()
        if ready is not None:
            at = place.getsockname()[1]
            shown = f"[{host}]" if ":" in host else host
            url = f"http{'s' if encrypted else ''}://{shown}:{at}/"
            ready(Served(url, token, made, encrypted, local))
        uvicorn.Server(config).run(sockets=[place])
    except OSError as error:
        raise SettingError(
            f"The certificate or key cannot be used: {error.strerror or error}. Give PEM files."
        ) from None
    finally:
        place.close()


def quiet(app: ASGIApp, **settings: Any) -> uvicorn.Config:
    """How uvicorn serves the page: without a log of requests, believing no proxy."""
    return uvicorn.Config(
        app, access_log=False, log_level="warning", server_header=False, proxy_headers=False,
        ws="none", timeout_keep_alive=5, limit_concurrency=_CONNECTIONS, **settings,
    )  # fmt: skip


def _check_certificate(certificate: Path | None, key: Path | None) -> bool:
    if (certificate is None) != (key is None):
        raise SettingError("Certificate and key belong together; give both, or neither.")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise SettingError(f"There is no file {path}.")
    return certificate is not None


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that a port that is taken is said in a sentence."""
    if not 0 <= port <= 65535:
        raise SettingError(f"The port is {port}; ports are 0 to 65535 (0 takes a free one).")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingError(
            f"{host} is no address of this machine: {error.strerror}. Give one, as 127.0.0.1."
        ) from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_CONNECTIONS)
    except OSError as error:
        found.close()
        raise SettingError(
            f"{host}, port {port}, cannot be used: {error.strerror}. Give another with --port, or "
            "end what uses it."
        ) from None
    return found
