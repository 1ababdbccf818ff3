"""Anything may be sent to the page: an answer or a sentence comes back, and never a fault."""

import asyncio
import copy
import json
import math
import threading
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popk.serving import application
from popk.serving.entered import read_form
from popk.serving.events import recorded
from popk.serving.faults import FormError
from popk.serving.pasted import read_pasted

BASE = "http://localhost"
KINDS = ("application/json", "application/x-www-form-urlencoded", "text/plain", "")
PATHS = ("/", "/login", "/logout", "/api/answer", "/api/read", "/sheet", "/record.json",
         "/record.csv", "/static/page.js", "/static/../x", "/nothing")  # fmt: skip
TABLE = """ID,TIME,EVID,AMT,RATE,ADDL,II,DV,CENS,LLOQ,MDV,CMT,SS,WT
S1,0,1,300,7200,2,28,.,0,.,1,1,0,72
S1,56,0,.,0,0,0,21.5,0,1,0,1,0,72
S1,84,0,.,0,0,0,1,1,1,0,1,0,72
"""
ODD = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 1e308, 1e-308, 5e-324, 10**400, "", " ", "0", "1", "-1",
        "1e308", "1e-308", "1e999", "nan", "1_0", "٣", "0x1", "\ud800", "\0", "x" * 3000, "4:8",
        "9" * 400 + ":" + "9" * 400, "1e-300", "0.5", "1000000000", "2026-01-01T08:00",
        "0001-01-01T00:00", "9999-12-31T23:59", [], {}, [[]], {"a": []}, "<b>", "'; --",
    ]
)  # fmt: skip
PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3)
    ),
    max_leaves=8,
)


def ways(content, before=()):
    """The ways to all parts of nested values."""
    yield before
    pairs = content.items() if isinstance(content, dict) else ()
    pairs = enumerate(content) if isinstance(content, list) else pairs
    for key, part in pairs:
        yield from ways(part, (*before, key))


@st.composite
def damaged(draw, form):
    """The form with up to three of its parts replaced, taken out, doubled or renamed."""
    form = copy.deepcopy(form)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from([way for way in ways(form) if way]))
        holder = form
        for key in way[:-1]:
            holder = holder[key]
        last, what = way[-1], draw(st.sampled_from(["odd", "odd", "odd", "any", "out", "more"]))
        if what == "out":
            del holder[last]
        elif what == "more" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        elif what == "more":
            holder[draw(st.text(max_size=4))] = holder[last]
        else:
            holder[last] = draw(ODD if what == "odd" else PLAIN_JSON)
    return form


@st.composite
def pasted(draw):
    """The table with some of its cells, rows and characters changed."""
    lines = [line.split(",") for line in TABLE.splitlines()]
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.integers(0, len(lines) - 1))
        at = draw(st.integers(0, len(lines[row]) - 1))
        lines[row][at] = draw(
            st.text(max_size=6) | ODD.filter(lambda v: isinstance(v, str))
            | st.sampled_from(["1.0", "0.0", "-2", "2", '"', "1_0", "TIME"])
        )  # fmt: skip
    text = draw(st.sampled_from("\n\r\f\v\x1c")) if draw(st.booleans()) else "\n"
    return text.join(",".join(line) for line in lines)


