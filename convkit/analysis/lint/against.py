"""Checks against the inputs that the evaluation prepares: how a model is fed when it is judged is
the best statement of how it was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from convkit.analysis.lint.alone import of_input
from convkit.analysis.lint.catalogue import warning
from convkit.analysis.lint.matches import same_pictures
from convkit.analysis.lint.portrait import InputPortrait, Portrait
from convkit.analysis.lint.scales import even_scale, scale_of
from convkit.lint import CalibrationWarning

_LEAST = 30
"""The scatter of fewer images is not known: the evaluation's stands for it."""
_LEAST_JUDGED = 30
"""Fewer images of the evaluation say nothing about their order of channels."""
_FAR = 29.9
_NEAR = 24.3
"""Of the squared distance (chi square, 7 degrees): the 0.9999 and the 0.999 quantile."""
_WIDER = 4.0
"""Spans of values that differ by this factor are of different scales, whatever they hold."""
_FLOAT_WIDER = 10.0
"""The same of inputs that are no images: fewer bounds are known of them."""
_BARRED = 0.5
"""So many of the evaluation's images have to show bars for the missing ones to be missed."""
_CHANCE = 0.05
"""Probability at which the lack of bars is no accident."""
_FILL = 0.05
"""Of the range: bars of the same fill differ by no more."""
_COLOURED = 0.9
"""Share of coloured images beside which gray ones are of another kind."""


def check(own: Portrait, judged: Portrait) -> Iterator[CalibrationWarning]:
    """Calibration `own` against evaluation inputs `judged` of the same model."""
    yield from _leak(own, judged)
    several = len(own.inputs) > 1
    checks: tuple[Callable[[InputPortrait, InputPortrait], Iterator[CalibrationWarning]], ...] = (
        _scale,
        _same_picture,
        _order,
        _bars,
        _gray,
    )
    for ours, theirs in zip(own.inputs, judged.inputs, strict=True):
        if ours.kind != theirs.kind or ours.kind == "integer":
            continue
        for examine in checks:
            for found in examine(ours, theirs):
                yield of_input(found, ours.name) if several else found


def _leak(own: Portrait, judged: Portrait) -> Iterator[CalibrationWarning]:
    if own.tiny:
        return
    known = set(judged.digests)
    shared = sum(digest in known for digest in own.digests)
    if shared:
        yield warning(
            "validation-leak",
            f"{shared} of {own.count} samples are among the {judged.count} that the model is scored"
            " on",
        )


def _same_picture(ours: InputPortrait, theirs: InputPortrait) -> Iterator[CalibrationWarning]:
    """Pictures that both sets hold show what was done to them."""
    found = same_pictures(ours.looks, theirs.looks)
    if not found:
        return
    yield warning(
        "validation-leak",
        f"{len(found)} of the {len(ours.looks)} images looked at show the same pictures as images"
        " that the model is scored on",
    )
    swapped = sum(match.swapped for match in found)
    if 2 * swapped > len(found):
        yield warning(
            "channel-order",
            f"{swapped} pictures that are in both sets have their first and third channel swapped",
        )
    stretched = sum(match.stretched for match in found)
    if 2 * stretched > len(found):
        yield warning(
            "stretched",
            f"{stretched} pictures that are in both sets fill the whole input here, where they have"
            " bars in the evaluation",
        )


def _scale(ours: InputPortrait, theirs: InputPortrait) -> Iterator[CalibrationWarning]:
    import numpy as np

    (low, high), (floor, ceiling) = (
        (float(side.lows.min()), float(side.highs.max())) for side in (ours, theirs)
    )
    said = f"values lie in {low:.4g}..{high:.4g}, those of the evaluation in"
    said = f"{said} {floor:.4g}..{ceiling:.4g}"
    image = ours.kind == "image"
    if image:
        one, other = scale_of(low, high), scale_of(floor, ceiling)
        if one and other:
            if one != other:
                yield warning("range-mismatch", f"{said}: {one} instead of {other}")
            return
    factor = _WIDER if image else _FLOAT_WIDER
    a, b = (float(np.median(side.highs - side.lows)) for side in (ours, theirs))
    apart = max(floor - high, low - ceiling) > 0 and ceiling > floor
    if a and b and (max(a / b, b / a) > factor or apart):
        yield warning("range-mismatch", said)


