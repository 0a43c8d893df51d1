"""What was typed: found again as it was, by its owner alone, and never too much of it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.files import storage as files
from chat.files.history import History
from chat.limits import HISTORY_BYTES, HISTORY_LINES
from tests.support.helpers import fork, mode_of, side_by_side


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history"


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_file_can_be_read_by_its_owner_alone(path: Path, mode: int | None) -> None:
    if mode is not None:
        path.parent.mkdir()
        path.write_text("before\n")
        path.chmod(mode)
    history = History(path)
    assert history.load() == ["before"] * (mode is not None)
    assert mode_of(path) == 0o600
    if mode is None:
        assert mode_of(path.parent) == 0o700
    path.chmod(0o644)
    history.append("Hi")
    assert mode_of(path) == 0o600


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Hi", "Hi"),
        ("one\ntwo\n\nfour", r"one\ntwo\n\nfour"),
        (r"C:\new", r"C:\\new"),
        ("\\", r"\\"),
        ("\\\n", r"\\\n"),
        ("Grüße 漢 👋🏽", "Grüße 漢 👋🏽"),
        ("one\u2028\x85\x0bline", "one\u2028\x85\x0bline"),
        ("one\rline\r\nline", "one\rline\r\\nline"),
    ],
)
def test_entry_is_one_line_of_the_file_and_is_found_again(
    path: Path, typed: str, kept: str
) -> None:
    history = History(path)
    history.load()
    history.append(typed)
    assert path.read_bytes().decode() == f"{kept}\n"
    assert History(path).load() == [typed]


def test_line_that_begins_with_a_space_or_has_an_invite_is_not_kept(path: Path) -> None:
    history = History(path)
    history.load()
    secrets = (
        " a secret",
        "  another\nof two lines",
        "Chat://h:1/AQAB",
        "come to\nchat://h:1/AQAB",
    )
    for line in ("before", *secrets, "after "):
        history.append(line)
    assert History(path).load() == ["before", "after "]


def append_all(path: Path, lines: list[str]) -> None:
    history = History(path)
    history.load()
    for line in lines:
        history.append(line)


def test_file_is_trimmed_to_the_last_lines_at_the_next_run(path: Path) -> None:
    """It is not written again at the run after; leftovers of a killed client are removed."""
    lines = [f"line\n{number}" for number in range(HISTORY_LINES + 5)]
    append_all(path, lines)
    (path.parent / f".{path.name}.0123abcd").touch()
    for _ in range(2):
        one = History(path)
        assert one.load() == lines[5:]
        assert path.read_text().count("\n") == HISTORY_LINES
        assert mode_of(path) == 0o600
        assert os.listdir(path.parent) == [path.name]
        trimmed = path.stat().st_ino
    assert History(path).load() == lines[5:]
    assert path.stat().st_ino == trimmed
    # Two clients add to the same file, even if it was replaced in between.
    one.append("first")
    two = History(path)
    two.load()
    one.append("second")
    two.append("third")
    assert History(path).load()[-4:] == [lines[-1], "first", "second", "third"]


def test_bytes_that_are_no_text_do_not_stand_in_the_way(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"before\n\xff\xc3(\nhalf")
    append_all(path, ["after\udcff"])
    assert History(path).load() == ["before", "\ufffd\ufffd(", "half", "after?"]


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


def use(path: Path) -> None:
    """Load and add, which must both fail."""
    history = History(path)
    for action in (history.load, lambda: history.append("Hi")):
        with pytest.raises(OSError, match=r"not a file|chmod 600|symbolic links") as caught:
            action()
        assert caught.value.filename


def test_what_is_no_file_is_not_used(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    use(path)


def test_mode_of_a_device_behind_a_link_stays(path: Path) -> None:
    ours, terminal = os.openpty()
    target = Path(os.ttyname(terminal))
    target.chmod(0o622)
    path.parent.mkdir()
    path.symlink_to(target)
    use(path)
    assert mode_of(target) == 0o622
    os.close(ours)
    os.close(terminal)


@pytest.mark.parametrize("way", ["symbolic link", "hard link"])
def test_mode_of_a_file_that_is_somewhere_else_stays_and_nothing_is_added(
    path: Path, way: str
) -> None:
    target = path.parent.parent / "elsewhere"
    target.write_text("of others\n")
    target.chmod(0o644)
    path.parent.mkdir()
    path.symlink_to(target) if way == "symbolic link" else path.hardlink_to(target)
    use(path)
    assert mode_of(target) == 0o644
    assert target.read_text() == "of others\n"


def test_link_to_a_file_of_ones_own_stays_one(path: Path) -> None:
    target = path.parent / "dotfiles" / "history"
    target.parent.mkdir(parents=True)
    path.symlink_to(target)
    lines = [str(number) for number in range(HISTORY_LINES + 5)]
    append_all(path, lines)
    assert History(path).load() == lines[5:]
    assert path.is_symlink()
    assert target.read_text().count("\n") == HISTORY_LINES


def test_file_of_another_user_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_all(path, ["before"])
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(PermissionError, match="it belongs to another user"):
        History(path).load()


def test_line_that_begins_beyond_what_is_read_is_dropped_whole(path: Path) -> None:
    append_all(path, ["x" * HISTORY_BYTES, "after"])
    assert History(path).load() == ["after"]
    assert path.read_text() == "after\n"


def test_many_clients_at_once_lose_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins by trimming what the others are adding to."""
    monkeypatch.setattr("chat.files.history.HISTORY_LOCK_SECONDS", 1000.0)
    append_all(path, ["x"] * HISTORY_LINES)
    lines = [[f"{client} {number}" for number in range(10)] for client in range(20)]

    def talk(client: int) -> Callable[[], None]:
        return lambda: append_all(path, lines[client])

    side_by_side(*(talk(client) for client in range(20)))
    loaded = History(path).load()
    for client in range(20):
        assert [line for line in loaded if line.startswith(f"{client} ")] == lines[client]


def test_line_that_is_added_while_another_client_trims_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.files.history.HISTORY_LOCK_SECONDS", 1000.0)
    append_all(path, ["before"])
    (held, hold), (waits, wait) = os.pipe(), os.pipe()

    def add() -> None:
        os.read(held, 1)
        real = time.sleep
        monkeypatch.setattr("time.sleep", lambda seconds: (os.write(wait, b"."), real(seconds)))
        History(path).append("meanwhile")

    # Forked before the lock is held, which a child would share.
    child = fork(add)
    with files.locked(path.parent, 0):
        os.write(hold, b".")
        os.read(waits, 1)
        files.replace(path, b"trimmed\n", 0o600)
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_text() == "trimmed\nmeanwhile\n"
    for descriptor in (held, hold, waits, wait):
        os.close(descriptor)


def test_lock_that_somebody_keeps_does_not_keep_a_line_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.files.history.HISTORY_LOCK_SECONDS", 0.0)
    append_all(path, ["x"] * (HISTORY_LINES + 1))
    with files.locked(path.parent, 0):
        History(path).append("after")
        assert History(path).load()[-2:] == ["x", "after"]
        assert path.read_text().count("\n") == HISTORY_LINES + 2
