"""openvino.run: sessions, and the inside of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnx")

import openvino_models as models  # noqa: E402
from openvino import opset13 as operators  # noqa: E402

from convkit.errors import ConversionError  # noqa: E402
from convkit.plugin import Artifact, TensorSpec, Tracer  # noqa: E402
from convkit_openvino import tracing  # noqa: E402
from convkit_openvino.plugin import convkit_converters  # noqa: E402
from convkit_openvino.runner import OpenVinoRunner  # noqa: E402

EDGES: Any = {converter.name: converter for converter in convkit_converters()}


@pytest.fixture
def cnn(tmp_path: Path) -> tuple[models.Case, Artifact]:
    case = models.onnx_case("cnn", tmp_path)
    return case, models.convert(EDGES["openvino.from-onnx"], case.artifact, tmp_path)


def test_wrong_inputs_are_errors(cnn: tuple[models.Case, Artifact]) -> None:
    session = OpenVinoRunner().open(cnn[1], 1)
    with pytest.raises(ConversionError, match="2 inputs are needed"):
        session.run([np.zeros((1, 3, 16, 16), np.float32)])
    with pytest.raises(ConversionError, match="image takes"):
        session.run([np.zeros((1, 4, 16, 16), np.float32), np.zeros((1, 5), np.float32)])


def test_another_interface_is_an_error(cnn: tuple[models.Case, Artifact]) -> None:
    strange = (TensorSpec("nowhere", (1, 5), "float32"),)
    with pytest.raises(ConversionError, match="nowhere"):
        OpenVinoRunner().open(replace(cnn[1], outputs=strange), 1)


def test_results_outlive_the_next_inference(cnn: tuple[models.Case, Artifact]) -> None:
    case, made = cnn
    session = OpenVinoRunner().open(made, 1)
    first = session.run(case.draw(2))
    kept = [np.array(a) for a in first]
    session.run([a * 3 for a in case.draw(2)])
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_state_starts_anew(tmp_path: Path) -> None:
    from openvino import opset6

    x = operators.parameter([1, 2], np.float32, name="x")
    x.output(0).set_names({"x"})
    start = operators.constant(np.zeros((1, 2), np.float32))
    memory = opset6.read_value(start, "memory", np.float32, [1, 2])
    total = operators.add(memory, x)
    total.output(0).set_names({"total"})
    kept = opset6.assign(total, "memory")
    model = openvino.Model([operators.result(total)], [kept], [x], "m")
    openvino.save_model(model, tmp_path / "m.xml", compress_to_fp16=False)
    artifact = models.opened(tmp_path / "m.xml")
    assert models.inspect(artifact.path).traits["stateful"] is True
    session = OpenVinoRunner().open(artifact, 1)
    for _ in range(2):
        np.testing.assert_array_equal(session.run([np.ones((1, 2), np.float32)])[0], 1)


def test_every_layer_is_shown(cnn: tuple[models.Case, Artifact]) -> None:
    case, made = cnn
    runner = OpenVinoRunner()
    assert isinstance(runner, Tracer)
    inputs = case.draw(2)
    shown = list(runner.trace(made, inputs, 1))
    layers = {x.name: x for x in models.inspect(made.path).layers}
    order = [*layers]
    assert [order.index(t.layer) for t in shown] == sorted(order.index(t.layer) for t in shown)
    assert {t.layer for t in shown} == {n for n, x in layers.items() if x.compute == "float32"}
    for tensor in shown:
        assert tensor.value.dtype == np.float32
        assert (tensor.op_type, tensor.scope) == (
            layers[tensor.layer].op_type,
            layers[tensor.layer].scope,
        )
        assert tensor.tensor in layers[tensor.layer].outputs
    values = {t.tensor: t.value for t in shown}
    for name, expected in zip(("map", "logits"), case.expect(inputs), strict=True):
        np.testing.assert_allclose(values[name], expected, rtol=1e-4, atol=1e-5)
    # The convolution's own result, which the runtime fuses with what follows.
    (before,) = (t.value for t in shown if t.op_type == "Add" and t.value.ndim == 4)
    np.testing.assert_allclose(np.maximum(before, 0), values["map"], rtol=1e-6)


def test_batches_show_the_same(
    cnn: tuple[models.Case, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, made = cnn
    runner, inputs = OpenVinoRunner(), case.draw(2)
    whole = list(runner.trace(made, inputs, 1))
    monkeypatch.setattr(tracing, "_BATCH_BYTES", 1)
    pieces = list(runner.trace(made, inputs, 1))
    assert [t.layer for t in pieces] == [t.layer for t in whole]
    for ours, theirs in zip(pieces, whole, strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-5, atol=1e-6)


def test_a_refused_batch_is_halved(
    cnn: tuple[models.Case, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convkit_openvino import runner as module

    case, made = cnn
    inputs = case.draw(2)
    whole = list(OpenVinoRunner().trace(made, inputs, 1))
    honest = module.compiled

    def picky(model: Any, name: str, threads: int) -> Any:
        if len(model.outputs) > 2:
            raise ConversionError("too many outputs")
        return honest(model, name, threads)

    monkeypatch.setattr(module, "compiled", picky)
    pieces = list(OpenVinoRunner().trace(made, inputs, 1))
    assert [t.layer for t in pieces] == [t.layer for t in whole]


def test_a_diverging_layer_can_be_found(cnn: tuple[models.Case, Artifact], tmp_path: Path) -> None:
    """The first layer whose values differ is the one whose weights were changed."""
    case, made = cnn
    other = tmp_path / "other.xml"
    other.write_bytes(made.path.read_bytes())
    seen = models.inspect(made.path)
    weights = bytearray(made.path.with_suffix(".bin").read_bytes())
    first = next(iter(OpenVinoRunner().trace(made, case.draw(1), 1)))
    assert first.op_type == "Convolution"
    weights[:16] = np.full(4, 9, np.float32).tobytes()
    other.with_suffix(".bin").write_bytes(weights)
    pairs = zip(
        OpenVinoRunner().trace(made, case.draw(1), 1),
        OpenVinoRunner().trace(replace(made, path=other), case.draw(1), 1),
        strict=True,
    )
    culprit = next(a.layer for a, b in pairs if not np.allclose(a.value, b.value))
    assert culprit == next(x.name for x in seen.layers if x.op_type == "Convolution")
