"""Who may ask, from where, how much, and what is left behind: nothing."""

import asyncio
import contextlib
import http.client
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from popk.errors import SettingError
from popk.serving import application, new_token
from popk.serving.access import COOKIE, Access
from popk.serving.bodies import LIMIT
from popk.serving.guard import Guard, host_of, is_loopback
from popk.serving.pool import BusyError, Pool

TOKEN = "correct-horse-battery-staple"
STATIC = ("page.css", "page.js", "answer.js", "chart.js", "entries.js", "kept.js", "sliders.js")


def run(work):
    """In a thread of its own: a browser that another test drives has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def closed(served):
    """The address of a page that demands a token."""
    return served(token=TOKEN)


def test_headers_of_everything(client, form):
    responses = [client.get(path) for path in ("/", "/static/page.js", "/nothing")]
    responses += [client.post("/api/answer", json=sent) for sent in (form, {})]
    for response in responses:
        headers = response.headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert "set-cookie" not in headers


@pytest.mark.parametrize("name", STATIC)
def test_static_files_come_from_the_package(client, name):
    response = client.get(f"/static/{name}")
    assert response.status_code == 200
    assert "http" not in response.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("name", ["..%2fpage.html.j2", "%2e%2e/settings.py", "page.js/..", ""])
def test_no_other_file_is_served(client, name):
    assert client.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:8750", 200), ("evil.example", 421),
     ("127.0.0.1.evil.example", 421), ("192.168.0.1", 421), ("", 421), ("[", 421)],
)  # fmt: skip
def test_only_this_machines_names(client, host, status):
    assert client.get("/", headers={"host": host}).status_code == status


def test_other_names_and_addresses_where_they_are_given(served):
    url = served(token=TOKEN, names=["study.example.org"], addresses=True)
    for host, status in (("study.example.org", 401), ("10.1.2.3:99", 401), ("evil.example", 421)):
        assert httpx.get(url, headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"},
     {"origin": "http://["}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)  # fmt: skip
def test_posts_from_other_pages_are_refused(client, form, headers):
    assert client.post("/api/answer", json=form, headers=headers).status_code == 403


def test_posts_of_the_page_itself(client, form):
    headers = {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert client.post("/api/answer", json=form, headers=headers).status_code == 200
    # What other pages can send without being asked is no JSON.
    text = client.post(
        "/api/answer", content=json.dumps(form), headers={"content-type": "text/plain"}
    )
    assert text.status_code == 415
    assert client.put("/api/answer", json=form).status_code == 405


def test_without_the_token_nothing_is_answered(closed, form):
    page = httpx.get(closed)
    assert page.status_code == 401
    assert "settings" not in page.text
    for path in ("api/answer", "api/read"):
        assert httpx.post(closed + path, json=form).status_code == 401
    for path in ("sheet", "record.json", "record.csv"):
        response = httpx.post(closed + path, data={"entries": json.dumps(form)})
        assert response.status_code == 401


def test_with_the_token_in_a_header(closed, form):
    for given, status in ((TOKEN, 200), (TOKEN[:-1], 401), (TOKEN + "x", 401), ("x", 401)):
        headers = {"authorization": f"Bearer {given}"}
        assert httpx.post(closed + "api/answer", json=form, headers=headers).status_code == status


def test_logging_in_and_out(closed):
    with httpx.Client(base_url=closed) as client:
        wrong = client.post("/login", data={"token": "something-else-entirely"})
        assert wrong.status_code == 401
        assert "That is not the token" in wrong.text
        right = client.post("/login", data={"token": TOKEN})
        assert right.status_code == 303
        cookie = right.headers["set-cookie"]
        for word in ("HttpOnly", "SameSite=Strict", "Path=/"):
            assert word in cookie
        assert TOKEN not in cookie
        assert client.get("/").status_code == 200
        client.post("/logout")
        assert client.get("/").status_code == 401


def test_cookies_that_were_not_given_out():
    access, other = Access(TOKEN), Access(TOKEN)
    own = access.cookie(secure=False).split(";")[0]
    assert access.allows(own, "")
    assert not other.allows(own, "")
    end, _, signature = own.removeprefix(f"{COOKIE}=").partition(".")
    for forged in ("", "x", f"{end}.", f"{int(end) + 1}.{signature}", f"1.{signature}", "é.é"):
        assert not access.allows(f"{COOKIE}={forged}", "")
    assert access.cookie(secure=True).endswith("; Secure")


def test_tokens():
    assert len(new_token()) > 30
    for short in ("", "short", "with blanks in the middle", "umlauts-äöü-umlauts"):
        with pytest.raises(SettingError, match="16 or more"):
            Access(short)
    assert Access(None).allows("", "")
    assert not Access(None).knows("")


def test_too_much_is_refused_while_it_arrives(client, said):
    rows = [{"when": "1", "value": "2"}] * 1_000_000
    response = client.post("/api/answer", json={"samples": rows[:40_000]})
    assert response.status_code == 413
    assert "at most 200 rows of doses and 100 of samples" in said(response)[""]

    def endless():
        for _ in range(200):
            yield b" " * 65_536

    stream = {"content": endless(), "headers": {"content-type": "application/json"}}
    # Or cut off: nothing says that the end of it must be awaited.
    with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):
        assert client.post("/api/answer", **stream).status_code == 413
    assert client.get("/").status_code == 200


def test_a_length_that_is_only_stated_is_refused_at_once(client):
    place = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    connection.putrequest("POST", "/api/answer")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(1000 * LIMIT))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_nothing_of_a_patient_is_logged_or_set_down(
    client, form, caplog, capfd, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    form["patient"] = "SECRET-4711"
    with caplog.at_level(logging.DEBUG):
        assert client.post("/api/answer", json=form).status_code == 200
        form["samples"][0]["value"] = "SECRET"
        assert client.post("/api/answer", json=form).status_code == 422
        client.post("/sheet", data={"entries": json.dumps(form)})
    printed = capfd.readouterr()
    # The client of this test has a log of its own, which holds addresses alone.
    assert "SECRET" not in caplog.text + printed.out + printed.err
    assert "SECRET" not in str([record.__dict__ for record in caplog.records])
    assert not list(tmp_path.iterdir())


def test_a_fault_of_popk_tells_its_place_and_no_data(study, form, caplog):
    async def failing(scope, receive, send):
        raise RuntimeError(f"cannot use {form['patient']}")

    async def ask():
        transport = httpx.ASGITransport(Guard(failing))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/")

    response = run(ask())
    assert response.status_code == 500
    assert "popk made a mistake" in response.json()["problems"][0]["message"]
    assert "RuntimeError in failing" in caplog.text
    assert form["patient"] not in caplog.text + response.text


def test_the_queue_has_an_end():
    async def fill():
        go, pool = threading.Event(), Pool(threads=1, waiting=2)
        works = [asyncio.create_task(pool.run(go.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError):
            await pool.run(go.wait)
        go.set()
        assert await asyncio.gather(*works) == [True] * 3
        await asyncio.sleep(0.05)
        assert await pool.run(lambda: 5) == 5
        pool.close()

    run(fill())


def test_a_busy_server_says_so(study, form):
    app = application(study, threads=1, waiting=2)

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=60
        ) as client:
            works = [client.post("/api/answer", json={**form, "weeks": "4"}) for _ in range(8)]
            return await asyncio.gather(*works)

    found = run(ask())
    busy = [one for one in found if one.status_code == 503]
    assert busy
    assert {one.status_code for one in found} == {200, 503}
    assert "try again" in busy[0].json()["problems"][0]["message"]
    assert busy[0].headers["retry-after"]


@pytest.mark.parametrize(
    ("host", "name", "loopback"),
    [("127.0.0.1:80", "127.0.0.1", True), ("LOCALHOST.", "localhost", True), ("[::1]", "::1", True),
     ("0.0.0.0", "0.0.0.0", False), ("example.org:1", "example.org", False), ("[:", "", False)],
)  # fmt: skip
def test_hosts(host, name, loopback):
    assert host_of(host) == name
    assert is_loopback(host_of(host)) is loopback
