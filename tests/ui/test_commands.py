"""What a person types: messages, commands and their answers, and completion."""

from dataclasses import replace

import pytest

from chat.client.events import MessageReceived
from chat.errors import UsageError
from chat.limits import MAX_TEXT_BYTES
from chat.text import fingerprint_of
from chat.ui import transcript
from chat.ui.commands import Commands
from tests.support.conversation import LONGEST, PEOPLE, NotedClient

IRA, SAHNAWAZ, THEA = (fingerprint_of(one.fingerprint) for one in PEOPLE)


class Person:
    """Types, and notes what is shown."""

    def __init__(self) -> None:
        self.client = NotedClient()
        self.shown: list[str] = []
        self.cleared = 0
        self.folded: dict[str, str] = {}
        self.commands = Commands(self.client, self.shown.extend, self._clear, self._unfold)

    def _clear(self) -> None:
        self.cleared += 1

    def _unfold(self, number: str) -> bool:
        self.shown += [self.folded[number]] if number in self.folded else []
        return number in self.folded

    def type(self, *lines: str) -> None:
        for line in lines:
            self.commands.take(line)

    def hear(self, *speakers: str) -> list[bool]:
        """Whether what each of these says is to be ignored."""
        return [
            self.commands.ignores(MessageReceived(name, 0, "Hi", own=name == "Ira"))
            for name in speakers
        ]

    def complete(self, line: str) -> list[str]:
        return self.commands.completions(line, line.rfind(" ") + 1)


@pytest.fixture
def person() -> Person:
    return Person()


# -- what is said, and what ends it


AS_IT_IS = [
    *("Hi", "  indented ", "one\n/two", "see /etc/hosts", "/etc/hosts and more", "/etc/"),
    *("/quit/now", "/etc/hosts\nand more", "/* why */", "/*", "exit", "EXIT "),
]


@pytest.mark.parametrize(
    ("line", "noted"),
    [
        *((line, [f"say {line}"]) for line in AS_IT_IS),
        *((line, [f"say {line[1:]}"]) for line in ("//help", "//", "///", "//etc/hosts")),
        *((line, ["leave"]) for line in ("EXIT", "/exit", "/quit", "/QUIT")),
        *((line, []) for line in ("", " \t\n")),
        ("/me waves", ["say \x01ACTION waves\x01"]),
        ("/me   waves  to all ", ["say \x01ACTION waves  to all\x01"]),
    ],
)
def test_line_is_said_or_obeyed(person: Person, line: str, noted: list[str]) -> None:
    person.type(line)
    assert person.client.noted == noted


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("Hi", "Hi"),
        ("// code", "/// code"),
        ("//", "///"),
        ("/usr/bin/env x", "/usr/bin/env x"),
        ("/* x */", "/* x */"),
        ("/exit", "//exit"),
        ("/me waves", "//me waves"),
        ("/ x", "// x"),
        (" /exit", " /exit"),
        ("EXIT", ""),
    ],
)
def test_what_was_pasted_is_said_as_it_is_and_called_back_as_if_it_had_been_typed(
    person: Person, text: str, typed: str
) -> None:
    person.commands.take(text, pasted=True)
    assert person.client.noted == [f"say {text}"]
    assert person.commands.typed(text) == typed
    person.commands.take(" \n\t", pasted=True)
    if typed:
        person.type(typed)
        assert person.client.noted == [f"say {text}"] * 2


@pytest.mark.parametrize("line", ["x" * (LONGEST + 1), "/me " + "x" * LONGEST])
def test_line_that_is_too_long_is_an_error_of_the_person(person: Person, line: str) -> None:
    with pytest.raises(UsageError):
        person.type(line)


