"""The contract of a converter, a quantizer or a preparation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from convkit.artifact import ReadOptions
from convkit.calibration import CalibrationData
from convkit.engine.digest import digest_path
from convkit.engine.hops import run_hop
from convkit.engine.options import resolve_options
from convkit.engine.session import Found
from convkit.engine.traits import allows, satisfies
from convkit.errors import WorkerError
from convkit.plans import OptionValue, Step
from convkit.plugin.edges import Converter
from convkit.quant import LayerInfo, QuantRecipe, QuantRule
from convkit.testing.base import LaboratoryContract
from convkit.testing.folders import DAMAGES, damaged
from convkit.testing.laboratory import Conversion, Laboratory, offered
from convkit.testing.specs import spec_faults


class ConverterContract(LaboratoryContract):
    """Inherit, name the `edge`, and override the fixture `source`.

    A conversion runs twice on the good source and once on every damaged copy of it; the tests
    look at those runs, so their number costs nothing.

    Attributes:
        edge: the name of the converter, as its plugin offers it; needs not be set where the fixture
            `converter` is overridden.
        tolerance: the SQNR in dB that the result must reach; None for the floor of its precision.
        deterministic: set to False where the tool cannot give the same file twice, and say why in
            `why_not_deterministic`.
    """

    edge: ClassVar[str] = ""
    tolerance: ClassVar[float | None] = None
    deterministic: ClassVar[bool] = True
    why_not_deterministic: ClassVar[str] = ""

    @pytest.fixture
    def converter(self, laboratory: Laboratory) -> Converter:
        """The implementation, taken from the plugin's hook."""
        if not self.edge:
            raise NotImplementedError("set `edge`, or override the fixture `converter`")
        return laboratory.session.registry.converter(self.edge)

    @pytest.fixture
    def source(self) -> Path:
        """A small valid model in the converter's source state, in a folder of its own."""
        raise NotImplementedError("override the fixture `source`")

    @pytest.fixture
    def options(self) -> Mapping[str, OptionValue]:
        """Options that differ from their defaults."""
        return {}

    @pytest.fixture
    def calibration(self) -> Any:
        """A path or an iterable of samples; random numbers where it is None."""
        return None

    @pytest.fixture
    def tolerance_db(self) -> float | None:
        """See `tolerance`; a fixture, for suites whose classes choose it by more."""
        return self.tolerance

    @pytest.fixture
    def found(
        self, laboratory: Laboratory, converter: Converter, source: Path, read: ReadOptions
    ) -> Found:
        """The source, as its inspector sees it."""
        offered(laboratory.session.registry, "converters", converter.name)
        found = laboratory.source(source, converter.source.format, read)
        assert found.state == converter.source, (
            f"`source` is {found.state} by its content; {converter.name} takes {converter.source}"
        )
        for requirement in converter.requires:
            value = found.artifact.traits.get(requirement.trait)
            assert value is None or satisfies(value, requirement), (
                f"`source` has {requirement.trait} {value}, which {converter.name} does not take"
            )
        return found

    @pytest.fixture
    def resolved(
        self, converter: Converter, options: Mapping[str, OptionValue]
    ) -> Mapping[str, OptionValue]:
        """Every option with its value."""
        defaults = {o.name: o.default for o in converter.options}
        assert set(options) <= set(defaults), f"{converter.name} has options {sorted(defaults)}"
        return {**defaults, **options}

    @pytest.fixture
    def drained(
        self, laboratory: Laboratory, converter: Converter, found: Found, calibration: Any
    ) -> CalibrationData | None:
        """Calibration data, where it was given or is needed."""
        if calibration is None and not converter.needs_calibration:
            return None
        return laboratory.calibration(calibration, found.artifact)

    @pytest.fixture
    def conversion(
        self,
        laboratory: Laboratory,
        converter: Converter,
        found: Found,
        resolved: Mapping[str, OptionValue],
        drained: CalibrationData | None,
    ) -> Conversion:
        """The first run."""
        return laboratory.convert(converter, found.artifact, resolved, drained)

    @pytest.fixture
    def again(
        self,
        laboratory: Laboratory,
        converter: Converter,
        found: Found,
        resolved: Mapping[str, OptionValue],
        drained: CalibrationData | None,
        conversion: Conversion,
    ) -> Conversion:
        """The second run, in the same worker."""
        return laboratory.convert(converter, found.artifact, resolved, drained, turn=2)

    @pytest.fixture
    def result(self, laboratory: Laboratory, conversion: Conversion) -> Found:
        """What the first run made."""
        return laboratory.finished(conversion)

    def test_input_is_unchanged(self, laboratory: Laboratory, conversion: Conversion) -> None:
        """The source's bytes are the same before and after."""
        laboratory.finished(conversion)
        before, after = conversion.digests
        assert before == after, "the converter changed its own input"

    def test_writes_stay_under_the_output(
        self, laboratory: Laboratory, conversion: Conversion
    ) -> None:
        """Nothing outside `output` and `context.workdir` is left behind, changed or removed.

        Temporary files are fine where they are gone afterwards.
        """
        laboratory.finished(conversion)
        assert not conversion.seen.strays, f"written outside: {', '.join(conversion.seen.strays)}"

    def test_described_state_is_the_target(self, converter: Converter, result: Found) -> None:
        """The returned artifact claims the state that the edge promises."""
        assert result.state == converter.target, (
            f"{converter.name} promises {converter.target} and describes {result.state}"
        )

    def test_file_is_what_it_claims(self, converter: Converter, result: Found) -> None:
        """The inspector finds the promised format and precision in the file itself."""
        truth = result.inspection.state
        assert truth == converter.target, f"the file is {truth}, not {converter.target}"

    def test_inputs_and_outputs_keep_order(self, found: Found, result: Found) -> None:
        """As many as the source has, and each where the source has it."""
        for kind in ("inputs", "outputs"):
            ours = getattr(found.artifact, kind)
            theirs = getattr(result.artifact, kind)
            assert len(ours) == len(theirs), (
                f"the source has {len(ours)} {kind}, the result {len(theirs)}"
            )
            names = {s.name: i for i, s in enumerate(ours)}
            for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                place = names.get(b.name, index)
                assert place == index, (
                    f"{kind[:-1]} {index} is {b.name!r}, which the source has at {place}"
                )
                if all(isinstance(d, int) for d in (*a.shape, *b.shape)):
                    assert sorted(a.shape) == sorted(b.shape), (  # a layout may have changed
                        f"{kind[:-1]} {index}: shape {b.shape}, the source has {a.shape}"
                    )

    def test_specs_match_the_file(self, result: Found) -> None:
        """Every described tensor is in the file under that name, with that shape and dtype."""
        for kind in ("inputs", "outputs"):
            described = getattr(result.artifact, kind)
            in_file = {s.name: s for s in getattr(result.inspection, kind)}
            assert len(described) == len(in_file), f"the file has {kind} {sorted(in_file)}"
            for spec in described:
                truth = in_file.get(spec.name)
                assert truth is not None, f"{spec.name!r} is not among the file's {kind}"
                assert (spec.shape, spec.dtype) == (truth.shape, truth.dtype), (
                    f"{spec.name!r} is described as {spec.dtype}{spec.shape}, "
                    f"the file says {truth.dtype}{truth.shape}"
                )
            assert not spec_faults(described), spec_faults(described)

    def test_promised_traits_hold(
        self, converter: Converter, result: Found, resolved: Mapping[str, OptionValue]
    ) -> None:
        """The planner relies on what `provides` says."""
        for provision in converter.provides:
            promised = resolved[provision.option] if provision.option else provision.value
            value = result.artifact.traits.get(provision.trait)
            assert value == promised, f"{provision.trait} is {value!r}; {promised!r} was promised"

    def test_options_round_trip(
        self, laboratory: Laboratory, converter: Converter, options: Mapping[str, OptionValue]
    ) -> None:
        """Declarations and values survive JSON and the command line."""
        values = {o.name: o.default for o in converter.options} | dict(options)
        for option in converter.options:
            value = values[option.name]
            assert isinstance(value, bool | int | float | str), f"{option.name}: {value!r}"
            assert json.loads(json.dumps(value)) == value
            assert option.help.strip(), f"{option.name} has no help text"
            assert allows(option, option.default), f"{option.name}: the default is not allowed"
            key = f"{converter.name}.{option.name}"
            parsed, _ = resolve_options({key: str(value)}, laboratory.session.registry)
            assert parsed == {(converter.name, option.name): value}

    def test_is_deterministic(
        self, laboratory: Laboratory, result: Found, again: Conversion
    ) -> None:
        """Two runs on the same input give the same content."""
        if not self.deterministic:
            assert self.why_not_deterministic, "say why in `why_not_deterministic`"
            pytest.skip(self.why_not_deterministic)
        second = laboratory.finished(again)
        assert result.artifact.digest == second.artifact.digest, "two runs, two results"

    def test_numbers_agree_with_the_source(
        self,
        laboratory: Laboratory,
        found: Found,
        result: Found,
        drained: CalibrationData | None,
        tolerance_db: float | None,
    ) -> None:
        """The result computes what the source computes, as far as its precision allows."""
        verdict = laboratory.verify(
            found.artifact, result.artifact, laboratory.samples(drained, found.artifact)
        )
        assert verdict.verdict not in ("wrong", "unproven"), "; ".join(verdict.problems)
        if tolerance_db is not None:
            assert verdict.sqnr_db >= tolerance_db, (
                f"{verdict.sqnr_db:.1f} dB; {tolerance_db:g} were declared"
            )

    def test_recipe_is_obeyed(
        self,
        laboratory: Laboratory,
        converter: Converter,
        found: Found,
        result: Found,
        resolved: Mapping[str, OptionValue],
        drained: CalibrationData | None,
    ) -> None:
        """A layer that a recipe keeps in float is in float in the file."""
        if not converter.takes_recipe:
            pytest.skip("takes no recipe")
        layers = [x for x in self._float_layers(laboratory, converter, found) if x.macs]
        if len(layers) < 2 or not result.inspection.integer_macs:
            pytest.skip("the format hides its layers, or `source` has too few to spare one")
        lightest = min(layers, key=lambda x: x.macs)  # the rest must still earn the precision
        rule = QuantRule((lightest.name,), "contract suite")
        kept = laboratory.convert(
            converter, found.artifact, resolved, drained, QuantRecipe("one layer", (rule,))
        )
        inspection = laboratory.finished(kept).inspection
        assert inspection.integer_macs <= result.inspection.integer_macs - lightest.macs, (
            f"{lightest.name} was to stay in float and did not"
        )

    def _float_layers(
        self, laboratory: Laboratory, converter: Converter, found: Found
    ) -> Sequence[LayerInfo]:
        if not converter.float_twin:
            return found.inspection.layers
        session = laboratory.session
        edge = session.registry.converter(converter.float_twin)
        step = Step(edge.name, edge.source, edge.target, {o.name: o.default for o in edge.options})
        with session.stage("the float model whose layers the recipe names") as stage:
            return run_hop(session, step, found.artifact, None, None, stage).found.inspection.layers

    def test_progress_is_told_in_words(
        self, laboratory: Laboratory, conversion: Conversion
    ) -> None:
        """At least one phase, each a text, with a fraction in 0..1 or None."""
        laboratory.finished(conversion)
        assert not conversion.seen.faults, "; ".join(conversion.seen.faults)
        assert conversion.seen.phases, "`context.progress` was never called"

    def test_process_is_left_as_it_was(
        self, laboratory: Laboratory, conversion: Conversion
    ) -> None:
        """Working folder, umask and environment variables are as before.

        Variables that the import of a framework sets are excused.
        """
        laboratory.finished(conversion)
        assert not conversion.seen.changes, "; ".join(conversion.seen.changes)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_input_is_refused(
        self,
        laboratory: Laboratory,
        converter: Converter,
        found: Found,
        resolved: Mapping[str, OptionValue],
        drained: CalibrationData | None,
        tmp_path: Path,
        damage: str,
    ) -> None:
        """A typed error that names its cause, and nothing left behind."""
        copy = damaged(found.artifact.path, tmp_path / damage, damage)
        artifact = dataclasses.replace(found.artifact, path=copy, digest=digest_path(copy))
        try:
            run = laboratory.convert(converter, artifact, resolved, drained)
        except WorkerError as error:
            pytest.fail(f"on {damage} input: {error.message}")
        refused_properly(run, damage)


def refused_properly(run: Conversion, damage: str) -> None:
    """Check how a conversion of a damaged file ended."""
    error = run.seen.error
    assert error is not None, f"{damage} input was converted without complaint"
    assert error["typed"], f"{error['type']} is no ConvkitError:\n{error['traceback']}"
    refused = "InputError" in error["kinds"] or "UnsafeError" in error["kinds"]
    assert refused or error["cause"], f"{error['type']} was raised without its cause (`from exc`)"
    assert error["message"].strip(), "the error says nothing"
    assert not run.leftovers, f"left behind: {', '.join(run.leftovers)}"
    assert not run.seen.strays, f"left behind outside: {', '.join(run.seen.strays)}"
    assert run.digests[0] == run.digests[1], "the converter changed its own input"
