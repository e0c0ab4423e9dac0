"""Suites that must fail: every fault that the kit is there to find.

The name keeps pytest from collecting it; `test_bad_fakes.py` runs it in a process of its own. Each
suite says in `fails` which of its tests find the fault; all others must pass or be skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from convkit.arrays import ArraySource
from convkit.artifact import Artifact, State, TensorSpec
from convkit.plugin.data import CalibrationSource
from convkit.plugin.edges import Converter
from convkit.plugin.reading import Inspector
from convkit.plugin.runtimes import Runner
from convkit.testing import (
    CalibrationSourceContract,
    ConverterContract,
    DelegateRulesContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit.testing.laboratory import Laboratory, open_laboratory
from tests.testing.toyplugin import bad, bad_reading
from tests.testing.toyplugin import model as toy

TOY = "tests.testing.toyplugin.plugin"
BAD = "tests.testing.toyplugin.bad:BAD"
BAD_READING = "tests.testing.toyplugin.bad_reading:BAD"
DAMAGED = ("truncated", "garbage", "empty")


def refusals(name: str) -> tuple[str, ...]:
    return tuple(f"{name}[{damage}]" for damage in DAMAGED)


REFUSED = refusals("test_damaged_input_is_refused")
CONVERSION = (
    "test_input_is_unchanged",
    "test_writes_stay_under_the_output",
    "test_described_state_is_the_target",
    "test_file_is_what_it_claims",
    "test_inputs_and_outputs_keep_order",
    "test_specs_match_the_file",
    "test_promised_traits_hold",
    "test_is_deterministic",
    "test_numbers_agree_with_the_source",
    "test_recipe_is_obeyed",
    "test_progress_is_told_in_words",
    "test_process_is_left_as_it_was",
)
"""What cannot be looked at where the conversion itself fails."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """One laboratory for all suites without limits of their own: starting workers takes time."""
    with open_laboratory(tmp_path_factory.mktemp("shared"), (TOY, BAD, BAD_READING)) as laboratory:
        yield laboratory


class Shared:
    """Overrides the kit's own fixture."""

    @pytest.fixture(scope="class")
    @classmethod
    def laboratory(cls, shared: Laboratory) -> Laboratory:
        return shared


class BadConverter(ConverterContract):
    plugins: ClassVar[tuple[str, ...]] = (TOY, BAD)
    kind: ClassVar[type]
    fails: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def converter(self) -> Converter:
        made: Converter = self.kind()
        return made

    @pytest.fixture
    def source(self, tmp_path: Path, converter: Converter) -> Path:
        folder = tmp_path / "source"
        folder.mkdir()
        (folder / "notes.txt").write_text("a stranger's file")
        path = folder / f"model.{converter.source.format}"
        model = toy.build({"a": (3, 0), "b": (3, 0)}, step=True)
        toy.write(model, path, converter.source.format)
        return path


CONVERTERS: dict[type, tuple[str, ...]] = {
    bad.WritesAfar: ("test_writes_stay_under_the_output",),
    bad.WritesNatively: ("test_writes_stay_under_the_output",),
    bad.LeavesLogs: ("test_writes_stay_under_the_output",),
    bad.UsesTemporaryFiles: (),
    bad.RemovesStrangers: ("test_writes_stay_under_the_output",),
    bad.ChangesInput: ("test_input_is_unchanged", "test_writes_stay_under_the_output"),
    bad.WrongNumbers: ("test_numbers_agree_with_the_source",),
    bad.WrongOrder: ("test_inputs_and_outputs_keep_order", "test_numbers_agree_with_the_source"),
    bad.DropsOutput: (
        "test_inputs_and_outputs_keep_order",
        "test_specs_match_the_file",
        "test_numbers_agree_with_the_source",
    ),
    bad.LiesOnSpecs: ("test_specs_match_the_file",),
    bad.ClaimsInt8: ("test_file_is_what_it_claims",),
    bad.WrongState: ("test_described_state_is_the_target",),
    bad.BreaksPromise: ("test_promised_traits_hold",),
    bad.OddOption: ("test_options_round_trip",),
    bad.BareException: REFUSED,
    bad.HidesCause: REFUSED,
    bad.HalfWritten: REFUSED,
    bad.SwallowsDamage: REFUSED,
    bad.WritesNothing: CONVERSION,
    bad.Moody: ("test_is_deterministic",),
    bad.ChangesFolder: ("test_process_is_left_as_it_was",),
    bad.ChangesVariables: ("test_process_is_left_as_it_was",),
    bad.Mute: ("test_progress_is_told_in_words",),
    bad.Mumbles: ("test_progress_is_told_in_words",),
    bad.Chatty: (),
    bad.Aborts: CONVERSION,
    bad.Segfaults: CONVERSION,
    bad.Exits: CONVERSION,
    bad.Hangs: CONVERSION,
    bad.EatsMemory: CONVERSION,
    bad.FillsDisk: CONVERSION,
    bad.IgnoresRecipe: ("test_recipe_is_obeyed",),
}

