"""Plugins that break the contract in what they declare, one way each."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from convkit.environment import IsolatedEnvironment
from convkit.plugin import (
    Converter,
    Detection,
    Format,
    Option,
    State,
    TraitProvision,
    hookimpl,
)
from tests.testing.toyplugin.bad import Offer
from tests.testing.toyplugin.converters import Brick, Simplify, ToyConverter


class Misspelt:
    @hookimpl
    def convkit_convertors(self) -> Iterable[Converter]:
        return ()


class Undecorated:
    def convkit_converters(self) -> Iterable[Converter]:
        return ()


class Raises:
    @hookimpl
    def convkit_converters(self) -> Iterable[Converter]:
        raise RuntimeError("no licence server")


class RaisesLater:
    """A generator: its code runs long after the hook was called."""

    @hookimpl
    def convkit_converters(self) -> Iterator[Converter]:
        yield odd(name="late.brick")
        raise RuntimeError("no licence server")


class AnswersNumber:
    @hookimpl
    def convkit_converters(self) -> Any:
        return 42


class Shaky:
    @hookimpl
    def convkit_converters(self) -> Iterable[Converter]:
        return (odd(name=f"shaky.{uuid.uuid4().hex}"),)


class LoadsWhenAsked:
    @hookimpl
    def convkit_formats(self) -> Iterable[Format]:
        import numpy as np

        return (Format("asked", np.dtype("float32").name, (".asked",)),)


class Greedy:
    @hookimpl
    def convkit_detect_format(self, path: Path, head: bytes) -> Detection | None:
        return Detection("toy", 1.0)


class Nervous:
    @hookimpl
    def convkit_detect_format(self, path: Path, head: bytes) -> Detection | None:
        return Detection("toy", 0.1 if head[0] else 0.0)


class Unreasoned:
    """A rule that cannot say why."""

    @hookimpl
    def convkit_exclusion_rules(self) -> Iterable[Any]:
        return (Brick(),)


class OddFormats:
    @hookimpl
    def convkit_formats(self) -> Iterable[Format]:
        return (
            Format("both", "A file and a folder", (".both",), "-both"),
            Format("mute", "Never found out", (".mute",)),
        )


def odd(kind: type[ToyConverter] = Brick, **changes: Any) -> Converter:
    """An edge with a part of its declaration changed."""
    made: Converter = type("Odd", (kind,), {"name": "odd.brick", **changes})()
    return made


def option(**changes: Any) -> Converter:
    """An edge whose one option is unsound."""
    sound = {"name": "opset", "default": 17, "help": "operator set", "minimum": 7, "maximum": 21}
    return odd(options=(Option(**{**sound, **changes}),))


MISSPELT = Misspelt()
UNDECORATED = Undecorated()
RAISES = Raises()
RAISES_LATER = RaisesLater()
ANSWERS_NUMBER = AnswersNumber()
SHAKY = Shaky()
LOADS_WHEN_ASKED = LoadsWhenAsked()
GREEDY = Greedy()
NERVOUS = Nervous()
UNREASONED = Unreasoned()
ODD_FORMATS = OddFormats()
NO_HOOK = object()
TAKES_A_NAME = Offer(Brick())
NAMES_TWICE = Offer(odd(), odd())
NAMELESS_TOOL = Offer(odd(name="brick"))
NO_NAME = Offer(odd(name=""))
OUT_OF_BOUNDS = Offer(option(default=99))
NO_HELP = Offer(option(help=" "))
NOT_A_CHOICE = Offer(option(choices=(1, 2), minimum=None))
MIXED_CHOICES = Offer(option(choices=(17, "new")))
BAD_REPAIR = Offer(option(repairs=(22,)))
UNKNOWN_FORMAT = Offer(odd(target=State("tile")))
UNKNOWN_PRECISION = Offer(odd(source=State("toy", "int4")))
WIDENS_NOTHING = Offer(odd(Simplify, name="odd.wide", widens=True))
RAISES_PRECISION = Offer(odd(Simplify, name="odd.up", source=State("brick", "fp16")))
UNREADABLE_REQUIREMENT = Offer(odd(requirements=("numpy>>1",)))
UNBOUND = Offer(odd(provides=(TraitProvision("opset", option="operator-set"),)))
PROMISES_NOTHING = Offer(
    odd(Simplify, name="odd.simplify", provides=(TraitProvision("simplified"),))
)
IDLE = Offer(odd(Simplify, name="odd.simplify", provides=()))
NO_TWIN = Offer(odd(float_twin="mason.crate"))
WRONG_TYPES = Offer(odd(source=None))
LOOSE_LOCK = Offer(odd(isolated=IsolatedEnvironment("loose", "3.11", "numpy>=1\nonnx==1.2")))
