"""The page as an ASGI application: it holds the fit, and nothing of any patient."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import xarray as xr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from popk.errors import PopkError
from popk.serving.access import Access
from popk.serving.answer import answer_of
from popk.serving.bodies import BodyError, parsed_entries, sent_form, sent_json
from popk.serving.entered import Entered, read_form
from popk.serving.faults import Fault, FormError
from popk.serving.guard import Guard
from popk.serving.pasted import read_pasted
from popk.serving.pool import BusyError, Pool
from popk.serving.record import record_csv, record_of
from popk.serving.settings import Question, settings_of
from popk.serving.study import Study, study_of

__all__ = ["application"]

type Handler = Callable[[Request], Awaitable[Response]]

_KINDS = {"css": "text/css", "js": "text/javascript"}
_STATIC = ("page.css", "page.js", "answer.js", "chart.js", "entries.js", "kept.js", "sliders.js")
_SHEET_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAUSE = 0.5  # seconds before a wrong token is refused


def application(
    fit: xr.DataTree | Study,
    *,
    token: str | None = None,
    question: Question | None = None,
    names: Iterable[str] = (),
    addresses: bool = False,
    threads: int = 2,
    waiting: int = 64,
) -> Guard:
    """The dosing page of a fit, for any ASGI server.

    Parameters
    ----------
    fit
        What `popk.sample` returned, or what `popk.serving.study_of` made of it.
    token
        Demanded of everybody who asks; nothing is where it is None, which is for a page that this
        machine alone can reach.
    question
        Target, probability and intervals that the page begins with.
    names
        Names under which the page may be asked for, beside this machine's own (localhost).
    addresses
        Whether it may be asked for under any IP address.
    threads
        How many patients are computed at once.
    waiting
        How many may wait beside them; more are asked to come again.

    Raises
    ------
    FitError, SettingError
        When the tree is no fit, or the token is too short.
    """
    study = fit if isinstance(fit, Study) else study_of(fit)
    pages = _Pages(study, Access(token), question or Question(), Pool(threads, waiting))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        pages.pool.close()

    routes = [
        Route("/", pages.page),
        Route("/login", pages.login, methods=["POST"]),
        Route("/logout", pages.logout, methods=["POST"]),
        Route("/static/{name}", _static),
        Route("/api/answer", _as_json(pages.answer), methods=["POST"]),
        Route("/api/read", _as_json(pages.read), methods=["POST"]),
        Route("/sheet", _as_page(pages.sheet), methods=["POST"]),
        Route("/record.json", _as_page(pages.record), methods=["POST"]),
        Route("/record.csv", _as_page(pages.record), methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes, lifespan=lifespan), names=names, addresses=addresses)


@dataclass(frozen=True, eq=False)
class _Pages:
    """What answers requests; all of it is the same for everybody."""

    study: Study
    access: Access
    question: Question
    pool: Pool

    def _allowed(self, request: Request) -> bool:
        headers = request.headers
        return self.access.allows(headers.get("cookie", ""), headers.get("authorization", ""))

    def _demand(self, request: Request) -> None:
        if not self._allowed(request):
            raise BodyError(
                401, "The session has ended, or no token was given: load the page and log in."
            )

    async def page(self, request: Request) -> Response:
        """The page, or the one that asks for the token."""
        if not self._allowed(request):
            return _html("login.html.j2", wrong=False, status=401)
        settings = settings_of(self.study, self.question, self.access)
        return _html("page.html.j2", settings=settings, study=self.study)

    async def login(self, request: Request) -> Response:
        """Exchange the token for a cookie."""
        try:
            given = (await sent_form(request, "token"))["token"].strip()
        except BodyError as error:
            return _problems_page(error, error.status)
        if not self.access.knows(given):
            await asyncio.sleep(_PAUSE)
            return _html("login.html.j2", wrong=True, status=401)
        return self._home(self.access.cookie(secure=request.url.scheme == "https"))

    async def logout(self, request: Request) -> Response:
        """Take the cookie back."""
        return self._home(self.access.no_cookie(secure=request.url.scheme == "https"))

    @staticmethod
    def _home(cookie: str) -> Response:
        return RedirectResponse("/", status_code=303, headers={"set-cookie": cookie})

    async def answer(self, request: Request) -> Response:
        """The advice for what was entered."""
        self._demand(request)
        form = await sent_json(request)

        def work() -> dict[str, Any]:
            entered = read_form(form, self.study.needs)
            return answer_of(self.study, self.study.advised(entered))

        return JSONResponse(await self.pool.run(work))

    async def read(self, request: Request) -> Response:
        """The entries of a pasted table."""
        self._demand(request)
        sent = await sent_json(request)
        text, subject = ((sent.get(name) if isinstance(sent, dict) else None) or ""
                         for name in ("text", "subject"))  # fmt: skip
        if not isinstance(text, str) or not isinstance(subject, str):
            raise BodyError(400, "Expected the table as text, and the patient's ID as text.")
        return JSONResponse(
            await self.pool.run(lambda: read_pasted(text, self.study.needs, subject=subject))
        )

    async def sheet(self, request: Request) -> Response:
        """The patient's sheet, to be printed."""
        _, entered = await self._entries(request)
        page = await self.pool.run(lambda: self.study.sheet(entered))
        return HTMLResponse(page, headers={"content-security-policy": _SHEET_POLICY})

    async def record(self, request: Request) -> Response:
        """The record, as JSON or CSV."""
        form, entered = await self._entries(request)

        def work() -> dict[str, Any]:
            return record_of(self.study, self.study.advised(entered), form)

        record, ending = await self.pool.run(work), request.url.path.rpartition(".")[2]
        whose = "".join(c if c.isascii() and c.isalnum() else "-" for c in entered.patient)
        name = f"popk-{whose}-{entered.now:%Y-%m-%d}.{ending}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        if ending == "csv":
            # With a mark of its encoding, which spreadsheets look for.
            return Response(f"\ufeff{record_csv(record)}", media_type="text/csv", headers=headers)
        return Response(_pretty(record), media_type="application/json", headers=headers)

    async def _entries(self, request: Request) -> tuple[dict[str, Any], Entered]:
        self._demand(request)
        form = parsed_entries((await sent_form(request, "entries"))["entries"])
        return form, await self.pool.run(lambda: read_form(form, self.study.needs))


