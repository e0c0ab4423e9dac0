"""States and their spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.artifact import PRECISIONS, Format, State
from convkit.errors import UsageError

FORMATS = (
    Format("tf", "TF", (".tf",), precisions=PRECISIONS),
    Format("tf-saved", "SavedModel", directory_suffix="-saved", precisions=("fp32", "int8")),
    Format("tf-int8", "A format named like a state", (".t8",)),
    Format("onnx", "ONNX", (".onnx",), precisions=PRECISIONS),
)

words = st.from_regex(r"[a-z]{1,4}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("onnx", State("onnx")),
        ("onnx-int8", State("onnx", "int8")),
        ("onnx-int8-dynamic", State("onnx", "int8-dynamic")),
        ("tf-saved", State("tf-saved")),
        ("tf-saved-int8", State("tf-saved", "int8")),
        ("tf-fp16", State("tf", "fp16")),
        ("tf-int8", State("tf-int8")),  # the longest format wins
    ],
)
def test_parse(text: str, state: State) -> None:
    assert State.parse(text, FORMATS) == state


@pytest.mark.parametrize(
    "text", ["", "onn", "onnx-", "onnx-int9", "tf-saved-fp16", "-int8", "ONNX"]
)
def test_unknown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        State.parse(text, FORMATS)
    assert repr(text) in caught.value.message
    assert "convkit formats" in caught.value.hint


def test_near_miss_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        State.parse("onx-int8", FORMATS)
    assert "onnx-int8" in caught.value.hint


@given(ids=st.sets(words, min_size=1, max_size=6), data=st.data())
def test_spelling_comes_back_unless_a_longer_format_takes_it(
    ids: set[str], data: st.DataObject
) -> None:
    formats = [Format(i, i, (f".{i}",), precisions=PRECISIONS) for i in sorted(ids)]
    state = State(data.draw(st.sampled_from(sorted(ids))), data.draw(st.sampled_from(PRECISIONS)))
    found = State.parse(str(state), formats)
    assert str(found) == str(state)
    assert len(found.format) >= len(state.format)
    if all(not other.startswith(f"{state.format}-") for other in ids):
        assert found == state
