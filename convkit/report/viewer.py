"""Showing a model's graph in netron, without what netron tells others about it.

netron's own server makes the browser send usage figures and errors to a measuring service, and ask
another one for the reader's country, every time that a model is opened. Only netron's page and
scripts are used here, from a server of convkit's own: it listens on this machine only, below a path
that cannot be guessed, and forbids the browser to reach any other address.
"""

from __future__ import annotations

import html
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from convkit.errors import ConvkitError, UsageError

HOST = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing from another address."""

_TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
}
_DATA = "data/"
_SAVED_MODEL = "saved_model.pb"


@contextmanager
def viewer(model: Path, port: int = 0) -> Iterator[str]:
    """Serve a model until the block ends.

    Args:
        port: 0 for any that is free.

    Yields:
        The address to open.

    Raises:
        ConvkitError: netron is not installed, or the port is taken.
        UsageError: the file is not there, or netron knows no such files.
    """
    pages = _netron()
    file = entry_file(model, shown_suffixes(pages))
    token = secrets.token_urlsafe(16)
    handler = partial(_Handler, pages, file, token)
    try:
        server = _Server((HOST, port), handler)
    except (OSError, OverflowError) as error:
        raise ConvkitError(
            f"port {port} cannot be listened on: {error}", hint="--port chooses another one."
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/{token}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entry_file(model: Path, suffixes: frozenset[str]) -> Path:
    """The file that netron is to open: of a SavedModel the graph inside.

    Raises:
        UsageError: there is none, or netron knows no such files.
    """
    if not model.exists():
        raise UsageError(f"there is no file {model}")
    if model.is_dir():
        inside = model / _SAVED_MODEL
        if inside.is_file():
            return inside
        raise UsageError(
            f"netron cannot show the folder {model}",
            hint="Of folders it shows SavedModels; else name the model's file inside.",
        )
    suffix = model.suffix.lower()
    if suffixes and suffix not in suffixes:
        raise UsageError(
            f"netron cannot show {suffix or 'files without a suffix'}",
            hint="`convkit inspect` lists the operators of every format of the graph.",
        )
    return model


def shown_suffixes(pages: Path) -> frozenset[str]:
    """Suffixes that netron offers to open, from its own list; empty where that cannot be read, and
    netron itself says then what it cannot show."""
    try:
        source = (pages / "base.js").read_text("utf-8")
    except OSError:
        return frozenset()
    found = re.search(r"get extensions\(\)\s*\{\s*return \[(.*?)\]", source, re.DOTALL)
    return (
        frozenset(f".{name}" for name in re.findall(r"'([\w.]+)'", found[1]))
        if found
        else (frozenset())
    )


def _netron() -> Path:
    """The folder of netron's page."""
    spec = find_spec("netron")
    if spec is None or not spec.submodule_search_locations:
        raise ConvkitError(
            "viewing needs the package netron, which is not installed",
            hint="In the clone of convkit: pip install -e '.[report]'",
        )
    return Path(spec.submodule_search_locations[0])


class _Server(ThreadingHTTPServer):
    """Quiet when a browser goes away in the middle of a file."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Only the request is lost."""


class _Handler(BaseHTTPRequestHandler):
    """Gives out netron's page, and the model with what lies beside it (weights in other files)."""

    server_version, sys_version = "convkit", ""

    def __init__(
        self, pages: Path, model: Path, token: str, request: object, client: object, server: object
    ) -> None:
        self.pages, self.model, self.token = pages.resolve(), model.resolve(), token
        super().__init__(request, client, server)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Anything below the path that only the reader was told."""
        start, path = f"/{self.token}/", urlsplit(self.path).path
        name = unquote(path.removeprefix(start)) if path.startswith(start) else None
        if name == "":
            self._send_text(self._page())
        elif name is not None and name.startswith(_DATA):
            self._send_file(self.model.parent, name.removeprefix(_DATA), "application/octet-stream")
        elif name is not None and Path(name).suffix in _TYPES:
            self._send_file(self.pages, name, _TYPES[Path(name).suffix])
        else:
            self._send_text("not found", 404)

    do_HEAD = do_GET  # noqa: N815 - the base class's spelling

    def _page(self) -> str:
        """netron's page, told what to open.

        Version 0.0.0 is what it calls itself while it is developed, and then it measures nothing.
        Without its date it does not refuse to work when it is half a year old.
        """
        page = (self.pages / "index.html").read_text("utf-8")
        name = html.escape(self.model.name, quote=True)
        told = (
            '<meta name="type" content="Python">\n<meta name="version" content="0.0.0">\n'
            f'<meta name="file" content="{_DATA}{quote(self.model.name)}">\n'
            f'<meta name="identifier" content="{name}">'
        )
        page = re.sub(r'<meta name="date" content="[^"]*">\s*', "", page)
        return re.sub(r'<meta name="version" content="[^"]*">', lambda _: told, page, count=1)

    def _send_text(self, text: str, status: int = 200) -> None:
        content = text.encode()
        self._head(status, _TYPES[".html"] if status == 200 else "text/plain", len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_file(self, folder: Path, name: str, kind: str) -> None:
        # a name with a null byte is no name
        path = folder if "\0" in name else (folder / name).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            self._send_text("not found", 404)
            return
        with path.open("rb") as file:
            self._head(200, kind, path.stat().st_size)
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile)

    def _head(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        # With this cookie netron asks no service where the reader lives, and shows no notice.
        self.send_header("Set-Cookie", f"consent=none; Path=/{self.token}/; SameSite=Strict")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is written while the terminal shows the address."""
