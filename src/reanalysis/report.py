"""The report: one HTML file made from the results document."""

from collections.abc import Mapping
from typing import Any

__all__ = ["render_html"]


def render_html(document: Mapping[str, Any]) -> str:
    """Return the report of a results document."""
    import html

    rows = "".join(
        f"<tr><td>{html.escape(str(r['model']))}</td><td>{html.escape(str(r['parameter']))}</td>"
        + "".join(
            f"<td>{r.get(c, float('nan')):.4f}</td>" for c in ("published", "reml", "exact", "nuts")
        )
        + "</tr>"
        for r in document["comparison"]
    )
    return f"<!doctype html><title>{html.escape(document['title'])}</title><table>{rows}</table>"
