"""Recognize an OpenVINO IR by its root element: standard library only."""

from __future__ import annotations

import re

from convkit.plugin import Detection

_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<net\s(?P<attributes>[^>]*)>",
    re.DOTALL,
)
_VERSION = re.compile(rb"\bversion\s*=\s*[\"'](\d+)[\"']")


def detect(head: bytes) -> Detection | None:
    """`<net name="..." version="11">` at the start of a file is an IR, and nothing else is."""
    root = _ROOT.match(head)
    if root is None or not _VERSION.search(root["attributes"]):
        return None
    return Detection("openvino", 1.0)
