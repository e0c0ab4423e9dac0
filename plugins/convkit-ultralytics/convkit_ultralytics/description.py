"""Model descriptions (`yolov8n.yaml`): checked, then built with seeded weights.

ultralytics evaluates a text of the description (`activation`) and calls whatever its own namespace
has under a layer's name, so a description is as dangerous as a program. It is checked before it is
built: layers must be layer classes, and an activation must be a class of torch.nn with constants.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convkit.errors import ConvkitError, InputError, UnsafeError
from convkit_ultralytics import framework
from convkit_ultralytics.safety import TRUST_HINT

SEED = 0
"""Of the weights: the runner and every converter must build the very same model, and a runner is
told of no seed."""

_LIMIT = 1_000_000
_KEYS = ("nc", "backbone", "head")
_MODELS = {
    "Classify": "ClassificationModel",
    "Depth": "DepthModel",
    "Detect": "DetectionModel",
    "OBB": "OBBModel",
    "OBB26": "OBBModel",
    "Pose": "PoseModel",
    "Pose26": "PoseModel",
    "RTDETRDecoder": "RTDETRDetectionModel",
    "Segment": "SegmentationModel",
    "Segment26": "SegmentationModel",
    "SemanticSegment": "SemanticSegmentationModel",
    "WorldDetect": "WorldModel",
    "YOLOEDetect": "YOLOEModel",
    "YOLOESegment": "YOLOESegModel",
    "YOLOESegment26": "YOLOESegModel",
    "v10Detect": "DetectionModel",
}
"""The last layer's class to the class of the model."""

_SCALE = re.compile(r"yoloe?-?v?\d+([a-z])")
_FIT_SIDE, _FIT_BATCH = 128, 4
_LEAST_BIAS = -1.0


def read(path: Path) -> dict[str, Any]:
    """The description, with the scale that the file's name chooses.

    Raises:
        InputError: no description.
    """
    import yaml

    try:
        if path.stat().st_size > _LIMIT:
            raise InputError(f"{path.name} is too large for a model description")
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise InputError(f"{path.name} is not a YAML file: {framework.first_line(exc)}") from exc
    if not isinstance(found, dict) or any(key not in found for key in _KEYS):
        raise InputError(
            f"{path.name} is no model description",
            hint="A description of ultralytics has the keys nc, backbone and head.",
        )
    rows = [found["backbone"], found["head"]]
    if not all(isinstance(part, list) and part and all(map(_is_row, part)) for part in rows):
        raise InputError(
            f"{path.name} is damaged: a layer is a list of inputs, repeats, class and arguments"
        )
    if found["head"][-1][2] not in _MODELS:
        raise InputError(
            f"{path.name} ends in the layer {found['head'][-1][2]}, which is no head of a model",
            hint=f"Known are {', '.join(sorted(_MODELS))}.",
        )
    return {**found, "scale": _scale(found, path), "yaml_file": path.name}


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) == 4 and isinstance(row[2], str)


def _scale(found: Mapping[str, Any], path: Path) -> str:
    """The key of `scales` to use: named in the file, else in the file's name, else the first."""
    scales = found.get("scales")
    if not isinstance(scales, dict) or not scales:
        return ""
    match = _SCALE.match(path.stem)
    for choice in (found.get("scale"), match and match.group(1)):
        if choice in scales:
            return str(choice)
    return str(next(iter(scales)))