def _pretty(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _as_json(handler: Handler) -> Handler:
    """With faults of what was sent as JSON."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except (PopkError, BusyError) as error:
            faults, status = _faults(error)
            headers = {"retry-after": "2"} if status == 503 else None
            problems = {"problems": [fault.to_dict() for fault in faults]}
            return JSONResponse(problems, status_code=status, headers=headers)

    return answered


def _as_page(handler: Handler) -> Handler:
    """With faults of what was sent as a page."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except (PopkError, BusyError) as error:
            return _problems_page(error, _faults(error)[1])

    return answered


def _faults(error: Exception) -> tuple[tuple[Fault, ...], int]:
    """What to say, and the status."""
    if isinstance(error, FormError):
        return error.faults, error.status if isinstance(error, BodyError) else 422
    if isinstance(error, BusyError):
        return (Fault("", "Too many patients are being computed just now; try again in a few "
                          "seconds. Nothing that you entered is lost."),), 503  # fmt: skip
    return (Fault("", str(error)),), 422


def _problems_page(error: Exception, status: int) -> Response:
    return _html("problems.html.j2", faults=_faults(error)[0], status=status)


def _html(name: str, *, status: int = 200, **content: Any) -> Response:
    return HTMLResponse(_templates().get_template(name).render(**content), status_code=status)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("popk.serving", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


async def _static(request: Request) -> Response:
    """A file of the page; these and no others."""
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response("There is no such file.", status_code=404, media_type="text/plain")
    return Response(_file(name), media_type=_KINDS[name.rpartition(".")[2]])


@cache
def _file(name: str) -> bytes:
    return (files("popk.serving") / "static" / name).read_bytes()
