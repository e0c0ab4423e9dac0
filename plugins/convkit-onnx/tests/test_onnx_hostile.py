"""Damaged ONNX files and external data that points elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from convkit.errors import ConvkitError, ExitCode, InputError, UnsafeError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_onnx.detect import looks_like_onnx  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402


def inspect(path):
    return OnnxInspector().inspect(path, ReadOptions())


@pytest.mark.parametrize("data", [b"", b"hello there", b"PK\x03\x04" + bytes(50), bytes(64)])
def test_wrong_content(tmp_path, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError):
        inspect(path)


def test_missing_file_and_directory(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(InputError):
            inspect(path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9, 0.99])
def test_truncated(saved, tmp_path, share):
    data = saved("cnn").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError) as error:
        inspect(path)
    assert error.value.message


_SETTINGS = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_SETTINGS
@given(data=st.data())
def test_flipped_bits_give_typed_errors_or_another_digest(saved, tmp_path, data):
    """ONNX has no checksum: a flip inside a weight is another model, and the digest says so."""
    whole = saved("cnn").read_bytes()
    flipped = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        flipped[bit // 8] ^= 1 << bit % 8
    path = tmp_path / "flipped.onnx"
    path.write_bytes(flipped)
    try:
        assert len(inspect(path).digest) == 64
    except ConvkitError as error:
        assert error.message


@settings(max_examples=300, deadline=None)
@given(head=st.binary(max_size=300))
def test_detection_never_raises(head):
    assert looks_like_onnx(head) in (True, False)
    assert looks_like_onnx(b"\x08\x08" + head) in (True, False)


def external(saved, name="weights.bin"):
    return saved("cnn", "ext.onnx", save_as_external_data=True, location=name, size_threshold=0)


def redirect(path, location):
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("where", ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", ""])
def test_external_data_must_stay_in_the_folder(saved, tmp_path, where):
    path = external(saved)
    (tmp_path.parent / "secret.bin").write_bytes((tmp_path / "weights.bin").read_bytes())
    model_artifact = inspect(path)
    redirect(path, where)
    with pytest.raises(UnsafeError) as error:
        inspect(path)
    assert error.value.exit_code == ExitCode.UNSAFE
    from convkit.plugin import Artifact

    bad = Artifact(path, model_artifact.state, model_artifact.inputs, model_artifact.outputs)
    with pytest.raises(UnsafeError):
        OnnxRuntimeRunner().open(bad, 1)


def test_external_data_through_a_link_is_refused(saved, tmp_path):
    path = external(saved)
    data = tmp_path / "weights.bin"
    outside = tmp_path.parent / "outside.bin"
    outside.write_bytes(data.read_bytes())
    data.unlink()
    data.symlink_to(outside)
    with pytest.raises(UnsafeError):
        inspect(path)


def test_external_data_missing_or_short(saved, tmp_path):
    path = external(saved)
    data = tmp_path / "weights.bin"
    data.write_bytes(data.read_bytes()[:10])
    with pytest.raises(InputError, match="shorter"):
        inspect(path)
    data.unlink()
    with pytest.raises(InputError, match="missing"):
        inspect(path)


def test_weight_of_wrong_size(proto, tmp_path):
    model = proto("cnn")
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError):
        inspect(tmp_path / "m.onnx")
