"""The contract of an inspector."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from convkit.artifact import ReadOptions, State
from convkit.codec import decode, encode
from convkit.delegates import Operation
from convkit.engine.digest import digest_path
from convkit.errors import WorkerError
from convkit.inspection import Inspection
from convkit.plugin.reading import Inspector, OperationReader
from convkit.testing.base import LaboratoryContract
from convkit.testing.folders import DAMAGES, damaged
from convkit.testing.laboratory import Laboratory, Observation, offered
from convkit.testing.specs import spec_faults, trait_faults


class InspectorContract(LaboratoryContract):
    """Inherit, and override the fixtures `inspector`, `source` and `state`."""

    @pytest.fixture
    def inspector(self) -> Inspector:
        """The implementation, taken from the plugin's hook."""
        raise NotImplementedError("override the fixture `inspector`")

    @pytest.fixture
    def source(self) -> Path:
        """A small valid model of the inspector's format, in a folder of its own."""
        raise NotImplementedError("override the fixture `source`")

    @pytest.fixture
    def state(self) -> State:
        """What `source` truly is."""
        raise NotImplementedError("override the fixture `state`")

    @pytest.fixture
    def inspection(
        self, laboratory: Laboratory, inspector: Inspector, source: Path, read: ReadOptions
    ) -> Inspection:
        """The findings on the source."""
        offered(laboratory.session.registry, "inspectors", inspector.name)
        return self.inspect(laboratory, inspector, source, read)

    def test_state_is_true(
        self, laboratory: Laboratory, inspector: Inspector, inspection: Inspection, state: State
    ) -> None:
        """Format and precision are those of the file, and exist in the registry."""
        home = laboratory.session.registry.formats.get(inspector.format)
        assert home is not None, f"no plugin declares the format {inspector.format!r}"
        assert inspection.state == state
        assert inspection.state.format == inspector.format
        assert inspection.state.precision in home.precisions

    def test_specs_are_well_formed(self, inspection: Inspection) -> None:
        """Unique names, numpy's dtypes, sizes or symbols; a model has at least one output."""
        assert inspection.outputs, "a model without outputs"
        for specs in (inspection.inputs, inspection.outputs):
            assert not spec_faults(specs), spec_faults(specs)
        assert not trait_faults(inspection.traits), trait_faults(inspection.traits)

    def test_operations_are_the_layers(
        self,
        laboratory: Laboratory,
        inspector: Inspector,
        inspection: Inspection,
        source: Path,
        read: ReadOptions,
    ) -> None:
        """What it tells for the rules of accelerators, it tells of the same layers in the same
        order, with the tensors that flow between them."""
        if not isinstance(inspector, OperationReader):
            pytest.skip(f"{inspector.name} does not read operations")
        arguments = {"path": str(source), "read": encode(read)}
        answer = laboratory.session.ask("operations", "inspectors", inspector.name, arguments)
        operations = decode(tuple[Operation, ...], answer)
        assert [(op.layer, op.op_type) for op in operations] == [
            (layer.name, layer.op_type) for layer in inspection.layers
        ]
        for op, layer in zip(operations, inspection.layers, strict=True):
            assert [operand.name for operand in op.outputs] == list(layer.outputs), layer.name
            flowing = {x.name for x in op.inputs if x is not None and not x.constant}
            assert flowing <= set(layer.inputs), f"{layer.name} takes {sorted(flowing)}"

    def test_layers_are_well_formed(self, inspection: Inspection) -> None:
        """Unique names, in execution order, counts that are none below zero."""
        names = [layer.name for layer in inspection.layers]
        assert len(set(names)) == len(names), "layer names are not unique"
        made = {tensor: i for i, x in enumerate(inspection.layers) for tensor in x.outputs}
        for index, layer in enumerate(inspection.layers):
            assert layer.op_type and layer.macs >= 0 and layer.parameter_count >= 0, layer
            late = [t for t in layer.inputs if made.get(t, -1) >= index]
            assert not late, f"{layer.name} takes {late} before they are made"
        assert all(count > 0 for count in inspection.operators.values())
        assert all(size >= 0 for size in inspection.parameter_bytes.values())

    def test_digest_is_of_the_content(
        self,
        laboratory: Laboratory,
        inspector: Inspector,
        inspection: Inspection,
        source: Path,
        read: ReadOptions,
        tmp_path: Path,
    ) -> None:
        """A copy under another folder gives the same findings: no path leaks into them."""
        copy = tmp_path / "elsewhere" / source.name
        copy.parent.mkdir()
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            for file in source.parent.iterdir():  # external data comes along
                if file.is_file():
                    shutil.copyfile(file, copy.parent / file.name)
        assert self.inspect(laboratory, inspector, copy, read) == inspection

    def test_nothing_is_written(
        self, laboratory: Laboratory, inspector: Inspector, source: Path, read: ReadOptions
    ) -> None:
        """An inspector only reads, at its first call too, which imports the framework."""
        before = digest_path(source)
        seen = self.observe(laboratory, inspector, source, read)
        strays = laboratory.strays[inspector.name]
        assert not strays, f"written: {', '.join(strays)}"
        assert digest_path(source) == before, "the inspector changed the file"
        assert not seen.changes, "; ".join(seen.changes)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_file_is_refused(
        self,
        laboratory: Laboratory,
        inspector: Inspector,
        source: Path,
        read: ReadOptions,
        tmp_path: Path,
        damage: str,
    ) -> None:
        """As an `InputError`, or as an `UnsafeError` where damage makes it look unsafe."""
        copy = damaged(source, tmp_path / damage, damage)
        try:
            seen = self.observe(laboratory, inspector, copy, read)
        except WorkerError as error:
            pytest.fail(f"on a {damage} file: {error.message}")
        assert seen.error is not None, f"a {damage} file was read without complaint"
        assert {"InputError", "UnsafeError"} & set(seen.error["kinds"]), (
            f"{seen.error['type']} instead of InputError:\n{seen.error['traceback']}"
        )
        assert not seen.strays, f"left behind: {', '.join(seen.strays)}"

    def inspect(
        self, laboratory: Laboratory, inspector: Inspector, path: Path, read: ReadOptions
    ) -> Inspection:
        """Read a file in a worker."""
        seen = self.observe(laboratory, inspector, path, read)
        if seen.error is not None:
            pytest.fail(f"{seen.error['type']}: {seen.error['message']}\n{seen.error['traceback']}")
        found: Inspection = decode(Inspection, seen.result)
        return found

    def observe(
        self, laboratory: Laboratory, inspector: Inspector, path: Path, read: ReadOptions
    ) -> Observation:
        """Read a file in a worker, observed."""
        arguments: dict[str, Any] = {"path": str(path), "read": encode(read)}
        return laboratory.observe(
            "inspect", "inspectors", inspector.name, arguments, around=(path.parent,)
        )