for _kind, _fails in CONVERTERS.items():
    _body: dict[str, Any] = {"kind": _kind, "fails": _fails}
    if _kind is bad.Hangs:
        _body["time_limit"] = 3.0
    if _kind is bad.EatsMemory:
        _body["memory_limit"] = 500
    _own = "time_limit" in _body or "memory_limit" in _body
    _bases = (BadConverter,) if _own else (Shared, BadConverter)
    globals()[f"Test{_kind.__name__}"] = type(f"Test{_kind.__name__}", _bases, _body)


class TestUnregistered(BadConverter):
    """Not offered by any hook, so that no user would ever run it."""

    plugins = (TOY,)
    kind = bad.Chatty
    fails = (*CONVERSION, *REFUSED)


class TestWrongSource(Shared, BadConverter):
    """A source in another state than the edge takes."""

    kind = bad.Chatty
    fails = (*CONVERSION, *REFUSED)

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "model.toy"
        toy.write(toy.build({"a": (3, 0)}), path, "brick")
        return path


class TestDeclaredMoody(Shared, BadConverter):
    """Without a reason, the declaration counts for nothing."""

    kind = bad.Moody
    deterministic = False
    fails = ("test_is_deterministic",)


class TestExcusedMoody(Shared, BadConverter):
    kind = bad.Moody
    deterministic = False
    why_not_deterministic = "it writes the time of day"
    fails = ()


class TestStricterTolerance(Shared, BadConverter):
    """What passes by the floor of its precision may still miss the author's own tolerance."""

    kind = bad.IgnoresRecipe
    fails = ("test_recipe_is_obeyed", "test_numbers_agree_with_the_source")

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 90.0


class BadRunnerSuite(Shared, RunnerContract):
    kind: ClassVar[type]
    fails: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def runner(self) -> Runner:
        made: Runner = self.kind()
        return made

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "model.brick"
        toy.write(toy.build({"a": (3, 0), "b": (5, 0)}, step=True), path, "brick")
        return path


RUNNERS: dict[type, tuple[str, ...]] = {
    bad_reading.OwnOrder: ("test_outputs_follow_the_artifact",),
    bad_reading.Remembers: ("test_same_input_same_output", "test_trace_reaches_the_outputs"),
    bad_reading.WrongDtype: ("test_outputs_are_as_described",),
    bad_reading.BareRunner: refusals("test_damaged_file_is_refused"),
    bad_reading.CrashingRunner: refusals("test_damaged_file_is_refused"),
    bad_reading.CachingRunner: ("test_nothing_is_written",),
    bad_reading.TracesStrangers: ("test_trace_names_the_layers",),
    bad_reading.TracesTooLittle: ("test_trace_reaches_the_outputs",),
    bad_reading.ProfilesStrangers: ("test_profile_is_of_the_model",),
}


class BadInspectorSuite(Shared, InspectorContract):
    kind: ClassVar[type]
    fails: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def inspector(self) -> Inspector:
        made: Inspector = self.kind()
        return made

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "source" / "model.brick"
        path.parent.mkdir()
        toy.write(toy.build({"a": (3, 0), "b": (5, 0)}), path, "brick")
        return path

    @pytest.fixture
    def state(self) -> State:
        return State("brick")


INSPECTORS: dict[type, tuple[str, ...]] = {
    bad_reading.BareInspector: refusals("test_damaged_file_is_refused"),
    bad_reading.LeaksPath: ("test_digest_is_of_the_content",),
    bad_reading.TrustsNames: ("test_state_is_true",),
    bad_reading.RepeatsLayers: ("test_layers_are_well_formed",),
    bad_reading.ShufflesLayers: ("test_layers_are_well_formed",),
    bad_reading.ListsOtherOperators: ("test_operations_are_the_layers",),
    bad_reading.SloppySpecs: ("test_specs_are_well_formed",),
    bad_reading.RichTraits: ("test_specs_are_well_formed",),
    bad_reading.ReadsGarbage: refusals("test_damaged_file_is_refused"),
    bad_reading.TouchesFile: ("test_nothing_is_written",),
}


