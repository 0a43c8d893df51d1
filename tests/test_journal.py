"""The journal: where it goes, what a line is, and that it never stands in the way."""

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat import journal
from chat.errors import Reason, UsageError
from tests.support.helpers import Pair


@pytest.fixture(autouse=True)
def _no_journal_afterwards() -> Iterator[None]:
    yield
    journal.stop()


def test_line_says_when_which_process_and_what(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("earlier\n")
    journal.start(str(path))
    journal.note("connection 1", "accepted from 192.0.2.7:1234")
    note = journal.notes_about("connection 2")
    assert note is not None
    note("closed: \udc80é\n\x1b")
    journal.note("h\xf6st\n\x1b[2J port 9443", "tries it")
    lines = path.read_text().splitlines()
    assert lines[0] == "earlier"
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    first = rf"{moment} {os.getpid()} connection 1: accepted from 192\.0\.2\.7:1234"
    assert re.fullmatch(first, lines[1])
    assert lines[2].endswith(r" connection 2: closed: \udc80\xe9\n\x1b")
    assert lines[3].endswith(r" h\xf6st\n\x1b[2J port 9443: tries it")
    assert len(lines) == 4


def test_nothing_is_written_where_nobody_asked() -> None:
    journal.note("connection 1", "accepted")
    assert journal.notes_about("connection 1") is None


def test_others_cannot_read_it(tmp_path: Path) -> None:
    journal.start(str(tmp_path / "journal"))
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["", "missing/journal", ".", "nul\0"])
def test_file_that_cannot_be_opened_is_said(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"CHAT_LOG: .* cannot be written: "):
        journal.start(path)


def test_reader_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    journal.start(str(fifo))
    for _ in range(3):
        journal.note("connection 1", "x" * 40_000)
    os.close(reader)
    journal.note("connection 1", "nobody is there")


def test_standard_error_may_be_a_socket_and_holds_nothing_up() -> None:
    """As systemd starts a service. Such a descriptor cannot be opened by its path."""
    reader, writer = socket.socketpair()
    with reader, writer:
        journal.start(f"/dev/fd/{writer.fileno()}")
        journal.note("connection 1", "accepted")
        assert reader.recv(1000).endswith(b" connection 1: accepted\n")
        for _ in range(100):
            journal.note("connection 1", "x" * 40_000)


def test_sessions_note_frames_and_states_and_nothing_of_what_they_hold() -> None:
    pair = Pair("Name that nobody reads")
    noted: list[str] = []
    for session, end in ((pair.server, "server"), (pair.client, "client")):
        session.note = lambda what, end=end: noted.append(f"{end} {what}")
    pair.shake_hands()
    pair.client.close(Reason.KICKED, "a text that nobody reads")
    pair.to_server()
    assert [re.sub(r"\d+ bytes", "N bytes", line) for line in noted] == [
        "client received Hello, N bytes",
        "client AWAIT_HELLO -> AWAIT_TRUST",
        "client sends Pubkey, N bytes",
        "client AWAIT_TRUST -> AWAIT_SESSION_KEY",
        "server received Pubkey, N bytes",
        "server sends SessionKey, N bytes",
        "server AWAIT_PUBKEY -> SEND_SESSION_KEY",
        "client received SessionKey, N bytes",
        "client AWAIT_SESSION_KEY -> RELAY",
        "client sends Ready, N bytes",
        "server received Link (Ready), N bytes",
        "server SEND_SESSION_KEY -> RELAY",
        "client RELAY -> CLOSED",
        "client sends Bye, N bytes",
        "server received Link (Bye), N bytes",
        "server the peer ends it, KICKED",
        "server RELAY -> CLOSED",
    ]


def test_session_that_fails_notes_why() -> None:
    pair = Pair()
    noted: list[str] = []
    pair.server.note = noted.append
    pair.server.receive(b"\x00\x01\x7f", 0.0)
    assert noted == [
        "failed, PROTOCOL: unknown frame type 0x7f",
        "sends Refused, 29 bytes",
        "AWAIT_PUBKEY -> FAILED",
    ]
