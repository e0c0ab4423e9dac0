"""Training targets and losses of the detector: task alignment, CIoU, distance bins, BCE."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from convkit_samples.detector import BINS, Decode

CANDIDATES = 10
BOX_GAIN, BIN_GAIN, SCORE_GAIN = 7.5, 1.5, 0.7


class Truth(NamedTuple):
    """Labelled boxes of a batch, padded to m a picture."""

    boxes: Tensor
    """float32 (n, m, 4): x1 y1 x2 y2 in pixels."""
    labels: Tensor
    """int64 (n, m): class indices."""
    present: Tensor
    """bool (n, m): False where padded."""


class Targets(NamedTuple):
    """What each anchor should predict."""

    boxes: Tensor
    """float32 (n, anchors, 4): x1 y1 x2 y2 in pixels."""
    scores: Tensor
    """float32 (n, anchors, classes), 0..1."""
    positive: Tensor
    """bool (n, anchors): whether the anchor is responsible for a box."""


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of broadcastable boxes (..., 4) x1 y1 x2 y2; shape (...)."""
    corner = torch.minimum(first[..., 2:], second[..., 2:])
    sides = (corner - torch.maximum(first[..., :2], second[..., :2])).clamp(min=0)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (first, second)]
    inter = sides.prod(-1)
    return inter / (areas[0] + areas[1] - inter + 1e-7)


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """CIoU of paired boxes (k, 4): IoU less centre distance and aspect terms; shape (k,)."""
    overlap = iou(first, second)
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    diagonal = hull.square().sum(1) + 1e-7
    shift = (first[:, :2] + first[:, 2:] - second[:, :2] - second[:, 2:]).square().sum(1) / 4
    angles = [torch.atan((b[:, 2] - b[:, 0]) / (b[:, 3] - b[:, 1] + 1e-7)) for b in (first, second)]
    aspect = (angles[0] - angles[1]).square() * (4 / math.pi**2)
    with torch.no_grad():
        weight = aspect / (1 - overlap + aspect + 1e-7)
    return overlap - shift / diagonal - weight * aspect


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, centres: Tensor, truth: Truth) -> Targets:
    """Give each true box the anchors inside it that already predict it best.

    ``scores`` (n, anchors, classes) 0..1, ``boxes`` (n, anchors, 4) and ``centres``
    (anchors, 2) in pixels.
    """
    n, count, classes = scores.shape
    m = truth.labels.shape[1]
    wanted = truth.boxes[:, :, None]
    inside = ((centres - wanted[..., :2] > 0) & (wanted[..., 2:] - centres > 0)).all(-1)
    inside &= truth.present[..., None]
    overlap = iou(wanted, boxes[:, None]) * inside
    picked = scores.transpose(1, 2).gather(1, truth.labels[..., None].expand(n, m, count))
    metric = picked.sqrt() * overlap.pow(6)
    best = metric.topk(CANDIDATES, dim=2).indices
    chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
    shared = (chosen.sum(1, keepdim=True) > 1).expand_as(chosen)
    winner = functional.one_hot(overlap.argmax(1), m).transpose(1, 2).bool()
    chosen = torch.where(shared, winner & chosen.any(1, keepdim=True) & inside, chosen)
    positive = chosen.any(1)
    owner = chosen.long().argmax(1)
    metric = metric * chosen
    peak = (overlap * chosen).amax(2, keepdim=True) / (metric.amax(2, keepdim=True) + 1e-9)
    strength = (metric * peak).amax(1)
    labels = truth.labels.gather(1, owner)
    return Targets(
        boxes=truth.boxes.gather(1, owner[..., None].expand(n, count, 4)),
        scores=functional.one_hot(labels, classes) * (strength * positive)[..., None],
        positive=positive,
    )


def bin_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Cross entropy with the two bins around each true distance.

    ``logits`` (k, 4, BINS), ``distances`` (k, 4) in strides; returns (k,).
    """
    distances = distances.clamp(0, BINS - 1 - 0.01)
    low = distances.long()
    above = distances - low
    logs = logits.log_softmax(2)
    at_low = logs.gather(2, low[..., None]).squeeze(2)
    at_high = logs.gather(2, low[..., None] + 1).squeeze(2)
    return -(at_low * (1 - above) + at_high * above).mean(1)


def loss(logits: tuple[Tensor, Tensor], decode: Decode, truth: Truth) -> Tensor:
    """Total loss of a batch, a scalar.

    ``logits`` are those of the boxes (n, 64, anchors) and of the scores (n, classes, anchors).
    """
    box_logits, score_logits = logits
    strides = decode.strides[0].T
    centres = decode.points[0].T * strides
    before, after = (d.transpose(1, 2) for d in decode.distances(box_logits).chunk(2, dim=1))
    boxes = torch.cat([centres - before * strides, centres + after * strides], dim=2)
    scores = score_logits.transpose(1, 2)
    targets = assign(scores.detach().sigmoid(), boxes.detach(), centres, truth)
    total = targets.scores.sum().clamp(min=1)
    score = functional.binary_cross_entropy_with_logits(scores, targets.scores, reduction="sum")
    where = targets.positive
    weight = targets.scores.sum(2)[where]
    wanted = targets.boxes[where]
    box = ((1 - complete_iou(boxes[where], wanted)) * weight).sum()
    at = centres.expand_as(wanted.new_empty((*where.shape, 2)))[where]
    scale = strides.expand(*where.shape, 1)[where]
    distances = torch.cat([at - wanted[:, :2], wanted[:, 2:] - at], dim=1) / scale
    bins = box_logits.transpose(1, 2)[where].reshape(-1, 4, BINS)
    spread = (bin_loss(bins, distances) * weight).sum()
    return (BOX_GAIN * box + BIN_GAIN * spread + SCORE_GAIN * score) / total
