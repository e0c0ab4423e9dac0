"""`convkit doctor`: what this machine can do, and the command that cures what it cannot."""

from __future__ import annotations

import shutil

import click

from convkit.cli.common import with_terminal
from convkit.cli.terminal import Terminal, human_bytes


@click.command(name="doctor")
@with_terminal
def command(terminal: Terminal) -> None:
    """Check plugins, requirements, isolated environments, cache and processor."""
    from convkit.engine.environments import find_uv
    from convkit.engine.machine import install_command, unmet_requirement
    from convkit.engine.records import NOTED_FEATURES
    from convkit.kit import Kit

    kit = Kit()
    environment = kit.environment
    features = sorted(environment.cpu_features & NOTED_FEATURES)
    cache = kit.cache
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    terminal.say(f"Python {environment.python} on {environment.platform} {environment.machine}")
    terminal.say(f"processor: {', '.join(features) or 'no noted features'}")
    terminal.say(f"cache: {cache} ({human_bytes(free)} free)")
    terminal.say(f"uv: {'found' if find_uv() else 'missing; python -m pip install uv'}")
    terminal.say()
    rows, faults = [], []
    for edge in kit.registry.converters.values():
        if edge.isolated is not None:
            fault = kit.builder.fault(edge.isolated)
            state = "built" if kit.builder.built(edge.isolated) else "built on first use"
        else:
            fault = unmet_requirement(edge.requirements, environment)
            state = "ready"
        cure = f"; {install_command(edge.requirements)}" if fault and not edge.isolated else ""
        rows.append((edge.name, fault + cure if fault else state))
        if fault:
            faults.append({"converter": edge.name, "reason": fault})
    terminal.table(("edge", "state"), rows)
    for broken in kit.registry.broken:
        terminal.warn(f"plugin {broken.name}: {broken.reason}")
        faults.append({"plugin": broken.name, "reason": broken.reason})
    if not kit.registry.converters:
        terminal.warn("no plugin with converters is installed")
    terminal.document(
        {
            "python": environment.python,
            "platform": environment.platform,
            "machine": environment.machine,
            "cpu_features": features,
            "cache": str(cache),
            "free_bytes": free,
            "edges": [{"name": n, "state": s} for n, s in rows],
            "faults": faults,
        }
    )
