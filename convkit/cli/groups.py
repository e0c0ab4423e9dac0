"""Groups of commands."""

from __future__ import annotations

import click

from convkit.errors import did_you_mean


class Group(click.Group):
    """A group that names near misses for a command that does not exist."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with near misses."""
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            known = self.list_commands(context)
            near = did_you_mean(arguments[0], known, likeness=0.6, most=2)
            if near and "Did you mean" not in error.message:
                raise click.UsageError(f"{error.message} {near}", context) from error
            raise
