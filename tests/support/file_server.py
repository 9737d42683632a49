"""A server on this machine that hands out one file, with ranges, and breaks off where it is told to."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What is handed out.

    Attributes:
        content: The file.
        tag: Its ETag; "" sends none.
        stop: Bytes after which a transfer breaks off; None: never.
        announced: Size that is announced in place of the true one.
        status: Answer in place of 200.
        asked: The Range headers of the requests so far, "" where there was none.
        url: Where it is.
    """

    content: bytes
    tag: str = '"one"'
    stop: int | None = None
    announced: int | None = None
    status: int = 200
    asked: list[str] = field(default_factory=list[str])
    url: str = ""


@contextmanager
def serving(content: bytes, name: str = "data.zip") -> Generator[Served]:
    """Serves a file for as long as the context lasts."""
    served = Served(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            served.asked.append(asked)
            start = 0
            if served.status != 200:
                self.send_error(served.status)
                return
            if asked and self.headers.get("If-Range") == served.tag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            if served.tag:
                self.send_header("ETag", served.tag)
            self.send_header("Content-Length", str(served.announced or len(served.content) - start))
            self.end_headers()
            end = len(served.content) if served.stop is None else min(served.stop, len(served.content))
            self.wfile.write(served.content[start:end])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}/{name}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
