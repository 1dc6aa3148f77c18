"""Reading a CSV as text, exactly as it is written.

`pandas.read_csv` is not used: with an extra field it shifts all columns, it rewrites ``NA`` and
``007``, and it renames a repeated header. Here every cell stays text, every fault is collected
with its line, and nothing is guessed in silence: what was guessed is in `TextTable.notes`.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = [
    "ENCODINGS",
    "DataError",
    "TextTable",
    "parse_number",
    "parse_table",
    "read_table",
    "table_bytes",
]

MAX_BYTES = 50_000_000
MAX_PROBLEMS = 50
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "mac-roman")
# Direction marks reorder what people see; characters without width make two names look like one.
UNSEEN = dict.fromkeys(
    [0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
)


class DataError(ValueError):
    """A table cannot be used; `problems` has one line per fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        if len(problems) > MAX_PROBLEMS:
            left = len(problems) - MAX_PROBLEMS
            problems = [*problems[:MAX_PROBLEMS], f"… and {left} more problems of this kind."]
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class TextTable:
    """A CSV as text.

    Attributes
    ----------
    source : str
        File it came from, for messages.
    header : tuple of str
        Column names.
    rows : tuple of tuple of str
        Cells, trimmed of surrounding spaces.
    lines : tuple of int
        Line of each row in the file, counted from 1.
    notes : tuple of str
        What was guessed or tidied.
    """

    source: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of the file without its folder: what notes may repeat in a report."""
        return self.source.replace("\\", "/").rsplit("/", 1)[-1]

    def column(self, name: str) -> list[str]:
        """Return the cells of one column."""
        position = self.header.index(name)
        return [row[position] for row in self.rows]


def read_table(path: str | Path, *, encoding: str = "") -> TextTable:
    """Read a CSV file.

    Parameters
    ----------
    path : str or pathlib.Path
        The file.
    encoding : str
        One of `ENCODINGS`; UTF-8 by default.

    Returns
    -------
    TextTable
        Its cells as text.

    Raises
    ------
    DataError
        If the file is missing, not a text table, or broken; names each line.
    OSError
        If it cannot be read.
    """
    return parse_table(table_bytes(path), source=str(path), encoding=encoding)


def table_bytes(path: str | Path) -> bytes:
    """Return the content of a file that is to hold a table.

    Parameters
    ----------
    path : str or pathlib.Path
        The file.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    DataError
        If the file is missing or a spreadsheet.
    OSError
        If it is not a regular file, too large, or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            [f"{path}: no such file. Check the path; in a spec it starts in the spec's folder."]
        )
    if path.suffix.lower() in (".xlsx", ".xls", ".ods"):
        raise DataError(
            [f"{path}: a spreadsheet file; save the sheet as CSV (UTF-8) and name that."]
        )
    if not path.is_file():
        raise OSError(f"{path}: not a regular file; name a CSV file.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise OSError(f"{path}: {size:,} bytes; tables of more than {MAX_BYTES:,} are not read.")
    return path.read_bytes()


def parse_table(raw: bytes, *, source: str, encoding: str = "") -> TextTable:
    """Split the bytes of a CSV into text cells.

    Parameters
    ----------
    raw : bytes
        Content of the file.
    source : str
        Name for messages.
    encoding : str
        One of `ENCODINGS`; UTF-8 by default.

    Returns
    -------
    TextTable
        Its cells as text.

    Raises
    ------
    DataError
        If the content is not a table; names each line.
    """
    text = _decode(raw, source, encoding)
    _refuse_nul(text, source)
    delimiter = _delimiter(text, source)
    records = _split(text, delimiter)
    if not records:
        raise DataError([f"{source}: the file is empty; it needs a header line and rows."])
    (_, header), *body = records
    header = [_tidy(name) for name in header]
    problems = _header_problems(header, source)
    rows, lines = [], []
    stripped = False
    for line, cells in body:
        if len(cells) != len(header):
            word = "too many" if len(cells) > len(header) else "too few"
            problems.append(
                f"{source}:{line}: {len(cells)} fields where the header has {len(header)} "
                f"({word}); quote a cell that holds a {DELIMITERS[delimiter]}."
            )
            continue
        clean = [_tidy(cell) for cell in cells]
        stripped |= clean != cells
        problems += [
            f"{source}:{line}: column '{name}' holds a control character; retype the cell."
            for name, cell in zip(header, clean, strict=True)
            if CONTROL.search(cell)
        ]
        rows.append(tuple(clean))
        lines.append(line)
    if problems:
        raise DataError(problems)
    if not rows:
        raise DataError([f"{source}: a header but no rows; add one row per effect size."])
    table = TextTable(source, tuple(header), tuple(rows), tuple(lines))
    notes = []
    if delimiter != ",":
        notes.append(f"{table.file}: read as a {DELIMITERS[delimiter]}-separated file.")
    if stripped:
        notes.append(
            f"{table.file}: spaces around cells and characters without width were removed."
        )
    return replace(table, notes=tuple(notes))


def parse_number(cell: str, *, decimal: str = ".") -> float:
    """Return the number in a cell.

    Parameters
    ----------
    cell : str
        Text such as ``-0.15``, ``.2`` or ``1e-3``; U+2212 counts as a minus sign.
    decimal : str
        Decimal mark.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ValueError
        If the cell is not one number; the message says what to write instead.
    """
    text = cell.replace("\u2212", "-")
    if decimal == ",":
        if "." in text:
            raise ValueError(f"'{cell}' has a point although the decimal mark is a comma")
        text = text.replace(",", ".")
    if not NUMBER.fullmatch(text):
        raise ValueError(f"'{cell}' is not a number{_number_hint(text)}")
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError(f"'{cell}' is too large to be a number here")
    return value


def _number_hint(text: str) -> str:
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return "; write it without thousands separators"
    if re.fullmatch(r"[+-]?\d*,\d+", text):
        return '; write a decimal point, or set decimal = "," under [data]'
    if text.endswith("%"):
        return "; write the fraction, such as 0.23 for 23%"
    if text.lower() in ("nan", "na", "n/a", "none", "null", "-", "."):
        return "; leave the cell empty if the value is missing"
    if text.lower() in ("n.s.", "ns"):
        return "; a result that is only known as not significant needs a decision, not a number"
    return "; write digits with a decimal point only"


def _tidy(cell: str) -> str:
    """Return a cell without what surrounds its text unseen."""
    return cell.translate(UNSEEN).strip()


def _decode(raw: bytes, source: str, encoding: str) -> str:
    utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    if encoding not in ("", "utf-8"):
        try:
            if encoding == "utf-16" and not utf16:
                raise UnicodeError("it does not begin with a byte order mark")
            return raw.decode(encoding)
        except UnicodeError as error:
            raise DataError(
                [
                    f"{source}: not {encoding} text ({error}); correct 'encoding' under [data], "
                    "or save the file as CSV UTF-8."
                ]
            ) from None
    if utf16:
        raise DataError(
            [
                f"{source}: UTF-16 text; save it as CSV UTF-8 (iconv -f UTF-16 -t UTF-8 converts "
                'it), or set encoding = "utf-16" under [data].'
            ]
        )
    if raw[:4] == b"PK\x03\x04":
        raise DataError([f"{source}: a spreadsheet or zip file; save the sheet as CSV (UTF-8)."])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            [
                f"{source}:{line}: byte {error.start} is not UTF-8; save it as CSV UTF-8 "
                "(iconv -f LATIN1 -t UTF-8 converts Latin-1), or set encoding under [data], one "
                f"of {', '.join(ENCODINGS)}."
            ]
        ) from None
    return text


