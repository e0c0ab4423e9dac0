"""The program of `simplifier.Simplifier`: onnxsim's own command, once for each line of arguments.

Standard library and onnxsim only, so that it may be started as a file by any interpreter that has
onnxsim. Reads one JSON list of arguments a line and answers one JSON number, the exit code.
"""

from __future__ import annotations

import json
import os
import sys
import traceback


def main() -> None:
    """Serve until the pipe closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what onnxsim prints is no answer
    import onnxsim

    for line in sys.stdin:
        sys.argv = ["onnxsim", *json.loads(line)]
        code = 0
        try:
            onnxsim.main()
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
        answers.write(f"{json.dumps(code)}\n")
        answers.flush()


if __name__ == "__main__":
    main()
