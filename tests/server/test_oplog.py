"""The operator's log: what is noted, that no line can be forged, and a disk that is full."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.errors import IdentityError, Reason
from chat.files import storage as files
from chat.files.logs import open_log
from chat.limits import (
    FIRST_FRAME_SECONDS,
    GRACE_SECONDS,
    LOG_LINES_PER_SECOND,
    LOG_QUEUE_BYTES,
    LOG_TEXT_CHARS,
    OUTPUT_RETRY_SECONDS,
)
from chat.localtime import iso_of
from chat.reactor import Reactor
from chat.server.access import Access
from chat.server.lists import InMemory
from chat.server.oplog import Event, LogFile, OperatorLog, line_of
from chat.server.words import LOG_BROKEN
from tests.support.helpers import WALL_CLOCK, FakeClock, key
from tests.support.loopback import Company, Hall, Wire

IRA = f"key={key('ira').public.fingerprint}"
EVE = f"key={key('other').public.fingerprint}"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ")

ROOT = Path(__file__).parents[2]
FILTER = ROOT / "packaging/fail2ban/filter.d/chatapp.conf"


class Noted:
    """A log of a server, and what stands in it."""

    def __init__(self, hall: Hall, path: Path) -> None:
        self.path = path
        self.complaints: list[str] = []
        file = LogFile(hall.reactor, lambda: open_log(path), self.complaints.append)
        self.log = hall.console.log = OperatorLog(hall.reactor, file)

    def lines(self) -> list[str]:
        """The lines so far, without their times."""
        lines = self.path.read_text().splitlines()
        assert all(map(STAMP.match, lines))
        return [STAMP.sub("", line) for line in lines]


@pytest.fixture
def noted(hall: Hall, tmp_path: Path) -> Noted:
    return Noted(hall, tmp_path / "log")


def where(peer: Wire) -> str:
    """From where somebody comes, as a line says it."""
    host, port = peer.name.split(":")
    return f"address={host} port={port}"


def test_who_comes_and_goes_is_noted_with_address_key_and_reason(hall: Hall, noted: Noted) -> None:
    ira = hall.join("Ira")
    lines = [f'event=joined {where(ira)} room=open {IRA} name="Ira"']
    assert noted.lines() == lines
    lines.append(f'event=lost {where(ira)} room=open {IRA} reason=LOST name="Ira"')
    ira.reset()
    hall.until(lambda: noted.lines() == lines)
    back = hall.come_back(ira)
    lines.append(f'event=back {where(back)} room=open {IRA} name="Ira"')
    assert noted.lines() == lines
    left = f'event=left {where(back)} room=open {IRA} reason=LOST name="Ira"'
    back.reset()
    hall.until(lambda: len(noted.lines()) > len(lines))
    hall.wait(GRACE_SECONDS + 1)
    assert noted.lines()[-1] == left


def test_kick_and_ban_are_noted_with_who_did_it(hall: Hall, noted: Noted) -> None:
    eve = hall.join("Eve", "other")
    hall.type("KICK Eve")
    hall.farewell_to(eve)
    assert noted.lines()[1:] == [
        f'event=kicked {where(eve)} room=open {EVE} reason=KICKED name="Eve"',
        'event=operator name="operator" text="KICK Eve"',
    ]
    again = hall.join("Eve", "other")
    hall.type('BAN Eve she "spams" a=b')
    hall.farewell_to(again)
    text = r"she \"spams\" a\x3db"
    *_, banned, kicked, operator = noted.lines()
    assert banned == f'event=banned {EVE} name="Eve" text="{text}"'
    assert kicked.startswith(f"event=kicked {where(again)} room=open {EVE} reason=KICKED ")
    assert operator == f'event=operator name="operator" text="BAN Eve {text}"'
    refused = hall.knock("Thea", "other")
    hall.farewell_to(refused)
    beginning = f'event=refused {where(refused)} room=open {EVE} reason=KICKED name="Thea" text='
    assert noted.lines()[-1].startswith(beginning)


def test_who_says_nothing_is_no_line_unless_it_keeps_us_waiting(hall: Hall, noted: Noted) -> None:
    for _ in range(20):
        hall.greeted().close()
    hall.until(lambda: not hall.server.connections)
    assert noted.lines() == []
    silent = hall.greeted()
    hall.wait(FIRST_FRAME_SECONDS + 1)
    hall.until(lambda: noted.lines())
    (line,) = noted.lines()
    assert line.startswith(f"event=refused {where(silent)} reason=TIMEOUT")


def test_no_word_that_is_said_is_noted(hall: Hall, noted: Noted) -> None:
    company = Company(hall)
    company.talk()
    hall.type("SAY good morning")
    hall.type("TOPIC good evening")
    hall.until(lambda: len(noted.lines()) == 4)
    log = noted.path.read_text()
    assert "good" not in log
    assert "hello" not in log
    assert noted.lines()[2:] == [
        'event=operator name="operator" text="SAY"',
        'event=operator name="operator" text="TOPIC"',
    ]


# -- the form of a line --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Zoë von der Leine", "Zoë von der Leine"),
        ('" event=refused address=192.0.2.9', r"\" event\x3drefused address\x3d192.0.2.9"),
        ("a\\", r"a\\"),
        ("a\nb\r\t\x1b[2J\u2028\u202e\0", r"a\nb\r\t\x1b[2J\u2028\u202e\x00"),
        ("x" * (LOG_TEXT_CHARS + 1), "x" * LOG_TEXT_CHARS + "..."),
        ("\udcff", r"\udcff"),
    ],
)
def test_no_name_forges_a_line_or_a_field(name: str, shown: str) -> None:
    line = line_of(Event.JOINED, WALL_CLOCK, {"address": "192.0.2.1", "room": ""}, {"name": name})
    assert line == f'{iso_of(WALL_CLOCK)} event=joined address=192.0.2.1 name="{shown}"'
    assert len(line.splitlines()) == 1


def test_strangers_are_noted_one_by_one_while_they_are_few_and_hide_nobody(
    hall: Hall, noted: Noted
) -> None:
    for _ in range(LOG_LINES_PER_SECOND + 50):
        noted.log.note(Event.REFUSED, address="[2001:db8::1]:7")
    noted.log.note(Event.JOINED, address="192.0.2.1:7")
    lines = noted.lines()
    assert lines[:-1] == ["event=refused address=2001:db8::1 port=7"] * LOG_LINES_PER_SECOND
    assert lines[-1] == "event=joined address=192.0.2.1 port=7"
    hall.wait(1.5)
    assert noted.lines()[-1] == "event=omitted count=50"


# -- the file ------------------------------------------------------------------------------------


class Disk:
    """A log whose file may be anything."""

    def __init__(self, open_file: Callable[[], int]) -> None:
        self.open_file = open_file
        self.clock = FakeClock()
        self.reactor = Reactor(self.clock)
        self.complaints: list[str] = []
        self.file = LogFile(self.reactor, lambda: self.open_file(), self.complaints.append)

    def wait(self) -> None:
        self.clock.advance(OUTPUT_RETRY_SECONDS + 1)
        self.reactor.turn(0)


def test_log_goes_on_in_the_file_that_has_the_name_by_now(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    disk = Disk(lambda: open_log(path))
    disk.file.write("one")
    path.rename(old)
    disk.file.write("two")
    disk.file.reopen()
    disk.file.write("three")
    assert (old.read_text(), path.read_text()) == ("one\ntwo\n", "three\n")
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    path.mkdir()
    disk.file.reopen()
    assert disk.complaints == [f"the log {path} cannot be written: is a directory"]
    disk.file.close()


def test_disk_that_fails_is_told_and_the_log_goes_on_when_it_is_opened_again(
    tmp_path: Path,
) -> None:
    """A file whose disk fails does not take lines again (EIO), and neither does such a pipe."""
    readable, writable = os.pipe()
    os.close(readable)
    disk = Disk(lambda: writable)
    for line in ("one", "two", "three"):
        disk.file.write(line)
    assert disk.complaints == [LOG_BROKEN]
    disk.open_file = lambda: open_log(tmp_path / "log")
    disk.file.reopen()
    disk.file.write("four")
    first, last = (tmp_path / "log").read_text().splitlines()
    assert STAMP.sub("", first) == "event=omitted count=3"
    assert last == "four"
    disk.file.close()


def test_lines_that_wait_when_the_disk_fails_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First it is full, and then it fails: also the lines that stood for others are lost."""
    full = os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC)
    disk = Disk(lambda: full)
    for line in ("one", "two", "three"):
        disk.file.write(line)
    readable, writable = os.pipe()
    os.close(readable)
    os.dup2(writable, full)
    disk.wait()
    disk.file.write("four")
    assert disk.complaints == ["no space left on device", LOG_BROKEN]
    disk.open_file = lambda: os.dup(writable)
    disk.file.reopen()
    disk.file.write("five")
    disk.open_file = lambda: open_log(tmp_path / "log")
    disk.file.reopen()
    os.close(writable)
    disk.file.write("six")
    first, last = (tmp_path / "log").read_text().splitlines()
    assert STAMP.sub("", first) == "event=omitted count=5"
    assert last == "six"
    disk.file.close()


