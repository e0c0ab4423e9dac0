"""`convkit view`: netron, kept at home."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from convkit.cli.app import run
from convkit.errors import ConvkitError, ExitCode, UsageError
from convkit.report import viewer as module
from convkit.report.viewer import entry_file, shown_suffixes, viewer
from tests.report.conftest import PATIENCE, Opened, watch


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An ONNX file with a name that would break a page, and its weights beside it."""
    onnx: Any = pytest.importorskip("onnx")
    pair = [
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, (1, 4)) for n in ("x", "y")
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "tiny", pair[:1], pair[1:]
    )
    path = tmp_path / 'a "b" <c> & ü.onnx'
    onnx.save(onnx.helper.make_model(graph), path)
    (tmp_path / "weights.bin").write_bytes(b"weights")
    return path


def test_netron_draws_it_and_no_other_address_is_asked(model: Path, browser: Any) -> None:
    with viewer(model) as address:
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        opened = Opened(context.new_page(), model)
        watch(opened)
        opened.page.goto(address)
        opened.page.locator("text=Relu").first.wait_for()
        host = urlsplit(address).netloc
        asked = {urlsplit(a).netloc for a in opened.requests if not a.startswith("blob:")}
        assert asked == {host}
        assert opened.complaints == []
        context.close()


def test_the_browser_is_told_to_stay(model: Path) -> None:
    with viewer(model) as address, urlopen(address) as answer:
        policy, page = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert "connect-src 'self'" in policy
    assert "http" not in policy
    assert '<meta name="version" content="0.0.0">' in page
    assert 'name="date"' not in page
    assert "<c>" not in page
    assert "consent=" in answer.headers["Set-Cookie"]


def test_only_the_folder_and_only_with_the_address(model: Path, tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret.bin"
    secret.write_bytes(b"secret")
    (tmp_path / "link.bin").symlink_to(secret)
    with viewer(model) as address:
        with urlopen(f"{address}data/weights.bin") as answer:
            assert answer.read() == b"weights"
        parts = urlsplit(address)
        for path in (
            "/", "/data/weights.bin", "/guess/data/weights.bin",
            f"{parts.path}data/../../secret.bin", f"{parts.path}data/%2e%2e/secret.bin",
            f"{parts.path}data/link.bin", f"{parts.path}../server.py", f"{parts.path}server.py",
            f"{parts.path}data/", f"{parts.path}data//etc/passwd", f"{parts.path}data/%00",
        ):  # fmt: skip
            connection = http.client.HTTPConnection(parts.netloc)
            connection.request("GET", path)
            assert connection.getresponse().status == 404, path
            connection.close()
    with pytest.raises(OSError):
        urlopen(address)


def test_a_saved_model_is_its_graph(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    with pytest.raises(UsageError, match="cannot show the folder"):
        entry_file(folder, frozenset())
    (folder / "saved_model.pb").touch()
    assert entry_file(folder, frozenset({".onnx"})).name == "saved_model.pb"


def test_formats_that_netron_does_not_show() -> None:
    suffixes = shown_suffixes(module._netron())
    assert {".onnx", ".tflite", ".pt2", ".pt", ".pb", ".xml"} <= suffixes
    assert ".txt" not in suffixes


def test_errors_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["view", str(tmp_path / "gone.onnx")]) == ExitCode.USAGE
    (tmp_path / "model.weird").touch()
    assert run(["view", str(tmp_path / "model.weird")]) == ExitCode.USAGE
    assert "netron cannot show .weird" in capsys.readouterr().err
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert run(["view", str(tmp_path / "model.weird")]) == ExitCode.FAILED
    assert "pip install -e '.[report]'" in capsys.readouterr().err


def test_a_taken_port(model: Path) -> None:
    with viewer(model) as address:
        port = urlsplit(address).port
        assert port is not None
        with pytest.raises(ConvkitError, match="cannot be listened on"), viewer(model, port):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to(number: signal.Signals, model: Path) -> None:
    quiet = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    with subprocess.Popen(
        [sys.executable, "-m", "convkit", "view", str(model), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=quiet,
        # a job runner may let its children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(4)]
        document = json.loads("".join(lines))
        with urlopen(document["url"]) as answer:
            assert answer.status == 200
        process.send_signal(number)
        assert process.wait(60) == 0
        said = process.stderr.read()
    assert document["url"] in said
    assert "Traceback" not in said


def test_wrong_methods_do_not_break_it(model: Path) -> None:
    def status(method: str) -> int:
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        connection.request(method, urlsplit(address).path)
        return connection.getresponse().status

    with viewer(model) as address:
        assert status("POST") == 501
        assert status("HEAD") == 200
        with pytest.raises(HTTPError), urlopen(f"{address}nothing.js"):
            pass
