"""The command line: `reanalysis run`, `check`, `audit`, `multiverse`, `calibrate`, and others.

Only click is imported at the top of these files: ``--help`` must answer at once, and ``check`` and
``audit`` never load a sampler. `reanalysis.cli.faults` lists the exit statuses.
"""

import click

from reanalysis.cli.faults import Commands
from reanalysis.cli.inputs import audit, check, init, list_
from reanalysis.cli.many_fits import calibrate, multiverse
from reanalysis.cli.reports import render, run, verify

__all__ = ["main"]

EXAMPLES = """\b
Reanalyse a published meta-analysis: exact, NUTS and REML side by side, in one report.

\b
  reanalysis run kaiser2021        the bundled case; the report is in reports/kaiser2021/
  reanalysis run my.csv            your own table, columns guessed, default models
"""


@click.group(cls=Commands, help=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reanalysis")
def main() -> None:
    """Reanalyse a published meta-analysis."""


for command in (run, check, audit, init, render, verify, multiverse, calibrate, list_):
    main.add_command(command)
