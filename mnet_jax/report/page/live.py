"""The page while a sweep trains: served to this machine alone, and what it shows read anew when it asks."""

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from mnet_jax.errors import UserError
from mnet_jax.report import findings
from mnet_jax.report.page import document
from mnet_jax.report.page.contents import contents
from mnet_jax.report.page.folders import Folders
from mnet_jax.workdir import predictions, results
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import Row

HOST = "127.0.0.1"

_PAUSE = 4  # after a look at the files, in times of what that took


class Live:
    """What the page of some workdirs shows now."""

    def __init__(self, workdirs: Sequence[str | os.PathLike]):
        self._workdirs, self._folders = workdirs, Folders(workdirs)
        self._lock = threading.Lock()
        self._due = 0.0
        self._shown: dict[str, Any] = {}
        self._tag = ""
        self._done: list[Row] = []
        self._found: list[findings.Finding] = []

    def look(self) -> tuple[dict[str, Any], str]:
        """What is shown, and a tag that is another one where that is; looks again where the last look is long ago.

        Raises:
          UserError: the workdirs, or their tables, are not there any more.
        """
        with self._lock:
            start = time.monotonic()
            if start >= self._due:
                rows = results.results(*self._workdirs)
                self._shown = contents(rows, self._findings(rows), self._folders)
                told = document.as_json({key: part for key, part in self._shown.items() if key != "made"})
                self._tag = f'"{hashlib.sha256(told.encode()).hexdigest()[:16]}"'
                self._due = time.monotonic() + _PAUSE * (time.monotonic() - start)
            return self._shown, self._tag

    def _findings(self, rows: Sequence[Row]) -> list[findings.Finding]:
        """The law takes long, and waits for a trial that ends."""
        done = [row for row in rows if row["status"] == DONE]
        if done != self._done:
            shares, _ = predictions.of_workdirs(self._workdirs, done)
            self._done, self._found = done, findings.find(rows, shares)
        return self._found


def server(workdirs: Sequence[str | os.PathLike], port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of the page on the loopback address, at a free port where none is given; it is not started.

    Raises:
      UserError: there is nothing to show, a library is missing, or the port is taken.
    """
    live = Live(workdirs)
    document.document(live.look()[0])
    try:
        return _Server((HOST, port), _handler(live))
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}") from error


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(live: Live) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers to two addresses: the page, and its data."""

        def do_GET(self) -> None:
            pages: dict[str, Callable] = {"/": self._page, "/data.json": self._data}
            port = self.server.server_address[1]
            if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", "another host's name: only this machine is answered")
            elif self.path not in pages:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing of this name")
            else:
                try:
                    pages[self.path](*live.look())
                except UserError as error:
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", str(error))

        def _page(self, shown: dict[str, Any], tag: str) -> None:
            self._answer(HTTPStatus.OK, "text/html", document.document(shown, tag))

        def _data(self, shown: dict[str, Any], tag: str) -> None:
            if self.headers.get("If-None-Match") == tag:
                self._answer(HTTPStatus.NOT_MODIFIED, "application/json", "", tag)
            else:
                self._answer(HTTPStatus.OK, "application/json", document.as_json(shown), tag)

        def _answer(self, status: HTTPStatus, kind: str, text: str, tag: str | None = None) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            if tag:
                self.send_header("ETag", tag)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
