"""``python -m reanalysis``: the command line where scripts cannot be run."""

from reanalysis.cli import main

main(prog_name="reanalysis")
