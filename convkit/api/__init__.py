"""The Python interface: one module a verb; `plan` and `inspect` come from `convkit.kit`."""

from convkit.api.conversion import convert
from convkit.kit import Kit, Steering, inspect, plan

__all__ = ["Kit", "Steering", "convert", "inspect", "plan"]
