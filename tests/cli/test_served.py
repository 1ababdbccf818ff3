"""`popk serve`: what it refuses, what it prints, and that the page is there."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from popk.cli import main
from popk.storage import save


@pytest.fixture(scope="module")
def run(fits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = fits.dataset(*(r for k in range(3) for r in fits.history(f"P{k}")))
    save(fits.fit_of(fits.one_compartment(covariates=True), data), folder / "fit.nc")
    return folder


def started(*options):
    code = "import sys; from popk.cli import main; raise SystemExit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", *options], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def lines_until(process, wanted):
    found = []
    for line in process.stdout:
        found.append(line.strip())
        if wanted in line:
            return found
    pytest.fail("\n".join([*found, process.stderr.read()]))
    return found


def test_it_says_where_the_page_is_and_ends_by_ctrl_c(run):
    process = started(str(run), "--port", "0", "--host", "0.0.0.0")
    try:
        said = lines_until(process, "Research software")
        url = urlsplit(re.search(r"http://\S+", " ".join(said))[0])
        token = re.search(r"this token: (\S+)", " ".join(said))[1]
        assert len(token) > 30
        assert any("not encrypted" in line for line in said)
        for given, status in ((token, 200), ("x" * 43, 401)):
            connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=30)
            connection.request("GET", "/", headers={"authorization": f"Bearer {given}"})
            assert connection.getresponse().status == status
            connection.close()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (0, 130)
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--token", "short"], "16 or more"),
        (["--weeks", "8:4"], "--weeks is '8:4'"),
        (["--target", "-1"], "a trough target is above zero"),
        (["--probability", "90"], "0.01 to 0.999"),
        (["--port", "99999"], "ports are 0 to 65535"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
        (["--certificate", "absent.pem"], "belong together"),
        (["--certificate", "absent.pem", "--key", "absent.pem"], "no file absent.pem"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run, capsys, monkeypatch, options, words):
    monkeypatch.setattr("popk.serving.Study.warm_up", lambda self: None)
    assert main(["serve", str(run), *options]) == 2
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken(run, capsys, monkeypatch):
    monkeypatch.setattr("popk.serving.Study.warm_up", lambda self: None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["serve", str(run), "--port", port]) == 2
    assert f"port {port}, cannot be used" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(run, capsys, monkeypatch):
    monkeypatch.setattr("popk.cli.served.find_spec", lambda name: None)
    assert main(["serve", str(run)]) == 2
    assert 'pip install "popk[serve]"' in capsys.readouterr().err


def test_without_the_extra_the_package_says_so():
    code = "import sys; sys.modules['uvicorn'] = None; import popk.serving"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1].endswith('pip install "popk[serve]".')


def test_a_folder_without_a_fit(tmp_path, capsys):
    assert main(["serve", str(tmp_path)]) == 2
    assert "holds no fit" in capsys.readouterr().err
