"""Operators that reach outside of the model: files, Python code, other machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convkit.errors import UnsafeError

_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_FILES = frozenset(
    {
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "ReaderReadV2",
        "Restore",
        "RestoreSlice",
        "Save",
        "SaveSlices",
        "SaveDataset",
        "SaveDatasetV2",
        "LoadDataset",
        "DistributedSave",
        "PrintV2",
        "DebugIdentity",
        "DebugIdentityV2",
        "DebugIdentityV3",
        "WriteGraphSummary",
        "CreateSummaryFileWriter",
        "CreateSummaryDbWriter",
        "ImmutableConst",
        "InitializeTableFromTextFile",
        "InitializeTableFromTextFileV2",
        "TextLineDataset",
        "TFRecordDataset",
        "TFRecordDatasetV2",
        "FixedLengthRecordDataset",
        "FixedLengthRecordDatasetV2",
        "SqlDataset",
        "CSVDataset",
        "CSVDatasetV2",
        "SnapshotDataset",
        "SnapshotDatasetV2",
        "CacheDataset",
        "CacheDatasetV2",
        "TextLineReader",
        "TextLineReaderV2",
        "TFRecordReader",
        "TFRecordReaderV2",
        "WholeFileReader",
        "WholeFileReaderV2",
        "FixedLengthRecordReader",
        "FixedLengthRecordReaderV2",
        "LMDBReader",
    }
)
_OTHERS = frozenset({"RpcCall", "RpcClient", "RpcServer", "RpcServerStart", "RpcServerRegister"})
_CHECKPOINT = frozenset(
    {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "ShardedFilespec"}
)
"""How every SavedModel saves and restores its own variables; elsewhere they are file access."""


def check(nodes: Iterable[Any], name: str, trust: bool, checkpoint_allowed: bool = False) -> None:
    """Refuse a graph with operators that reach outside.

    Args:
        nodes: NodeDef messages of the graph and of all its functions.
        checkpoint_allowed: SaveV2 and RestoreV2 are the model's own.

    Raises:
        UnsafeError: such an operator is there and `trust` is False.
    """
    if trust:
        return
    refused = _PYTHON | _FILES | _OTHERS
    if not checkpoint_allowed:
        refused |= _CHECKPOINT
    found = sorted({node.op for node in nodes} & refused)
    if found:
        what = "Python code" if set(found) <= _PYTHON else "files or code outside of the model"
        raise UnsafeError(
            f"{name} holds operators that reach {what}: {', '.join(found)}",
            hint="Read it with --trust if you know where it comes from.",
        )
