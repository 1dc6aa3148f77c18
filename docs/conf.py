"""How Sphinx builds the documentation: make docs."""

import importlib.metadata
import logging

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "reanalysis"
author = "The reanalysis developers"
version = release = importlib.metadata.version("reanalysis")
extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_nb"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook is kept executed; a test runs it
numpydoc_show_class_members = False
autodoc_typehints = "none"  # numpydoc states types and shapes
html_theme = "furo"
html_title = "reanalysis"
exclude_patterns = ["_build"]

for chatty in ("arviz", "pytensor"):
    logging.getLogger(chatty).setLevel(logging.WARNING)


def setup(app: Sphinx) -> None:
    """Show tables as they are."""
    app.add_lexer("csv", TextLexer)
