"""Serves a folder of pages on this machine only."""

from __future__ import annotations

import http.server
import webbrowser
from functools import partial
from pathlib import Path

from uadbench.cli.terminal.console import to_stdout


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the base class)
        """Logs nothing: one line per file would hide the address."""


def serve(folder: Path) -> None:
    """Serves a folder at a free port of the loopback address and opens a browser, until Ctrl-C."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        to_stdout().out(f"Serving {address} until Ctrl-C", highlight=False)
        webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
