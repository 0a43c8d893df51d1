"""Reports of the focus are taken out of what is typed, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.ui.keys import Keys


def taken(*parts: bytes) -> tuple[bytes, list[bool]]:
    """What is left of these bytes; between the parts, what is held is released."""
    told: list[bool] = []
    keys, left = Keys(told.append), b""
    for part in parts:
        for byte in part:
            left += keys.take(bytes([byte]))
        left += keys.release()
    return left, told


@pytest.mark.parametrize(
    ("typed", "left", "told"),
    [
        (b"a\x1b[Ib\x1b[Oc", b"abc", [True, False]),
        (b"\x1b[I\x1b[O\x1b[I", b"", [True, False, True]),
        (b"\x1b\x1b[I", b"\x1b", [True]),
        (b"\x1b[\x1b[O", b"\x1b[", [False]),
        (b"\x1b[A\x1bOP\x1b[1;5Ix\x1b[200~", b"\x1b[A\x1bOP\x1b[1;5Ix\x1b[200~", []),
        ("I[O\x1bé".encode(), "I[O\x1bé".encode(), []),
        (b"\x1b", b"\x1b", []),
        (b"\x1b[", b"\x1b[", []),
    ],
)
def test_reports_are_told_and_taken_out(typed: bytes, left: bytes, told: list[bool]) -> None:
    assert taken(typed) == (left, told)


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ((b"\x1b", b"[I"), b"\x1b"),
        ((b"\x1b[", b"I"), b"\x1b["),
        ((b"\x1b", b"[", b"I"), b"\x1b["),
    ],
)
def test_end_of_a_report_whose_beginning_was_released_is_no_text(
    parts: tuple[bytes, ...], left: bytes
) -> None:
    assert taken(*parts) == (left, [True])
    assert taken(*parts, b"I") == (left + b"I", [True])


@given(st.lists(st.lists(st.sampled_from([b"\x1b", b"[", b"A", b"I"]))))
def test_nothing_but_reports_is_taken_out(parts: list[list[bytes]]) -> None:
    whole = [b"".join(part) for part in parts]
    left, told = taken(*whole)
    removed = len(b"".join(whole)) - len(left)
    assert len(told) <= removed <= 3 * len(told)
    if len(parts) == 1:
        assert left == whole[0].replace(b"\x1b[I", b"")