def test_full_disk_loses_nothing_at_first_and_then_counts(tmp_path: Path) -> None:
    path = tmp_path / "log"
    disk = Disk(lambda: os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC))
    lines = LOG_QUEUE_BYTES // 1000 + 2
    for _ in range(lines + 7):
        disk.file.write("x" * 999)
    disk.wait()
    assert disk.complaints == ["no space left on device"]
    disk.open_file = lambda: open_log(path)
    disk.file.reopen()
    disk.wait()
    disk.file.write("after")
    kept = path.read_text().splitlines()
    assert kept[:-2] == ["x" * 999] * (len(kept) - 2)
    assert STAMP.sub("", kept[-2]) == f"event=omitted count={lines + 9 - len(kept)}"
    assert kept[-1] == "after"
    disk.file.close()


def test_half_a_line_of_before_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("half")
    os.close(open_log(path))
    os.close(open_log(path))
    assert path.read_text() == "half\n"


@pytest.mark.parametrize("kind", ["folder", "fifo", "missing folder"])
def test_log_that_cannot_be_opened_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path /= "log"
    with pytest.raises(IdentityError, match="cannot be written: "):
        open_log(path)


def test_log_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_text("half")
    monkeypatch.setattr(files, "is_own", lambda _status: False)
    with pytest.raises(IdentityError, match="cannot be written: it belongs to another user"):
        open_log(path)
    assert path.read_text() == "half"


# -- fail2ban ------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("fail2ban-regex"), reason="fail2ban is not installed")
def test_fail2ban_finds_the_addresses_of_who_is_refused_and_nobody_else(
    hall: Hall, noted: Noted
) -> None:
    hall.server.access = Access(keys=InMemory(key("ira").public.openssh))
    hall.join('" event=refused address=10.0.0.9')
    hall.farewell_to(hall.knock('" address=192.0.2.9 port=1 ', "other"))
    browser = hall.greeted()
    browser.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    hall.until(lambda: browser.eof)
    for event in Event:
        if event is not Event.REFUSED:
            noted.log.note(event, address="192.0.2.8:7", reason=Reason.TIMEOUT)
    noted.log.note(Event.REFUSED, address="[2001:db8::1]:7", tag=bytes(16), reason=Reason.KICKED)
    noted.log.note(Event.REFUSED, address="192.0.2.7:7", reason=Reason.NAME_TAKEN, name="reason")
    command = ["fail2ban-regex", "--out", "ip", str(noted.path), str(FILTER)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found == ["127.0.0.1", "127.0.0.1", "2001:db8::1"]
