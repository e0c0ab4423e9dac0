"""What each command shows, and when it is silent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from convkit import __version__
from convkit.cli.app import COMMANDS
from tests.cli.commands import assert_refused, everything, run
from tests.cli.conftest import Models


def test_help_lists_the_commands_and_exit_codes(tmp_path: Path) -> None:
    answer = run("--help", cwd=tmp_path)
    assert answer.code == 0
    for word in (*COMMANDS, "Exit codes", "130"):
        assert word in answer.out
    assert run("--version", cwd=tmp_path).out.strip() == f"convkit, version {__version__}"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_each_command(command: str, flag: str, tmp_path: Path) -> None:
    answer = run(command, flag, cwd=tmp_path)
    assert answer.code == 0
    assert f"Usage: convkit {command}" in answer.out
    assert "--json" in answer.out or "Commands:" in answer.out
    assert answer.err == ""


def test_quiet_is_silent(models: Models, tmp_path: Path) -> None:
    for arguments in (
        ("formats",),
        ("plan", "--from", "torch", "--to", "tflite"),
        ("inspect", models.tflite),
        ("convert", models.torch, "--to", "tflite", "-o", "out"),
    ):
        answer = run(*arguments, "-q", cwd=tmp_path)
        assert answer.code == 0
        assert (answer.out, answer.err) == ("", "")
    assert everything(tmp_path / "out") == ["tiny.tflite", "tiny.tflite.convkit.json"]
    assert_refused(run("plan", "--from", "openvino", "--to", "onnx", "-q", cwd=tmp_path), 3)


def test_no_colour_where_no_terminal_is(models: Models, tmp_path: Path) -> None:
    wishes = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TERM": "xterm-256color"}
    for arguments in (("formats",), ("convert", models.torch, "--to", "tflite"), ("nope",)):
        run(*arguments, cwd=tmp_path, env={**wishes, "NO_COLOR": "1"})  # it asserts by itself


def test_short_and_long_road(tmp_path: Path) -> None:
    answer = run("plan", "--from", "torch", "--to", "tflite-int8", "--explain", cwd=tmp_path)
    assert answer.code == 0
    assert answer.out == ""
    assert answer.err.startswith("1. torch -> tflite -> tflite-int8 ")
    assert "by litert-torch.tflite" in answer.err.partition("2. ")[0]
    assert "opset at most 12, which torch.onnx-dynamo cannot give" in answer.err
    question = ("plan", "--from", "torch", "--to", "tflite-int8", "--converter", "onnx-tf")
    long = run(*question, "--via", "tensorflow.tflite-int8", cwd=tmp_path).err
    assert long.startswith("1. torch -> onnx -> tf-saved -> tflite-int8 ")
    assert "by torch.onnx-legacy  opset=12 (required downstream)" in long
    assert "prepare onnx -> onnx  by onnxslim.simplify" in long
    assert "by onnx-tf.saved [environment onnx-tf]" in long
    assert everything(tmp_path) == [], "nothing is run"


def test_the_planner_can_be_steered(tmp_path: Path) -> None:
    question = ("plan", "--from", "torch", "--to", "tflite-int8")
    answer = run(*question, "--via", "tf-saved", cwd=tmp_path)
    assert "1. torch -> onnx -> tf-saved -> tflite-int8 " in answer.err
    answer = run(*question, "--avoid", "litert-torch", "--avoid", "onnx", cwd=tmp_path)
    assert_refused(answer, 3, "torch", "tflite-int8")
    answer = run(*question, "--converter", "onnx-tf", "-O", "opset=17", cwd=tmp_path)
    assert_refused(answer, 3, "torch", "tflite-int8")


def test_a_file_is_planned_by_what_is_in_it(models: Models, tmp_path: Path) -> None:
    """A graph that is dynamo's speaks operators that some importers do not know."""
    bare = {"CONVKIT_CACHE": str(tmp_path / "cache")}  # no environments, whose edges would be asked
    answer = run("plan", models.onnx, "--to", "torch", "--explain", cwd=tmp_path, env=bare)
    assert answer.code == 0
    assert "by onnx2fx.torch" in answer.err.partition("Turned down:")[0]
    assert "onnx2torch.torch: cannot convert" in answer.err.partition("Turned down:")[2]


def test_sample(tmp_path: Path) -> None:
    answer = run("sample", cwd=tmp_path)
    assert answer.code == 0
    assert "digits-yolo" in answer.err

    assert run("sample", "digits-yolo", cwd=tmp_path).code == 0
    folder = tmp_path / "digits-yolo"
    for path in ("model.pt2", "README.md", "calibration/calibration.toml", "validation"):
        assert (folder / path).exists()
    laid = everything(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    answer = run("sample", "digits-yolo", cwd=tmp_path)
    assert answer.code == 0
    assert "there already" in answer.err
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}

    (folder / "README.md").write_text("my notes")
    answer = run("sample", "digits-yolo", cwd=tmp_path)
    assert_refused(answer, 2, "not an unchanged copy", hint="-o")
    assert (folder / "README.md").read_text() == "my notes"
    assert everything(tmp_path) == laid
    assert run("sample", "digits-yolo", "-o", "other/place", cwd=tmp_path).code == 0
    assert (tmp_path / "other" / "place" / "model.pt2").exists()


