"""The report: one self-contained HTML file, made from the results document alone.

`page` assembles it, the other modules each prepare one kind of content, and the template lays it
out. Nothing heavy is imported before a report is asked for.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["render_html"]


def render_html(document: Mapping[str, Any]) -> str:
    """Return the report of a results document.

    Parameters
    ----------
    document : mapping
        The results document, as saved in ``results.json``. What it lacks, the report leaves out,
        with the reason where the document gives one.

    Returns
    -------
    str
        An HTML page that needs no network and no JavaScript; the same bytes for the same document.
    """
    # Imported here: jinja2 and matplotlib take half a second that no other command needs.
    from reanalysis.report.page import make_page

    return make_page(document)