class BadSourceSuite(Shared, CalibrationSourceContract):
    kind: ClassVar[type]
    fails: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def calibration_source(self) -> CalibrationSource:
        made: CalibrationSource = self.kind()
        return made

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        import numpy as np

        folder = tmp_path / "samples"
        folder.mkdir()
        for number in range(20):
            value = np.full((1, 8), number / 20, dtype=np.float32)
            np.save(folder / f"{number:02d}.npy", value)
        return folder

    @pytest.fixture
    def artifact(self) -> Artifact:
        return Artifact(Path("model.toy"), State("toy"), (TensorSpec("x", (1, 8), "float32"),))


SOURCES: dict[type, tuple[str, ...]] = {
    ArraySource: (),
    bad_reading.AcceptsAll: ("test_accepts_only_its_own",),
    bad_reading.Unsorted: ("test_files_are_the_content",),
    bad_reading.Unseeded: ("test_the_seed_decides",),
    bad_reading.Deaf: ("test_unknown_settings_are_refused",),
    bad_reading.Stingy: ("test_samples_fit_the_model", "test_the_seed_decides"),
    bad_reading.Scribbles: ("test_nothing_is_written",),
}


class BadRulesSuite(DelegateRulesContract):
    change: ClassVar[tuple[str, str]]
    fails: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        old, new = self.change
        assert RULES.count(old) == 1
        path = tmp_path / "rules.toml"
        path.write_text(RULES.replace(old, new), encoding="utf-8")
        return path

    @pytest.fixture
    def operators(self) -> tuple[str, ...]:
        return ("MULTIPLY", "POST")


RULES = """
name = "abacus"
title = "Abacus"
format = "toy"
source = "https://abacus.example/rules"
version = "7"
retrieved = 2026-11-01
dtypes = ["float32"]

[statuses]
mapped = "on the abacus"
subgraph = "too many abaci"
operator = "no bead for it"
version = "a new-fangled kind"
dtype = "no such beads"
rank = "no such frame"
dynamic = "endless"
limit = "not today"

[remedies]
"*" = "Count on your fingers."

[[rule]]
operators = ["MULTIPLY"]
inputs = "1-2"
runtime_inputs = "1"
"""
EVERY_RULE = tuple(name for name in vars(DelegateRulesContract) if name.startswith("test_"))
CHANGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "Rules": ("Abacus", "Soroban", ()),
    "RulesNobodyPublished": ("https://abacus.example/rules", "a friend", EVERY_RULE[:1]),
    "RulesOfTheFuture": ("2026-11-01", "9026-11-01", EVERY_RULE[:1]),
    "RulesWithoutVersion": ('version = "7"', 'version = "current"', EVERY_RULE[:1]),
    "RulesWithoutSource": ("https://abacus.example/rules", "", EVERY_RULE),
    "RulesWithoutWording": ('rank = "no such frame"', "", EVERY_RULE),
    "RulesWithOwnStatus": ('rank = "no such frame"', 'rank = "x"\nmood = "y"', EVERY_RULE),
    "RulesWithUnknownCondition": ('inputs = "1-2"', "beads = 3", EVERY_RULE),
    "RulesWithWrongType": ('inputs = "1-2"', "inputs = 2", EVERY_RULE),
    "RulesThatFlatter": ("not today", "on the abacus", ("test_statuses_tell_what_is_taken",)),
    "RulesMisspelt": ('["MULTIPLY"]', '["MULTIPLI"]', ("test_operators_exist",)),
    "RulesWithoutRemedy": (
        '"*" = "Count on your fingers."',
        "",
        ("test_a_stranger_is_refused_with_a_remedy",),
    ),
    "RulesThatContradict": (
        'runtime_inputs = "1"',
        'runtime_inputs = "3"',
        ("test_every_rule_can_be_met",),
    ),
}

for _name, (_old, _new, _fails) in CHANGES.items():
    _body = {"change": (_old, _new), "fails": _fails}
    globals()[f"Test{_name}"] = type(f"Test{_name}", (BadRulesSuite,), _body)

