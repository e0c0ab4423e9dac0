"""The plugin as convkit sees it."""

from __future__ import annotations

import subprocess
import sys

import pluggy

from convkit.plugin import CalibrationSource, Metric, spec
from convkit.plugin.marker import PROJECT


def test_importing_the_plugin_loads_no_framework() -> None:
    code = (
        "import convkit_vision.plugin as plugin\n"
        "plugin.convkit_metrics(), plugin.convkit_calibration_sources()\n"
        "heavy = {'numpy', 'PIL', 'faster_coco_eval', 'json', 'tomllib', 'csv'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    # Without site packages' own start-up files, which may import anything.
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_hooks_match_their_specification() -> None:
    from convkit_vision import plugin

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(spec)
    manager.register(plugin)
    manager.check_pending()
    (sources,) = manager.hook.convkit_calibration_sources()
    (metrics,) = manager.hook.convkit_metrics()
    assert [s.name for s in sources] == ["vision.images"]
    assert [m.name for m in metrics] == ["coco-map", "fidelity-map", "mask-iou", "top1"]
    assert all(isinstance(s, CalibrationSource) for s in sources)
    assert all(isinstance(m, Metric) for m in metrics)
