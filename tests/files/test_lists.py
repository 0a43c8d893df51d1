"""Lists that a server keeps: read when they have changed, changed in one step, and never lost."""

import errno
import os
from pathlib import Path

import pytest

from chat.errors import IdentityError
from chat.files.lists import ListFile
from chat.limits import LIST_BYTES
from tests.support.helpers import mode_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bans"


def test_lines_are_news_once_and_again_when_somebody_has_changed_them(path: Path) -> None:
    bans = ListFile(path, "list")
    assert [bans.read(), bans.read()] == [[], None]
    path.write_bytes(b"one\n\xff two")
    assert [bans.read(), bans.read()] == [["one", "\udcff two"], None]
    # Of the same size, and at the same time.
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"two\n\xff one")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert bans.read() == ["two", "\udcff one"]
    path.unlink()
    assert [bans.read(), bans.read()] == [[], None]


def test_change_is_written_whole_with_the_mode_of_the_file(path: Path) -> None:
    bans = ListFile(path, "list")
    bans.edit(lambda lines: [*lines, "one"])
    assert (path.read_bytes(), mode_of(path)) == (b"one\n", 0o600)
    path.write_bytes(b"\xff no line end")
    path.chmod(0o640)
    bans.edit(lambda lines: [*lines, "two"])
    assert (path.read_bytes(), mode_of(path)) == (b"\xff no line end\ntwo\n", 0o640)
    assert os.listdir(path.parent) == ["bans"]


def test_added_lines_stand_behind_the_others(path: Path) -> None:
    names = ListFile(path, "list")
    names.read()
    names.append(["one", "\udcff"])
    assert (path.read_bytes(), mode_of(path), names.read()) == (b"one\n\xff\n", 0o600, None)
    path.write_text("half a line")
    names.append(["two"])
    assert names.read() == ["half a line", "two"]


def test_own_change_is_no_news_unless_somebody_else_made_one_before(path: Path) -> None:
    bans = ListFile(path, "list")
    bans.read()
    bans.edit(lambda lines: [*lines, "one"])
    assert bans.read() is None
    path.write_text("by hand\n")
    bans.edit(lambda lines: [*lines, "two"])
    assert bans.read() == ["by hand", "two"]


def test_link_stays_one_and_its_target_is_changed(tmp_path: Path, path: Path) -> None:
    target = tmp_path / "keys"
    target.write_text("one\n")
    path.symlink_to(target)
    ListFile(path, "list").edit(lambda lines: [*lines, "two"])
    assert path.is_symlink()
    assert target.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("damage", ["huge", "others can write", "folder", "FIFO"])
def test_file_that_cannot_be_trusted_is_neither_read_nor_changed(path: Path, damage: str) -> None:
    match damage:
        case "huge":
            path.write_bytes(bytes(LIST_BYTES + 1))
        case "others can write":
            path.write_text("one\n")
            path.chmod(0o666)
        case "folder":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
    before = path.stat()
    bans = ListFile(path, "list of bans")
    changes = (lambda: bans.edit(lambda _: []), lambda: bans.append(["one"]))
    for action in (bans.read, bans.read, bans.require, *changes):
        with pytest.raises(IdentityError):
            action()
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        *(before.st_ino, before.st_size, before.st_mtime_ns),
    )
    assert os.listdir(path.parent) == ["bans"]


def test_file_is_read_when_it_was_mended(path: Path) -> None:
    path.write_text("one\n")
    path.chmod(0o666)
    bans = ListFile(path, "list")
    with pytest.raises(IdentityError, match="others can change the list"):
        bans.read()
    path.chmod(0o600)
    assert bans.read() == ["one"]


def test_full_disk_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("one\n")
    bans = ListFile(path, "list")

    def full(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def assert_refused(line: str, why: str) -> None:
        with pytest.raises(IdentityError, match=why):
            bans.edit(lambda lines: [*lines, line])
        with pytest.raises(IdentityError, match=why):
            bans.append([line])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert_refused("two", "no space left")
    assert_refused("x" * LIST_BYTES, "larger than")
    assert path.read_text() == "one\n"
    assert os.listdir(path.parent) == ["bans"]


def test_list_that_must_be_there_is_missed(path: Path) -> None:
    with pytest.raises(IdentityError, match=r"the list of keys: .*no such file") as missed:
        ListFile(path, "list of keys").require()
    # The file was named, so another folder for the keys is no help.
    assert missed.value.hint == "make it; an empty file lets nobody in until a line is added"