@pytest.mark.parametrize(
    ("line", "fits"),
    [
        ("x" * MAX_TEXT_BYTES, True),
        ("x" * (MAX_TEXT_BYTES + 1), False),
        ("ä" * (MAX_TEXT_BYTES // 2), True),
        ("ä" * (MAX_TEXT_BYTES // 2) + "x", False),
        ("//" + "x" * (MAX_TEXT_BYTES - 1), True),
        ("//" + "x" * MAX_TEXT_BYTES, False),
        ("/me " + "x" * MAX_TEXT_BYTES, False),
        ("gr\udcff", False),
        ("/help", False),
        (" \n", False),
    ],
    ids=lambda value: f"{value[:3]!r}, {len(value)}" if isinstance(value, str) else None,
)
def test_line_that_cannot_be_sent_is_known_before_it_is_taken(
    person: Person, line: str, fits: bool
) -> None:
    assert person.commands.can_send(line) is fits
    person.client.full = True
    assert not person.commands.can_send(line)


# -- what is answered


@pytest.mark.usefixtures("half_past")
def test_who_and_security_list_the_members_with_their_keys(person: Person) -> None:
    person.type("/who", "/security")
    assert [*person.shown[:4], *person.shown[-4:]] == [
        "[+] In the room: 3",
        f"[+] Ira (you), since 2023-06-25 09:35:24, {IRA}",
        f"[+] sahnawaz, since 2023-06-25 09:35:36, {SAHNAWAZ}",
        f"[+] Thea, since 2023-06-25 09:35:48, {THEA}",
        "[+] SHA256:server the server",
        f"[+] {IRA} Ira (you)",
        f"[+] {SAHNAWAZ} sahnawaz",
        f"[+] {THEA} Thea",
    ]
    assert any("could read along" in line for line in person.shown)


@pytest.mark.usefixtures("half_past")
def test_who_counts_the_connections_of_each(person: Person) -> None:
    ira, sahnawaz, thea = person.client.people
    person.client.people = [
        replace(ira, name="IRA", connections=2),
        replace(sahnawaz, connections=0),
        replace(thea, calling=True),
    ]
    person.type("/who")
    assert person.shown == [
        "[+] In the room: 3",
        f"[+] IRA (you), since 2023-06-25 09:35:24, {IRA}, 2 connections",
        f"[+] sahnawaz, since 2023-06-25 09:35:36, {SAHNAWAZ}, lost the connection",
        f"[+] Thea, since 2023-06-25 09:35:48, {THEA}, to say one thing",
    ]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/me", "[!] /me needs some text."),
        ("/me  ", "[!] /me needs some text."),
        ("/ignore", "[+] Nobody is ignored."),
        ("/ignore nobody", "[!] Nobody here is called nobody."),
        ("/ignore IRA", "[!] That is you."),
        ("/unignore thea", "[!] thea is not ignored."),
        ("/unignore", "[!] /unignore needs a name."),
        ("/more", "[!] Nothing is folded."),
        ("/more 4", "[!] Nothing was folded as 4."),
        ("/more \x1b", "[!] /more takes a number."),
        ("/more x", "[!] /more takes a number."),
        ("/exit now", "[!] /exit takes nothing after it."),
        ("/WHO Bob", "[!] /who takes nothing after it."),
        ("/clear x", "[!] /clear takes nothing after it."),
        ("/nick Bob", transcript.NOT_HERE["/nick"]),
        ("/msg Thea Hi", transcript.NOT_HERE["/msg"]),
        ("/ignore Théa", "[!] Nobody here is called Théa. Is it Thea?"),
        ("/MORE  3 ", "the third"),
        ("/bell", transcript.BELL_STATE[True]),
        ("/bell loud", "[!] /bell takes on or off; it is on."),
    ],
)
def test_command_is_answered(person: Person, line: str, answer: str) -> None:
    person.folded = {"3": "the third"}
    person.type(line)
    assert person.shown == [answer]
    assert person.client.noted == []
    assert person.hear("Thea", "sahnawaz", "Ira") == [False] * 3
    assert person.commands.bell


def test_screen_is_cleared_and_the_bell_silenced(person: Person) -> None:
    person.type("/clear", "/BELL off", "/bell")
    assert person.cleared == 1
    assert person.shown == [transcript.BELL[False], "[+] The bell is off; /bell on lets it ring."]
    assert not person.commands.bell
    person.type("/bell on")
    assert person.commands.bell


def test_help_and_completion_list_every_command_there_is(person: Person) -> None:
    words = "help|who|me|ignore|unignore|more|bell|security|clear|exit|quit"
    commands = [f"/{word}" for word in words.split("|")]
    person.type("/help")
    assert [line.split()[1] for line in person.shown] == [*commands, "//text"]
    assert person.complete("/") == [f"{command} " for command in commands]
    assert all(line.startswith("[+] /") for line in person.shown)
    assert max(map(len, person.shown)) < 80


def test_help_ends_with_the_keys_of_the_view(person: Person) -> None:
    keys = [transcript.NEW_LINE_KEY]
    Commands(person.client, person.shown.extend, lambda: None, lambda _: False, keys).take("/help")
    assert person.shown[-2:] == [
        "[+] //text           send /text, a line that begins with a slash",
        "[+] Alt-Enter        begin a new line in the message (also Ctrl-V Ctrl-J)",
    ]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/hlep", "/hlep. Is it /help?"),
        ("/WHOO", "/WHOO. Is it /who?"),
        ("/ignor thea", "/ignor. Is it /ignore?"),
        ("/xyzzy", "/xyzzy. /help lists the commands."),
        ("/", "/. /help lists the commands."),
        ("/\x1b[2J", r"/\x1b[2J. /help lists the commands."),
        ("/etcetera\nand/more", r"/etcetera\nand/more. /help lists the commands."),
    ],
)
def test_unknown_command_is_answered_with_the_nearest_and_not_said(
    person: Person, line: str, answer: str
) -> None:
    person.type(line)
    slash = "To send a line that begins with a slash, type // first."
    assert person.shown == [f"[!] There is no command {answer} {slash}"]
    assert person.client.noted == []


