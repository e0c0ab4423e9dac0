"""All workers of one run: one per environment, started when first needed, killed at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from convkit.engine.environments import EnvironmentBuilder
from convkit.engine.worker import Limits, Worker, main_interpreter
from convkit.environment import IsolatedEnvironment
from convkit.plugin.manager import LoadedPlugin

MAIN_ENVIRONMENT = ""


class Workers:
    """Hands requests to the worker of the right environment. A context manager.

    Attributes:
        limits: what the next requests may use.
    """

    def __init__(self, builder: EnvironmentBuilder, logs: Path, limits: Limits) -> None:
        self._builder = builder
        self._logs = logs
        self.limits = limits
        self._workers: dict[str, Worker] = {}
        self._dedicated: list[Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all workers."""
        for worker in (*self._workers.values(), *self._dedicated):
            worker.kill()
        self._workers.clear()
        self._dedicated.clear()

    def dedicated(self) -> Worker:
        """A further worker of the main environment, for one purpose only: what is measured must
        share its process with nothing. It is killed with the others, or by `dismiss`."""
        worker = Worker(
            main_interpreter(), {}, [p for p in sys.path if p], self._logs / "worker.log"
        )
        self._dedicated.append(worker)
        return worker

    def dismiss(self, worker: Worker) -> None:
        """Kill a dedicated worker."""
        worker.kill()
        self._dedicated.remove(worker)

    def ready(self, isolated: IsolatedEnvironment | None) -> bool:
        """Whether an environment is there, so that asking builds nothing."""
        return isolated is None or self._builder.built(isolated)

    def request(
        self,
        op: str,
        arguments: Mapping[str, Any],
        *,
        plugin: LoadedPlugin,
        kind: str,
        name: str,
        log: str,
        isolated: IsolatedEnvironment | None = None,
        worker: Worker | None = None,
        progress: Callable[[str, float | None], None] = lambda phase, fraction: None,
    ) -> Any:
        """Ask for an operation of one implementation; see `Worker.request`.

        Args:
            worker: a dedicated one, else the one of the environment.
        """
        worker = worker or self._worker(isolated, plugin, progress)
        full = {**arguments, "plugin": plugin.target, "kind": kind, "name": name}
        return worker.request(
            op, full, log=self._logs / f"{log}.log", limits=self.limits, progress=progress
        )

    def _worker(
        self,
        isolated: IsolatedEnvironment | None,
        plugin: LoadedPlugin,
        progress: Callable[[str, float | None], None],
    ) -> Worker:
        key = f"{isolated.name}/{plugin.target}" if isolated else MAIN_ENVIRONMENT
        worker = self._workers.get(key)
        if worker is not None and worker.alive:
            return worker
        log = self._logs / "worker.log"
        if isolated is None:
            worker = Worker(main_interpreter(), {}, [p for p in sys.path if p], log)
        else:
            python = self._builder.ensure(isolated, lambda phase: progress(phase, None))
            worker = Worker(python, _bridge(plugin), [], log)
        self._workers[key] = worker
        return worker


def _bridge(plugin: LoadedPlugin) -> dict[str, str]:
    """The packages that an isolated interpreter is to see: convkit's and the plugin's own."""
    packages = {}
    for name in ("convkit", plugin.target.partition(":")[0].partition(".")[0]):
        module = sys.modules[name]
        packages[name] = str(Path(str(module.__file__)).parent)
    return packages
