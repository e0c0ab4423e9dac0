"""Rules of accelerators: as the compilers and runtimes that they speak of have been seen to act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import litert_models as models
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import BuiltinOperator
from litert_models import Converted

from convkit.delegates import DelegateRules, Operand, Operation
from convkit.engine.delegation import judge
from convkit.errors import InputError
from convkit.plugin.delegate_rules import read_rules
from convkit.testing import DelegateRulesContract
from convkit_litert import plugin
from convkit_litert.inspector import LiteRtInspector
from convkit_litert.operations import operations
from convkit_litert.profiling import delegated

FILES = {path.stem: path for path in plugin.convkit_delegate_rules()}


class RulesSuite(DelegateRulesContract):
    name: str

    @pytest.fixture
    def file(self) -> Path:
        return FILES[self.name]

    @pytest.fixture
    def operators(self) -> Collection[str]:
        return [name for name in vars(BuiltinOperator) if name.isupper()]


class TestEdgeTpu(RulesSuite):
    name = "edgetpu"


class TestEdgeTpu15(RulesSuite):
    name = "edgetpu-15"


class TestGpu(RulesSuite):
    name = "gpu"


class TestNnapi(RulesSuite):
    name = "nnapi"


class TestXnnpack(RulesSuite):
    name = "xnnpack"


def test_every_file_is_offered() -> None:
    folder = Path(plugin.__file__).parent / "delegates"
    assert set(FILES.values()) == set(folder.glob("*.toml"))
    assert all(read_rules(path).name == stem for stem, path in FILES.items())


@pytest.fixture(scope="module")
def rules() -> dict[str, DelegateRules]:
    return {name: read_rules(path) for name, path in FILES.items()}


class Network:
    """Builds operators one after another, quantized to int8."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def add(
        self, kind: str, *sources: str, dtype: str = "int8", version: int = 1, **kinds: str
    ) -> str:
        """Append an operator; `kinds` says the dtype of a source that is not int8."""
        name = f"{kind.lower()}#{len(self.operations)}"
        inputs: list[Operand | None] = [
            Operand(s, (1, 26, 26, 8), kinds.get(s.partition("#")[0], "int8"), scale=0.1)
            for s in sources
        ]
        if kind in ("CONV_2D", "RESIZE_NEAREST_NEIGHBOR"):
            inputs.append(Operand("constant", (2,), "int8", constant=True))
        output = Operand(name, (1, 26, 26, 8), dtype, scale=0.1)
        self.operations.append(Operation(name, kind, tuple(inputs), (output,), version))
        return name

    def conv(self, source: str, leaky: bool = True) -> str:
        made = self.add("CONV_2D", source)
        return self.add("LEAKY_RELU", made) if leaky else made


def yolov3_tiny() -> list[Operation]:
    """Darknet's network with uint8 inputs and outputs, as TensorFlow of 2021 wrote it."""
    net = Network()
    x = net.add("QUANTIZE", "image", image="uint8")
    for _ in range(4):
        x = net.add("MAX_POOL_2D", net.conv(x))
    route = net.conv(x)
    x = net.conv(net.add("MAX_POOL_2D", route))
    x = net.conv(net.add("MAX_POOL_2D", x))
    middle = net.conv(x)
    net.add("QUANTIZE", net.conv(net.conv(middle), leaky=False), dtype="uint8")
    up = net.add("RESIZE_NEAREST_NEIGHBOR", net.conv(middle), version=3)
    joined = net.add("CONCATENATION", net.add("QUANTIZE", up), route)
    net.add("QUANTIZE", net.conv(net.conv(joined), leaky=False), dtype="uint8")
    return net.operations


OTHERWISE = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
MORE = "More than one subgraph is not supported"
MAPPED = "Mapped to Edge TPU"
DTYPE = "Operation is working on an unsupported data type"


def test_the_log_of_yolov3_tiny(rules: dict[str, DelegateRules]) -> None:
    """What compiler 15.0.340273435 printed for the network, line by line."""
    found = judge("yolov3-tiny", yolov3_tiny(), rules["edgetpu-15"])
    assert set(found.table) == {
        ("MAX_POOL_2D", 6, MORE),
        ("QUANTIZE", 2, OTHERWISE),
        ("QUANTIZE", 1, MAPPED),
        ("QUANTIZE", 1, MORE),
        ("CONV_2D", 1, MAPPED),
        ("CONV_2D", 12, MORE),
        ("RESIZE_NEAREST_NEIGHBOR", 1, "Operation version not supported"),
        ("LEAKY_RELU", 11, "Operation not supported"),
        ("CONCATENATION", 1, MORE),
    }
    assert (found.mapped, len(found.layers), found.subgraphs) == (2, 36, 1)
    leaky = next(x for x in found.layers if x.op_type == "LEAKY_RELU")
    assert "ReLU" in leaky.remedy


