"""The page while a sweep trains: to this machine alone, and newer when it asks again."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from mnet_jax.errors import UserError
from mnet_jax.report.page import live
from mnet_jax.workdir.files import Workdir
from tests.conftest import REPOSITORY
from tests.report.page.simulated import finish_running, simulate


@pytest.fixture
def sweep(tmp_path):
    return simulate(tmp_path / "sweep", (1.0, 0.5), (28,), (0, 1), broken=3)


@pytest.fixture
def ask(sweep, monkeypatch):
    """Asks a server of the sweep, which looks at the files each time."""
    monkeypatch.setattr(live, "_PAUSE", 0)
    with live.server([sweep]) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def get(path, **headers):
            connection = http.client.HTTPConnection(*server.server_address)
            connection.request("GET", path, headers={key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            body = answer.read().decode()
            connection.close()
            return answer, body

        yield get
        server.shutdown()
        thread.join()


def test_only_this_machine_is_answered(ask):
    page, text = ask("/")
    assert page.status == 200
    assert "connect-src &#x27;self&#x27;" in text
    assert ask("/", Host="example.org")[0].status == 403, "a name that leads here by a trick"
    assert ask("/../sweep.json")[0].status == 404


def test_nothing_but_the_loopback_address_is_listened_at(sweep):
    with live.server([sweep]) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"


def test_it_answers_anew_when_something_changed(ask, sweep):
    answer, text = ask("/data.json")
    tag = answer.getheader("ETag")
    assert json.loads(text)["counts"] == {"done": 1, "diverged": 1, "failed": 1, "running": 1}
    again, text = ask("/data.json", If_None_Match=tag)
    assert (again.status, text) == (304, "")
    finish_running(sweep)
    answer, text = ask("/data.json", If_None_Match=tag)
    assert answer.status == 200
    assert json.loads(text)["counts"]["done"] == 2
    assert answer.getheader("ETag") != tag


def test_a_workdir_that_is_gone_is_said(ask, sweep):
    sweep.rename(sweep.with_name("moved"))
    answer, text = ask("/data.json")
    assert answer.status == 503
    assert "results.csv does not exist" in text


def test_it_writes_nothing(ask, sweep):
    before = sorted(sweep.rglob("*"))
    ask("/")
    assert sorted(sweep.rglob("*")) == before
    assert not Workdir(sweep).results_path.exists()


def test_a_port_that_is_taken_is_refused(sweep):
    with socket.socket() as taken:
        taken.bind((live.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: Address already in use"):
            live.server([sweep], port)


def test_the_command_serves_until_it_is_stopped(sweep):
    command = [sys.executable, "-m", "mnet_jax.report", "--workdir", str(sweep), "--live"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes) as process:
        try:
            address = process.stdout.readline().split()[0]
            host, port = address.removeprefix("http://").rstrip("/").split(":")
            connection = http.client.HTTPConnection(host, int(port))
            connection.request("GET", "/data.json")
            assert json.loads(connection.getresponse().read())["title"] == "sweep"
            connection.close()
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # a shell's background ignores SIGINT, and so does what is started in it
    assert (host, process.returncode, errors) == ("127.0.0.1", 0, "")
