"""The contract of a plugin module: cheap to import, honest in what it declares."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from convkit.artifact import Detection
from convkit.engine.machine import ALTERNATIVE
from convkit.engine.traits import allows
from convkit.plugin import spec
from convkit.plugin.edges import Converter
from convkit.plugin.manager import PluginManager
from convkit.plugin.marker import PROJECT
from convkit.plugin.registry import Registry

HEAVY = (
    "numpy", "scipy", "torch", "torchvision", "tensorflow", "tf_keras", "keras", "jax", "jaxlib",
    "onnx", "onnxruntime", "onnxsim", "onnxslim", "openvino", "nncf", "litert_torch", "tf2onnx",
    "ai_edge_litert", "ai_edge_quantizer", "flatbuffers", "google.protobuf", "coremltools",
    "transformers", "ultralytics", "PIL", "cv2", "pycocotools", "faster_coco_eval", "sklearn",
    "pandas", "matplotlib", "networkx", "safetensors",
)  # fmt: skip
"""Frameworks, and what else takes longer to import than all of the command line."""

LISTS = (
    "convkit_formats",
    "convkit_converters",
    "convkit_runners",
    "convkit_inspectors",
    "convkit_calibration_sources",
    "convkit_metrics",
    "convkit_exclusion_rules",
    "convkit_rankers",
    "convkit_delegate_rules",
    "convkit_samples",
)
"""Hooks that answer an iterable and take nothing."""

PROBE = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from convkit.plugin.manager import load_target
before = set(sys.modules)
plugin = load_target(sys.argv[2])
imported = sorted(set(sys.modules) - before)
for name in json.loads(sys.argv[3]):
    if hasattr(plugin, name):
        list(getattr(plugin, name)())
print(json.dumps([imported, sorted(set(sys.modules) - before)]))
"""


