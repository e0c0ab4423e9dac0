"""The runner: order, quantized I/O, shapes, and files that it cannot run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import litert_models as models
import numpy as np
import pytest
from litert_models import Converted

from convkit.errors import ConversionError, InputError
from convkit_litert import packing
from convkit_litert.arrays import decode, encode
from convkit_litert.model import Port, Tensor

INT8 = Port("x", 0, Tensor("x", (6,), (6,), "int8", scales=(0.5,), zero_points=(3,)))


def test_rounds_half_to_even_and_saturates() -> None:
    given = np.array([0.25, 0.75, -0.25, 1e9, -1e9, 0.0], np.float32)
    encoded = encode(given, INT8)
    assert encoded.dtype == np.int8
    assert encoded.tolist() == [3, 5, 3, 127, -128, 3]
    assert decode(encoded, INT8).tolist() == [0.0, 1.0, 0.0, 62.0, -65.5, 0.0]


def test_integers_are_cast_only_where_they_fit() -> None:
    port = Port("ids", 0, Tensor("ids", (2,), (2,), "int32"))
    assert encode(np.array([1, 2], np.int64), port).dtype == np.int32
    with pytest.raises(ConversionError, match="ids was given values that int32 cannot hold"):
        encode(np.array([1, 2**40]), port)


def test_artifact_decides_the_order(many: Converted) -> None:
    artifact = many.tflite
    turned = replace(artifact, inputs=artifact.inputs[::-1], outputs=artifact.outputs[::-1])
    straight = models.run(artifact, many.sample)
    reverse = models.run(turned, many.sample[::-1])
    for one, other in zip(straight, reverse[::-1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrong_number_and_shape_of_inputs(mlp: Converted) -> None:
    with pytest.raises(ConversionError, match="1 inputs are needed, 2 given"):
        models.run(mlp.tflite, [*mlp.sample, *mlp.sample])
    with pytest.raises(ConversionError, match="takes shape"):
        models.run(mlp.tflite, [np.zeros((1, 7), np.float32)])


def test_dynamic_batch_is_resized(mlp: Converted, tmp_path: Path) -> None:
    raw = packing.unpack(mlp.tflite.path.read_bytes())
    for tensor in raw.subgraphs[0].tensors:
        if raw.buffers[tensor.buffer].data is None:
            tensor.shapeSignature = [-1, *list(tensor.shape)[1:]]
    path = tmp_path / "dynamic.tflite"
    path.write_bytes(packing.pack(raw))
    found = models.inspect(path)
    assert found.traits["dynamic"] and found.inputs[0].shape == (None, 6)
    session = models.LiteRtRunner().open(
        replace(mlp.tflite, path=path, inputs=found.inputs, outputs=found.outputs), 1
    )
    single = session.run(mlp.sample)[0]
    batch = session.run([np.repeat(mlp.sample[0], 5, axis=0)])[0]
    np.testing.assert_allclose(batch, np.repeat(single, 5, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(session.run(mlp.sample)[0], single)


def test_flex_operator_is_explained(mlp: Converted, tmp_path: Path) -> None:
    raw = packing.unpack(mlp.tflite.path.read_bytes())
    for code in raw.operatorCodes:
        code.builtinCode = code.deprecatedBuiltinCode = 32
        code.customCode = b"FlexMatMul"
    for operator in raw.subgraphs[0].operators:
        operator.builtinOptions, operator.builtinOptionsType = None, 0
    path = tmp_path / "flex.tflite"
    path.write_bytes(packing.pack(raw))
    assert models.inspect(path).traits["select_tf_ops"]
    with pytest.raises(ConversionError, match="TensorFlow's own operators") as caught:
        models.run(models.moved(mlp.tflite, path), mlp.sample)
    assert caught.value.hint


def test_damaged_file_never_reaches_the_interpreter(mlp: Converted, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(mlp.tflite.path.read_bytes()[:-1000])
    with pytest.raises(InputError):
        models.run(models.moved(mlp.tflite, path), mlp.sample)


def test_artifact_of_another_model(mlp: Converted, many: Converted) -> None:
    with pytest.raises(ConversionError, match="inputs, 12 are expected"):
        models.run(models.moved(many.tflite, mlp.tflite.path), many.sample)
