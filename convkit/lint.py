"""What a look at calibration data finds before any long work, and what is declared about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CalibrationWarning:
    """One thing that is probably wrong with calibration data.

    Attributes:
        name: kebab-case, of `convkit.analysis.lint.catalogue.REMEDIES`, such as `channel-order`.
        message: what was found, with its numbers; one sentence without a full stop.
        remedy: what the user can do; one or two sentences.
    """

    name: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"calibration data, {self.name}: {self.message}. {self.remedy}"


@dataclass(frozen=True)
class Preparation:
    """How images become a model's input, as somebody declared it.

    Attributes:
        resize: `stretch` (both sides to their length, whatever the aspect ratio was), `letterbox`
            (aspect ratio kept, the rest filled), `center-crop`, or empty where the size is kept or
            nothing is known.
        channels: `RGB`, `BGR` or `gray`; empty where unknown.
        layout: `NCHW` or `NHWC`; empty where unknown.
        range: what the pixel values 0 and 255 become, before `mean` and `std`.
        mean, std: (x - mean) / std afterwards; one number per channel, or one for all.
    """

    resize: str = ""
    channels: str = ""
    layout: str = ""
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """What black and white become, for each channel; one pair where all are alike."""
        depth = max(len(self.mean), len(self.std))
        means = self.mean * depth if len(self.mean) == 1 else self.mean
        stds = self.std * depth if len(self.std) == 1 else self.std
        low, high = self.range
        return tuple(((low - m) / s, (high - m) / s) for m, s in zip(means, stds, strict=True))
