"""The server's console: every command in every case, and its lines under load."""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chat.stdio
from chat import localtime
from chat.identities import Card
from chat.limits import (
    CLUSTER_LINES_PER_SECOND,
    COMMANDS_AT_ONCE,
    CONSOLE_QUEUE_BYTES,
    MESSAGE_LINES_PER_SECOND,
    REFUSAL_LINES_PER_SECOND,
)
from chat.reactor import Reactor
from chat.server import words
from chat.server.access import Access
from chat.server.commands import Others
from chat.server.console import Console
from chat.server.desk import PlainDesk
from chat.server.greeting import Greeting
from chat.server.lists import Ban, Failed, InMemory
from chat.server.members import Member
from chat.server.operators import ADMIN, Operator
from chat.stdio import LineOutput
from tests.support.helpers import WALL_CLOCK, FakeClock, key
from tests.support.loopback import Screen, until

FINGERPRINT = f"SHA256:{'A' * 43}"


class Room:
    """A room that notes what it is asked."""

    def __init__(self, asked: list[str], tag: bytes = b"") -> None:
        self.tag = tag
        self.in_room: list[Member] = []
        self.present: set[str] = set()
        self._asked = asked

    def members(self) -> list[Member]:
        return self.in_room

    def has(self, name: str) -> bool:
        return name in self.present

    def kick(self, name: str) -> None:
        where = f" in {self.tag.hex()[:9]}" if self.tag else ""
        self._asked.append(f"kick {name!r}{where}")


class AllRooms(list[Room]):
    """The rooms of the server."""

    relayed = relayed_bytes = kept_bytes = 0


