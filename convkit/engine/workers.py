"""All workers of one run: one per environment, started when first needed, killed at the end."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from convkit.engine.environments import EnvironmentBuilder
from convkit.engine.worker import Limits, Worker, main_interpreter
from convkit.environment import IsolatedEnvironment
from convkit.errors import WorkerError
from convkit.plugin.manager import LoadedPlugin

MAIN_ENVIRONMENT = ""
BESIDE = "beside"


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
        self._main = MAIN_ENVIRONMENT
        self._starting = threading.Lock()
        self._closed = threading.Event()

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
        """Kill all workers; no more are started, whichever thread asks."""
        with self._starting:
            self._closed.set()
        for worker in (*self._workers.values(), *self._dedicated):
            worker.kill()
        self._workers.clear()
        self._dedicated.clear()

    def apart(self) -> Workers:
        """The same workers, but for the main environment: its process is another one, so that two
        threads may ask at the same time. It is started here, for Linux ends a worker with the
        thread that started it."""
        other = copy.copy(self)
        other._main = BESIDE
        other._own()
        return other

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
        if isolated is None:
            return self._own()

        def start() -> Worker:
            python = self._builder.ensure(isolated, lambda phase: progress(phase, None))
            return Worker(python, _bridge(plugin), [], self._logs / "worker.log")

        return self._running(f"{isolated.name}/{plugin.target}", start)

    def _own(self) -> Worker:
        """The main environment's."""
        path = [p for p in sys.path if p]
        log = self._logs / "worker.log"
        return self._running(self._main, lambda: Worker(main_interpreter(), {}, path, log))

    def _running(self, key: str, start: Callable[[], Worker]) -> Worker:
        with self._starting:
            worker = self._workers.get(key)
            if worker is None or not worker.alive:
                if self._closed.is_set():
                    raise WorkerError("the run is over")
                worker = self._workers[key] = start()
            return worker


def _bridge(plugin: LoadedPlugin) -> dict[str, str]:
    """The packages that an isolated interpreter is to see: convkit's and the plugin's own."""
    packages = {}
    for name in ("convkit", plugin.target.partition(":")[0].partition(".")[0]):
        module = sys.modules[name]
        packages[name] = str(Path(str(module.__file__)).parent)
    return packages
