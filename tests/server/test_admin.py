"""The admin socket at the server: who connects is answered, and can hold up nobody."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.errors import IdentityError
from chat.files.adminsocket import AdminSocket
from chat.limits import ADMIN_LINE_BYTES, MAX_ADMIN_CONNECTIONS
from chat.server import words
from chat.server.access import Access
from chat.server.admin import AdminDoor
from chat.server.lists import Failed, InMemory
from tests.support.loopback import Company, Hall, Wire

TOO_LONG = f" {words.COMMAND_TOO_LONG}\nrefused\n".encode()


class Admins:
    """Programs that connect to the admin socket of a server."""

    def __init__(self, hall: Hall, folder: Path) -> None:
        self.hall = hall
        self.path = folder / "admin.sock"
        self._stack = contextlib.ExitStack()
        made = self._stack.enter_context(contextlib.closing(AdminSocket(self.path)))
        door = AdminDoor(hall.reactor, made.listener, hall.console)
        self.door = self._stack.enter_context(contextlib.closing(door))
        self.door.open()

    def dial(self) -> Wire:
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(str(self.path))
        return self._stack.enter_context(contextlib.closing(Wire(self.hall.reactor, connected)))

    def ask(self, *lines: str) -> str:
        """What a program is answered that gives these commands and no more."""
        wire = self.dial()
        wire.send("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
        wire.shut_down()
        self.hall.until(lambda: wire.eof)
        return wire.received.decode()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def admins(hall: Hall, tmp_path: Path) -> Iterator[Admins]:
    with contextlib.closing(Admins(hall, tmp_path)) as admins:
        yield admins


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["ROOMS"], " [+] The open room: 2\ndone\n"),
        (["kick Zoe"], " [!] Nobody here is called Zoe.\nrefused\n"),
        (["kick \x1b[2J"], " [!] Nobody here is called \\x1b[2J.\nrefused\n"),
        (["KICK sahnawaz"], " [+] sahnawaz is put out.\ndone\n"),
        (["BAN Zoe"], f" {words.unknown_name('Zoe')}\nrefused\n"),
        (["nonsense"], f" {words.unknown_command('nonsense')}\nrefused\n"),
        (["SAY \udcff"], f" {words.NOT_TEXT}\nrefused\n"),
        (["topic\r", "", " "], f" {words.NO_TOPIC}\ndone\ndone\ndone\n"),
        (["EXIT"], f" {words.ONLY_TERMINATE}\nrefused\n"),
    ],
)
def test_command_is_obeyed_and_answered_to_who_gave_it(
    company: Company, admins: Admins, lines: list[str], answer: str
) -> None:
    assert admins.ask(*lines) == answer


def test_console_says_who_did_what_and_not_what_others_are_answered(
    hall: Hall, company: Company, admins: Admins
) -> None:
    admins.ask("WHO", "STATS", "HELP", "BANS", "TOPIC", "kick Zoe")
    assert hall.screen.lines() == []
    admins.ask("TOPIC tea")
    assert hall.screen.lines() == ["[+] admin: TOPIC tea"]


@pytest.mark.parametrize("command", ["TERMINATE", "RESTART"])
def test_answer_to_the_last_command_is_sent_before_the_end(
    hall: Hall, company: Company, admins: Admins, command: str
) -> None:
    wire = admins.dial()
    wire.send(f"{command}\nWHO\n".encode())
    hall.until(lambda: wire.received.endswith(b"done\n"))
    hall.farewell_to(company.ira)
    assert wire.received.startswith(b" [+] The server ")
    assert hall.shown(f"[+] admin: {command}")


def test_who_says_nothing_or_half_a_line_or_goes_is_no_harm(
    hall: Hall, company: Company, admins: Admins
) -> None:
    silent, half, gone = admins.dial(), admins.dial(), admins.dial()
    half.send(b"TERMINATE")
    hall.turns(3)
    half.shut_down()
    gone.send(b"WHO\n" * 100)
    gone.close()
    hall.until(lambda: half.eof and len(admins.door.callers) == 1)
    assert half.received == silent.received == b""
    company.assert_undisturbed()


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_line_of_ten_megabytes_is_refused_and_not_kept(
    hall: Hall, company: Company, admins: Admins, end: bytes
) -> None:
    wire = admins.dial()
    wire.send(b"x" * 10_000_000 + end)
    hall.until(lambda: wire.eof or wire.received)
    hall.until(lambda: not admins.door.callers)
    assert bytes(wire.received) == TOO_LONG
    company.assert_undisturbed()


def test_line_that_is_a_little_too_long_is_refused_and_the_next_obeyed(admins: Admins) -> None:
    wire = admins.dial()
    wire.send(b"x" * (ADMIN_LINE_BYTES - 10))
    admins.hall.turns(5)
    wire.send(b"x" * 11 + b"\nROOMS\n")
    admins.hall.until(lambda: wire.received.endswith(b"done\n"))
    assert wire.received == TOO_LONG + b" [+] The open room: 0\ndone\n"


def test_who_does_not_read_is_not_read_and_holds_up_nobody(
    hall: Hall, company: Company, admins: Admins
) -> None:
    deaf = admins.dial()
    deaf.deafen()
    deaf.send(b"HELP\n" * 200_000)
    hall.turns(1500)
    assert deaf.unsent, "it is not read for ever"
    assert admins.ask("ROOMS") == " [+] The open room: 2\ndone\n"
    company.assert_undisturbed()


def test_of_too_many_the_one_that_was_silent_for_longest_goes(hall: Hall, admins: Admins) -> None:
    wires = []
    for _ in range(MAX_ADMIN_CONNECTIONS):
        wires.append(admins.dial())
        hall.until(lambda: len(admins.door.callers) == len(wires))
    wires[0].send(b"ROOMS\n")
    hall.until(lambda: wires[0].received)
    admins.dial()
    hall.until(lambda: wires[1].eof)
    assert [wire for wire in wires if wire.eof] == [wires[1]]
    assert len(admins.door.callers) == MAX_ADMIN_CONNECTIONS


def test_list_that_cannot_be_changed_is_told_to_who_asked(
    hall: Hall, company: Company, admins: Admins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        hall.server.access, "unban", lambda _which: hall.console.complain(Failed("it is full"))
    )
    trouble = words.list_trouble(Failed("it is full"))
    assert admins.ask("UNBAN Ira", "TOPIC") == (
        f" {trouble}\n {words.nobody_banned('Ira')}\nrefused\n {words.NO_TOPIC}\ndone\n"
    )
    assert hall.screen.lines() == [trouble]


def test_ban_is_written_when_it_is_answered_and_else_that_is_told(
    hall: Hall, admins: Admins, monkeypatch: pytest.MonkeyPatch
) -> None:
    bans = InMemory()
    monkeypatch.setattr(hall.server, "access", Access(hall.console.complain, bans=bans))
    command = f"BAN SHA256:{'A' * 43}"
    answer = admins.ask(command)
    assert (answer.endswith("\ndone\n"), len(bans.lines)) == (True, 1)

    def full(_change: object) -> None:
        raise IdentityError("the disk is full")

    monkeypatch.setattr(bans, "edit", full)
    trouble = words.list_trouble(Failed("the disk is full", holds=True))
    assert admins.ask(command) == f" {trouble}\n{answer}"


def test_no_descriptor_left_is_waited_out(
    hall: Hall, admins: Admins, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = admins.door._listener

    class Exhausted:
        def accept(self) -> None:
            raise OSError(24, os.strerror(24))

        def fileno(self) -> int:
            return real.fileno()

    monkeypatch.setattr(admins.door, "_listener", Exhausted())
    wire = admins.dial()
    hall.turns(3)
    monkeypatch.undo()
    wire.send(b"ROOMS\n")
    hall.wait(10)
    hall.until(lambda: wire.received)
