"""Which rows of a tall draft are shown, and where the cursor is in them."""

import pytest

from chat.ui.excerpt import Excerpt, excerpt, rows_of

LINES = [str(number) for number in range(1, 10)]
TEXT = "\n".join(LINES)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", 1),
        ("x" * 9, 1),
        ("x" * 10, 2),
        ("ж" * 9, 1),
        ("ж" * 10, 2),
        ("one\ntwo\n", 3),
        ("漢" * 5, 2),
        ("x" + "漢" * 5, 2),
        ("\tx", 1),
        ("\txy", 2),
        ("\x01" * 5, 2),
        ("e\u0301" * 9, 1),
    ],
)
def test_rows_are_counted_with_the_cursor_behind_the_text(text: str, rows: int) -> None:
    assert rows_of(text, 10) == rows
    assert excerpt(text, "", 10, 100).row == rows - 1


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (TEXT, "", Excerpt(["7", "8", "9"], 2, 1)),
        ("", TEXT, Excerpt(["1", "2", "3"], 0, 0)),
        ("1\n2\n3\n4\n5", "\n6\n7\n8\n9", Excerpt(["4", "5", "6"], 1, 1)),
        ("1\n2\n3\n4\n5\n6\n7\n8", "\n9", Excerpt(["7", "8", "9"], 1, 1)),
        ("1", "\n2", Excerpt(["1", "2"], 0, 1)),
        ("a" * 25, "b" * 25, Excerpt(["a" * 10, "aaaaabbbbb", "b" * 10], 1, 5)),
        ("a" * 20, "b" * 5 + "\nc", Excerpt(["a" * 10, "bbbbb", "c"], 1, 0)),
        ("a" * 30, "", Excerpt(["a" * 10, "a" * 10, ""], 2, 0)),
        ("1\n" + "a" * 10, "\n2", Excerpt(["a" * 10, "", "2"], 1, 0)),
        ("ж" * 9, "漢\nc", Excerpt(["ж" * 9, "漢", "c"], 1, 0)),
        ("x\n\ta\x02", "\udcff", Excerpt(["x", "        a", "^B?"], 2, 2)),
    ],
)
def test_rows_around_the_cursor_are_shown(before: str, after: str, shown: Excerpt) -> None:
    assert excerpt(before, after, 10, 3) == shown


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("columns", [1, 2, 10, 80])
def test_there_are_never_more_rows_than_asked_for(columns: int, most: int) -> None:
    text = "one\n" + "x" * 50 + "漢字\t\n\n" + "ж" * 30
    for at in range(len(text) + 1):
        rows, row, column = excerpt(text[:at], text[at:], columns, most)
        assert 0 <= row < len(rows) <= most
        assert 0 <= column <= columns
        assert len(rows) == min(most, len(excerpt(text[:at], text[at:], columns, 1_000).rows))
