"""What is written to the log of a conversation, and what is said when that fails."""

import errno
import os
import re
from pathlib import Path

import pytest

from chat.client import events
from chat.client.events import MessageReceived
from chat.errors import IdentityError, Reason
from chat.files.said import SaidFile
from chat.ui.record import Record

DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"


class Entries:
    """A disk that is full while it is `full`."""

    def __init__(self) -> None:
        self.full = False
        self.written = ""

    def add(self, entry: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.written += entry

    @property
    def lines(self) -> list[str]:
        return [re.sub(f"^{DATE}", "<date>", line) for line in self.written.splitlines()]


@pytest.fixture
def entries() -> Entries:
    return Entries()


@pytest.fixture
def record(entries: Entries) -> Record:
    return Record(entries, "Ira")


def said(text: str, *, own: bool = False, to: str = "") -> MessageReceived:
    return MessageReceived("Ira" if own else "Thea", 0, text, own=own, to=to)


def test_what_everybody_says_is_written_and_no_line_can_be_forged(
    entries: Entries, record: Record, half_past: None
) -> None:
    forged = "Hi\n2026-11-27 14:02:11 Zoe: I am Thea\r\n\x1b[2J\u2028x"
    for event in (
        events.Connected(),
        events.Entered(("Ira", "Thea")),
        said("Hello", own=True),
        said(forged),
        said("psst", own=True, to="Thea"),
        events.MemberLeft("Thea", Reason.LEFT, "so long"),
        events.KeyChanged("Thea", bytes(32), bytes(32), 0),
        events.Leaving(1),
    ):
        assert record.note(event) == ""
    assert entries.lines[:7] == [
        "<date> [+] In the room: Ira, Thea",
        "<date> Ira: Hello",
        "<date> Thea: Hi",
        r"    2026-11-27 14:02:11 Zoe: I am Thea\r",
        r"    \x1b[2J\u2028x",
        "<date> you → Thea [private]: psst",
        '<date> [+] Thea left the server: "so long"',
    ]
    assert all(line.startswith(("<date> ", "    ")) for line in entries.lines)
    assert "1970-01-01 05:30:00 Ira: Hello" in entries.written


def test_doubtful_time_gives_way_to_our_own(entries: Entries, record: Record) -> None:
    record.note(MessageReceived("Thea", 0, "Hi", own=False, arrived_ms=10**12, doubtful=True))
    assert entries.written.startswith("2001-09-")


def test_full_disk_is_said_once_and_once_more_when_it_is_over(
    entries: Entries, record: Record
) -> None:
    assert record.note(said("one")) == ""
    entries.full = True
    told = [record.note(said("lost")) for _ in range(3)]
    assert told == ["the log cannot be written: no space left on device", "", ""]
    entries.full = False
    assert record.note(said("two")) == "the log is written again; 3 lines are missing there"
    assert record.note(said("three")) == ""
    assert entries.lines == [
        *("<date> Thea: one", "<date> [!] 3 lines are missing here."),
        *("<date> Thea: two", "<date> Thea: three"),
    ]


# -- the file


def test_log_is_made_for_us_alone_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = SaidFile(path)
    file.require()
    assert path.stat().st_mode & 0o777 == 0o600
    file.add("one\n")
    path.rename(tmp_path / "old")
    file.add("two ö\n")
    assert (tmp_path / "old").read_text() == "one\n"
    assert path.read_text() == "two ö\n"
    (tmp_path / "link").symlink_to(path)
    SaidFile(tmp_path / "link").add("three\n")
    assert path.read_text() == "two ö\nthree\n"


def test_half_a_line_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch(mode=0o600)
    path.write_text("torn")
    SaidFile(path).add("whole\n")
    assert path.read_text() == "torn\nwhole\n"


def test_file_that_others_can_read_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "Log"
    path.touch()
    path.chmod(0o644)
    with pytest.raises(IdentityError, match=f"others can read or change it; chmod 600 {path}"):
        SaidFile(path).require()
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("what", ["folder", "fifo", "nowhere/log", "/dev/full"])
def test_what_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(IdentityError, match="cannot use the log "):
        SaidFile(tmp_path / what).require()
