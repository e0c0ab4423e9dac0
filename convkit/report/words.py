"""Numbers as a reader wants them. Values may be infinite or NaN: they come from measurements."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
NONE = "\N{EN DASH}"
"""Stands where nothing was measured."""


def fixed(value: float | None, digits: int) -> str:
    """`0.9120`; words for what is no number."""
    if value is None:
        return NONE
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    return f"{value:.{digits}f}".replace("-", MINUS)


def figure(value: float | None, digits: int = 3) -> str:
    """Significant digits, without an exponent where that is readable: `12.3`, `0.00451`."""
    if value is None or not math.isfinite(value):
        return fixed(value, 0)
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude <= 6:
        return (
            f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("-", MINUS)
        )
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}".replace("-", MINUS)


def score(value: float | None) -> str:
    """A metric: four decimals, as metrics are quoted, or significant digits for large ones."""
    if value is not None and math.isfinite(value) and abs(value) >= 10:
        return figure(value, 4)
    return fixed(value, 4)


def change(value: float | None) -> str:
    """A difference with its sign."""
    if value is None or not math.isfinite(value):
        return fixed(value, 0)
    text = score(value)
    return text if text.startswith(MINUS) or float(f"{value:.4f}") == 0 else f"+{text}"


def time(seconds: float | None) -> str:
    """`12.3 ms`, `1.23 s`, `3 min 05 s`."""
    if seconds is None or not math.isfinite(seconds):
        return fixed(seconds, 0)
    if seconds >= 60:
        return f"{int(seconds // 60)}{NBSP}min {int(seconds % 60):02d}{NBSP}s"
    if seconds >= 1:
        return f"{figure(seconds)}{NBSP}s"
    if seconds >= 1e-3 or seconds == 0:
        return f"{figure(seconds * 1e3)}{NBSP}ms"
    return f"{figure(seconds * 1e6)}{NBSP}µs"


def milliseconds(seconds: float | None) -> str:
    """For a column of its own unit."""
    return NONE if seconds is None else figure(seconds * 1e3)


def size(count: float | None) -> str:
    """`1.83 MB`, decimal units."""
    if count is None or not math.isfinite(count):
        return fixed(count, 0)
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f}{NBSP}B" if unit == "B" else f"{figure(value)}{NBSP}{unit}"
        value /= 1000
    return f"{figure(value)}{NBSP}GB"


def percent(share: float | None, digits: int = 0) -> str:
    """`62 %`."""
    if share is None or not math.isfinite(share):
        return fixed(share, 0)
    return f"{fixed(100 * share, digits)}{NBSP}%"


def times(ratio: float | None) -> str:
    """`0.43` and the sign for times."""
    return (
        fixed(ratio, 0)
        if ratio is None or not math.isfinite(ratio)
        else (f"{figure(ratio)}{NBSP}{TIMES}")
    )


def span(low: float, high: float) -> str:
    """`0.41 to 0.47`, on one line."""
    return f"{figure(low)}{NBSP}to{NBSP}{figure(high)}"


def decibels(value: float | None) -> str:
    """`30.3 dB`."""
    if value is not None and math.isinf(value) and value > 0:
        return "exact"
    return fixed(value, 1) + (f"{NBSP}dB" if value is not None and math.isfinite(value) else "")


def count(number: int, one: str, many: str = "") -> str:
    """`1 file`, `3 files`."""
    return f"{number:,}{NBSP}{one if number == 1 else many or one + 's'}"


def enumerate_words(items: list[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def road(path: str) -> str:
    """`torch → onnx` for a manifest's `torch -> onnx`."""
    return path.replace("->", "→")


def middle(name: str, most: int = 44) -> str:
    """A long name without its middle: names in a run differ at their ends."""
    if len(name) <= most:
        return name
    end = most * 3 // 5
    return f"{name[: most - end - 1]}…{name[-end:]}"