class Server:
    """A server that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open_room = Room(self.asked)
        self.rooms = AllRooms([self.open_room])
        self.access = Access(keys=InMemory())
        self.greeting = Greeting()
        self.comes_back = self.is_last = True
        self.company: Others | None = None

    def keys_meant(self, words: str) -> tuple[str, set[str], str] | None:
        name, _, why = words.partition(" ")
        return (name, {FINGERPRINT}, why) if name in self.open_room.present else None

    def ban(self, fingerprint: str, name: str, why: str) -> Ban:
        self.asked.append(f"ban {name}: {why}")
        return Ban(fingerprint, 0, name, why)

    def unban(self, which: str) -> list[Ban]:
        return self.access.unban(which)

    def forget(self, name: str) -> bool:
        return self.access.forget(name)

    def save_orders(self) -> None:
        self.access.save_orders()

    def terminate(self) -> None:
        self.asked.append("terminate")

    def set_topic(self, text: str) -> None:
        self.asked.append(f"topic {text}")
        self.greeting.set_topic(text, WALL_CLOCK)

    def restart(self) -> None:
        self.asked.append("restart")

    def say(self, text: str) -> None:
        self.asked.append(f"say {text!r}")


class OperatorDesk:
    """A console, its operator and its screen."""

    def __init__(self, obeys: bool = True, *, quiet: bool = False) -> None:
        self.clock = FakeClock()
        self.reactor = Reactor(self.clock)
        self.screen = Screen(self.reactor)
        self.server = Server()
        self._source, self._hand = os.pipe()
        place = PlainDesk(self.reactor, self._source, self.screen.output)
        self.console = Console(self.reactor, place, quiet=quiet)
        if obeys:
            self.console.obey(self.server)

    def type(self, text: str) -> list[str]:
        """Type lines. Returns the lines that are shown then."""
        os.write(self._hand, text.encode(errors="surrogateescape") + b"\n-\n")
        mark = words.unknown_command("-")
        until(self.reactor, lambda: self.screen.lines()[-1:] == [mark])
        shown = self.screen.lines()
        self.screen.clear()
        return shown[:-1]

    def wait(self, seconds: float) -> list[str]:
        """Let time pass. Returns the lines that are shown then."""
        self.clock.advance(seconds)
        self.reactor.turn(0)
        self.reactor.turn(0)
        shown = self.screen.lines()
        self.screen.clear()
        return shown

    def end_input(self) -> None:
        os.close(self._hand)
        self._hand = -1

    def close(self) -> None:
        self.reactor.close()
        self.screen.close()
        os.close(self._source)
        if self._hand >= 0:
            os.close(self._hand)


@pytest.fixture
def desk() -> Iterator[OperatorDesk]:
    with contextlib.closing(OperatorDesk()) as desk:
        yield desk


# -- commands


NOBODY = "[+] Nobody is here."


@pytest.mark.parametrize(
    ("line", "asked", "shown"),
    [
        *((word, ["terminate"], []) for word in ("TERMINATE", "terminate", "  Terminate  ")),
        *((word, ["restart"], []) for word in ("RESTART", "restart")),
        *((word, [], words.HELP) for word in ("HELP", "help", "hElP")),
        *((word, [], [NOBODY]) for word in ("WHO", "who")),
        *((line, ["kick 'Zoë'"], []) for line in ("KICK Zoë", "kick Zoë", "Kick   Zoë  ")),
        ("kick Zoë  von der Leine", ["kick 'Zoë  von der Leine'"], []),
        *(
            (f"{say} hello  all ", ["say 'hello  all'"], ["[+] Everybody is told: hello  all"])
            for say in ("SAY", "say", "  Say  ")
        ),
        ("topic", [], ["[+] There is no topic."]),
        ("TOPIC -", [], ["[+] There is no topic."]),
        (
            "TOPIC a\nTOPIC -",
            ["topic a", "topic "],
            [
                "[+] Everybody is told the topic: a",
                "[+] The topic was taken away. Everybody is told.",
            ],
        ),
        *(
            (line, ["topic \u202ea  b"], [r"[+] Everybody is told the topic: \u202ea  b"])
            for line in ("TOPIC \u202ea  b", "topic   \u202ea  b ")
        ),
        (
            "TOPIC \u3164",
            ["topic \u3164"],
            ["[!] Nothing of this topic can be seen."],
        ),
        (
            f"TOPIC {'é' * 16_384}",
            [f"topic {'é' * 16_384}"],
            ["[!] A topic has at most 1,024 bytes, and this has 32,768."],
        ),
        *((line, [], ["[!] KICK needs a name."]) for line in ("KICK", "kick ")),
        (
            "BAN Zoë she spams",
            ["ban Zoë: she spams"],
            [f"[+] The key {FINGERPRINT} of Zoë is banned."],
        ),
        ("ban Ira", [], ["[!] No key is known that uses or used the name Ira."]),
        ("bans", [], ["[+] Nobody is banned."]),
        ("UNBAN Ira", [], ["[!] No ban of Ira was lifted. BANS lists the bans."]),
        ("ALLOW Ira", [], ["[!] No key was refused lately under the name Ira."]),
        ("FORGET Ira", [], ["[!] The name Ira is not kept for anybody."]),
        *(
            (word, [], [f"[!] {word} needs a name."])
            for word in ("BAN", "UNBAN", "ALLOW", "FORGET")
        ),
        *((line, [], ["[!] SAY needs some text."]) for line in ("SAY", "say \t ")),
        *(
            (f"{word} now", [], [f"[!] {word.upper()} takes nothing after it."])
            for word in ("TERMINATE", "help", "WHO", "STATS")
        ),
        *((line, [], []) for line in ("", "   ", "\t", "\r")),
        *(
            (line, [], [f"[!] Unknown command: {word}. HELP lists the commands."])
            for line, word in [
                ("bla bla", "bla"),
                ("\x1b[2Jx", "\\x1b[2Jx"),
                ("größe", "größe"),
            ]
        ),
        *(
            (line, [], [f"[!] Unknown command: {word}. Is it {meant}?"])
            for line, word, meant in [
                ("terminated", "terminated", "TERMINATE"),
                ("sttas", "sttas", "STATS"),
                ("kick\x00 Ira", "kick\\x00", "KICK"),
            ]
        ),
        *(
            (line, [], ["[!] TERMINATE ends the server, for everybody."])
            for line in ("EXIT", "exit", " quit ", "/quit", "/exit", "stop", "Bye bye")
        ),
    ],
)
def test_command_is_obeyed_or_answered(
    desk: OperatorDesk, line: str, asked: list[str], shown: list[str]
) -> None:
    desk.server.open_room.present = {"Zoë", "Zoë  von der Leine"}
    assert (desk.type(line), desk.server.asked) == (shown, asked)


SEVERAL = "[!] Ira is in several rooms; name one behind it: "


@pytest.mark.parametrize(
    ("line", "asked", "shown"),
    [
        ("KICK Ira", [], [f"{SEVERAL}open, abcd12345, abcd12346."]),
        ("KICK Ira abcd1234", [], [f"{SEVERAL}abcd12345, abcd12346."]),
        ("KICK Ira abcd123", [], ["[!] Nobody here is called Ira abcd123."]),
        ("KICK Ira abcd12347", [], ["[!] Nobody here is called Ira abcd12347."]),
        ("KICK Ira ABCD12345", ["kick 'Ira' in abcd12345"], []),
        (f"KICK Ira abcd12346{'0' * 23}", ["kick 'Ira' in abcd12346"], []),
        ("KICK Ira open", ["kick 'Ira'"], []),
        ("KICK Zoe abcd1234", ["kick 'Zoe' in abcd12346"], []),
    ],
)
def test_room_is_named_by_as_many_digits_as_tell_it_from_others(
    desk: OperatorDesk, line: str, asked: list[str], shown: list[str]
) -> None:
    for digits, present in (("abcd12345", {"Ira"}), ("abcd12346", {"Ira", "Zoe"})):
        room = Room(desk.server.asked, bytes.fromhex(digits.ljust(32, "0")))
        room.present = present
        desk.server.rooms.append(room)
    desk.server.open_room.present = {"Ira"}
    assert (desk.type(line), desk.server.asked) == (shown, asked)


def test_who_and_stats_tell_of_the_members(desk: OperatorDesk) -> None:
    desk.server.open_room.in_room = [
        Member(number, name, key(owner).public.digest, bytes(16), WALL_CLOCK + 60 * number)
        for number, (name, owner) in enumerate([("Ira", "ira"), ("Ärger", "other")])
    ]
    ira = f"[+] Ira, since {localtime.time_of(WALL_CLOCK)}, {key('ira').public.fingerprint}"
    other = f"since {localtime.time_of(WALL_CLOCK + 60)}, {key('other').public.fingerprint}"
    assert desk.type("who") == ["[+] In the room: 2", ira, f"[+] Ärger, {other}"]
    # Each is told of once, however often they are here.
    for number, (name, caller) in enumerate([("IRA", False), ("Ira", True), ("cron", True)], 3):
        owner = key("ira").public.digest
        member = Member(number, name, owner, bytes(16), WALL_CLOCK + 99, Card(caller=caller))
        desk.server.open_room.in_room.append(member)
    desk.server.open_room.in_room[1].lost = True
    assert desk.type("who") == [
        *("[+] In the room: 3", f"{ira}, 2 connections"),
        f"[+] Ärger, {other}, lost the connection",
        f"[+] cron, since {localtime.time_of(WALL_CLOCK + 99)}, {key('ira').public.fingerprint}, "
        "to say one thing",
    ]
    assert desk.type("KICK Arger") == ["[!] Nobody here is called Arger. Is it Ärger?"]
    rooms = desk.server.rooms
    rooms.relayed, rooms.relayed_bytes, rooms.kept_bytes = 12, 3456, 2345
    desk.clock.advance(61.4)
    assert desk.type("Stats") == [
        "[+] 2 members, 12 messages exchanged, 3456 bytes relayed, up for 61 s",
        "[+] 1 room, 2345 bytes of 8 MiB kept",
    ]


def test_lists_are_shown_and_changed_by_name_and_by_fingerprint(desk: OperatorDesk) -> None:
    access, ira, other = desk.server.access, key("ira").public, key("other").public
    since = f"since {localtime.time_of(WALL_CLOCK)}"
    access.ban(ira.fingerprint, "Ira", "she  spams", WALL_CLOCK)
    access.ban(other.fingerprint, "", "", WALL_CLOCK)
    assert desk.type("BANS") == [
        "[+] Banned: 2",
        f"[+] {ira.fingerprint}, Ira, {since}: she spams",
        f"[+] {other.fingerprint}, {since}",
    ]
    assert desk.type("UNBAN \u0406ra") == [
        f"[+] The key {ira.fingerprint} of Ira is no longer banned."
    ]
    assert desk.type(f"UNBAN {other.fingerprint}") == [
        f"[+] The key {other.fingerprint} is no longer banned."
    ]
    for guest in (ira, other):
        access.admit("Guest", guest, WALL_CLOCK)
    assert desk.type("ALLOW guest") == [
        "[!] Several keys were refused under the name guest; ALLOW one of them:",
        f"    {ira.fingerprint}",
        f"    {other.fingerprint}",
    ]
    assert desk.type(f"ALLOW {other.fingerprint}") == [
        f"[+] {other.fingerprint} may come in now, with the key {other.fingerprint}."
    ]
    assert desk.type("ALLOW guest") == [
        f"[+] guest may come in now, with the key {ira.fingerprint}."
    ]
    access.used("Ira", ira.digest, WALL_CLOCK)
    assert desk.type("FORGET ira") == ["[+] The name ira is free for any key."]
    desk.server.company = Mock()
    assert desk.type("FORGET ira") == [words.forgotten_elsewhere("ira")]
    desk.server.access = Access()
    assert desk.type("ALLOW guest") == [words.NO_LIST]


def test_quiet_console_shows_answers_and_errors_and_no_news() -> None:
    with contextlib.closing(OperatorDesk(quiet=True)) as desk:
        desk.server.open_room.present = {"Ira"}
        desk.console.news("[+] something")
        desk.console.exchanged(3)
        desk.console.refused("[!] refused", "192.0.2.1")
        assert desk.wait(2) == []
        desk.console.fault(ValueError())
        assert desk.wait(1)[0].startswith("[!] There is an error in this program")
        assert desk.type("TOPIC") == [words.NO_TOPIC]
        # What else would show that it was obeyed?
        assert desk.type("KICK Ira") == ["[+] Ira is put out."]
        desk.console.close()
        assert desk.screen.lines() == []


@pytest.mark.parametrize("line", ["SAY gr\udcff", "KICK \udcff", "\udcff"])
def test_line_that_is_not_utf_8_is_not_obeyed(desk: OperatorDesk, line: str) -> None:
    assert desk.type(line) == ["[!] A command is text, and this line is not UTF-8."]
    assert desk.server.asked == []


def test_commands_of_one_read_are_all_obeyed_in_order(desk: OperatorDesk) -> None:
    desk.server.open_room.present = {"Ira"}
    desk.type("say one\nsay two\nkick Ira")
    assert desk.server.asked == ["say 'one'", "say 'two'", "kick 'Ira'"]


def test_typed_commands_are_answered_when_all_that_they_change_is_written_at_once(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.server.open_room.present = {"Ira"}
    written: list[tuple[list[str], list[str]]] = []

    def write() -> None:
        written.append(([*desk.server.asked], desk.screen.lines()))

    monkeypatch.setattr(desk.console, "_save_orders", write)
    banned = words.ban_made(Ban(FINGERPRINT, name="Ira"))
    assert desk.type("BAN Ira\nBAN Ira spams") == [banned, banned]
    assert written == [(["ban Ira: ", "ban Ira: spams"], [])]


def test_news_and_longer_answers_stand_below_the_answers_before(desk: OperatorDesk) -> None:
    desk.server.open_room.present = {"Ira"}
    banned = words.ban_made(Ban(FINGERPRINT, name="Ira"))
    desk.console.command("BAN Ira")
    assert desk.screen.lines() == []
    desk.console.show("Ira has left")
    assert desk.screen.lines() == [banned, "Ira has left"]
    desk.console.command("BAN Ira", "> BAN Ira")
    desk.console.command("HELP", "> HELP")
    assert desk.screen.lines()[2:5] == ["> BAN Ira", banned, "> HELP"]
    desk.console.command("BAN Ira")
    desk.console.close()
    assert banned in desk.screen.lines()[5 + len(words.HELP) :]


def test_complaint_about_what_cannot_be_written_stands_above_the_answers(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.server.open_room.present = {"Ira"}
    full = Failed("the disk is full", holds=True)
    monkeypatch.setattr(desk.console, "_save_orders", lambda: desk.console.complain(full))
    assert desk.type("BAN Ira\nBAN Ira") == [
        "[!] the disk is full; what was changed holds until the server ends.",
        *[words.ban_made(Ban(FINGERPRINT, name="Ira"))] * 2,
    ]


def fill_the_disk(desk: OperatorDesk, patch: pytest.MonkeyPatch) -> list[Failed]:
    """Let the next writing of the lists fail. Returns what is still to be complained of."""
    full = [Failed("the disk is full", holds=True)]

    def save() -> None:
        while full:
            desk.console.complain(full.pop())

    patch.setattr(desk.console, "_save_orders", save)
    return full


def test_other_operator_is_told_what_cannot_be_written_when_the_console_is_answered_first(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.server.open_room.present = {"Ira"}
    fill_the_disk(desk, monkeypatch)
    desk.console.command("BAN Ira")
    answer = desk.console.command_from(ADMIN, "BAN Ira")
    told = (*desk.console.save_orders(), *answer.afar)
    assert told[0] == "[!] the disk is full; what was changed holds until the server ends."


def test_all_who_gave_a_command_in_a_turn_are_told_what_could_not_be_written_in_it(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = fill_the_disk(desk, monkeypatch)
    desk.console.command("TOPIC")
    assert desk.console.command_from(Operator("Ira", FINGERPRINT), "SAY hello").done
    # The answer to TOPIC waits, so whatever is shown next has the lists written.
    assert full == []
    told = ["[!] the disk is full; what was changed holds until the server ends."]
    desk.console.command_from(ADMIN, "WHO")
    assert (desk.console.save_orders(), desk.console.save_orders()) == (told, told)
    desk.reactor.turn(0)
    assert desk.console.save_orders() == []


def test_others_have_their_turn_between_many_commands(desk: OperatorDesk) -> None:
    os.write(desk._hand, b"say x\n" * (4 * COMMANDS_AT_ONCE))
    obeyed = [0]
    while obeyed[-1] < 4 * COMMANDS_AT_ONCE:
        desk.reactor.turn(0)
        obeyed.append(len(desk.server.asked))
    assert all(after - before <= 2 * COMMANDS_AT_ONCE for before, after in pairwise(obeyed))


def test_names_are_completed_where_a_command_takes_one(desk: OperatorDesk) -> None:
    desk.server.open_room.in_room = [
        Member(number, name, bytes(32), bytes(16), WALL_CLOCK)
        for number, name in enumerate(["Jean Luc", "Ira"])
    ]
    desk.server.access.ban(key("ira").public.fingerprint, "Boris", "", WALL_CLOCK)
    desk.server.access.ban(key("other").public.fingerprint, "", "", WALL_CLOCK)

    def completions(line: str) -> list[str]:
        return desk.console.completions(line)[1]

    assert completions("kick ") == completions("BAN ") == ["Ira", "Jean Luc"]
    assert completions("unban ") == ["Boris", key("other").public.fingerprint]
    assert completions("allow ") == completions("WHO ") == []
    assert completions("S") == ["SAY ", "STATS"]


def test_end_of_input_ends_nothing(desk: OperatorDesk) -> None:
    desk.end_input()
    for _ in range(3):
        desk.reactor.turn(0)
    desk.console.show("still here")
    assert desk.wait(0) == ["still here"]
    assert desk.server.asked == []


def test_nothing_is_read_before_there_is_a_server_to_obey_for() -> None:
    with contextlib.closing(OperatorDesk(obeys=False)) as desk:
        os.write(desk._hand, b"terminate\n")
        desk.reactor.turn(0)
        desk.console.obey(desk.server)
        until(desk.reactor, lambda: desk.server.asked == ["terminate"])


# -- messages exchanged


def messages(lines: list[str]) -> list[int]:
    """For how many messages each line stands."""
    counts = []
    for line in lines:
        found = re.fullmatch(
            r"[0-9]{4}(?:-[0-9]{2}){2} [0-9]{2}(?::[0-9]{2}){2} "
            r"(?:Message exchanged|([0-9]+) messages exchanged)",
            line,
        )
        assert found, line
        counts.append(int(found[1] or 1))
    return counts


def test_few_messages_are_shown_one_by_one_at_once(desk: OperatorDesk) -> None:
    desk.console.exchanged(0)
    assert desk.wait(0) == []
    desk.console.exchanged(MESSAGE_LINES_PER_SECOND - 1)
    desk.console.exchanged(1)
    assert messages(desk.wait(0)) == [1] * MESSAGE_LINES_PER_SECOND
    # The sum of one reads like a single message.
    desk.console.exchanged(1)
    assert messages(desk.wait(1)) == [1]


def test_many_messages_are_summed_up_when_the_second_is_over(desk: OperatorDesk) -> None:
    desk.console.exchanged(MESSAGE_LINES_PER_SECOND)
    assert len(desk.wait(0.5)) == MESSAGE_LINES_PER_SECOND
    desk.console.exchanged(1)
    desk.console.exchanged(700)
    desk.console.exchanged(1)
    assert desk.wait(0.499) == []
    assert messages(desk.wait(0.001)) == [702]
    assert desk.wait(5) == []
    desk.console.exchanged(1)
    assert messages(desk.wait(0)) == [1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1.5), st.integers(0, 30)), max_size=30))
def test_every_message_is_counted_in_few_lines(steps: list[tuple[float, int]]) -> None:
    with contextlib.closing(OperatorDesk()) as desk:
        lines: list[int] = []
        for seconds, count in steps:
            lines += messages(desk.wait(seconds))
            desk.console.exchanged(count)
        lines += messages(desk.wait(0))
        lines += messages(desk.wait(1))
        assert sum(lines) == sum(count for _, count in steps)
        elapsed = sum(seconds for seconds, _ in steps) + 1
        assert len(lines) <= (MESSAGE_LINES_PER_SECOND + 1) * (elapsed + 1)


# -- connections that came to nothing


def test_refusals_are_shown_one_by_one_while_they_are_few(desk: OperatorDesk) -> None:
    guests = [f"192.0.2.1:{number}" for number in range(REFUSAL_LINES_PER_SECOND)]
    for guest in guests:
        desk.console.refused(words.refused(guest, "so"), "192.0.2.1")
    assert desk.wait(0) == [f"[!] {guest} was refused: so." for guest in guests]
    assert desk.wait(2) == []


def test_flood_of_refusals_gives_one_line_a_second_that_names_most_of_them(
    desk: OperatorDesk,
) -> None:
    lines: list[str] = []
    for _ in range(50):
        for source in ("192.0.2.1", "192.0.2.1", "2001:db8::/64"):
            desk.console.refused("[!] one of many", source)
        lines += desk.wait(0.1)
    lines += desk.wait(1)
    single = lines.count("[!] one of many")
    sums = [line for line in lines if line != "[!] one of many"]
    assert single == REFUSAL_LINES_PER_SECOND
    assert len(sums) <= 6
    found = [
        re.fullmatch(r"\[!\] (\d+) more .*, (\d+) of them from 192.0.2.1.", one) for one in sums
    ]
    assert single + sum(int(match[1]) for match in found if match) == 150
    assert desk.console._refused_from.total() == 0


def test_messages_and_refusals_are_summed_up_apart(desk: OperatorDesk) -> None:
    for _ in range(REFUSAL_LINES_PER_SECOND + 1):
        desk.console.refused("[!] one of many", "192.0.2.1")
    desk.wait(0)
    desk.console.exchanged(1)
    assert messages(desk.wait(0)) == [1]
    desk.console.close()
    assert "[!] 1 more connection, from 192.0.2.1, was refused or went away." in desk.screen.lines()


def test_trouble_in_a_cluster_is_summed_up_when_it_is_much(desk: OperatorDesk) -> None:
    for _ in range(CLUSTER_LINES_PER_SECOND + 50_000):
        desk.console.trouble_of_cluster("an entry does not open")
    said = ["[!] cluster: an entry does not open"] * CLUSTER_LINES_PER_SECOND
    assert desk.wait(0) == said
    assert desk.wait(1) == ["[!] cluster: 50000 more lines were like these"]


# -- a screen that nobody reads


class Pipe:
    """A console that writes into a pipe, and who could read it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.reactor = Reactor(FakeClock())
        self.output = LineOutput(self.reactor, self._write, "utf-8")
        self.console = Console(self.reactor, PlainDesk(self.reactor, None, self.output))
        self.room = fcntl.fcntl(self._write, fcntl.F_GETPIPE_SZ)
        os.set_blocking(self._read, False)

    def take_some(self) -> list[str]:
        """The bytes that are in the pipe just now."""
        with contextlib.suppress(BlockingIOError):
            return [os.read(self._read, 1 << 20).decode()]
        return []

    def take(self) -> list[str]:
        """All lines that were shown since the last time."""
        taken: list[str] = []

        def empty() -> bool:
            taken.extend(self.take_some())
            return not self.output.queued_bytes

        until(self.reactor, empty)
        taken.extend(self.take_some())
        return "".join(taken).split("\n")[:-1]

    def close(self) -> None:
        self.reactor.close()
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with contextlib.closing(Pipe()) as pipe:
        yield pipe


