"""The options that several commands share."""

import click

__all__ = ["JSON", "OUTSIDE"]

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
OUTSIDE = click.option(
    "--allow-outside", is_flag=True, help="Let a spec name data outside its own project."
)
