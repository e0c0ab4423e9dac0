"""Checks that need the samples only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from convkit.analysis.lint.catalogue import warning
from convkit.analysis.lint.portrait import InputPortrait, Portrait
from convkit.lint import CalibrationWarning

FEW = 32
"""Fewer samples than this leave the tails of the activations to chance."""
MOST_REPEATS = 0.05
"""A larger share of repeated samples is no accident."""
_VARIETY = 0.03
"""Share of the variance between images below which they are takes of the same scene."""
_NOISE = 0.1
"""Correlation of neighbours below which an image is noise; photos have 0.9, drawings 0.5."""
_OUTLIER = 50.0
"""An image that reaches so many times further than half of the others is scaled differently."""
_SCRAMBLED = 0.7
"""The other layout's reading is the picture if it is smoother by this factor."""
_MOST = 0.8
"""Share of the samples that has to show something for it to be said of all."""
_LEAST_ROWS, _LEAST_COLUMNS = 16, 64
"""Noise is told from data by its statistics where there is that much of it."""


def check(portrait: Portrait) -> Iterator[CalibrationWarning]:
    """What can be said of any set of samples."""
    yield from _number(portrait)
    yield from _repeats(portrait)
    yield from _blank(portrait)
    several = len(portrait.inputs) > 1
    checks: tuple[Callable[[InputPortrait], CalibrationWarning | None], ...] = (
        _noise,
        _variety,
        _channels,
        _outliers,
        _layout,
    )
    for one in portrait.inputs:
        for examine in checks:
            found = examine(one)
            if found is not None:
                yield of_input(found, one.name) if several else found


def of_input(found: CalibrationWarning, name: str) -> CalibrationWarning:
    """The same, saying which of several inputs it is about."""
    return CalibrationWarning(found.name, f"input {name}: {found.message}", found.remedy)


def _number(portrait: Portrait) -> Iterator[CalibrationWarning]:
    items = portrait.items
    if items == 1:
        message = "there is one sample, and it alone decides every range"
        if portrait.inputs[0].kind == "image":
            message += "; the order of channels can hardly be told from one image"
        yield warning("single-sample", message)
    elif items < FEW:
        yield warning("few-samples", f"there are {items} samples")


def _repeats(portrait: Portrait) -> Iterator[CalibrationWarning]:
    if portrait.tiny:
        return
    times = Counter(portrait.digests)
    repeats = portrait.count - len(times)
    if repeats > MOST_REPEATS * portrait.count:
        yield warning(
            "duplicates",
            f"{repeats} of {portrait.count} samples repeat others, one of them"
            f" {max(times.values())} times in all",
        )


def _blank(portrait: Portrait) -> Iterator[CalibrationWarning]:
    import numpy as np

    whole = np.logical_and.reduce([entry.blank for entry in portrait.inputs])
    sizes = [entry.size for entry in portrait.inputs]
    if max(sizes) >= LEAST_VALUES and whole.mean() > MOST_REPEATS:
        yield warning(
            "blank-samples",
            f"{int(whole.sum())} of the {len(whole)} samples looked at hold a single value",
        )


LEAST_VALUES = 8
"""A sample of fewer values may well hold the same one throughout."""


def _noise(one: InputPortrait) -> CalibrationWarning | None:
    import numpy as np

    if one.looks and min(one.looks[0].thumb.shape[1:]) and one.size >= LEAST_VALUES**2:
        seen = np.array([entry.neighbours for entry in one.looks])
        known = seen[np.isfinite(seen)]
        if len(known) and (np.abs(known) < _NOISE).mean() >= _MOST:
            return warning(
                "synthetic",
                "neighbouring pixels have nothing in common (correlation"
                f" {float(np.median(known)):.2f}), as in random numbers",
            )
    if one.rows is not None and _is_noise(one.rows):
        return warning(
            "synthetic", "the values are independent of each other, as random numbers are"
        )
    return None


def _is_noise(rows: Any) -> bool:
    """Whether all values are independent draws of one normal or uniform distribution: samples and
    positions have no mean of their own, neighbours no correlation, and the kurtosis is theirs."""
    import numpy as np

    count, length = rows.shape
    spread = float(rows.std())
    if count < _LEAST_ROWS or length < _LEAST_COLUMNS or not spread:
        return False
    z = (rows - rows.mean()) / spread
    own = float(z.mean(axis=1).var()) * length, float(z.mean(axis=0).var()) * count
    nearby = abs(float((z[:, 1:] * z[:, :-1]).mean()))
    tails = float((z**4).mean())
    return (
        all(0.3 < value < 2.5 for value in own)
        and nearby < 4 / float(np.sqrt(z.size)) + 0.01
        and (abs(tails - 3.0) < 0.2 or abs(tails - 1.8) < 0.1)
    )


def _variety(one: InputPortrait) -> CalibrationWarning | None:
    import numpy as np

    if len(one.looks) < 4:
        return None
    thumbs = np.stack([entry.thumb for entry in one.looks])
    total = float(thumbs.var(axis=(0, 2, 3)).mean())
    between = float(thumbs.var(axis=0).mean())
    if total and between < _VARIETY * total and len(np.unique(thumbs, axis=0)) > 1:
        return warning(
            "little-variety",
            f"the images hardly differ: {between / total:.1%} of their variance lies between them",
        )
    return None


def _channels(one: InputPortrait) -> CalibrationWarning | None:
    import numpy as np

    if not one.looks or one.looks[0].means.size != 3:
        return None
    lows = np.min([entry.lows for entry in one.looks], axis=0)
    highs = np.max([entry.highs for entry in one.looks], axis=0)
    spans = highs - lows
    dead = np.flatnonzero(spans == 0)
    if not len(dead) or not spans.max():
        return None
    return warning(
        "constant-channel",
        f"channel {dead[0]} (counted from 0) is {lows[dead[0]]:g} everywhere",
    )


def _outliers(one: InputPortrait) -> CalibrationWarning | None:
    import numpy as np

    reach = np.maximum(np.abs(one.lows), np.abs(one.highs))
    if one.kind != "image" or len(reach) < 4:
        return None
    usual = float(np.median(reach))
    far = np.flatnonzero(reach > _OUTLIER * usual)
    if not usual or not len(far):
        return None
    return warning(
        "outliers",
        f"{len(far)} of {len(reach)} samples reach {float(reach.max()):g}, where half of them stay"
        f" within {usual:g}",
    )


def _layout(one: InputPortrait) -> CalibrationWarning | None:
    import numpy as np

    seen = np.array([entry.scrambled for entry in one.looks])
    known = seen[np.isfinite(seen)]
    if not len(known) or (known < _SCRAMBLED).mean() < _MOST:
        return None
    other = "NHWC" if one.layout == "NCHW" else "NCHW"
    return warning(
        "layout",
        f"the images are {other} under the shape of {one.layout}: read as {other} they are"
        f" {1 / float(np.median(known)):.1f} times smoother",
    )
