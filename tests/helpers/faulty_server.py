"""A real HTTP server on this machine that misbehaves on demand."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyServer:
    """Serves ``files`` (path → bytes); ``faults`` (path → list) spoil the next answers, one each; ``"…"`` all of them.

    Faults: an int is an HTTP status; ``("cut", n)`` ends the connection after n bytes; ``("announce", n)`` lies about
    the length; ``("more", bytes)`` sends more than there is, and no length; ``"whole"`` ignores ranges;
    ``("sleep", s)`` waits before it answers; ``("drip", s)`` sends a byte every s seconds; ``("range", text)`` answers
    206 with that Content-Range, or without one; ``("moved", url)`` redirects; ``("says", text)`` is status 403 with
    that reason.

    Attributes:
        requests: (path, Range or None) of every GET, in order.
    """

    def __init__(self):
        self.files, self.faults, self.requests = {}, {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler) -> None:
        path, asked = handler.path, handler.headers.get("Range")
        self.requests.append((path, asked))
        fault = self._fault(path)
        kind, value = fault if isinstance(fault, tuple) else (fault, None)
        if kind == "sleep":
            time.sleep(value)
        if (path not in self.files and kind != "moved") or isinstance(kind, int):
            handler.send_error(kind if isinstance(kind, int) else 404)
            return
        if kind in ("moved", "says"):
            handler.wfile.write(
                f"HTTP/1.1 302 Found\r\nLocation: {value}\r\nContent-Length: 0\r\n\r\n".encode()
                if kind == "moved"
                else f"HTTP/1.1 403 {value}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            handler.close_connection = True
            return
        body, start = self.files[path], self._start(handler, path, kind)
        handler.send_response(206 if start or kind == "range" else 200)
        if kind == "range":
            if value:
                handler.send_header("Content-Range", value)
        elif start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if kind != "more":
            handler.send_header("Content-Length", str((value if kind == "announce" else len(body)) - start))
        handler.end_headers()
        rest = body[start:] + (value if kind == "more" else b"")
        with contextlib.suppress(OSError):
            if kind == "drip":
                for byte in rest:
                    handler.wfile.write(bytes([byte]))
                    time.sleep(value)
            handler.wfile.write(rest[: value if kind == "cut" else None])
        handler.close_connection = True

    def _fault(self, path):
        faults = self.faults.get(path, [])
        if faults and faults[-1] == "…":
            return faults[0]
        return faults.pop(0) if faults else None

    def _start(self, handler, path, kind) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
        return int(asked[1]) if asked and kind != "whole" else 0


@contextlib.contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """Run a server in a thread; yields it."""
    faulty = FaultyServer()
    thread = threading.Thread(target=faulty.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield faulty
    finally:
        faulty.server.shutdown()
        faulty.server.server_close()
        thread.join()
