"""Places to write for the libraries that compile and draw, before they are imported."""

import click

__all__ = ["provide_caches"]


def provide_caches(ctx: click.Context) -> None:
    """See that PyTensor and Matplotlib, which are not imported yet, can write somewhere."""
    from reanalysis.scratch import writable_caches
    from reanalysis.terminal import say

    note = ctx.with_resource(writable_caches())
    if note:
        say(f"note: {note}", err=True)
