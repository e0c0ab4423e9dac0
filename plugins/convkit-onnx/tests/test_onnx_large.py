"""Weights outside the model: read in pieces, written where one message cannot hold them."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from convkit.plugin import Artifact, ReadOptions, Renamer  # noqa: E402
from convkit_onnx import reading  # noqa: E402
from convkit_onnx.fix_shapes import FixShapes  # noqa: E402
from convkit_onnx.half import Half  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402

INSPECTOR, RUNNER = OnnxInspector(), OnnxRuntimeRunner()


@pytest.fixture
def low(monkeypatch):
    """As if a message held a few kilobytes."""
    monkeypatch.setattr(reading, "LARGE_BYTES", 4000)
    monkeypatch.setattr(reading, "SMALL_BYTES", 500)
    monkeypatch.setattr(reading, "_CHUNK_BYTES", 100)


def outside(saved, name="mlp", location="w.data"):
    return saved(name, "x.onnx", save_as_external_data=True, location=location, size_threshold=0)


def rows(artifact, count=3):
    return [np.random.default_rng(0).standard_normal((count, 32)).astype("float32")]


def test_heavy_weights_are_not_loaded(low, saved, artifact):
    digest = INSPECTOR.inspect(saved("mlp"), ReadOptions()).digest
    path = outside(saved)
    model = reading.load_light(path)
    assert all(not tensor.raw_data for tensor in model.graph.initializer)
    seen = INSPECTOR.inspect(path, ReadOptions())
    assert seen.digest == digest
    assert seen.companions == ("w.data",)
    assert seen.parameter_bytes == {"float32": 4 * (32 * 64 + 64 * 8)}
    data = path.with_name("w.data")
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert INSPECTOR.inspect(path, ReadOptions()).digest != digest


def test_weights_in_a_folder_of_their_own(saved, tmp_path):
    (tmp_path / "weights").mkdir()
    path = outside(saved, location="weights/w.data")
    assert INSPECTOR.inspect(path, ReadOptions()).companions == ("weights/w.data",)


def test_length_follows_from_the_shape_where_it_is_not_said(low, saved):
    path = outside(saved)
    digest = INSPECTOR.inspect(path, ReadOptions()).digest
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        kept = [(e.key, e.value) for e in tensor.external_data if e.key != "length"]
        del tensor.external_data[:]
        for key, value in kept:
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    assert INSPECTOR.inspect(path, ReadOptions()).digest == digest


@pytest.mark.parametrize("edge", [FixShapes(), Half()])
def test_a_large_result_has_its_weights_beside_it(low, saved, artifact, context, tmp_path, edge):
    source = artifact(outside(saved))
    options = {option.name: option.default for option in edge.options}
    output = tmp_path / "out" / "artifact.onnx"
    output.parent.mkdir()
    result = edge.convert(source, output, options, context)
    assert sorted(p.name for p in output.parent.iterdir()) == [
        "artifact.onnx",
        "artifact.onnx.data",
    ]
    seen = INSPECTOR.inspect(output, ReadOptions())
    assert seen.companions == ("artifact.onnx.data",)
    assert seen.state == edge.target
    if edge.target == edge.source:
        assert seen.parameter_bytes == INSPECTOR.inspect(source.path, ReadOptions()).parameter_bytes
    assert output.stat().st_size < 2000
    x = rows(source, 1)
    (wanted,), (got,) = RUNNER.open(source, 1).run(x), RUNNER.open(result, 1).run(x)
    np.testing.assert_allclose(got, wanted, atol=0.05)
    onnx.checker.check_model(str(output))


def test_a_renamed_model_finds_its_weights(saved, artifact, tmp_path):
    assert isinstance(INSPECTOR, Renamer)
    source = artifact(outside(saved))
    place = tmp_path / "published"
    place.mkdir()
    for name in ("one", "two"):
        path = place / f"{name}.onnx"
        path.write_bytes(source.path.read_bytes())
        INSPECTOR.rename(path, {"w.data": f"{name}.onnx.data", "other": "nothing"})
        path.with_name(f"{name}.onnx.data").write_bytes((tmp_path / "w.data").read_bytes())
        seen = INSPECTOR.inspect(path, ReadOptions())
        assert seen.companions == (f"{name}.onnx.data",)
        assert seen.digest == source.digest
        x = rows(source)
        (wanted,), (got,) = (RUNNER.open(a, 1).run(x) for a in (source, replace(source, path=path)))
        np.testing.assert_array_equal(got, wanted)


def test_the_store_notices_other_weights_beside_the_same_model(saved, empty_cache):
    from convkit.kit import inspect

    path = outside(saved)
    before = inspect(path)
    assert inspect(path) == before  # from the store
    data = path.with_name("w.data")
    data.write_bytes(bytes(len(data.read_bytes())))
    assert inspect(path).digest != before.digest


_GIANT_DISK = 6e9
"""Bytes that the model of more than two gigabytes and its copies take at most."""


@pytest.fixture
def giant(tmp_path) -> Iterator[Artifact]:
    """Four matrices of half a gigabyte: more than one protobuf message holds."""
    if (free := shutil.disk_usage(tmp_path).free) < _GIANT_DISK:
        pytest.skip(f"needs {_GIANT_DISK / 1e9:.0f} GB of disk, {free / 1e9:.1f} GB are free")
    width, depth = 8192, 16384
    path, data = tmp_path / "giant.onnx", tmp_path / "giant.bin"
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    with data.open("wb") as file:
        for index in range(4):
            shape = (width, depth) if index % 2 == 0 else (depth, width)
            tensor = onnx.TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            size = width * depth * 4
            where = {"location": data.name, "offset": file.tell(), "length": size}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
            for _ in range(16):
                part = rng.random(width * depth // 16, dtype=np.float32)
                file.write(((part - 0.5) * 0.02).tobytes())
            weights.append(tensor)
            nodes.append(helper.make_node("MatMul", [last, f"w{index}"], [f"h{index}"]))
            last = f"h{index}"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "giant",
        [info("x", TensorProto.FLOAT, ["n", width])],
        [info(last, TensorProto.FLOAT, ["n", width])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    seen = INSPECTOR.inspect(path, ReadOptions())
    yield Artifact(path, seen.state, seen.inputs, seen.outputs, seen.digest, traits=seen.traits)
    for file_name in tmp_path.glob("*"):
        if file_name.is_file():
            file_name.unlink()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_more_than_two_gigabytes(giant, context, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = INSPECTOR.inspect(giant.path, ReadOptions())
    assert seen.parameter_bytes["float32"] >= 2**31
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes
    fixed = FixShapes().convert(giant, tmp_path / "fixed.onnx", {"batch": 1}, context)
    assert fixed.path.with_name("fixed.onnx.data").stat().st_size >= 2**31
    assert INSPECTOR.inspect(fixed.path, ReadOptions()).inputs[0].shape == (1, 8192)
    x = [np.random.default_rng(1).random((1, 8192), dtype=np.float32)]
    (wanted,) = RUNNER.open(giant, 2).run(x)
    giant.path.with_suffix(".bin").unlink()  # no copy may read it
    (got,) = RUNNER.open(fixed, 2).run(x)
    np.testing.assert_array_equal(got, wanted)
    assert [t.tensor for t in RUNNER.trace(fixed, x, 2)] == ["h0", "h1", "h2", "h3"]
    options = {option.name: option.default for option in Half().options}
    half = Half().convert(fixed, tmp_path / "half.onnx", options, context)
    assert INSPECTOR.inspect(half.path, ReadOptions()).state.precision == "fp16"
    (got,) = RUNNER.open(half, 2).run(x)
    np.testing.assert_allclose(got, wanted, atol=1e-2 * np.abs(wanted).max())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 8_000_000