def test_the_log_of_tiny_yolo_with_relu(rules: dict[str, DelegateRules]) -> None:
    """What compiler 14.1.317412892 printed for the network with ReLU inside its convolutions, line
    by line: what does not follow the resize is mapped, an output among it."""
    plain = []
    names: dict[str, str] = {}
    for op in yolov3_tiny():
        inputs = tuple(
            Operand(names.get(x.name, x.name), x.shape, x.dtype, x.constant, scale=x.scale)
            for x in op.inputs
            if x is not None
        )
        if op.op_type == "LEAKY_RELU":
            names[op.outputs[0].name] = inputs[0].name
            continue
        plain.append(Operation(op.layer, op.op_type, inputs, op.outputs, op.version))
    found = judge("tiny_yolo", plain, rules["edgetpu-15"])
    assert set(found.table) == {
        ("CONCATENATION", 1, MORE),
        ("MAX_POOL_2D", 6, MAPPED),
        ("RESIZE_NEAREST_NEIGHBOR", 1, "Operation version not supported"),
        ("CONV_2D", 11, MAPPED),
        ("CONV_2D", 2, MORE),
        ("QUANTIZE", 1, OTHERWISE),
        ("QUANTIZE", 1, MORE),
        ("QUANTIZE", 2, MAPPED),
    }


def test_the_log_of_a_classifier_with_float_outside(rules: dict[str, DelegateRules]) -> None:
    """The pair that every model with float inputs and outputs shows; all between is mapped."""
    net = Network()
    x = net.conv(net.add("QUANTIZE", "image", image="float32"), leaky=False)
    x = net.add("RESHAPE", net.add("MAX_POOL_2D", x))
    net.add("DEQUANTIZE", x, dtype="float32")
    for name in ("edgetpu", "edgetpu-15"):
        assert judge("mnist", net.operations, rules[name]).table == (
            ("QUANTIZE", 1, OTHERWISE),
            ("CONV_2D", 1, MAPPED),
            ("MAX_POOL_2D", 1, MAPPED),
            ("RESHAPE", 1, MAPPED),
            ("DEQUANTIZE", 1, DTYPE),
        )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "dynamic", "int8"])
@pytest.mark.parametrize("fixture", ["detector", "encoder", "recurrent"])
def test_xnnpack_takes_what_its_rules_say(
    rules: dict[str, DelegateRules],
    fixture: str,
    precision: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """The installed runtime is asked which operators its delegate took, and in how many parts."""
    path = _quantized(request.getfixturevalue(fixture), precision, tmp_path)
    found = judge(path.name, operations(path), rules["xnnpack"])
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    taken = delegated(interpreter, len(found.layers))
    if taken is None:
        pytest.skip("this LiteRT does not tell")
    differing = Counter(
        (layer.op_type, layer.status)
        for number, layer in enumerate(found.layers)
        if layer.mapped != (number in taken)
    )
    assert not differing
    assert found.subgraphs == len(set(taken.values()))


def _quantized(converted: Converted, precision: str, folder: Path) -> Path:
    from convkit_litert.quantizers import DynamicInt8, Float16, StaticInt8

    if precision == "fp32":
        return converted.tflite.path
    kind = {"fp16": Float16, "dynamic": DynamicInt8, "int8": StaticInt8}[precision]
    target = folder / f"{precision}.tflite"
    return models.quantize(kind(), converted.tflite, target, converted.calibration).path


def test_operations_of_a_detector(detector: Converted) -> None:
    path = detector.tflite.path
    found = operations(path)
    layers = models.inspect(path).layers
    assert [op.layer for op in found] == [layer.name for layer in layers]
    assert sum(op.macs for op in found) == sum(layer.macs for layer in layers)
    conv = next(op for op in found if op.op_type == "CONV_2D")
    assert conv.attributes["stride_h"] == 2
    assert conv.attributes["fused_activation_function"] in ("NONE", "RELU")
    assert conv.inputs[1] is not None and conv.inputs[1].constant
    assert not conv.inputs[0].constant  # type: ignore[union-attr]
    turned = next(op for op in found if op.op_type == "TRANSPOSE")
    assert sorted(turned.inputs[1].values) == [0, 1, 2, 3]  # type: ignore[union-attr]
    assert all(op.version >= 1 for op in found)


def test_damaged_files_are_refused(detector: Converted, tmp_path: Path) -> None:
    """Bytes overwritten all over the file: an answer or a typed error, never another."""
    data = detector.tflite.path.read_bytes()
    refused = 0
    for place in range(8, len(data), max(1, len(data) // 150)):
        path = tmp_path / "damaged.tflite"
        path.write_bytes(data[:place] + b"\xff" * 8 + data[place + 8 :])
        try:
            operations(path)
        except InputError:
            refused += 1
    assert refused
    with pytest.raises(InputError):
        operations(tmp_path / "missing.tflite")


def test_the_inspector_reads_operations(detector: Converted) -> None:
    from convkit.plugin import OperationReader, ReadOptions

    inspector = LiteRtInspector()
    assert isinstance(inspector, OperationReader)
    assert inspector.operations(detector.tflite.path, ReadOptions())