def test_lines_beyond_the_queue_are_dropped_and_counted(pipe: Pipe) -> None:
    line = "x" * 1023
    offered = 2 * CONSOLE_QUEUE_BYTES // 1024
    pipe.console.show(*[line] * offered)
    shown = pipe.take()
    assert set(shown) == {line}
    assert CONSOLE_QUEUE_BYTES <= 1024 * len(shown) <= CONSOLE_QUEUE_BYTES + pipe.room + 1024
    pipe.console.show("again", "and again")
    assert pipe.take() == [
        f"[!] {offered - len(shown)} lines were not shown.",
        "again",
        "and again",
    ]


# -- several servers


@pytest.mark.parametrize("command", ["WHO", "ROOMS", "SAY hello", "KICK Nobody", "BAN Nobody"])
@pytest.mark.parametrize("is_last", [True, False])
def test_command_about_rooms_says_which_are_not_meant_where_others_carry_more(
    desk: OperatorDesk, command: str, is_last: bool
) -> None:
    desk.server.is_last = is_last
    *_, last = desk.type(command)
    assert (last == words.ROOMS_ELSEWHERE) is not is_last


@pytest.mark.parametrize("is_last", [True, False])
def test_server_that_ends_says_that_others_go_on(desk: OperatorDesk, is_last: bool) -> None:
    desk.server.is_last = is_last
    os.write(desk._hand, b"TERMINATE\n")
    until(desk.reactor, lambda: desk.server.asked)
    assert desk.screen.lines() == ([] if is_last else [words.ENDING_HERE])


