"""Hostile and damaged torch files: a typed error, nothing executed, no crash."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from convkit.errors import ConvkitError, ExitCode, InputError, UnsafeError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.plugin import convkit_detect_format  # noqa: E402
from convkit_torch.program_safety import check_program  # noqa: E402

INSPECTOR = TorchInspector()


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def malicious(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(2), "x": Touch(mark)}, buffer)
    return buffer.getvalue()


def rewrite(source: Path, target: Path, changes: dict[str, bytes]) -> Path:
    """A copy of a zip archive with members replaced or added, below the same root folder."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            inner = name.partition("/")[2]
            new.writestr(name, changes.pop(inner, None) or old.read(name))
        for inner, data in changes.items():
            new.writestr(f"{root}/{inner}", data)
    return target


def refused(path: Path, mark: Path) -> UnsafeError:
    with pytest.raises(UnsafeError) as error:
        INSPECTOR.inspect(path, ReadOptions())
    assert not mark.exists(), "the pickle was executed"
    assert error.value.exit_code == ExitCode.UNSAFE
    assert "--trust" in error.value.hint
    return error.value


def test_the_pickle_used_here_does_run_when_trusted(tmp_path):
    mark = tmp_path / "mark"
    torch.load(io.BytesIO(malicious(mark)), weights_only=False)
    assert mark.is_dir()


def test_pickle_in_sample_inputs_is_refused(pt2, tmp_path):
    mark = tmp_path / "mark"
    changes = {"data/sample_inputs/model.pt": malicious(mark)}
    refused(rewrite(pt2("mlp"), tmp_path / "bad.pt2", changes), mark)


@pytest.mark.parametrize("place", ["data/weights/model.pt", "data/constants/model.pt"])
def test_pickle_in_legacy_weights_is_refused(pt2, tmp_path, place):
    mark = tmp_path / "mark"
    refused(rewrite(pt2("mlp"), tmp_path / "bad.pt2", {place: malicious(mark)}), mark)


@pytest.mark.parametrize("kind", ["weights", "constants"])
def test_pickled_payload_is_refused(pt2, tmp_path, kind):
    mark = tmp_path / "mark"
    entry = {"path_name": "tensor_9", "is_param": False, "use_pickle": True, "tensor_meta": None}
    changes = {
        f"data/{kind}/model_{kind}_config.json": json.dumps({"config": {"w": entry}}).encode(),
        f"data/{kind}/tensor_9": malicious(mark),
    }
    refused(rewrite(pt2("mlp"), tmp_path / "bad.pt2", changes), mark)


@pytest.mark.parametrize("prefix", ["opaque_obj_0", "custom_obj_0"])
def test_pickled_object_is_refused(pt2, tmp_path, prefix):
    mark = tmp_path / "mark"
    entry = {"path_name": prefix, "is_param": False, "use_pickle": True, "tensor_meta": None}
    changes = {
        "data/constants/model_constants_config.json": json.dumps({"config": {"o": entry}}).encode(),
        f"data/constants/{prefix}": pickle.dumps(Touch(mark)),
    }
    refused(rewrite(pt2("mlp"), tmp_path / "bad.pt2", changes), mark)


def test_compiled_code_is_refused(pt2, tmp_path):
    changes = {"data/aotinductor/model/m.so": b"\x7fELF"}
    refused(rewrite(pt2("mlp"), tmp_path / "bad.pt2", changes), tmp_path / "mark")


