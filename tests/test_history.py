"""What was typed: found again as it was, by its owner alone, and never more than enough of it."""

import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.history import History
from chat.limits import HISTORY_LINES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history"


def test_first_run_has_nothing_typed_yet(path: Path) -> None:
    assert History(path).load() == []
    assert path.read_bytes() == b""


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_file_can_be_read_by_its_owner_alone(path: Path, mode: int | None) -> None:
    if mode is not None:
        path.parent.mkdir()
        path.write_text("before\n")
        path.chmod(mode)
    history = History(path)
    history.load()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    history.append("Hi")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_folder_that_is_made_is_for_its_owner_alone(path: Path) -> None:
    History(path).load()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Hi", "Hi"),
        ("one\ntwo\n\nfour", r"one\ntwo\n\nfour"),
        (r"C:\new", r"C:\\new"),
        ("\\", r"\\"),
        ("\\\n", r"\\\n"),
        ("Grüße 漢 👋🏽", "Grüße 漢 👋🏽"),
    ],
)
def test_entry_is_one_line_of_the_file_and_is_found_again(
    path: Path, typed: str, kept: str
) -> None:
    history = History(path)
    history.load()
    history.append(typed)
    assert path.read_text() == f"{kept}\n"
    assert History(path).load() == [typed]


def test_line_that_begins_with_a_space_is_not_kept(path: Path) -> None:
    history = History(path)
    history.load()
    for line in ("before", " a secret", "  another\nof two lines", "after "):
        history.append(line)
    assert History(path).load() == ["before", "after "]


def append_all(path: Path, lines: list[str]) -> None:
    history = History(path)
    history.load()
    for line in lines:
        history.append(line)


def test_file_is_trimmed_to_the_last_lines_at_the_next_run(path: Path) -> None:
    lines = [f"line\n{number}" for number in range(HISTORY_LINES + 5)]
    append_all(path, lines)
    assert History(path).load() == lines[5:]
    assert path.read_text().count("\n") == HISTORY_LINES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_file_that_is_just_full_is_not_written_anew(path: Path) -> None:
    append_all(path, ["x"] * HISTORY_LINES)
    before = path.stat().st_ino
    assert len(History(path).load()) == HISTORY_LINES
    assert path.stat().st_ino == before


def test_two_clients_add_to_the_same_file(path: Path) -> None:
    append_all(path, ["x"] * (HISTORY_LINES + 1))
    one = History(path)
    one.load()
    one.append("first")
    two = History(path)
    two.load()
    one.append("second")
    two.append("third")
    assert History(path).load()[-4:] == ["x", "first", "second", "third"]


def test_bytes_that_are_no_text_do_not_stand_in_the_way(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"before\n\xff\xc3(\nafter\n")
    assert History(path).load() == ["before", "\ufffd\ufffd(", "after"]


def test_what_cannot_be_encoded_does_not_stand_in_the_way(path: Path) -> None:
    append_all(path, ["before\udcff", "after"])
    assert History(path).load() == ["before?", "after"]


@pytest.mark.parametrize("in_the_way", ["folder in place of the file", "file in place of a folder"])
def test_file_that_cannot_be_used_is_an_error_of_the_system(path: Path, in_the_way: str) -> None:
    if in_the_way.startswith("folder"):
        path.mkdir(parents=True)
    else:
        path.parent.touch()
    with pytest.raises(OSError, match=r"directory|exists"):
        History(path).load()
    with pytest.raises(OSError, match="directory"):
        History(path).append("Hi")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.text(st.characters(codec="utf-8")).filter(lambda line: line[:1] != " ")))
@example(["\\n", "\n", "\\\n", "\\\\n", ""])
@example(["one\u2028line", "one\x85line", "one\x0bline"])
@example(["one\rline", "one\r\nline"])
def test_whatever_was_typed_is_found_again(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history"
        append_all(path, lines)
        assert History(path).load() == lines
