"""onnxsim in a process that is kept, in the isolated environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import convkit_onnx2tf

INSIDE = """
import json, os, signal, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from convkit_onnx2tf.simplifier import Simplifier

simplify, path, answers = Simplifier(), Path(sys.argv[2]), []

def ask():
    try:
        simplify(input_onnx_file_path=str(path), append_param=[])
    except Exception as exc:
        answers.append(type(exc).__name__)
    else:
        answers.append(simplify._process.pid)

good = path.read_bytes()
ask()
once = path.read_bytes()
ask()
ask()
answers.append(path.read_bytes() == once)
path.write_bytes(b"no model")
ask()
answers.append(path.read_bytes() == b"no model")
pid = simplify._process.pid  # it dies while it is asked, and not before
os.kill(pid, signal.SIGSTOP)
threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
path.write_bytes(good)
ask()
ask()
answers.append(path.read_bytes() == once)
answers.append(sorted(p.name for p in path.parent.iterdir()))
print(json.dumps(answers))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An Identity to be dropped."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Relu", ["same"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy"]
    path = tmp_path / "model.onnx"
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="a process is killed by a signal")
def test_one_process_serves_until_it_dies(onnx2tf_python: Path, model: Path) -> None:
    package = Path(convkit_onnx2tf.__file__).parent.parent
    command = [str(onnx2tf_python), "-c", INSIDE, str(package), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second, third, settled, refused, kept, fallen, new, again, files = _answers(done.stdout)
    assert first == second == third
    assert settled
    assert refused == "CalledProcessError"
    assert kept, "a file that cannot be simplified stays as it is"
    assert fallen == "CalledProcessError"
    assert isinstance(new, int)
    assert new != first
    assert again
    assert files == ["model.onnx"]
    assert [node.op_type for node in onnx.load(model).graph.node] == ["Relu"]


def _answers(text: str) -> Any:
    return json.loads(text.splitlines()[-1])
