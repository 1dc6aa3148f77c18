"""Files that travel inside the report: data, spec, estimates, codebook and the document itself."""

import base64
import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Download", "as_download", "csv_text", "make_downloads"]

# A spreadsheet runs what such a cell says (CWE-1236).
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Download:
    """A file inside the page.

    Attributes
    ----------
    name : str
        File name.
    about : str
        What is in it.
    href : str
        The file itself, as a ``data:`` address.
    size : str
        In kB, for people.
    """

    name: str
    about: str
    href: str
    size: str


def make_downloads(document: Mapping[str, Any]) -> tuple[Download, ...]:
    """Return the files of a report.

    Parameters
    ----------
    document : mapping
        The results document.

    Returns
    -------
    tuple of Download
        What the document has no text for is left out.
    """
    # Imported here: it knows the engines, and a page without a document needs none of them.
    from reanalysis.document import estimates_frame

    data = document["data"]
    estimates = estimates_frame(document)
    rows = estimates.astype(object).where(estimates.notna(), "").to_numpy().tolist()
    table = csv_text(data["columns"], data["rows"])
    files = [
        ("data.csv", "the data of this report", "text/csv", table),
        ("estimates.csv", "every estimate", "text/csv", csv_text(list(estimates.columns), rows)),
        ("spec.toml", "what was asked for", "text/plain", document.get("spec_text", "")),
        ("codebook.md", "what the columns mean", "text/plain", data.get("codebook", "")),
    ]
    results = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
    # Compressed: the universes of a multiverse would be half of the page. No time stamp inside.
    packed = gzip.compress(results.encode("utf-8", "replace"), mtime=0)
    return (
        *(
            as_download(name, about, kind, content)
            for name, about, kind, content in files
            if content
        ),
        _download("results.json.gz", "all results, at full precision", "application/gzip", packed),
    )


def as_download(name: str, about: str, kind: str, content: str) -> Download:
    """Return text as a file inside the page.

    Parameters
    ----------
    name, about : str
        File name, and what is in it.
    kind : str
        Media type.
    content : str
        The text.

    Returns
    -------
    Download
        UTF-8.
    """
    return _download(name, about, f"{kind};charset=utf-8", content.encode("utf-8", "replace"))


def csv_text(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV that no spreadsheet takes for formulas.

    Parameters
    ----------
    columns : iterable
        Names.
    rows : iterable of iterable
        Cells; text that begins like a formula gets a leading apostrophe, numbers stay.

    Returns
    -------
    str
        UTF-8 text, comma-separated, lines ended by a line feed.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_safe(c) for c in columns])
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return out.getvalue()


def _safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else cell


def _download(name: str, about: str, kind: str, content: bytes) -> Download:
    href = f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return Download(name, about, href, f"{max(1, round(len(content) / 1000))} kB")
