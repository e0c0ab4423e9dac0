"""Reading declared settings: typed values out of TOML tables and of command-line text.

A `SettingError` says what is wrong with one key; who knows where the key came from (a file, a flag)
turns it into an error for the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from convkit.errors import UsageError

T = TypeVar("T")


class SettingError(ValueError):
    """One setting is unknown, of the wrong type or out of bounds; the text names its key."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SettingError: unreadable, not UTF-8, or not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingError(str(exc)) from exc


def check_keys(found: Iterable[str], known: Iterable[str], where: str = "") -> None:
    """Refuse keys that are not known, naming the nearest known one."""
    from difflib import get_close_matches

    names = tuple(known)
    for key in found:
        if key not in names:
            near = get_close_matches(key, names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
            raise SettingError(f"{where}{key!r} is not a setting{meant}")


def table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The table `name`, empty where it is absent."""
    value = document.get(name, {})
    if not isinstance(value, Mapping):
        raise SettingError(f"{name!r} must be a table: write [{name}] on a line of its own")
    return value


def choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    """One of a few words; upper and lower case are the same."""
    for word in allowed:
        if isinstance(value, str) and value.casefold() == word.casefold():
            return word
    raise SettingError(f"{key} must be one of {', '.join(allowed)}, not {value!r}")


def number(key: str, value: Any, low: float = -1e30, high: float = 1e30) -> float:
    """A finite number within bounds, inclusive; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"{key} must be a number, not {value!r}")
    if not low <= value <= high:  # also false for NaN
        raise SettingError(f"{key} must be a number from {low:g} to {high:g}, not {value!r}")
    return float(value)


def integer(key: str, value: Any, low: int, high: int) -> int:
    """A whole number within bounds, inclusive; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingError(f"{key} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise SettingError(f"{key} must be from {low} to {high}, not {value!r}")
    return value


def numbers(key: str, value: Any, lengths: tuple[int, ...]) -> tuple[float, ...]:
    """A list of numbers of an allowed length; a bare number is a list of one."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    if len(items) not in lengths:
        counts = " or ".join(map(str, lengths))
        raise SettingError(f"{key} must hold {counts} numbers, not {value!r}")
    return tuple(number(key, item) for item in items)


def parse_numbers(key: str, text: str) -> list[int | float]:
    """Numbers in command-line text: `160x160`, `0,1`, `0.485, 0.456, 0.406`, `224`."""
    parts = [part.strip() for part in text.lower().replace("x", ",").strip("[]() ").split(",")]
    try:
        return [int(part) if part.lstrip("+-").isdigit() else float(part) for part in parts]
    except ValueError as exc:
        raise SettingError(f"{key} must be numbers such as 160x160 or 0,1, not {text!r}") from exc


def attempt(make: Callable[[], T], where: str, error: type[UsageError], hint: str = "") -> T:
    """Run `make`; a `SettingError` becomes `error`, whose message begins with `where`."""
    try:
        return make()
    except SettingError as exc:
        raise error(f"{where}: {exc}", hint=hint) from exc
