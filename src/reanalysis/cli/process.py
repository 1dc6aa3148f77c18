"""What a process needs before it fits or draws."""

import click

__all__ = ["prepare_process"]


def prepare_process(ctx: click.Context) -> None:
    """See that libraries yet to be imported can write somewhere; keep freed memory."""
    from reanalysis.memory import keep_freed_memory
    from reanalysis.scratch import writable_caches
    from reanalysis.terminal import say

    keep_freed_memory()
    note = ctx.with_resource(writable_caches())
    if note:
        say(f"note: {note}", err=True)
