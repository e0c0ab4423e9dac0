"""`convkit quantize`: `convert` for those who come to make a model smaller."""

from __future__ import annotations

from typing import Any

import click

from convkit.cli.commands.convert import command as convert
from convkit.errors import UsageError

_HELP = """Quantize MODEL, verified against the original.

The same as `convkit convert` with a quantized target: MODEL may be of any format, and is carried
to the target's first. Which layers stay in float is measured, unless --exclude says it.

\b
convkit quantize model.onnx --to onnx-int8 --calibration images/ --exclude 'model.22.*'
"""


def _quantize(targets: tuple[str, ...], **flags: Any) -> Any:
    from convkit.kit import Kit

    kit = Kit()
    for target in targets:
        if kit.state(target).precision == "fp32":
            raise UsageError(
                f"{target} is not quantized",
                hint=f"Say a precision too, such as {target}-int8, or use `convkit convert`.",
            )
    assert convert.callback is not None
    return convert.callback(targets=targets, **flags)


command = click.Command(
    "quantize", callback=_quantize, params=convert.params, help=_HELP, short_help="Quantize MODEL."
)
