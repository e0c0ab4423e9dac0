"""onnx.inspect: description, true precision, canonical digest."""

from __future__ import annotations

import subprocess
import sys

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")

from convkit.plugin import ReadOptions  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.plugin import convkit_detect_format  # noqa: E402


def inspect(path):
    return OnnxInspector().inspect(path, ReadOptions())


def test_description(saved):
    seen = inspect(saved("cnn"))
    assert str(seen.state) == "onnx"
    assert [(s.name, s.shape, s.layout) for s in seen.inputs] == [
        ("image", (1, 3, 8, 8), "NCHW"),
        ("bias", (1, 5), ""),
    ]
    assert [s.name for s in seen.outputs] == ["map", "logits"]
    assert seen.traits["opset"] == 13
    assert seen.traits["dynamic"] is False
    assert seen.operators["Conv"] == 1
    assert seen.parameter_bytes == {"float32": 4 * (108 + 4 + 20)}
    conv = seen.layers[0]
    assert (conv.name, conv.scope, conv.macs) == ("/stem/Conv", "stem", 8 * 8 * 4 * 27)
    assert conv.inputs == ("image",)
    assert conv.parameter_count == 112
    assert seen.macs == 8 * 8 * 4 * 27 + 20
    assert seen.integer_macs == 0


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("/backbone/stem/conv/Conv", "backbone.stem.conv"),
        ("/body/body.0/Conv", "body.0"),
        ("/net/body/body.0/body.0.1/Conv", "net.body.0.1"),
        ("/Conv", ""),
        ("Conv_3", ""),
    ],
)
def test_scope_from_the_legacy_exporters_names(proto, tmp_path, name, scope):
    model = proto("cnn")
    model.graph.node[0].name = name
    onnx.save(model, tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").layers[0].scope == scope


def test_symbolic_dimension(saved):
    seen = inspect(saved("mlp"))
    assert seen.inputs[0].shape == ("batch", 32)
    assert seen.traits["dynamic"] is True
    assert seen.macs == 32 * 64 + 64 * 8


def test_initializers_listed_as_inputs_are_no_inputs(proto, tmp_path):
    model = proto("mlp")
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("w1", onnx.TensorProto.FLOAT, [32, 64])
    )
    onnx.save(model, tmp_path / "m.onnx")
    assert [s.name for s in inspect(tmp_path / "m.onnx").inputs] == ["x"]


class Reader:
    """A calibration reader for onnxruntime."""

    def __init__(self, samples):
        self.samples = iter(samples)

    def get_next(self):
        return next(self.samples, None)


def _feeds():
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield {
            "image": rng.standard_normal((1, 3, 8, 8)).astype("float32"),
            "bias": rng.standard_normal((1, 5)).astype("float32"),
        }


@pytest.mark.parametrize("style", ["QDQ", "QOperator"])
def test_static_int8_is_int8(saved, tmp_path, style):
    quantization = pytest.importorskip("onnxruntime.quantization")
    output = tmp_path / "q.onnx"
    quantization.quantize_static(
        str(saved("cnn")),
        str(output),
        Reader(_feeds()),
        quant_format=getattr(quantization.QuantFormat, style),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
    )
    seen = inspect(output)
    assert seen.state.precision == "int8"
    assert seen.integer_macs / seen.macs > 0.9
    assert seen.traits["quantized"] == style.lower()


def test_mostly_excluded_is_not_int8(saved, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    output = tmp_path / "q.onnx"
    quantization.quantize_static(
        str(saved("cnn")),
        str(output),
        Reader(_feeds()),
        activation_type=quantization.QuantType.QUInt8,
        nodes_to_exclude=["/stem/Conv"],
    )
    seen = inspect(output)
    assert seen.state.precision == "fp32"
    assert "/stem/Conv" in seen.float_islands


def test_signed_activations_are_int8_by_name_alone(saved, tmp_path):
    """On x86, ONNX Runtime leaves what is around them in float."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    output = tmp_path / "q.onnx"
    quantization.quantize_static(str(saved("cnn")), str(output), Reader(_feeds()))
    seen = inspect(output)
    assert seen.state.precision == "int8"
    assert seen.traits["activations"] == "int8"
    assert seen.integer_macs == 0


def test_dynamic_int8_is_not_int8(saved, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    output = tmp_path / "q.onnx"
    quantization.quantize_dynamic(str(saved("mlp")), str(output))
    assert inspect(output).state.precision == "int8-dynamic"


def test_half_weights_are_fp16(proto, tmp_path):
    model = proto("mlp")
    half = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype("float16")
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = half
    onnx.save(model, tmp_path / "h.onnx")
    assert inspect(tmp_path / "h.onnx").state.precision == "fp16"


def test_digest_ignores_decoration_and_storage(saved, proto, tmp_path):
    digest = inspect(saved("cnn")).digest
    model = proto("cnn")
    model.doc_string, model.producer_name, model.graph.name = "made here", "somebody", "other"
    for node in model.graph.node:
        node.doc_string = "/somewhere/model.py, line 3"
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File ...")
    for tensor in model.graph.initializer:
        tensor.doc_string = "weights"
    decorated = tmp_path / "decorated.onnx"
    onnx.save(model, decorated)
    assert decorated.read_bytes() != saved("cnn").read_bytes()
    assert inspect(decorated).digest == digest
    external = saved(
        "cnn", "external.onnx", save_as_external_data=True, location="x.data", size_threshold=0
    )
    assert inspect(external).digest == digest


@pytest.mark.parametrize("change", ["weight", "external weight", "attribute", "node name", "opset"])
def test_digest_sees_every_change_of_the_program(saved, proto, tmp_path, change):
    digest = inspect(saved("cnn")).digest
    model = proto("cnn")
    options = {}
    if "weight" in change:
        array = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
        array.flat[0] += 1e-3
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "w"))
        if "external" in change:
            options = {"save_as_external_data": True, "location": "y.data", "size_threshold": 0}
    elif change == "attribute":
        model.graph.node[0].attribute.add(name="group", i=1, type=2)
    elif change == "node name":
        model.graph.node[0].name = "renamed"
    else:
        model.opset_import[0].version = 14
    onnx.save_model(model, str(tmp_path / "c.onnx"), **options)
    assert inspect(tmp_path / "c.onnx").digest != digest


def test_detection_is_by_content(saved, tmp_path):
    data = saved("cnn").read_bytes()
    for name, content, wanted in (
        ("a.bin", data, 1.0),
        ("b.onnx", b"\x00\x01 nonsense", 0.5),
        ("c.bin", b"\x00\x01 nonsense", None),
        ("d.txt", b"just some words, quite a few of them", None),
        ("e.bin", b"PK\x03\x04" + bytes(100), None),
        ("f.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(100), None),
    ):
        found = convkit_detect_format(tmp_path / name, content[:4096])
        assert (found.confidence if found else None) == wanted, name


def test_importing_the_plugin_loads_no_framework():
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]; import convkit_onnx.plugin as p\n"
        "p.convkit_formats(), p.convkit_converters(), p.convkit_runners(), p.convkit_inspectors()\n"
        "print([m for m in ('onnx', 'numpy', 'onnxruntime', 'onnxslim') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *sys.path], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