@pytest.fixture(scope="module")
def asked(study):
    """asked(method, path, …): what the page answers, called in this process, in a loop apart."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    transport = httpx.ASGITransport(application(study))
    client = httpx.AsyncClient(transport=transport, base_url=BASE, timeout=60)

    def request(method, path, **sent):
        work = client.request(method, path, **sent)
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    yield request
    asyncio.run_coroutine_threadsafe(client.aclose(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def checked(response):
    """The response, once it is certain that it says something that can be read."""
    assert response.status_code < 500, response.text
    if response.headers.get("content-type", "") == "application/json":
        content = json.loads(response.content, parse_constant=pytest.fail)
        if response.status_code >= 400:
            assert all(one["message"].strip() for one in content["problems"])
    return response


def or_faults(work):
    """What is made of entries, or None where they are refused in sentences."""
    found, faults = None, ()
    try:
        found = work()
    except FormError as error:
        faults = error.faults
    assert found is not None or faults
    assert all(fault.message.strip() for fault in faults)
    return found


EASY = settings(
    max_examples=60, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
HARD = settings(EASY, max_examples=1500)


def check_form(client, sent, path):
    # As JavaScript writes it: NaN is none of JSON, half characters and long numbers are.
    body = json.dumps(sent)
    if path == "/api/answer":
        response = client("POST", path, content=body, headers={"content-type": KINDS[0]})
    else:
        response = client("POST", path, data={"entries": body})
    return checked(response)


@given(data=st.data())
@EASY
def test_damaged_entries(asked, form, data):
    sent = data.draw(damaged({**form, "now": form["doses"][0]["when"]}))
    check_form(asked, sent, data.draw(st.sampled_from(["/api/answer", "/record.json"])))


@pytest.mark.slow
@given(data=st.data())
@HARD
def test_many_damaged_entries(asked, form, data):
    sent = data.draw(damaged({**form, "now": form["doses"][0]["when"]}))
    path = data.draw(st.sampled_from(["/api/answer", "/record.json", "/record.csv", "/sheet"]))
    check_form(asked, sent, path)


@given(data=st.data())
@settings(EASY, max_examples=300)
def test_entries_that_are_taken_are_those_sent(study, form, data):
    """Numbers that are read are the numbers that were sent; nothing odd passes for something."""
    sent = data.draw(damaged(form))
    found = or_faults(lambda: read_form(sent, study.needs))
    if found is None or or_faults(lambda: recorded(found, study.needs)) is None:
        return
    assert found.patient == str(sent["patient"]).strip()
    assert found.target == float(sent["target"])
    assert found.seed == (1 if sent.get("seed") in (None, "") else float(sent["seed"]))
    for one, row in zip(found.doses, sent["doses"], strict=True):
        assert one.amount == float(row["amount"])
        assert one.more == (float(row["more"]) if row.get("more") not in (None, "") else 0)
        assert one.hours == (float(row["hours"]) if row.get("hours") not in (None, "") else 0)
    for one, row in zip(found.samples, sent.get("samples") or [], strict=True):
        assert math.isnan(one.value) if one.below else one.value == float(row["value"])


@given(text=pasted())
@settings(EASY, max_examples=300)
def test_damaged_tables_that_are_pasted(study, text):
    form = or_faults(lambda: read_pasted(text, study.needs))
    fields = {"patient", "clock", "covariates", "doses", "samples"}
    assert form is None or set(form) == fields


@given(text=pasted() | st.text(), subject=ODD)
@settings(EASY, max_examples=40)
def test_damaged_tables_that_are_sent(asked, text, subject):
    sent = {"text": text, "subject": subject}
    headers = {"content-type": KINDS[0]}
    checked(asked("POST", "/api/read", content=json.dumps(sent), headers=headers))


@given(
    path=st.sampled_from(PATHS) | st.text(st.characters(codec="ascii"), max_size=8),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
    kind=st.sampled_from(KINDS),
    body=st.binary(max_size=40) | PLAIN_JSON.map(lambda value: json.dumps(value).encode())
    | PLAIN_JSON.map(lambda value: urlencode({"entries": json.dumps(value)}).encode()),
    cookie=st.sampled_from(["", "popk_session=1.2", "popk_session=\xff", "a;b;;=", "x" * 5000]),
    authorization=st.sampled_from(["", "Bearer", "Bearer \xff", "Basic x", "Bearer " + "y" * 99]),
)  # fmt: skip
@settings(EASY, max_examples=150)
def test_any_request(asked, path, method, kind, body, cookie, authorization):
    headers = {
        name: value.encode("latin-1")
        for name, value in (("content-type", kind), ("cookie", cookie),
                            ("authorization", authorization)) if value
    }  # fmt: skip
    path = "/" + "".join(c for c in path if c.isalnum() or c in "/.-_%?=&").lstrip("/")
    checked(asked(method, path, content=body, headers=headers))


def paste(study, *changes):
    text = TABLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read_pasted(text, study.needs)


def refused(study, *changes):
    with pytest.raises(FormError) as caught:
        paste(study, *changes)
    return str(caught.value)


def test_codes_of_a_spreadsheet_are_read_and_others_named(study):
    """MDV 0.0 dropped the sample without a word."""
    whole = paste(study)
    assert paste(study, ("1,0,1,0,72\nS1,84", "1,0.0,1.0,0.0,72\nS1,84")) == whole
    assert len(paste(study, ("1,0,1,0,72\nS1,84", "1,1,1,0,72\nS1,84"))["samples"]) == 1
    assert "column MDV: “x”" in refused(study, ("1,0,1,0,72\nS1,84", "1,x,1,0,72\nS1,84"))


def test_a_rate_is_a_number_as_other_cells_are(study):
    """7_200 was read as 7200, as Python does."""
    for rate in ("7_200", "٧٢٠٠", "1e400", "inf"):
        assert "column RATE" in refused(study, ("7200", rate))


def test_a_table_that_is_all_one_cell_is_none(study):
    with pytest.raises(FormError, match="there is no table"):
        read_pasted('"ID,TIME\n1,2"', study.needs)


def test_another_output_is_not_taken_for_the_first(study):
    text = "\n".join(
        f"{line},{'DVID' if k == 0 else 2 if k == 2 else 1}"
        for k, line in enumerate(TABLE.splitlines())
    )
    with pytest.raises(FormError, match="row 3, column DVID: “2”"):
        read_pasted(text, study.needs)


@pytest.mark.parametrize(
    ("where", "value", "field"),
    [
        (("weeks",), "9" * 400 + ":" + "9" * 400, "weeks"),
        (("weeks",), "1_0:1_2", "weeks"),
        (("weeks",), "nan", "weeks"),
        (("samples", 0, "below"), "yes", "samples.0.below"),
        (("samples", 0, "below"), [], "samples.0.below"),
        (("doses", 0, "hours"), [], "doses.0.hours"),
        (("doses", 0, "hours"), False, "doses.0.hours"),
        (("seed",), {}, "seed"),
        (("patient",), "a\ud800", "patient"),
    ],
)
def test_odd_entries_are_named(study, form, where, value, field):
    place = form
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(FormError) as caught:
        read_form(form, study.needs)
    assert field in [fault.field for fault in caught.value.faults]


def test_a_seed_of_zero_is_zero(study, form):
    assert read_form({**form, "seed": 0}, study.needs).seed == 0
    assert read_form({**form, "seed": ""}, study.needs).seed == 1


def test_half_a_character_in_a_field_that_is_not_used(asked, form):
    """The record holds what was entered, also what the answer does not need."""
    form["samples"][0] |= {"below": True, "limit": "1", "value": "\ud800"}
    response = check_form(asked, form, "/record.json")
    assert response.status_code == 422
    assert "half a character" in response.text


def test_a_number_beyond_all_is_no_json(asked, form):
    body = json.dumps(form).replace('"300"', "1e999")
    headers = {"content-type": KINDS[0]}
    response = checked(asked("POST", "/api/answer", content=body, headers=headers))
    assert response.status_code == 400


@pytest.mark.parametrize("weight", ["1e308", "1e-308"])
def test_a_weight_that_nobody_has_is_answered(asked, form, weight):
    form["covariates"]["WT"] = weight
    response = check_form(asked, form, "/api/answer")
    assert response.status_code == 422 or response.json()["state"] == "withheld"