class PluginContract:
    """Inherit, and set `plugin`.

    Attributes:
        plugin: the entry point's value, such as `convkit_onnx.plugin`.
        plugins: further targets that this one builds on and that are not installed.
    """

    plugin: ClassVar[str] = ""
    plugins: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture(scope="class")
    @classmethod
    def manager(cls) -> PluginManager:
        """The installed plugins and this one."""
        assert cls.plugin, "set `plugin`"
        return PluginManager.discover((*cls.plugins, cls.plugin))

    @pytest.fixture(scope="class")
    @classmethod
    def registry(cls, manager: PluginManager) -> Registry:
        """What they offer together."""
        return Registry(manager)

    @pytest.fixture
    def converters(self, registry: Registry) -> list[Converter]:
        """This plugin's edges."""
        return [
            c
            for name, c in registry.converters.items()
            if registry.owner("converters", name).target == self.plugin
        ]

    def test_import_is_cheap(self) -> None:
        """Neither importing the plugin nor calling its hooks loads a framework or numpy."""
        arguments = [json.dumps([p for p in sys.path if p]), self.plugin, json.dumps(LISTS)]
        done = subprocess.run(
            [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        imported, called = json.loads(done.stdout.splitlines()[-1])
        for modules, when in ((imported, "importing the plugin"), (called, "calling its hooks")):
            heavy = [name for name in HEAVY if name in modules]
            assert not heavy, f"{when} loads {', '.join(heavy)}; import inside methods"

    def test_is_loaded_whole(self, manager: PluginManager, registry: Registry) -> None:
        """No hook is misspelt or undecorated, and the registry takes every declaration."""
        names = {p.name for p in manager.loaded if p.target == self.plugin} | {self.plugin}
        faults = [b.reason for b in registry.broken if b.name in names]
        assert not faults, "; ".join(faults)
        assert any(p.target == self.plugin for p in manager.loaded)

    def test_hooks_answer_alike_twice(self) -> None:
        """Hooks are called again in every worker: the same names must come back."""
        loaded = _load(self.plugin)
        hooks = [h for h in LISTS if hasattr(loaded, h)]
        hooked = [n for n in vars(spec) if n.startswith(f"{PROJECT}_") and hasattr(loaded, n)]
        assert hooked, f"{self.plugin} implements no hook"
        for hook in hooks:
            first, second = (_names(getattr(loaded, hook)()) for _ in range(2))
            assert first == second, f"{hook} answers {first}, then {second}"
            assert len(set(first)) == len(first), f"{hook} names something twice: {first}"

    def test_converters_are_named_by_tool(self, converters: list[Converter]) -> None:
        """`<tool>.<what>`: users steer by tool."""
        for converter in converters:
            tool, _, what = converter.name.partition(".")
            assert tool and what, f"{converter.name!r} is not spelled <tool>.<what>"

    def test_options_are_sound(self, converters: list[Converter]) -> None:
        """Unique names, a help text, a default that is allowed, and plain values."""
        for converter in converters:
            names = [o.name for o in converter.options]
            assert len(set(names)) == len(names), f"{converter.name} names an option twice"
            for option in converter.options:
                label = f"{converter.name}.{option.name}"
                assert option.help.strip(), f"{label} has no help text"
                assert allows(option, option.default), (
                    f"{label}: the default {option.default!r} is out of its own bounds"
                )
                wrong = [value for value in option.repairs if not allows(option, value)]
                assert not wrong, f"{label}: the repair {wrong[0]!r} is out of its own bounds"
                for value in (option.default, *option.choices, *option.repairs):
                    assert isinstance(value, bool | int | float | str), f"{label}: {value!r}"
                    assert json.loads(json.dumps(value)) == value, f"{label}: {value!r}"
                    assert type(value) is type(option.default), (
                        f"{label}: {value!r} is of another type than the default"
                    )

    def test_edges_are_sound(self, registry: Registry, converters: list[Converter]) -> None:
        """Requirements can be read, promises are of one kind, and the float twin fits."""
        from packaging.requirements import InvalidRequirement, Requirement

        for converter in converters:
            choices = [c for text in converter.requirements for c in text.split(ALTERNATIVE)]
            for text in choices:
                try:
                    Requirement(text)
                except InvalidRequirement as error:
                    pytest.fail(f"{converter.name}: requirement {text!r}: {error}")
            for provision in converter.provides:
                assert (provision.value is None) != (not provision.option), (
                    f"{converter.name} provides {provision.trait} by a value or by an option"
                )
            assert converter.loss >= 0 and converter.seconds >= 0, converter.name
            if converter.source == converter.target:
                assert converter.provides, f"{converter.name} changes nothing that can be planned"
            if converter.float_twin:
                twin = registry.converter(converter.float_twin)
                assert (twin.source, twin.target.format) == (
                    converter.source,
                    converter.target.format,
                ), f"{converter.name}: {twin.name} is no twin of it"
                assert twin.target.precision == "fp32", f"{twin.name} is not float"
            if converter.takes_recipe:
                assert converter.target.precision != "fp32", f"{converter.name} takes a recipe"

    def test_environments_are_locked(self, converters: list[Converter]) -> None:
        """Every line of an isolated environment's lock pins one version."""
        for isolated in {c.isolated.name: c.isolated for c in converters if c.isolated}.values():
            lines = [line.strip() for line in isolated.lock.replace("\\\n", " ").splitlines()]
            loose = [
                x
                for x in lines
                if x and not x.startswith(("#", "-")) and "==" not in x.split(";")[0]
            ]
            assert not loose, f"{isolated.name}: not pinned: {', '.join(loose)}"
            assert isolated.python.count(".") == 1, f"{isolated.name}: python {isolated.python}"

    def test_detection_is_safe(self, tmp_path: Path) -> None:
        """Hostile and foreign files are answered with None or an unsure guess, not an error."""
        detect = getattr(_load(self.plugin), "convkit_detect_format", None)
        if detect is None:
            pytest.skip("detects nothing")
        samples = {
            "empty": b"",
            "text": b"hello\n" * 100,
            "zip": b"PK\x03\x04" + bytes(60),
            "json": b"{" * 1000,
            "noise": bytes(range(256)) * 16,
        }
        for name, content in samples.items():
            path = tmp_path / f"{name}.bin"
            path.write_bytes(content)
            _check_guess(detect(path=path, head=content[:4096]), name)
        _check_guess(detect(path=tmp_path, head=b""), "a folder of other things")


def _load(target: str) -> Any:
    from convkit.plugin.manager import load_target

    return load_target(target)


def _names(things: Iterable[Any]) -> list[str]:
    return [getattr(thing, "name", None) or thing.id for thing in things]


def _check_guess(guess: Any, what: str) -> None:
    assert guess is None or isinstance(guess, Detection), f"{what}: {guess!r}"
    assert guess is None or guess.confidence < 0.9, f"{what} was taken for {guess.format}"