def test_sample_where_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "digits-yolo").write_text("a file")
    assert_refused(run("sample", "digits-yolo", cwd=tmp_path), 2, "digits-yolo", hint="-o")
    answer = run("sample", "digits-yolo", "-o", "digits-yolo/below", cwd=tmp_path)
    assert_refused(answer, 1, "cannot be written")
    assert (tmp_path / "digits-yolo").read_text() == "a file"


def test_formats(tmp_path: Path) -> None:
    lines = run("formats", cwd=tmp_path).err.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert {"torch", "onnx", "tflite", "tf-saved", "tf-frozen"} <= rows.keys()
    assert "int8-dynamic, int8" in rows["tflite"]
    assert "<name>-saved" in rows["tf-saved"]


def test_plugins(tmp_path: Path) -> None:
    answer = run("plugins", "-v", cwd=tmp_path)
    assert answer.code == 0
    for word in ("convkit-torch", "torch.onnx-legacy.opset", "ai-edge-quantizer.int8"):
        assert word in answer.err
    assert "warning" not in answer.err, "no plugin is broken"


def test_doctor(cache: Path, tmp_path: Path) -> None:
    answer = run("doctor", cwd=tmp_path)
    assert answer.code == 0
    assert str(cache) in answer.err
    assert "litert-torch.tflite" in answer.err
    assert "onnx-tf.saved" in answer.err


def test_inspect(models: Models, tmp_path: Path) -> None:
    answer = run("inspect", models.tflite, cwd=tmp_path)
    assert answer.code == 0
    assert f"{models.tflite}: tflite" in answer.err
    assert "1x3x16x16" in answer.err
    assert "FULLY_CONNECTED" in answer.err
    answer = run("inspect", models.onnx, cwd=tmp_path)
    assert "opset=" in answer.err


def test_convert_tells_what_it_did(models: Models, tmp_path: Path) -> None:
    answer = run(
        *("convert", models.tflite, "--to", "tflite-int8", "-o", "out"),
        *("--calibration", models.arrays),
        cwd=tmp_path,
    )
    assert answer.code == 0, answer.err
    assert answer.out == ""
    for word in (
        "12 calibration samples; 200 to 300 are usual",
        "tflite -> tflite-int8 by ai-edge-quantizer.int8  [",
        "of the multiply-accumulates are in integers",
        "wrote out/tiny-int8.tflite",
    ):
        assert word in answer.err


def test_synthetic_calibration_is_said_loudly(models: Models, tmp_path: Path) -> None:
    answer = run(
        *("convert", models.tflite, "--to", "tflite-int8", "--synthetic-calibration", "--json"),
        cwd=tmp_path,
    )
    assert answer.code == 0, answer.err
    assert answer.err.count("SYNTHETIC CALIBRATION") >= 2
    (output,) = answer.document["outputs"]
    assert output["manifest"]["calibration"]["synthetic"] is True
    assert any("SYNTHETIC" in note for note in output["manifest"]["notes"])


def test_without_a_model_the_sample_is_converted_loudly(tmp_path: Path) -> None:
    import numpy as np

    few = tmp_path / "few.npy"  # of its own data there is much to score
    np.save(few, np.zeros((2, 3, 160, 160), np.float32))
    data = ("--data", few, "--metric", "fidelity")
    answer = run("convert", "--to", "openvino", "--no-verify", *data, cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert "converting the BUNDLED SAMPLE digits-yolo" in answer.err
    assert (tmp_path / "digits-yolo.xml").exists()
    assert "NOT VERIFIED" in answer.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str, tmp_path: Path) -> None:
    answer = run("completion", shell, cwd=tmp_path)
    assert answer.code == 0
    assert "_CONVKIT_COMPLETE" in answer.out
    assert answer.err == ""
    binary = shutil.which(shell)
    if binary is not None:
        check = subprocess.run([binary, "-n"], input=answer.out, text=True, capture_output=True)
        assert check.returncode == 0, check.stderr


def test_completion_answers(tmp_path: Path) -> None:
    question = {"_CONVKIT_COMPLETE": "bash_complete", "COMP_WORDS": "convkit pl", "COMP_CWORD": "1"}
    answer = run(cwd=tmp_path, env=question)
    assert answer.out.split() == ["plain,plan", "plain,plugins"]


def test_an_option_that_an_edge_cannot_have_rules_the_edge_out(tmp_path: Path) -> None:
    wish = ("--from", "torch", "--to", "onnx", "-O", "opset=13")
    done = run("plan", *wish, "--explain", cwd=tmp_path)
    assert done.code == 0
    assert "by torch.onnx-legacy  opset=13" in done.err
    assert "torch.onnx-dynamo: cannot have opset=13" in done.err
    assert "by torch.onnx-dynamo" not in done.err
