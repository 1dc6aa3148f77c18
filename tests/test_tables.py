"""Reading a CSV as text: everything that spreadsheets write, and every fault with its line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reanalysis.tables import DataError, TextTable, parse_number, parse_table, read_table


def parse(text: str | bytes) -> TextTable:
    return parse_table(text.encode() if isinstance(text, str) else text, source="t.csv")


def faults(text: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        parse(text)
    return "\n".join(caught.value.problems)


def test_cells_stay_text() -> None:
    table = parse("study,n\nNA,007\nNone,1e3\nnan,\n")
    assert table.column("study") == ["NA", "None", "nan"]
    assert table.column("n") == ["007", "1e3", ""]


def test_a_byte_order_mark_is_not_part_of_the_first_name() -> None:
    assert parse(b"\xef\xbb\xbfr,n\n.2,30\n").header == ("r", "n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_read(end: str) -> None:
    table = parse(end.join(["r,n", ".2,30", ".3,40", ""]))
    assert table.rows == ((".2", "30"), (".3", "40"))
    assert table.lines == (2, 3)


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolon"), ("\t", "tab")])
def test_other_separators_are_recognised_and_said(mark: str, word: str) -> None:
    table = parse(f"r{mark}n\n.2{mark}30\n")
    assert table.rows == ((".2", "30"),)
    assert any(word in note for note in table.notes)


def test_a_semicolon_file_with_decimal_commas_keeps_its_columns() -> None:
    assert parse("r;n\n0,2;30\n0,3;40\n").column("r") == ["0,2", "0,3"]


def test_a_comma_inside_names_of_a_semicolon_file_does_not_confuse_it() -> None:
    assert parse("label;r\nLee, 2019;.2\nKim, 2020;.3\n").column("label")[0] == "Lee, 2019"


def test_two_possible_separators_are_refused() -> None:
    assert "both separate columns" in faults("a,b;c\n1,2;3\n")


def test_a_quoted_line_break_stays_in_its_cell_and_the_next_line_number_is_right() -> None:
    table = parse('label,r\n"Lee\n2019",.2\nKim,.3\n')
    assert table.column("label") == ["Lee\n2019", "Kim"]
    assert table.lines == (2, 4)


def test_blank_lines_and_lines_of_separators_are_skipped() -> None:
    assert parse("r,n\n\n.2,30\n,\n.3,40\n\n").lines == (3, 5)


def test_spaces_around_cells_are_removed_and_said() -> None:
    table = parse(" r ,n\n .2 ,30\n")
    assert table.header == ("r", "n")
    assert table.column("r") == [".2"]
    assert any("spaces" in note for note in table.notes)


def test_direction_marks_are_removed() -> None:
    assert parse("label,r\n\u202eLee\u202c,.2\n").column("label") == ["Lee"]


def test_notes_name_the_file_without_its_folder() -> None:
    table = parse_table(b"r;n\n.2;30\n", source="/home/someone/t.csv")
    assert all("someone" not in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty", "header"]),
        ("\n\n", ["empty"]),
        ("r,n\n", ["no rows"]),
        ("r,r\n.2,30\n", ["t.csv:1", "two columns", "'r'"]),
        ("r,\n.2,30\n", ["t.csv:1", "column 2 has no name"]),
        ("r,n\n.2,30,9\n.3,40\n", ["t.csv:2", "3 fields", "too many"]),
        ("r,n\n.2,30\n.3\n", ["t.csv:3", "1 fields", "too few"]),
        ("r,n\n.2\x07,30\n", ["t.csv:2", "'r'", "control character"]),
        ("r\x07,n\n.2,30\n", ["t.csv:1", "column 1", "control character"]),
        (b"r,n\n.2\x00,30\n", ["t.csv:2", "NUL"]),
        ("label,r\nMüller,.2\n".encode("latin-1"), ["t.csv:2", "not UTF-8", "iconv"]),
        ("r,n\n.2,30\n".encode("utf-16"), ["UTF-16", "iconv"]),
        (b"PK\x03\x04rest", ["spreadsheet", "CSV"]),
        ('r,n\n".2,30\n' + "x" * 140_000, ["not a CSV table"]),
    ],
)
def test_a_broken_table_is_refused_with_line_and_remedy(
    text: str | bytes, words: list[str]
) -> None:
    message = faults(text)
    assert all(word in message for word in words), message


def test_all_faults_of_a_table_come_together() -> None:
    message = faults("r,n\n.2\n.3,4,5\n.4,9\x07\n")
    assert [line.split(": ")[0] for line in message.splitlines()] == [
        "t.csv:2",
        "t.csv:3",
        "t.csv:4",
    ]


def test_a_flood_of_faults_is_cut_off_with_a_count() -> None:
    assert "… and 150 more" in faults("r,n\n" + ".2\n" * 200)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0.2", 0.2), (".20", 0.2), ("-0.15", -0.15), ("\u22120.15", -0.15), ("+1e-3", 1e-3)],
)
def test_numbers_are_read_as_people_type_them(cell: str, value: float) -> None:
    assert parse_number(cell) == value


def test_a_decimal_comma_is_read_when_it_is_stated() -> None:
    assert parse_number("\u22120,15", decimal=",") == -0.15


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("0,20", "decimal point"),
        ("1,167", "thousands"),
        ("23%", "0.23"),
        (".20*", "digits"),
        ("<.01", "digits"),
        ("r=.2", "digits"),
        ("n.s.", "not significant"),
        ("N/A", "leave the cell empty"),
        ("１２", "not a number"),
        ("inf", "not a number"),
        ("1e400", "too large"),
        ("0x1F", "not a number"),
        ("1_000", "not a number"),
    ],
)
def test_what_is_not_a_number_is_quoted_with_a_remedy(cell: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_number(cell)
    assert words in str(caught.value)
    assert repr(cell) in str(caught.value) or f"'{cell}'" in str(caught.value)


def test_a_point_is_refused_where_the_comma_is_the_decimal_mark() -> None:
    with pytest.raises(ValueError, match="has a point"):
        parse_number("1.167", decimal=",")


def test_a_missing_file_is_a_fault_of_the_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "absent.csv")


def test_a_spreadsheet_is_refused_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"anything")
    with pytest.raises(DataError, match="save the sheet as CSV"):
        read_table(tmp_path / "t.xlsx")


def test_a_folder_is_not_read_as_a_table(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read_table(tmp_path)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_table_or_a_data_error(raw: bytes) -> None:
    try:
        table = parse_table(raw, source="t.csv")
    except DataError as error:
        assert error.problems
    else:
        assert table.rows
        assert all(len(row) == len(table.header) for row in table.rows)


SCRAPS = st.sampled_from(
    ["r", "n", ",", ";", "\t", '"', '""', "\n", "\r", "\r\n", ".2", "-", "é", "\ufeff", " ", "\x00"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(SCRAPS, max_size=40))
def test_any_arrangement_of_separators_gives_a_table_or_a_data_error(parts: list[str]) -> None:
    try:
        parse("".join(parts))
    except DataError as error:
        assert error.problems


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.text("abcäöü 0123456789.-", max_size=8).map(str.strip), min_size=2, max_size=2),
        min_size=1,
        max_size=6,
    )
)
def test_a_quoted_table_comes_back_cell_by_cell(rows: list[list[str]]) -> None:
    lines = [",".join(f'"{cell}"' for cell in row) for row in [["a", "b"], *rows]]
    kept = [tuple(row) for row in rows if any(row)]
    if kept:
        assert list(parse("\n".join(lines)).rows) == kept


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_any_cell_is_a_finite_number_or_a_value_error(cell: str) -> None:
    try:
        value = parse_number(cell)
    except ValueError:
        return
    assert abs(value) < float("inf")
