"""Both importers: parity with ONNX Runtime, names, order, open axes, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
np = pytest.importorskip("numpy")
pytest.importorskip("convkit_torch")

import onnx2torch_models as models  # noqa: E402

from convkit.errors import ConversionError, InputError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_onnx2torch import preparing  # noqa: E402
from convkit_onnx2torch.by_onnx2fx import ByOnnx2Fx  # noqa: E402
from convkit_onnx2torch.by_onnx2torch import ByOnnx2Torch  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.runner import TorchRunner  # noqa: E402

FX, MODULES = ByOnnx2Fx(), ByOnnx2Torch()
BATCH = {"batch": 1}
LACKING = {("onnx2torch.torch", name) for name in ("upsampled", "recurrent", "normalized")}


@pytest.fixture(scope="module", autouse=True)
def _importers() -> None:
    pytest.importorskip("onnx2fx")
    pytest.importorskip("onnx2torch")


def assert_same(source, result, arrays):
    session = ort.InferenceSession(str(source.path), providers=["CPUExecutionProvider"])
    wanted = session.run([s.name for s in source.outputs], arrays)
    got = TorchRunner().open(result, 1).run([arrays[s.name] for s in source.inputs])
    for a, b in zip(got, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, atol=1e-5)


def assert_described(result):
    seen = TorchInspector().inspect(result.path, ReadOptions())
    for kind in ("inputs", "outputs"):
        described = {s.name: (s.shape, s.dtype) for s in getattr(result, kind)}
        assert described == {s.name: (s.shape, s.dtype) for s in getattr(seen, kind)}
    assert seen.traits == dict(result.traits)
    return seen


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("edge", [FX, MODULES], ids=lambda e: e.name)
def test_parity(edge, name, artifact, context, tmp_path):
    model = models.MODELS[name]()
    source = artifact(models.write(model, tmp_path))
    output = tmp_path / "out.pt2"
    obstacles = edge.check(source, BATCH)
    if (edge.name, name) in LACKING:
        assert obstacles
        with pytest.raises(ConversionError, match="lacks"):
            edge.convert(source, output, BATCH, context)
        assert not output.exists()
        return
    assert obstacles == ()
    result = edge.convert(source, output, BATCH, context)
    assert_same(source, result, models.feeds(model))
    assert_described(result)
    data = output.read_bytes()
    assert str(tmp_path).encode() not in data
    assert b"site-packages" not in data


def test_what_is_cut_unevenly(artifact, context, tmp_path):
    model = models.enlarged()
    source = artifact(models.write(model, tmp_path))
    result = FX.convert(source, tmp_path / "out.pt2", BATCH, context)
    assert_same(source, result, models.feeds(model))


@pytest.mark.parametrize("edge", [FX, MODULES], ids=lambda e: e.name)
def test_names_become_identifiers_and_keep_their_order(edge, artifact, context, tmp_path):
    source = artifact(models.write(models.two_ends(), tmp_path))
    turned = replace(source, inputs=source.inputs[::-1], outputs=source.outputs[::-1])
    result = edge.convert(turned, tmp_path / "o.pt2", BATCH, context)
    assert [s.name for s in result.inputs] == ["ids", "input_1"]
    assert [s.name for s in result.outputs] == ["scores", "map_0"]
    assert_same(turned, result, models.feeds(models.two_ends()))
    # `stem.weight` and `stem_weight` are two tensors.
    shapes = {tuple(t.shape) for t in torch.export.load(result.path).state_dict.values()}
    assert (4, 3, 3, 3) in shapes


@pytest.mark.parametrize("edge", [FX, MODULES], ids=lambda e: e.name)
def test_an_open_batch_stays_open(edge, artifact, context, tmp_path):
    model = models.two_ends("batch")
    source = artifact(models.write(model, tmp_path))
    result = edge.convert(source, tmp_path / "o.pt2", BATCH, context)
    assert result.traits["dynamic"] is True
    assert isinstance(result.outputs[1].shape[0], str)
    assert_described(result)
    for batch in (1, 2, 5):
        assert_same(source, result, models.feeds(model, batch))


def test_stated_sizes_are_fixed(artifact, context, tmp_path):
    model = models.two_ends("batch")
    read = ReadOptions(shapes={"input.1": (3, 3, 8, 8)})
    source = artifact(models.write(model, tmp_path), read)
    result = FX.convert(source, tmp_path / "o.pt2", BATCH, context)
    assert result.traits["dynamic"] is False
    assert [s.shape for s in result.inputs] == [(3, 3, 8, 8), (3, 6)]
    assert_same(source, result, models.feeds(model, 3))


def test_a_batch_that_cannot_stay_open_takes_the_option(artifact, context, tmp_path):
    """The size of a range is computed from the batch: no literal, so no open axis."""
    n = onnx.helper.make_node
    model = models.build(
        [
            n("Shape", ["x"], ["s"], "Shape"),
            n("Gather", ["s", "zero"], ["b"], "Gather"),
            n("Range", ["zero", "b", "one"], ["r"], "Range"),
            n("Cast", ["r"], ["f"], "Cast", to=1),
            n("Unsqueeze", ["f", "axes"], ["u"], "Unsqueeze"),
            n("Add", ["x", "u"], ["y"], "Add"),
        ],
        {"x": (("batch", 4), 1)},
        {"y": ("batch", 4)},
        {
            "zero": np.array(0, np.int64),
            "one": np.array(1, np.int64),
            "axes": np.array([1], np.int64),
        },
    )
    source = artifact(models.write(model, tmp_path))
    result = FX.convert(source, tmp_path / "o.pt2", {"batch": 3}, context)
    if result.traits["dynamic"]:
        batches = (1, 2, 5)
    else:
        assert result.inputs[0].shape == (3, 4)
        batches = (3,)
    for batch in batches:
        assert_same(source, result, models.feeds(model, batch))


def test_missing_operators_are_named_as_the_inspector_names_layers(artifact, tmp_path):
    source = artifact(models.write(models.normalized(), tmp_path))
    found = {o.what: o.layers for o in MODULES.check(source, BATCH)}
    assert found == {"Gelu of opset 20": ("gelu",), "Reshape of opset 20": ("view",)}
    assert FX.check(source, BATCH) == ()


@pytest.mark.parametrize("edge", [FX, MODULES], ids=lambda e: e.name)
def test_foreign_operators(edge, artifact, context, tmp_path):
    source = artifact(models.write(models.unknown(), tmp_path))
    (obstacle,) = edge.check(source, BATCH)
    assert obstacle.what == "acme.Bend of opset 1"
    assert obstacle.layers == ("bend_1", "bend_1#2")
    with pytest.raises(ConversionError, match="lacks acme.Bend"):
        edge.convert(source, tmp_path / "o.pt2", BATCH, context)


@pytest.mark.parametrize("edge", [FX, MODULES], ids=lambda e: e.name)
def test_a_shape_that_is_an_input_is_refused(edge, artifact, context, tmp_path):
    source = artifact(models.write(models.sized_by_input(), tmp_path))
    with pytest.raises(ConversionError) as error:
        edge.convert(source, tmp_path / "o.pt2", BATCH, context)
    assert error.value.__cause__ is not None
    assert not (tmp_path / "o.pt2").exists()


def test_weights_beside_the_model(artifact, context, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "model.onnx"
    model = models.two_ends()
    onnx.save(model, path, save_as_external_data=True, location="w.data", size_threshold=64)
    source = artifact(path)
    result = FX.convert(source, tmp_path / "o.pt2", BATCH, context)
    assert_same(source, result, models.feeds(models.two_ends()))
    (folder / "w.data").unlink()
    with pytest.raises(InputError):
        FX.convert(source, tmp_path / "p.pt2", BATCH, context)


def test_control_flow_is_right_or_refused(artifact, context, tmp_path):
    n, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    branch = {
        name: onnx.helper.make_graph(
            [n(op, ["x", "w"], [name], op)], name, [], [info(name, 1, [2])]
        )
        for name, op in (("then", "Add"), ("else", "Sub"))
    }
    model = models.build(
        [
            n("ReduceSum", ["x"], ["t"], "ReduceSum", keepdims=0),
            n("Greater", ["t", "zero"], ["c"], "Greater"),
            n("If", ["c"], ["y"], "If", then_branch=branch["then"], else_branch=branch["else"]),
        ],
        {"x": ((2,), 1)},
        {"y": (2,)},
        {"w": np.array([1, 2], np.float32), "zero": np.array(0, np.float32)},
    )
    source = artifact(models.write(model, tmp_path))
    assert [o.layers for o in MODULES.check(source, BATCH)] == [("If",)]
    try:
        result = FX.convert(source, tmp_path / "o.pt2", BATCH, context)
    except ConversionError as error:
        assert error.__cause__ is not None
        return
    for sign in (1, -1):
        assert_same(source, result, {"x": np.full(2, sign, np.float32)})


def test_torch_is_left_as_it_was(artifact, context, tmp_path):
    import torch._subclasses.fake_tensor as fake

    before = fake.CONSTANT_NUMEL_LIMIT
    FX.convert(
        artifact(models.write(models.masked(), tmp_path)), tmp_path / "o.pt2", BATCH, context
    )
    assert before == fake.CONSTANT_NUMEL_LIMIT


class TestPreparing:
    """The rewritten graph computes the same."""

    @pytest.mark.parametrize("make", [*models.MODELS.values(), models.enlarged])
    def test_numbers_are_untouched(self, make):
        model = make()
        before = model.SerializeToString()
        prepared = preparing.prepare(model, {})
        assert model.SerializeToString() == before, "the caller's model is its own"
        arrays = models.feeds(model)
        first = ort.InferenceSession(before).run(None, arrays)
        renamed = {prepared.input_names[k]: v for k, v in arrays.items()}
        second = ort.InferenceSession(prepared.model.SerializeToString()).run(None, renamed)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)

    def test_shape_arithmetic_is_gone(self):
        for batch in (1, "batch"):
            prepared = preparing.prepare(models.two_ends(batch), {})
            kinds = [node.op_type for node in prepared.model.graph.node]
            assert not {"Shape", "Concat", "Unsqueeze"} & set(kinds)
            assert "Reshape" in kinds

    def test_random_numbers_are_no_constants(self):
        model = models.build(
            [
                onnx.helper.make_node("RandomUniformLike", ["c"], ["r"], "r"),
                onnx.helper.make_node("Add", ["x", "r"], ["y"], "Add"),
            ],
            {"x": ((2,), 1)},
            {"y": (2,)},
            {"c": np.zeros(2, np.float32)},
        )
        prepared = preparing.prepare(model, {})
        assert [n.op_type for n in prepared.model.graph.node] == ["RandomUniformLike", "Add"]

    def test_two_open_axes_keep_their_places(self):
        """[batch, length, 6] of [batch, length, 2, 3]: copied, copied, known."""
        n = onnx.helper.make_node
        model = models.build(
            [
                n("Shape", ["x"], ["s"], "Shape"),
                n("Slice", ["s", "a", "b"], ["front"], "Slice"),
                n("Concat", ["front", "six"], ["t"], "Concat", axis=0),
                n("Reshape", ["x", "t"], ["y"], "Reshape"),
            ],
            {"x": (("batch", "length", 2, 3), 1)},
            {"y": ("batch", "length", 6)},
            {
                "a": np.array([0], np.int64),
                "b": np.array([2], np.int64),
                "six": np.array([6], np.int64),
            },
        )
        prepared = preparing.prepare(model, {})
        session = ort.InferenceSession(prepared.model.SerializeToString())
        for batch, length in ((1, 2), (3, 5)):
            x = np.arange(batch * length * 6, dtype=np.float32).reshape(batch, length, 2, 3)
            (y,) = session.run(None, {"x": x})
            np.testing.assert_array_equal(y, x.reshape(batch, length, 6))


def test_every_file_is_typed() -> None:
    import convkit_onnx2torch

    assert (Path(convkit_onnx2torch.__file__).parent / "py.typed").exists()