def _order(ours: InputPortrait, theirs: InputPortrait) -> Iterator[CalibrationWarning]:
    """Do statistics that change sign with the order of the channels agree with the evaluation's as
    they are, or mirrored?"""
    import numpy as np

    mine, other = (
        [entry.colour for entry in side.looks if entry.colour is not None]
        for side in (ours, theirs)
    )
    if not mine or len(other) < _LEAST_JUDGED:
        return
    undo = _normalization(theirs)
    if _reach(ours) > _WIDER * _reach(theirs) or _reach(theirs) > _WIDER * _reach(ours):
        if len(mine) < _LEAST:
            return
        left_undo = _normalization(ours)
    else:
        left_undo = undo
    left = np.stack([entry.statistics(*left_undo) for entry in mine])
    right = np.stack([entry.statistics(*undo) for entry in other])
    distances = swapped_distances(left, right)
    if distances is not None:
        as_is, mirrored = distances
        yield warning(
            "channel-order",
            "with the first and the third channel swapped the images resemble those of the"
            f" evaluation (distance {mirrored:.0f} instead of {as_is:.0f})",
        )


def swapped_distances(left: Any, right: Any) -> tuple[float, float] | None:
    """The distance of two sets as they are, and with one of them mirrored, where the latter is what
    they look like; else None. Distances are Mahalanobis', with the covariance of the difference of
    two means (Hotelling's two-sample statistic without equal covariances).

    Args:
        left, right: float64 (images, statistics), which change sign with the order of channels.
    """
    import numpy as np

    known = left if len(left) >= _LEAST else right
    scatter = np.cov(known.T) / len(left) + np.cov(right.T) / len(right)
    # a little of the diagonal: statistics that depend on each other leave the matrix singular
    scatter += np.diag(0.05 * np.diag(scatter) + 1e-12)
    inverse = np.linalg.inv(scatter)

    def distance(gap: Any) -> float:
        return float(gap @ inverse @ gap)

    as_is = distance(left.mean(axis=0) - right.mean(axis=0))
    mirrored = distance(left.mean(axis=0) + right.mean(axis=0))
    # else the evaluation's images would pass for their own mirror images
    decided = distance(2 * right.mean(axis=0)) > _FAR
    found = decided and as_is > _FAR and mirrored < max(_NEAR, as_is / 5)
    return (as_is, mirrored) if found else None


def _bars(ours: InputPortrait, theirs: InputPortrait) -> Iterator[CalibrationWarning]:
    import numpy as np

    barred = [entry for entry in theirs.looks if entry.bars]
    if not ours.looks or len(barred) < _BARRED * len(theirs.looks) or not barred:
        return
    fill = float(np.median([entry.fill for entry in barred]))
    slack = _FILL * float(theirs.highs.max() - theirs.lows.min())
    alike = sum(abs(entry.fill - fill) <= slack for entry in barred)
    # that many with bars of this fill, counted with one more of each kind
    share = (alike + 0.5) / (len(theirs.looks) + 1)
    here = sum(1 for entry in ours.looks if entry.bars)
    if share >= _BARRED and not here and (1 - share) ** len(ours.looks) < _CHANCE:
        yield warning(
            "stretched",
            f"{alike} of {len(theirs.looks)} images of the evaluation have bars of"
            f" {fill:.3g} at two sides, and none of the calibration images has any",
        )


def _gray(ours: InputPortrait, theirs: InputPortrait) -> Iterator[CalibrationWarning]:
    here, there = _share_gray(ours), _share_gray(theirs)
    if here is None or there is None:
        return
    if here == 1.0 and there <= 1 - _COLOURED:
        yield warning("gray-images", "the images are gray, those of the evaluation coloured")
    elif there == 1.0 and here <= 1 - _COLOURED:
        yield warning("gray-images", "the images are coloured, those of the evaluation gray")


def _share_gray(one: InputPortrait) -> float | None:
    """Share of images without colour, None where there are no three channels. Normalization by
    channel is undone by each channel's own mean and spread."""
    import numpy as np

    if not one.looks or _depth(one) != 3:
        return None
    gray = 0
    for entry in one.looks:
        planes = entry.thumb.reshape(3, -1)
        spread = planes.std(axis=1, keepdims=True)
        flat = (planes - planes.mean(axis=1, keepdims=True)) / np.where(spread, spread, 1.0)
        gray += bool(np.abs(flat - flat[:1]).max() < 0.02)
    return gray / len(one.looks)


def _reach(one: InputPortrait) -> float:
    return float(one.highs.max() - one.lows.min())


def _normalization(one: InputPortrait) -> tuple[Any, Any]:
    """What black is and how far white is from it in each channel, (3,) each: from the scale, where
    it is the same for all channels, else from what the images reach."""
    import numpy as np

    low, high = float(one.lows.min()), float(one.highs.max())
    lows = np.min([entry.lows for entry in one.looks], axis=0)
    spans = np.max([entry.highs for entry in one.looks], axis=0) - lows
    if even_scale(low, high) or not spans.all():
        return np.full(3, low), np.full(3, (high - low) or 1.0)
    return lows, spans


def _depth(one: InputPortrait) -> int:
    return int(one.looks[0].means.size) if one.looks else 0