for _base, _table in (
    (BadRunnerSuite, RUNNERS),
    (BadInspectorSuite, INSPECTORS),
    (BadSourceSuite, SOURCES),
):
    for _kind, _fails in _table.items():
        _name = f"Test{_kind.__name__}"
        globals()[_name] = type(_name, (_base,), {"kind": _kind, "fails": _fails})


class BadPlugin(PluginContract):
    plugins: ClassVar[tuple[str, ...]] = (TOY,)
    fails: ClassVar[tuple[str, ...]]


WHOLE = "test_is_loaded_whole"
PLUGINS: dict[str, tuple[str, ...]] = {
    "MISSPELT": (WHOLE, "test_hooks_answer_alike_twice"),
    "UNDECORATED": (WHOLE,),
    "RAISES": (WHOLE, "test_import_is_cheap", "test_hooks_answer_alike_twice"),
    "RAISES_LATER": (WHOLE, "test_import_is_cheap", "test_hooks_answer_alike_twice"),
    "ANSWERS_NUMBER": (WHOLE, "test_import_is_cheap", "test_hooks_answer_alike_twice"),
    "SHAKY": ("test_hooks_answer_alike_twice",),
    "LOADS_WHEN_ASKED": ("test_import_is_cheap",),
    "GREEDY": ("test_detection_is_safe",),
    "NERVOUS": ("test_detection_is_safe",),
    "NO_HOOK": ("test_hooks_answer_alike_twice",),
    "TAKES_A_NAME": (WHOLE,),
    "NAMES_TWICE": (WHOLE, "test_hooks_answer_alike_twice"),
    "NAMELESS_TOOL": ("test_converters_are_named_by_tool",),
    "NO_NAME": (WHOLE, "test_hooks_answer_alike_twice"),
    "OUT_OF_BOUNDS": ("test_options_are_sound",),
    "NO_HELP": ("test_options_are_sound",),
    "NOT_A_CHOICE": ("test_options_are_sound",),
    "MIXED_CHOICES": ("test_options_are_sound",),
    "BAD_REPAIR": ("test_options_are_sound",),
    "UNREASONED": (WHOLE,),
    "UNKNOWN_FORMAT": (WHOLE,),
    "UNKNOWN_PRECISION": (WHOLE,),
    "RAISES_PRECISION": (WHOLE,),
    "UNREADABLE_REQUIREMENT": ("test_edges_are_sound",),
    "UNBOUND": (WHOLE,),
    "PROMISES_NOTHING": ("test_edges_are_sound",),
    "IDLE": ("test_edges_are_sound",),
    "NO_TWIN": ("test_edges_are_sound",),
    "WRONG_TYPES": (WHOLE,),
    "LOOSE_LOCK": ("test_environments_are_locked",),
}

for _target, _fails in PLUGINS.items():
    _name = f"Test_{_target}"
    _body = {"plugin": f"tests.testing.toyplugin.bad_plugins:{_target}", "fails": _fails}
    globals()[_name] = type(_name, (BadPlugin,), _body)


class TestEager(BadPlugin):
    plugin = "tests.testing.toyplugin.eager"
    fails = ("test_import_is_cheap",)


class TestMissingPlugin(BadPlugin):
    plugin = "tests.testing.toyplugin.nowhere"
    fails = (
        WHOLE,
        "test_import_is_cheap",
        "test_hooks_answer_alike_twice",
        "test_detection_is_safe",
    )


class BadFormat(FormatContract):
    plugins: ClassVar[tuple[str, ...]] = (TOY, "tests.testing.toyplugin.bad_plugins:ODD_FORMATS")
    fails: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "model.toy"
        toy.write(toy.build({"a": (3, 0)}), path, "toy")
        return path


class TestFileAndFolder(BadFormat):
    format_id = "both"
    fails = (
        "test_declaration_is_sound",
        "test_is_found_out",
        "test_is_found_out_by_content",
        "test_can_be_inspected_and_run",
    )


class TestNeverFoundOut(BadFormat):
    format_id = "mute"
    fails = (
        "test_is_found_out",
        "test_is_found_out_by_content",
        "test_can_be_inspected_and_run",
    )


class TestUndeclared(BadFormat):
    format_id = "tile"
    fails = (
        "test_declaration_is_sound",
        "test_every_state_can_be_spelled",
        "test_is_found_out",
        "test_is_found_out_by_content",
        "test_can_be_inspected_and_run",
    )
