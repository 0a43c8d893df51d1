"""A text that is too long for a message, in parts."""

import pytest

from chat.limits import MAX_TEXT_BYTES
from chat.ui.parts import parts_of

LINE = "x" * 99


@pytest.mark.parametrize(
    "text",
    [
        "short",
        "\n".join([LINE] * 400),
        "\n".join(["ä" * 50] * 400),
        "\n".join(["x" * (MAX_TEXT_BYTES - 1), "", "y", "z" * MAX_TEXT_BYTES]),
        "\n".join(["漢" * MAX_TEXT_BYTES, "one", "word " * MAX_TEXT_BYTES, "two"]),
        "x" * (3 * MAX_TEXT_BYTES),
    ],
)
def test_parts_are_as_long_as_a_message_may_be_and_nothing_is_lost(text: str) -> None:
    parts = parts_of(text)
    sizes = [len(part.encode()) for part in parts]
    assert max(sizes) <= MAX_TEXT_BYTES
    assert "".join(parts).replace("\n", "") == text.replace("\n", "")
    assert len(parts) <= 2 * len(text.encode()) // MAX_TEXT_BYTES + 2


def test_parts_end_where_lines_do_or_behind_a_blank() -> None:
    lines = [f"{number} {LINE}" for number in range(400)]
    parts = parts_of("\n".join(lines))
    assert [line for part in parts for line in part.split("\n")] == lines
    *rest, _ = parts_of("word " * MAX_TEXT_BYTES)
    assert rest
    assert all(part.endswith("word ") for part in rest)


def test_part_in_which_nothing_can_be_seen_is_left_out() -> None:
    assert parts_of("one" + "\n" * (3 * MAX_TEXT_BYTES) + "two")[-1].strip() == "two"
    assert all(part.strip() for part in parts_of("one" + "\n" * (3 * MAX_TEXT_BYTES) + "two"))
