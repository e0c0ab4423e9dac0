"""Run inside gdb: the program's ONNX Runtime sees a processor without AVX-512, VNNI and AMX.

`gdb -batch -x hide_vnni.py --args python ...`, with the places of the library's CPUID instructions,
as offsets in hexadecimal, in the environment's `CPUID_OFFSETS`. The program stops at each of them,
the bits that CPUID answers are taken out, and it goes on at full speed: the library then chooses,
once, the kernels that it would choose on such a processor.
"""

from __future__ import annotations

import os

import gdb

LIBRARY = "onnxruntime_pybind11_state"
HIDDEN = {
    # AVX-512 in all its parts, VNNI, AMX; by leaf and subleaf of CPUID, as Intel's manual has them
    (7, 0): {
        "rbx": (16, 17, 21, 26, 27, 28, 30, 31),
        "rcx": (1, 6, 11, 12, 14),
        "rdx": (2, 3, 8, 22, 23, 24, 25),
    },
    # AVX-VNNI, AVX512-BF16 and their successors
    (7, 1): {"rax": (4, 5, 21, 23), "rdx": (4, 5, 10, 19)},
}


def main() -> None:
    """Run the program to its end."""
    offsets = {int(word, 16) for word in os.environ["CPUID_OFFSETS"].split()}
    for setting in ("pagination off", "confirm off", "auto-solib-add off"):
        gdb.execute(f"set {setting}")
    gdb.execute(f"catch load {LIBRARY}")
    gdb.execute("run")
    base = _base()
    gdb.execute("delete")
    for offset in offsets:
        gdb.execute(f"break *{base + offset}", to_string=True)
    gdb.execute("continue")
    while gdb.selected_inferior().pid:
        if gdb.selected_frame().pc() - base not in offsets:
            raise gdb.GdbError("the program stopped elsewhere")
        _answer()
        gdb.execute("continue", to_string=True)


def _base() -> int:
    """Where the library begins in memory."""
    with open(f"/proc/{gdb.selected_inferior().pid}/maps") as maps:
        return next(int(line.partition("-")[0], 16) for line in maps if LIBRARY in line)


def _answer() -> None:
    """Let CPUID answer, and hide what there is to hide."""
    asked = _register("rax"), _register("rcx")
    gdb.execute("stepi", to_string=True)
    for name, bits in HIDDEN.get(asked, {}).items():
        left = _register(name) & ~sum(1 << bit for bit in bits)
        gdb.execute(f"set ${name} = {left}")


def _register(name: str) -> int:
    return int(gdb.parse_and_eval(f"${name}")) & 0xFFFFFFFF


main()
