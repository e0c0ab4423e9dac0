"""Array files, loaders and readers as calibration data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from convkit.arrays import ArraySource
from convkit.artifact import Artifact, State, TensorSpec
from convkit.calibration import sample_key
from convkit.errors import CalibrationError
from convkit.samples import conform, drain, from_loader, from_reader

Shape = tuple[int | str | None, ...]


def model(*inputs: tuple[str, Shape, str]) -> Artifact:
    specs = tuple(TensorSpec(name, shape, dtype) for name, shape, dtype in inputs)
    return Artifact(Path("model"), State("onnx"), inputs=specs)


IMAGE = model(("x", (1, 3, 4), "float32"))
TEXT = model(("ids", (1, 5), "int32"), ("mask", (1, 5), "float32"))
STACK = np.arange(6 * 12, dtype=np.float32).reshape(6, 3, 4)


def read(path: Path, artifact: Artifact, limit: int | None = None, seed: int = 0) -> list[Any]:
    source = ArraySource()
    assert source.accepts(path)
    return list(source.read(path, artifact, {}, limit, seed))


def rows(samples: Sequence[Any]) -> list[float]:
    """First value of the first input of every sample, which tells the samples of STACK apart."""
    return [float(sample[0].ravel()[0]) for sample in samples]


def test_importing_loads_no_numpy() -> None:
    code = "import sys, convkit.arrays; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_a_stack_gives_one_sample_per_row(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".npy":
        np.save(path, STACK)
    elif suffix == ".npz":
        np.savez(path, anything=STACK)
    else:
        save_file({"anything": STACK}, path)
    samples = read(path, IMAGE)
    assert {s[0].shape for s in samples} == {(1, 3, 4)}
    assert sorted(rows(samples)) == STACK[:, 0, 0].tolist()
    for (array,) in samples:
        np.testing.assert_array_equal(array[0], STACK[int(array[0, 0, 0]) // 12])


def test_samples_with_an_axis_of_their_own_keep_their_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK.reshape(3, 2, 3, 4))
    samples = read(tmp_path / "a.npy", model(("x", (2, 3, 4), "float32")))
    assert len(samples) == 3
    assert samples[0][0].shape == (2, 3, 4)


def test_a_fixed_batch_is_cut_from_the_stack_and_the_rest_is_left(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK)
    samples = read(tmp_path / "a.npy", model(("x", (4, 3, 4), "float32")))
    assert [s[0].shape for s in samples] == [(4, 3, 4)]
    np.testing.assert_array_equal(samples[0][0], STACK[:4])


def test_several_inputs_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    ids = np.arange(20).reshape(4, 5)
    np.savez(tmp_path / "a.npz", mask=np.ones((4, 5)), ids=ids)
    samples = read(tmp_path / "a.npz", TEXT)
    assert [a.dtype.name for a in samples[0]] == ["int32", "float32"]
    assert sorted(int(s[0][0, 0]) for s in samples) == [0, 5, 10, 15]


def test_a_folder_holds_one_sample_per_file(tmp_path: Path) -> None:
    for i, row in enumerate(STACK):
        np.save(tmp_path / f"{i}.npy", row if i % 2 else row[None])
    (tmp_path / "notes.txt").write_text("no array")
    samples = read(tmp_path, IMAGE)
    assert sorted(rows(samples)) == STACK[:, 0, 0].tolist()
    assert [f.name for f in ArraySource().files(tmp_path)] == [f"{i}.npy" for i in range(6)]


def test_accepts_only_array_files_and_their_folders(tmp_path: Path) -> None:
    source = ArraySource()
    assert not source.accepts(tmp_path)
    assert not source.accepts(tmp_path / "a.png")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    assert not source.accepts(tmp_path)
    (tmp_path / "A.NPZ").write_bytes(b"")
    assert source.accepts(tmp_path)


def test_the_limit_chooses_by_seed_and_grows_by_adding(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(50, dtype=np.float32).reshape(50, 1))
    artifact = model(("x", (1, 1), "float32"))
    few, many = rows(read(path, artifact, 10, 3)), rows(read(path, artifact, 20, 3))
    assert few == many[:10]
    assert rows(read(path, artifact, 10, 3)) == few
    assert rows(read(path, artifact, 10, 4)) != few
    assert len(set(many)) == 20


def test_a_drained_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    ids = [np.full((1, 5), i, np.int32) for i in range(3)]
    assert drain([(i, np.ones((1, 5), np.float32)) for i in ids], TEXT, path) == 3
    samples = read(path, TEXT)
    assert sorted(int(s[0][0, 0]) for s in samples) == [0, 1, 2]
    with pytest.raises(CalibrationError, match="2 inputs; this one has 1"):
        read(path, IMAGE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", b""),
        ("a.npy", b"junk"),
        ("a.npz", b"PK\x03\x04 junk"),
        ("a.safetensors", b"x" * 9),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=name) as caught:
        read(path, IMAGE)
    assert caught.value.__cause__ is not None


def test_truncated_files_are_named(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz", "a.safetensors"):
        path = tmp_path / name
        if name == "a.npy":
            np.save(path, STACK)
        elif name == "a.npz":
            np.savez(path, x=STACK)
        else:
            save_file({"x": STACK}, path)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(CalibrationError, match=name):
            read(path, IMAGE)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_inside_are_never_loaded(tmp_path: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.write_text, (tmp_path / "ran", "boom")

    objects = np.array([Bomb()], dtype=object)
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, x=objects)
    with pytest.raises(CalibrationError, match="cannot be read"):
        read(path, IMAGE)
    assert not (tmp_path / "ran").exists()


def test_wrong_keys_shapes_and_counts_are_explained(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", ids=np.ones((4, 5), np.int32), other=np.ones((4, 5)))
    with pytest.raises(CalibrationError, match="holds ids, other, but .* ids, mask"):
        read(tmp_path / "k.npz", TEXT)
    np.savez(tmp_path / "n.npz", ids=np.ones((4, 5), np.int32), mask=np.ones((3, 5)))
    with pytest.raises(CalibrationError, match=r"differ in number .*\(4, 5\).*\(3, 5\)"):
        read(tmp_path / "n.npz", TEXT)
    np.save(tmp_path / "s.npy", np.ones((6, 3, 5), np.float32))
    with pytest.raises(CalibrationError, match=r"\(1, 3, 5\), but input x takes \(1, 3, 4\)"):
        read(tmp_path / "s.npy", IMAGE)
    np.save(tmp_path / "e.npy", np.ones((0, 3, 4), np.float32))
    with pytest.raises(CalibrationError, match="not hold a single sample"):
        read(tmp_path / "e.npy", IMAGE)
    with pytest.raises(CalibrationError, match="take no transform"):
        list(ArraySource().read(tmp_path / "s.npy", IMAGE, {"mean": "0"}, None, 0))


def cast(value: Any, dtype: str, scale: float | None = None) -> Any:
    spec = TensorSpec("x", (1, None), dtype, scale=scale)
    ((array,),) = conform(value, [spec], "sample 0")
    return array


def test_dtypes_are_cast_only_where_nothing_is_lost() -> None:
    assert cast(np.array([[0.5]]), "float32").dtype == np.float32
    assert cast(np.array([[2**31 - 1]]), "int32")[0, 0] == 2**31 - 1
    assert cast(np.array([[7]], np.uint8), "float32").dtype == np.float32
    assert cast(np.array([[1 << 24]]), "float32")[0, 0] == 1 << 24
    assert cast(np.array([[True]]), "int64").dtype == np.int64
    assert cast(np.array([[0.5]]), "int8", scale=0.1).dtype == np.float32
    lossy: list[tuple[Any, str]] = [
        (np.array([[2**31]]), "int32"),
        (np.array([[-1]]), "uint8"),
        (np.array([[1e300]]), "float32"),
        (np.array([[70000.0]]), "float16"),
        (np.array([[(1 << 24) + 1]]), "float32"),
        (np.array([[1.0]]), "int32"),
        (np.array([[1]]), "bool"),
    ]
    for value, dtype in lossy:
        with pytest.raises(CalibrationError, match="without loss"):
            cast(value, dtype)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_the_sample(tmp_path: Path, bad: float) -> None:
    samples = [np.zeros((1, 3, 4), np.float32) for _ in range(3)]
    samples[2][0, 1, 1] = bad
    with pytest.raises(CalibrationError, match="sample 2 holds NaN or infinite"):
        drain(samples, IMAGE, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_drain_takes_arrays_sequences_and_mappings(tmp_path: Path) -> None:
    ids, mask = np.arange(5), np.ones((1, 5), np.float32)
    samples = [(ids, mask), [ids, mask], {"mask": mask, "ids": ids, "label": "spare"}]
    out = tmp_path / "out.safetensors"
    assert drain(samples, TEXT, out) == 3
    tensors = load_file(out)
    assert sorted(tensors) == [sample_key(s, t) for s in range(3) for t in range(2)]
    for number in range(3):
        np.testing.assert_array_equal(tensors[sample_key(number, 0)], [[0, 1, 2, 3, 4]])
        assert tensors[sample_key(number, 0)].dtype == np.int32
    assert drain([STACK[0], [STACK[1]]], IMAGE, out) == 2


def test_drain_copies_buffers_that_a_reader_reuses(tmp_path: Path) -> None:
    def reused() -> Iterator[Any]:
        buffer = np.zeros((4, 3), np.float32).T[None]  # not contiguous either
        for value in (1.0, 2.0):
            buffer[...] = value
            yield buffer

    out = tmp_path / "out.safetensors"
    drain(reused(), IMAGE, out)
    assert [float(load_file(out)[sample_key(i, 0)].mean()) for i in (0, 1)] == [1.0, 2.0]


def test_drain_keeps_the_values_of_arrays_that_are_not_contiguous(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3).T
    drain([array], IMAGE, tmp_path / "o.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "o.safetensors")["000000/0"][0], array)


def test_long_batches_are_cut_and_the_limit_counts_samples(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert drain(iter([STACK, STACK]), IMAGE, out) == 12
    assert drain(iter([STACK, STACK]), IMAGE, out, limit=8) == 8
    np.testing.assert_array_equal(load_file(out)[sample_key(7, 0)][0], STACK[1])
    with pytest.raises(CalibrationError, match=r"\(6, 3, 4\), but input x takes \(4, 3, 4\)"):
        drain([STACK], model(("x", (4, 3, 4), "float32")), out)


def test_drain_chooses_by_seed_only_where_it_can_index(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"

    def first(samples: Any, seed: int) -> list[float]:
        drain(samples, IMAGE, out, limit=3, seed=seed)
        return [float(load_file(out)[sample_key(i, 0)].ravel()[0]) for i in range(3)]

    listed = list(STACK)
    assert first(iter(listed), 1) == first(iter(listed), 2) == STACK[:3, 0, 0].tolist()
    assert first(listed, 1) == first(listed, 1)
    assert len({tuple(first(listed, seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize("empty", [[], iter(())])
def test_no_samples_is_an_error(tmp_path: Path, empty: Any) -> None:
    with pytest.raises(CalibrationError, match="no samples"):
        drain(empty, IMAGE, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"x": STACK}, "not a dict"),
        (3, "not a int"),
        ([(STACK[0], 7)], "holds 2 values"),
        ([{"y": STACK[0]}], "no value for input 'x': its keys are y"),
        ([np.array(["text"])], "not numeric"),
        ([[[[1.0], [1.0, 2.0]]]], "not an array"),
    ],
)
def test_what_is_no_sample_is_explained(tmp_path: Path, samples: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        drain(samples, IMAGE, tmp_path / "out.safetensors")


def test_an_onnxruntime_reader_is_read_to_its_end(tmp_path: Path) -> None:
    class Reader:
        def __init__(self) -> None:
            self.rows = iter(STACK)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {"x": row[None]}

    assert drain(from_reader(Reader()), IMAGE, tmp_path / "out.safetensors") == 6


def test_a_torch_loader_is_drained_again_and_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(STACK), torch.arange(6))
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    out = tmp_path / "out.safetensors"
    with pytest.raises(CalibrationError, match="holds 2 values") as caught:
        drain(loader, IMAGE, out)
    assert "from_loader" in caught.value.hint
    samples = from_loader(loader, lambda item: item[0].requires_grad_())
    for _ in range(2):
        assert drain(samples, IMAGE, out) == 6
        np.testing.assert_array_equal(load_file(out)[sample_key(5, 0)][0], STACK[5])
