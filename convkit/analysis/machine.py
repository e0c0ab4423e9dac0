"""The machine that a benchmark ran on: which cores it may use, and what explains integer speed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from convkit.benchmark import Machine
from convkit.environment import Environment

CORES = Path("/sys/devices/system/cpu")

X86 = (
    ("AVX2", ("avx2",)),
    ("FMA", ("fma",)),
    ("AVX-512", ("avx512f",)),
    ("VNNI", ("avx512_vnni", "avx_vnni")),
    ("AVX-VNNI-INT8", ("avx_vnni_int8",)),
    ("AVX-512 BF16", ("avx512_bf16",)),
    ("AVX-512 FP16", ("avx512_fp16",)),
    ("AMX INT8", ("amx_int8",)),
    ("AMX BF16", ("amx_bf16",)),
)
ARM = (
    ("NEON", ("asimd", "neon")),
    ("FP16", ("asimdhp", "fphp")),
    ("DOTPROD", ("asimddp",)),
    ("I8MM", ("i8mm",)),
    ("BF16", ("bf16",)),
    ("SVE", ("sve",)),
    ("SVE2", ("sve2",)),
)
"""What people call a feature, and the flags of which one is enough, as Linux spells them."""

WANTED = {
    "AVX2": X86,
    "AVX-512": X86,
    "VNNI": X86,
    "AMX INT8": X86,
    "DOTPROD": ARM,
    "I8MM": ARM,
}
"""Features that integer kernels use where they find them."""


def describe(environment: Environment, load: float | None) -> Machine:
    """The machine; features are empty where the platform does not tell them."""
    table = ARM if environment.machine.lower() in ("aarch64", "arm64", "armv7l") else X86
    flags = environment.cpu_features
    features = tuple(name for name, marks in table if flags.intersection(marks))
    wanted = [name for name, home in WANTED.items() if home is table]
    return Machine(
        processor=processor(),
        cores=len(usable_cores()),
        features=features,
        missing=tuple(n for n in wanted if n not in features) if flags else (),
        platform=platform.platform(),
        python=environment.python,
        load=load,
    )


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def load_average() -> float | None:
    """Processes that wanted to run, averaged over a minute; None where the platform has none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def usable_cores() -> tuple[int, ...]:
    """Cores that this process may use: one of each physical core first, fast ones before slow
    ones, high numbers before low ones (interrupts are usually served by the first)."""
    if hasattr(os, "sched_getaffinity"):
        cores: Iterable[int] = os.sched_getaffinity(0)
    else:
        cores = range(os.cpu_count() or 1)
    return tuple(sorted(cores, key=lambda n: (_sibling(n), -_speed(n), -n)))


def cores_for(count: int, usable: Sequence[int]) -> tuple[int, ...]:
    """The cores that all models are pinned to; none where that would not narrow anything down or
    the platform cannot pin."""
    if not hasattr(os, "sched_setaffinity") or count >= len(usable):
        return ()
    return tuple(usable[:count])


def _sibling(core: int) -> bool:
    """Whether it shares a physical core with one of a lower number."""
    try:
        text = (CORES / f"cpu{core}/topology/thread_siblings_list").read_text("ascii")
        return int(text.replace("-", ",").split(",")[0]) != core
    except (OSError, ValueError):
        return False


def _speed(core: int) -> int:
    """The core's highest frequency, 0 where unknown."""
    try:
        return int((CORES / f"cpu{core}/cpufreq/cpuinfo_max_freq").read_text("ascii"))
    except (OSError, ValueError):
        return 0