def test_old_archive_with_pickle_is_refused(tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", "{}")
        for part in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{part}.pt", malicious(mark))
    assert convkit_detect_format(path, path.read_bytes()[:4096]).confidence == 1.0
    refused(path, mark)


def program_json(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("models/model.json"))
        return json.loads(archive.read(name))


def _set_expression(program, mark):
    text = f"__import__('os').mkdir({str(mark)!r})"
    sizes = program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
    sizes[0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}


def _set_guard(program, mark):
    program["guards_code"] = [f"__import__('os').mkdir({str(mark)!r}) is None"]


def _set_target(program, mark):
    node = program["graph_module"]["graph"]["nodes"][0]
    node["target"] = "torch.os.mkdir"
    node["inputs"] = [{"name": "", "arg": {"as_string": str(mark)}, "kind": 1}]


def _set_name(program, mark):
    graph = program["graph_module"]["graph"]
    graph["inputs"][-1]["as_tensor"]["name"] = f"x=__import__('os').mkdir({str(mark)!r})"


def _set_enum(program, mark):
    leaf = {"type": None, "context": None, "children_spec": []}
    context = json.dumps({"__enum__": True, "fqn": "this:c", "name": "x"})
    tree = [1, {"type": "builtins.tuple", "context": context, "children_spec": [leaf]}]
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = json.dumps(tree)


def _set_file_operator(program, mark):
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.from_file.default"


@pytest.mark.parametrize(
    "poison",
    [_set_expression, _set_guard, _set_target, _set_name, _set_enum, _set_file_operator],
)
def test_texts_that_torch_would_evaluate_are_refused(pt2, tmp_path, poison):
    mark = tmp_path / "mark"
    path = pt2("mlp")
    program = program_json(path)
    poison(program, mark)
    changes = {"models/model.json": json.dumps(program).encode()}
    refused(rewrite(path, tmp_path / "bad.pt2", changes), mark)


def test_symbolic_expression_really_is_evaluated_by_torch(pt2, tmp_path):
    """The reason for the check above: drop it on the day that this stops holding."""
    mark = tmp_path / "mark"
    path = pt2("mlp")
    program = program_json(path)
    _set_expression(program, mark)
    changes = {"models/model.json": json.dumps(program).encode()}
    bad = rewrite(path, tmp_path / "bad.pt2", changes)
    with pytest.raises(ConvkitError):
        INSPECTOR.inspect(bad, ReadOptions(trust=True))
    assert mark.is_dir()


@pytest.mark.parametrize("name", ["mlp", "heads", "encoder", "lstm", "inputs", "folding"])
def test_honest_programs_pass(pt2, name):
    check_program(program_json(pt2(name)), name)


def test_state_dict_with_code_is_refused(tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "weights.pt"
    path.write_bytes(malicious(mark))
    refused(path, mark)


def test_pickled_module_needs_trust_and_shapes(tmp_path):
    path = tmp_path / "module.pt"
    torch.save(torch.nn.Sequential(torch.nn.Linear(4, 2)), path)
    refused(path, tmp_path / "mark")
    read = ReadOptions(trust=True, shapes={"input": (1, 4)})
    assert INSPECTOR.inspect(path, read).traits["container"] == "module"


def test_torchscript_that_writes_files_is_refused(tmp_path):
    mark = tmp_path / "mark"

    class Saver(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.save(x, "mark")
            return x

    path = tmp_path / "saver.ts"
    torch.jit.save(torch.jit.script(Saver()), path)
    refused(path, mark)


def test_two_members_of_one_name_are_refused(pt2, tmp_path):
    path = pt2("mlp")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0].upper(), b"x")
    with pytest.raises(InputError, match="same name"):
        INSPECTOR.inspect(path, ReadOptions())


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_wrong_content(tmp_path, data):
    path = tmp_path / "model.pt2"
    path.write_bytes(data)
    with pytest.raises(InputError):
        INSPECTOR.inspect(path, ReadOptions())


def test_missing_file_and_directory(tmp_path):
    for path in (tmp_path / "none.pt2", tmp_path):
        with pytest.raises(InputError):
            INSPECTOR.inspect(path, ReadOptions())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated(pt2, tmp_path, share):
    data = pt2("mlp").read_bytes()
    path = tmp_path / "cut.pt2"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError) as error:
        INSPECTOR.inspect(path, ReadOptions())
    assert error.value.hint


_SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_SETTINGS
@given(data=st.data())
def test_a_flipped_bit_never_changes_the_model_in_silence(pt2, tmp_path, data):
    original = tmp_path / "mlp.pt2"
    if not original.exists():
        pt2("mlp")
    whole = original.read_bytes()
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    path = tmp_path / "flipped.pt2"
    path.write_bytes(flipped)
    try:
        digest = INSPECTOR.inspect(path, ReadOptions()).digest
    except ConvkitError as error:
        assert error.message
    else:
        assert digest == INSPECTOR.inspect(original, ReadOptions()).digest


@settings(max_examples=200, deadline=None)
@given(head=st.binary(max_size=400))
def test_detection_never_raises(tmp_path_factory, head):
    path = tmp_path_factory.getbasetemp() / "noise.bin"
    path.write_bytes(b"PK\x03\x04" + head)
    convkit_detect_format(path, b"PK\x03\x04" + head)
    convkit_detect_format(path, head)
    convkit_detect_format(path.with_name("absent"), head)
