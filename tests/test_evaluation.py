"""What a metric loses is told in decimals, as limits are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convkit.evaluation import difference


@given(st.integers(1, 100_000), st.data())
def test_shares_of_samples_keep_a_limit_that_is_such_a_share(
    count: int, data: st.DataObject
) -> None:
    before, after, allowed = (data.draw(st.integers(0, count)) for _ in range(3))
    lost = difference(before / count, after / count)
    assert (lost <= round(allowed / count, 12)) == (before - after <= allowed)


def test_half_a_per_cent_is_no_more_than_half_a_per_cent() -> None:
    assert 0.961 - 0.956 > 0.005
    assert difference(0.961, 0.956) <= 0.005