# -- the end


def test_close_shows_the_sum_that_is_due_and_the_last_lines(desk: OperatorDesk) -> None:
    desk.console.exchanged(500)
    desk.console.close()
    first, *rest = desk.screen.lines()
    assert messages([first]) == [500]
    assert rest == ["[+] All connections had been terminated", "[+] Server is shut down"]


def test_close_shows_the_last_lines_to_a_reader_that_had_fallen_behind(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader takes a little whenever the output would wait for it."""
    real = chat.stdio._wait_writable
    shown: list[str] = []

    def wait(descriptor: int, seconds: float | None) -> bool:
        if seconds != 0:
            shown.extend(pipe.take_some())
        return real(descriptor, seconds)

    monkeypatch.setattr(chat.stdio, "_wait_writable", wait)
    pipe.console.show("x" * (2 * CONSOLE_QUEUE_BYTES), "dropped")
    pipe.console.close()
    shown.extend(pipe.take_some())
    lines = "".join(shown).split("\n")
    assert lines[-3:] == [words.TERMINATED, words.SHUT_DOWN, ""]


def test_close_reads_no_more_commands(desk: OperatorDesk) -> None:
    os.write(desk._hand, b"terminate\n")
    desk.console.close()
    desk.reactor.turn(0)
    assert desk.server.asked == []


def test_close_does_not_wait_for_ever_for_somebody_to_read(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.server.desk.LINGER_SECONDS", 0.01)
    pipe.console.show("x" * (1 << 20))
    pipe.console.close()
    assert pipe.output.queued_bytes > 0
