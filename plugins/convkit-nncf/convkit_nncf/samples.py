"""Calibration data as NNCF reads them: over and over, one sample in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convkit.errors import CalibrationError
from convkit.plugin import CalibrationData, HopContext, sample_key


class Samples:
    """A sequence of feeds: what the file's input is called, to its array.

    NNCF goes through it once for each of its algorithms and stops where it has enough.
    """

    def __init__(
        self,
        data: CalibrationData,
        ports: Mapping[Any, str],
        limit: int,
        progress: Callable[[str, float | None], None],
    ) -> None:
        """Nothing is read yet.

        Args:
            ports: for each input, in the order of the artifact, the key in a feed and the
                dtype that the file takes.
            limit: use so many samples at most.
        """
        self._data = data
        self._ports = tuple(ports.items())
        self._count = min(data.count, limit)
        self._progress = progress
        self._pass = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[Any, Any]]:
        self._pass += 1
        for number in range(self._count):
            self._progress(f"calibrating, pass {self._pass}", number / self._count)
            yield self[number]

    def __getitem__(self, number: int) -> dict[Any, Any]:
        import numpy as np
        from safetensors import safe_open

        if not 0 <= number < self._count:
            raise IndexError(number)
        try:
            with safe_open(str(self._data.path), framework="numpy") as file:
                return {
                    key: np.ascontiguousarray(
                        file.get_tensor(sample_key(number, place)), dtype=dtype
                    )
                    for place, (key, dtype) in enumerate(self._ports)
                }
        except Exception as exc:  # SafetensorError, TypeError
            raise CalibrationError(f"the calibration data do not fit the model: {exc}") from exc


def of(context: HopContext, ports: Mapping[Any, str], limit: int) -> Samples:
    """The hop's calibration data.

    Args:
        ports: see `Samples`.

    Raises:
        CalibrationError: there are none.
    """
    if context.calibration is None or not context.calibration.count:
        raise CalibrationError("static int8 needs calibration data")
    return Samples(context.calibration, ports, limit, context.progress)
