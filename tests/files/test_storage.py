"""Files read and replaced with care: what is no file, failures midway, and many at once."""

import errno
import itertools
import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.files import storage as files
from tests.support.helpers import lying, mode_of, side_by_side

PATIENT = 1000.0
OLD, NEW = b"old\n" * 300, b"new\n" * 400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def refusal(number: int) -> Callable[..., None]:
    """A call of the system that fails with this error."""

    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# -- what is no file


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "Is a directory"),
    "FIFO": (os.mkfifo, "a FIFO, not a file"),
    "socket": (make_socket, "a socket, not a file"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
    "terminal": (lambda path: path.symlink_to("/dev/ptmx"), "a device, not a file"),
    "link to itself": (
        lambda path: path.symlink_to(path.name),
        "Too many levels of symbolic links",
    ),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
}


@pytest.mark.parametrize("what", NO_FILES)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_APPEND])
def test_what_is_no_file_is_told_at_once(path: Path, what: str, flags: int) -> None:
    make, said = NO_FILES[what]
    make(path)
    with pytest.raises(OSError, match=said) as caught:
        files.open_regular(path, flags)
    assert caught.value.filename == str(path)


def test_what_takes_the_place_of_a_file_just_before_it_is_opened_is_seen(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch()
    real = os.open

    def open_late(name: Path, flags: int, mode: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", open_late)
    with pytest.raises(OSError, match="a FIFO, not a file"):
        files.open_regular(path, os.O_RDONLY)


def test_file_behind_a_link_is_read(path: Path) -> None:
    path.write_bytes(OLD)
    link = path.with_name("link")
    link.symlink_to(path)
    assert files.read(link, len(OLD))[0] == OLD
    assert files.real_path(link) == path
    assert files.real_path(path) == path


def test_link_that_somebody_else_has_made_is_not_followed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.symlink_to("elsewhere")
    monkeypatch.setattr(os, "lstat", lying(os.lstat, user=1))
    with pytest.raises(PermissionError, match="a link of another user"):
        files.real_path(path)


def test_file_that_is_too_large_is_not_read(path: Path) -> None:
    path.touch()
    for size in (1 << 40, 1001):
        os.truncate(path, size)
        with pytest.raises(OSError, match=r"larger than 1,000 bytes"):
            files.read(path, 1000)
    os.truncate(path, 1000)
    assert files.read(path, 1000)[0] == bytes(1000)


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="there is no /proc")
def test_file_that_never_ends_is_not_read_for_ever() -> None:
    with pytest.raises(OSError, match=r"larger than 100,000 bytes"):
        files.read(Path("/proc/self/pagemap"), 100_000)


# -- what fails midway


class Faults:
    """Calls that touch the disk work until the one that should fail. If it is a write, half is
    written, and by the next one nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
        self.left = fail_at
        for name in ("open", "write", "fsync", "link", "replace", "close"):
            monkeypatch.setattr(os, name, self._faulty(name, getattr(os, name)))

    def _faulty(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            self.left -= 1
            if self.left == -1 and name == "write":
                return real(arguments[0], NEW[: len(NEW) // 2])
            if self.left == -1 or (self.left == -2 and name == "write"):
                if name == "close":
                    real(*arguments)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments)

        return call


CHANGES: dict[str, Callable[[Path], None]] = {
    "create": lambda path: files.create(path, NEW, 0o600, 0),
    "replace": lambda path: files.replace(path, NEW, 0o400),
}


@pytest.mark.parametrize(("change", "before"), [("create", None), ("replace", OLD)])
def test_file_is_the_old_or_the_new_one_wherever_the_disk_fails(
    path: Path, change: str, before: bytes | None
) -> None:
    failures = 0
    for fail_at in itertools.count():
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
        with pytest.MonkeyPatch.context() as monkeypatch:
            faults = Faults(monkeypatch, fail_at)
            try:
                CHANGES[change](path)
            except OSError:
                failures += 1
        content = path.read_bytes() if path.exists() else None
        assert content in (before, NEW)
        assert names(path.parent) == ([path.name] if path.exists() else [])
        if faults.left >= 0:
            break
    assert failures >= 5
    assert mode_of(path) == (0o600 if change == "create" else 0o400)


def test_half_a_line_is_taken_back_when_the_disk_is_full(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(OLD)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    with monkeypatch.context() as patch:
        Faults(patch, 0)
        with pytest.raises(OSError, match="No space"):
            files.append(descriptor, NEW)
    os.close(descriptor)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("taken", [0, 3])
def test_line_of_another_program_stays_when_the_disk_is_full(
    path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """It has come since we looked how long the file is: before our line, or in the midst of it."""
    path.write_bytes(OLD)
    mine, other = (os.open(path, os.O_RDWR | os.O_APPEND) for _ in range(2))
    write, rooms = os.write, [taken, 0]

    def fill_up(descriptor: int, data: bytes) -> int:
        room = rooms.pop(0)
        written = write(descriptor, data[:room]) if room else 0
        if written == taken:
            write(other, b"another\n")
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fill_up)
        with pytest.raises(OSError, match="No space"):
            files.append(mine, NEW)
    for descriptor in (mine, other):
        os.close(descriptor)
    assert path.read_bytes() == OLD + NEW[:taken] + b"another\n"


@pytest.mark.parametrize("room", [0, 100, 1500])
def test_file_that_the_kernel_cuts_off_is_as_it_was(path: Path, room: int) -> None:
    """The limit of a file's size cuts a write off as a full disk does, for every user."""
    path.write_bytes(OLD)
    another = path.with_name("another")

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        for change, at in ((CHANGES["replace"], path), (CHANGES["create"], another), (add, path)):
            with pytest.raises(OSError, match="File too large"):
                change(at)

    def add(path: Path) -> None:
        files.append(os.open(path, os.O_RDWR | os.O_APPEND), NEW)

    side_by_side(write)
    assert path.read_bytes() == OLD
    assert names(path.parent) == [path.name]


# -- file systems that lack something


@pytest.fixture(params=["EACCES", "EPERM", "ENOSYS", "EOPNOTSUPP", "EMLINK", "EXDEV"])
def linkless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, as it says so."""
    monkeypatch.setattr(os, "link", refusal(getattr(errno, request.param)))


@pytest.fixture
def lockless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks on folders."""
    monkeypatch.setattr("fcntl.flock", refusal(errno.EBADF))


@pytest.fixture(params=["locks", "no locks"])
def perhaps_lockless(request: pytest.FixtureRequest) -> None:
    if request.param == "no locks":
        request.getfixturevalue("lockless")


@pytest.mark.usefixtures("linkless", "perhaps_lockless")
def test_without_hard_links_a_file_is_made_all_the_same(path: Path) -> None:
    files.create(path, NEW, 0o600, 0)
    assert path.read_bytes() == NEW
    assert mode_of(path) == 0o600
    with pytest.raises(FileExistsError):
        files.create(path, OLD, 0o600, 0)
    assert path.read_bytes() == NEW
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("there", ["file", "link to nothing"])
@pytest.mark.usefixtures("perhaps_lockless")
def test_what_is_there_is_not_replaced(path: Path, there: str) -> None:
    path.symlink_to("nowhere") if there == "link to nothing" else path.write_bytes(OLD)
    with pytest.raises(FileExistsError):
        files.create(path, NEW, 0o600, 0)
    assert path.is_symlink() or path.read_bytes() == OLD
    assert names(path.parent) == [path.name]


@pytest.mark.usefixtures("linkless", "lockless")
def test_without_links_and_locks_a_failure_leaves_no_empty_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", refusal(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        files.create(path, NEW, 0o600, 0)
    assert names(path.parent) == []


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
def test_of_many_that_make_the_same_file_one_does(
    path: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", refusal(errno.EPERM))

    def make(number: int) -> Callable[[], None]:
        def run() -> None:
            try:
                files.create(path, f"{number}\n".encode(), 0o600, PATIENT)
            except FileExistsError:
                assert path.read_bytes()
            else:
                # Nobody else has taken its place.
                path.with_name(f"made {number}").write_bytes(path.read_bytes())

        return run

    side_by_side(*(make(number) for number in range(12)))
    made, content = names(path.parent)[1:], path.read_text().strip()
    assert made == [f"made {content}"]


def test_file_system_that_keeps_no_permissions_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.keeps_modes(path)
    monkeypatch.setattr(os, "fstat", lying(os.fstat, mode=0o777))
    assert not files.keeps_modes(path)
    assert names(path.parent) == []


# -- side by side


def test_lock_is_for_one_at_a_time_and_not_waited_for_in_vain(tmp_path: Path) -> None:
    with files.locked(tmp_path, 0) as alone:
        assert alone
        with (
            pytest.raises(files.LockedError, match="another program is changing it"),
            files.locked(tmp_path, 0),
        ):
            pass
    with files.locked(tmp_path, 0) as alone:
        assert alone
    with files.locked(tmp_path / "nowhere", 0) as alone:
        assert not alone


def test_lock_is_waited_for_while_others_get_something_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tries = [1000.0], iter(range(50))

    def advance(seconds: float) -> None:
        now[0] += seconds
        if (number := next(tries)) < 40:
            os.utime(tmp_path, ns=(number, number))

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", advance)
    monkeypatch.setattr(files, "LOCK_POLL_SECONDS", 1.0)
    with files.locked(tmp_path, 0), pytest.raises(files.LockedError), files.locked(tmp_path, 3.0):
        pass
    assert now[0] == 1043.0


LEFT = ".file.0123abcd"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    for name in (LEFT, ".file.0123abcg", ".file.0123abc", ".other.0123abcd", "file.0123abcd"):
        (tmp_path / name).touch()
    return tmp_path


def test_what_was_left_is_cleared_and_nothing_else_nor_what_somebody_is_writing(left: Path) -> None:
    before = names(left)
    with files.locked(left, 0):
        files.clear(left, {"file"})
    assert names(left) == before
    files.clear(left / "nowhere", {"file"})
    files.clear(left, {"file"})
    assert names(left) == [name for name in before if name != LEFT]


@pytest.mark.usefixtures("lockless")
def test_without_locks_it_goes_on_and_nothing_is_cleared(left: Path) -> None:
    before = names(left)
    with files.locked(left, 0) as alone:
        assert not alone
    files.clear(left, {"file"})
    assert names(left) == before