# -- ignoring


@pytest.mark.parametrize("name", ["Thea", "THEA", "  thea "])
def test_who_is_ignored_is_not_heard_until_it_is_over(person: Person, name: str) -> None:
    person.type(f"/ignore {name}")
    person.client.people = PEOPLE[:2]
    assert person.hear("Thea", "sahnawaz", "Ira") == [True, False, False], "even after a leave"
    person.type("/ignore sahnawaz", "/ignore", "/unignore tHEA")
    assert person.hear("Thea", "sahnawaz", "Ira") == [False, True, False]
    person.type("/unignore sahnawaz")
    assert person.hear("Thea", "sahnawaz") == [False, False]
    assert person.shown == [
        "[+] Ignored: Thea",
        "[+] Ignored: sahnawaz",
        "[+] Ignored: Thea, sahnawaz",
        "[+] Ignored: sahnawaz",
        "[+] Nobody is ignored.",
    ]


def test_own_messages_are_heard_whatever_happens(person: Person) -> None:
    """Somebody who had the name before may have been ignored."""
    person.client.name = "other"
    person.type("/ignore ira")
    person.client.name = "Ira"
    assert person.hear("Ira") == [False]


# -- completion


def test_most_recent_speaker_is_offered_first(person: Person) -> None:
    assert person.complete("") == ["sahnawaz: ", "Thea: "], "as in the room, at first"
    person.hear("Thea")
    assert person.complete("") == ["Thea: ", "sahnawaz: "]
    person.hear("sahnawaz", "Ira")
    assert person.complete("") == ["sahnawaz: ", "Thea: "]
    person.hear("Thea", "sahnawaz", "Thea")
    assert person.complete("hello ") == ["Thea ", "sahnawaz "]


def test_who_spoke_longest_ago_is_forgotten(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.ui.commands.MAX_MEMBERS", 2)
    person.hear("Thea", "one who left")
    assert person.complete("") == ["Thea: ", "sahnawaz: "]
    person.hear("another who left")
    assert person.complete("") == ["sahnawaz: ", "Thea: "]


def test_who_is_ignored_is_offered_and_who_has_left_is_not(person: Person) -> None:
    person.type("/ignore thea")
    person.hear("sahnawaz", "Thea")
    assert person.complete("") == ["Thea: ", "sahnawaz: "]
    assert person.complete("/unignore ") == person.complete("/unignore T") == ["Thea"]
    assert person.complete("/unignore s") == []
    person.client.people = PEOPLE[:2]
    assert person.complete("") == ["sahnawaz: "]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("th", ["Thea: "]),
        ("TH", ["Thea: "]),
        ("Thea", ["Thea: "]),
        ("hello th", ["Thea "]),
        ("I", []),
        ("x", []),
        ("/b", ["/bell "]),
        ("/me s", ["sahnawaz "]),
        ("/ignore ", ["sahnawaz", "Thea"]),
        ("/ignore T", ["Thea"]),
        ("/IGNORE T", ["Thea"]),
        ("/unignore ", []),
        ("/bell ", ["on", "off"]),
        ("/bell of", ["off"]),
        ("/more ", []),
        ("/who t", []),
        ("@th", ["@Thea "]),
        ("hello @", ["@sahnawaz ", "@Thea "]),
        ("hello /b", []),
        ("/x", []),
    ],
)
def test_word_is_completed(person: Person, line: str, offered: list[str]) -> None:
    assert person.complete(line) == offered