def _refuse_nul(text: str, source: str) -> None:
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError([f"{source}:{line}: holds a NUL character; save the file as CSV UTF-8."])


def _split(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the non-blank records with the line each starts on."""
    records, start = [], 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            records.append((start, cells))
        start = reader.line_num + 1
    return records


def _delimiter(text: str, source: str) -> str:
    """Choose the delimiter that makes a table: several columns and the same number in all rows."""
    widths = {}
    try:
        for mark in DELIMITERS:
            widths[mark] = [len(cells) for _, cells in _split(text, mark)]
    except csv.Error as error:
        raise DataError([f"{source}: not a CSV table: {error}."]) from None
    fits = [
        mark for mark, width in widths.items() if width and width[0] > 1 and len(set(width)) == 1
    ]
    if len(fits) > 1:
        names = " and ".join(DELIMITERS[mark] for mark in fits)
        raise DataError(
            [f"{source}: {names} both separate columns; quote the cells that hold one of them."]
        )
    if fits:
        return fits[0]
    return max(widths, key=lambda mark: widths[mark][0] if widths[mark] else 0)


def _header_problems(header: list[str], source: str) -> list[str]:
    problems = [
        f"{source}:1: column {i} has no name; name it."
        for i, name in enumerate(header, start=1)
        if not name
    ]
    problems += [
        f"{source}:1: the name of column {i} holds a control character; retype it."
        for i, name in enumerate(header, start=1)
        if CONTROL.search(name)
    ]
    problems += [
        f"{source}:1: two columns are called '{name}'; rename one."
        for name in dict.fromkeys(name for name in header if name and header.count(name) > 1)
    ]
    return problems