def digest(description: Mapping[str, Any]) -> str:
    """sha256 of what decides the model: two scales of one file are two models."""
    content = {key: value for key, value in description.items() if key != "yaml_file"}
    text = json.dumps([content, SEED], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def build(description: Mapping[str, Any], trust: bool) -> Any:
    """The model, with weights drawn from `SEED`, in eval mode.

    Raises:
        InputError: ultralytics cannot build it.
        UnsafeError: building it would run code that the file brings, and `trust` is False.
    """
    import copy

    import torch

    tasks = framework.tasks()
    if not trust:
        _check(description, tasks)
    kind = _MODELS[description["head"][-1][2]]
    if not hasattr(tasks, kind):
        raise InputError(
            f"ultralytics {framework.version()} has no {kind}", hint="Upgrade ultralytics."
        )
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(SEED)
            model = getattr(tasks, kind)(
                copy.deepcopy(dict(description)),
                ch=int(description.get("channels", 3)),
                verbose=False,
            )
            _give_signal(model.eval())
    except ConvkitError:
        raise
    except Exception as exc:  # anything that a description may get wrong
        raise InputError(
            f"{description['yaml_file']} cannot be built: {framework.first_line(exc)}",
            hint="Does `YOLO('<the file>')` build it?",
        ) from exc
    return model


def _check(description: Mapping[str, Any], tasks: Any) -> None:
    activation = description.get("activation")
    if activation is not None and not _is_plain_activation(activation):
        raise UnsafeError(
            f"the activation {activation!r} is code, and building the model would run it",
            hint="Write a class of torch.nn with constants, such as nn.LeakyReLU(0.1). "
            + TRUST_HINT,
        )
    for _, _, name, arguments in (*description["backbone"], *description["head"]):
        if not _is_layer(name, tasks):
            raise UnsafeError(
                f"{name!r} is not a layer that may be built from a description", hint=TRUST_HINT
            )
        if name == "TorchVision" and (len(arguments) < 3 or arguments[2] not in (None, "None")):
            raise InputError(
                "the layer TorchVision would download weights",
                hint="Write None as its third argument; weights come from a checkpoint.",
            )


def _is_plain_activation(text: object) -> bool:
    """Whether it reads `nn.Name(constants)`, with or without `torch.` before it."""
    import torch

    try:
        call = ast.parse(str(text).strip(), mode="eval").body
    except SyntaxError:
        return False
    if not isinstance(call, ast.Call):
        return False
    home, _, name = ast.unparse(call.func).rpartition(".")
    kind = getattr(torch.nn, name, None)
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return (
        home in ("nn", "torch.nn")
        and isinstance(kind, type)
        and issubclass(kind, torch.nn.Module)
        and all(isinstance(value, ast.Constant) for value in values)
    )


def _is_layer(name: str, tasks: Any) -> bool:
    import torch

    home, _, last = name.rpartition(".")
    if home == "torchvision.ops":
        import torchvision

        kind = getattr(torchvision.ops, last, None)
    elif home == "nn":
        kind = getattr(torch.nn, last, None)
    else:
        kind = getattr(tasks, name, None)
        if not str(getattr(kind, "__module__", "")).startswith("ultralytics.nn.modules."):
            return False  # whole models take descriptions of their own
    return isinstance(kind, type) and issubclass(kind, torch.nn.Module)


def _give_signal(model: Any) -> None:
    """Fit the batch normalizations to noise, so that every layer carries a signal.

    Fresh weights shrink activations layer by layer until the outputs are constant to the last
    bit, and a conversion that drops half of the network would pass for exact. Scales are rounded
    to powers of two, so that another machine's last bits make no other model. A fresh head also
    takes every class for improbable; its scores would be too faint to compare in integers.
    """
    import torch

    for part in model.model[-1].modules():
        if isinstance(part, torch.nn.Conv2d) and part.bias is not None:
            part.bias.clamp_(min=_LEAST_BIAS)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_fit) for norm in norms]
    channels = int(model.yaml.get("channels", 3))
    model(torch.rand(_FIT_BATCH, channels, _FIT_SIDE, _FIT_SIDE))
    for hook in hooks:
        hook.remove()


def _fit(norm: Any, inputs: tuple[Any, ...]) -> None:
    power = inputs[0].square().mean((0, 2, 3)).clamp(min=1e-12)
    norm.running_var.copy_(power.log2().round().exp2())
