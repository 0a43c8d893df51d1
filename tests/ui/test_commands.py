"""What a person types: messages, commands and their answers, and completion."""

import pytest

from chat.client import events
from chat.client.events import MessageReceived
from chat.errors import OutboxFullError, UsageError
from chat.frozen import replace
from chat.limits import MAX_PARTS, MAX_TEXT_BYTES
from chat.text import fingerprint_of
from chat.ui import manual, transcript
from chat.ui.quiet import Quiet
from tests.support.conversation import LONGEST, PEOPLE, NotedClient, commands_of

IRA, SAHNAWAZ, THEA = (fingerprint_of(one.fingerprint) for one in PEOPLE)
OTHER = bytes([9]) * 32
OTHER_KEY = fingerprint_of(OTHER)


class Person:
    """Types, and notes what is shown."""

    def __init__(self) -> None:
        self.client = NotedClient()
        self.shown: list[str] = []
        self.cleared: list[bool] = []
        self.recalled: list[str] = []
        self.quiet = Quiet(lambda: 0.0)
        self.folded: dict[str, str] = {}
        self.commands = commands_of(
            self.client,
            show=self.shown.extend,
            clear=self.cleared.append,
            unfold=self._unfold,
            recall=self.recalled.append,
            quiet=self.quiet,
        )

    def _unfold(self, number: str) -> bool:
        self.shown += [self.folded[number]] if number in self.folded else []
        return number in self.folded

    def type(self, *lines: str) -> None:
        for line in lines:
            self.commands.take(line)

    def hear(self, *speakers: str) -> None:
        """Each of these says something."""
        for name in speakers:
            self.commands.heard(MessageReceived(name, 0, "Hi", own=name == "Ira"))

    def complete(self, line: str) -> list[str]:
        return list(self.commands.completions(line).words)

    def completed(self, line: str) -> list[str]:
        """What the line could become."""
        begin, words = self.commands.completions(line)
        return [line[:begin] + word for word in words]


@pytest.fixture
def person() -> Person:
    return Person()


# -- what is said, and what ends it


AS_IT_IS = [
    *("Hi", "  indented ", "one\n/two", "see /etc/hosts", "/etc/hosts and more", "/etc/"),
    *("/quit/now", "/etc/hosts\nand more", "/* why */", "/*", "exit now", "EXIT "),
]


@pytest.mark.parametrize(
    ("line", "noted"),
    [
        *((line, [f"say {line}"]) for line in AS_IT_IS),
        *((line, [f"say {line[1:]}"]) for line in ("//help", "//", "///", "//etc/hosts")),
        *((line, ["leave"]) for line in ("EXIT", "/exit", "/quit", "/QUIT", "/quit  ")),
        *((line, ["leave so long"]) for line in ("/exit so long", "/QUIT  so long ")),
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


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("x" * MAX_TEXT_BYTES, 0),
        ("//" + "x" * MAX_TEXT_BYTES, 2),
        ("x\n" * MAX_TEXT_BYTES, 2),
        ("x" * (MAX_PARTS * MAX_TEXT_BYTES), MAX_PARTS),
        ("x" * (MAX_PARTS * MAX_TEXT_BYTES + 1), 0),
        ("/me " + "x" * MAX_TEXT_BYTES, 0),
        ("/msg Thea " + "x" * MAX_TEXT_BYTES, 0),
        ("\udcff" * MAX_TEXT_BYTES, 0),
        (" " * MAX_TEXT_BYTES * 2, 0),
    ],
    ids=lambda value: f"{value[:3]!r}, {len(value)}" if isinstance(value, str) else None,
)
def test_message_that_is_too_long_can_be_sent_in_a_few_parts(
    person: Person, line: str, parts: int
) -> None:
    assert len(person.commands.parts(line)) == parts


# -- what is answered


def test_invite_is_shown_in_a_line_of_its_own_and_the_open_room_has_none(person: Person) -> None:
    person.type("/invite")
    assert person.shown == [transcript.NO_INVITE]
    assert "chatapp invite HOST PORT" in transcript.NO_INVITE
    person.client.invite = "chat://chat.example:9443/AQAB"
    person.type("/invite")
    assert person.shown[1:] == [f"[+] {transcript.INVITE_IS_SECRET}\n{person.client.invite}"]
    assert person.client.noted == []


@pytest.mark.usefixtures("half_past")
def test_who_and_security_list_the_members_with_their_keys(person: Person) -> None:
    person.client.people[1] = replace(PEOPLE[1], fingerprint=OTHER)
    person.type("/who", "/security")
    assert [*person.shown[:4], *person.shown[-4:]] == [
        "[+] In the room: 3",
        f"[+] Ira (you), since 2023-06-25 09:35:24, {IRA}",
        f"[!] sahnawaz, since 2023-06-25 09:35:36, {OTHER_KEY}, ANOTHER KEY than the one known "
        "since 2023-06-24",
        f"[+] Thea, since 2023-06-25 09:35:48, {THEA}, new",
        "[+] the server, SHA256:server",
        f"[+] Ira (you), {IRA}",
        f"[!] sahnawaz, {OTHER_KEY}, ANOTHER KEY than the one known since 2023-06-24",
        f"[+] Thea, {THEA}, new",
    ]


@pytest.mark.usefixtures("half_past")
def test_who_counts_the_connections_of_each(person: Person) -> None:
    ira, sahnawaz, thea = person.client.people
    person.client.people = [
        replace(ira, name="IRA", connections=2),
        replace(sahnawaz, connections=0),
        replace(thea, calling=True),
    ]
    person.client.ignore("Thea")
    person.type("/who")
    assert person.shown == [
        "[+] In the room: 3",
        f"[+] IRA (you), since 2023-06-25 09:35:24, {IRA}, 2 connections",
        f"[+] sahnawaz, since 2023-06-25 09:35:36, {SAHNAWAZ}, lost the connection, new",
        f"[+] Thea, since 2023-06-25 09:35:48, {THEA}, to say one thing, new, ignored",
    ]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/topic", "[+] There is no topic."),
        ("/topic ours", transcript.NOT_YOURS),
        ("/op", "[!] /op needs a command for the server, such as HELP."),
        (f"/op {'x' * 101}", "[!] It is too long."),
        ("/me", "[!] /me needs some text."),
        ("/me  ", "[!] /me needs some text."),
        ("/ignore", "[+] Nobody is ignored."),
        ("/ignore IRA", "[!] That is you."),
        ("/unignore thea", "[!] thea is not ignored."),
        ("/unignore", "[!] /unignore needs a name."),
        ("/more", "[!] Nothing is folded."),
        ("/more 4", "[!] Nothing was folded as 4."),
        ("/more \x1b", "[!] /more takes a number."),
        ("/more x", "[!] /more takes a number."),
        ("/WHO Bob", "[!] /who takes nothing after it."),
        ("/invite Bob", "[!] /invite takes nothing after it."),
        ("/clear x", transcript.ALL_OR_NOTHING),
        ("/quiet", transcript.QUIET["off"]),
        ("/quiet loud", "[!] /quiet takes on, off or smart; it is off."),
        ("/lastlog", transcript.no_such_command("/lastlog", "/last")),
        ("/nick Bob", transcript.NOT_HERE["/nick"]),
        ("/MORE  3 ", "the third"),
        ("/bell", transcript.BELL_STATE[True]),
        ("/bell loud", "[!] /bell takes on or off; it is on."),
        ("/edit", transcript.NO_EDITOR_HERE),
        ("/time", transcript.NOT_HERE["/time"]),
    ],
)
def test_command_is_answered(person: Person, line: str, answer: str) -> None:
    person.folded = {"3": "the third"}
    person.type(line)
    assert person.shown == [answer]
    assert person.client.noted == []
    assert person.commands.bell


def test_screen_is_cleared_and_the_bell_silenced(person: Person) -> None:
    person.type("/CLEAR all", "/clear", "/clear", "/BELL off", "/bell")
    assert person.cleared == [True, False, False]
    assert person.shown == [
        transcript.STILL_IN_SCROLLBACK,
        transcript.BELL[False],
        "[+] The bell is off; /bell on lets it ring.",
    ]
    assert not person.commands.bell
    person.type("/bell on")
    assert person.commands.bell


@pytest.mark.parametrize(("name", "hint"), [("nobody", ""), ("Théa", " Is it Thea?")])
def test_who_is_not_known_can_be_ignored_by_fingerprint(
    person: Person, name: str, hint: str
) -> None:
    person.type(f"/ignore {name}")
    nobody = f"[!] Nobody here is called {name}.{hint}"
    assert person.shown == [nobody, transcript.IGNORED_BY_FINGERPRINT]


def test_coming_and_going_is_summed_up_as_the_person_wants(person: Person) -> None:
    person.type("/quiet SMART", "/quiet")
    assert person.shown == [transcript.QUIET["smart"]] * 2
    assert person.quiet.mode == "smart"
    assert person.complete("/quiet ") == ["on", "off", "smart"]


def test_plain_terminal_is_not_cleared(person: Person) -> None:
    commands_of(person.client, show=person.shown.extend, clear=None).take("/clear")
    assert person.shown == [transcript.NOT_CLEARED]


def test_what_was_said_is_looked_up_as_it_is_asked(person: Person) -> None:
    person.type("/last", "/LAST 5", "/last  two words ")
    assert person.recalled == ["", "5", "two words"]


def test_help_and_completion_list_every_command_there_is(person: Person) -> None:
    words = (
        "help|who|me|msg|r|edit|ignore|unignore|trust|last|more|bell|quiet|topic|security|invite|op|"
        "clear|exit|quit"
    )
    commands = [f"/{word}" for word in words.split("|")]
    person.type("/help")
    assert [line.split()[1] for line in person.shown] == [*commands, "//text"]
    assert person.complete("/") == [f"{command} " for command in commands]
    assert all(line.startswith("[+] /") for line in person.shown)
    assert max(map(len, person.shown)) < 80


def test_help_ends_with_the_keys_of_the_view(person: Person) -> None:
    keys = manual.KEYS
    commands_of(person.client, show=person.shown.extend, keys=keys).take("/help")
    assert max(map(len, keys)) < 80
    assert person.shown[-1 - len(keys) :][:2] == [
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
        ("/help xyzzy", "/xyzzy. /help lists the commands."),
        ("/help names", "/names. Is it /who?"),
        ("/names", "/names. Is it /who?"),
        ("/list", "/list. Is it /who?"),
        ("/Q", "/Q. Is it /quit?"),
        ("/?", "/?. Is it /help?"),
        ("/tell Thea Hi", "/tell. Is it /msg?"),
        ("/", "/. /help lists the commands."),
        ("/\x1b[2J", r"/\x1b[2J. /help lists the commands."),
        ("/etcetera\nand/more", r"/etcetera\nand/more. /help lists the commands."),
    ],
)
def test_unknown_command_is_answered_with_the_nearest_and_not_said(
    person: Person, line: str, answer: str
) -> None:
    person.type(line)
    slash = "To send a line that begins with a slash, double the slash."
    assert person.shown == [f"[!] There is no command {answer} {slash}"]
    assert person.client.noted == []


@pytest.mark.parametrize("line", ["/help bell", "/help /bell", "/HELP  BELL"])
def test_help_explains_one_command(person: Person, line: str) -> None:
    person.type(line)
    assert person.shown == [
        "[+] /bell on|off     ring when your name is said",
        "[+] /bell alone says whether it is on.",
    ]


def test_help_speaks_of_commands_that_there_are(person: Person) -> None:
    for word in {*manual.ABOUT, *manual.CALLED_HERE.values()}:
        person.type(f"/help {word}")
    assert not any("no command" in line for line in person.shown)
    for word in manual.CALLED_HERE:
        person.shown.clear()
        person.type(f"/help {word}")
        assert "no command" in person.shown[0]


@pytest.mark.parametrize("word", ["exit", "quit", ":q"])
def test_line_that_leaves_elsewhere_is_said_when_it_comes_twice(person: Person, word: str) -> None:
    hint = f"[+] /quit leaves, and so does Ctrl-D. To say {word}, type it once more."
    person.type(word)
    assert (person.shown, person.client.noted) == ([hint], [])
    person.type(word)
    assert (person.shown, person.client.noted) == ([hint], [f"say {word}"])
    person.type(word, "Hi", word)
    assert person.shown == [hint] * 3
    person.commands.take(word, pasted=True)
    assert person.client.noted == [f"say {word}", "say Hi", f"say {word}"]


# -- what is private


@pytest.mark.parametrize(
    ("line", "noted"),
    [
        ("/msg Thea Hi", "Thea: Hi"),
        ("/MSG THEA   Hi  there ", "Thea: Hi  there"),
        ("/msg Thea\none\ntwo", "Thea: one\ntwo"),
        ('/msg "thea" Hi', "Thea: Hi"),
        (" /msg Thea Hi", "Thea: Hi"),
        ('/msg Bo "B" Lee Hi', 'Bo "B" Lee: Hi'),
        ('/msg "Bo "B" Lee" Hi', 'Bo "B" Lee: Hi'),
        ('/msg "Thea B" Hi', "Thea B: Hi"),
        ('/msg "Thea" B Hi', "Thea: B Hi"),
        ("/msg sahnawaz /msg Thea Hi", "sahnawaz: /msg Thea Hi"),
        ("/msg \u212bke A\u030ake", "\xc5ke: A\u030ake"),
    ],
)
def test_private_message_goes_to_whom_it_names(person: Person, line: str, noted: str) -> None:
    names = ["Thea B", 'Bo "B" Lee', "\xc5ke"]
    person.client.people += [events.Person(name, 0, name.encode()) for name in names]
    queued = person.commands.take(line)
    assert person.client.noted == [f"say to {noted}"]
    assert queued is not None
    assert (f"{queued.to}: {queued.text}", person.shown) == (noted, [])


NEEDS = "a private message needs a name and a text"
NOBODY = "nobody has said anything to you in private yet"
NOT_PRIVATE = {
    **dict.fromkeys(("/msg", "/msg ", "/msg Thea", '/msg "Thea" ', " /msg"), NEEDS),
    "/msg Théa Hi": "nobody here is called Théa: perhaps Thea is meant",
    "/msg xyz Hi": "nobody here is called xyz",
    '/msg "Th ea" Hi': "nobody here is called Th ea: perhaps Thea is meant",
    '/msg "Thea Hi': 'nobody here is called "Thea: perhaps Thea is meant',
    "/msg " + "x" * 5_000: f"nobody here is called {'x' * 129}",
    "/msg Ira B Hi": 'this may be for Ira or for Ira B: put the name in quotation marks: "Ira"',
    "/msg twin Hi": "two people here are called twin, with different keys",
    **dict.fromkeys(("/r", " /R  "), "/r needs some text"),
    **dict.fromkeys(("/r Hi", "/R Hi", "\t/r Hi"), NOBODY),
}


@pytest.mark.parametrize("line", NOT_PRIVATE, ids=lambda line: line[:20])
def test_private_message_that_is_not_clear_goes_to_nobody(person: Person, line: str) -> None:
    person.client.people += [
        events.Person(name, 0, bytes((number,)))
        for number, name in enumerate(("Ira B", "twin", "twin"))
    ]
    with pytest.raises(UsageError) as error:
        person.type(line)
    assert error.value.advice == NOT_PRIVATE[line]
    assert (person.client.noted, person.shown) == ([], [])


@pytest.mark.parametrize("line", ["/msg\tThea Hi", "/msg\nThea", "/msgs Thea Hi", " /r\tHi"])
def test_what_is_almost_private_is_not_said_to_everybody(person: Person, line: str) -> None:
    person.type(line)
    assert person.client.noted == []
    assert person.shown[0].startswith("[!] There is no command")


@pytest.mark.parametrize("line", ["/msg Thea Hi", "/r Hi"])
def test_private_message_waits_for_its_turn_like_every_other(person: Person, line: str) -> None:
    person.client.full = True
    with pytest.raises(OutboxFullError):
        person.type(line)


def test_who_has_lost_the_connection_gets_a_private_message_later_or_never(person: Person) -> None:
    person.type("/msg Thea Hi")
    assert person.shown == []
    ira, sahnawaz, thea = person.client.people
    person.commands.heard(private("Thea"))
    person.client.people = [ira, sahnawaz, replace(thea, connections=0)]
    told = (
        "[!] Thea has lost the connection: the private message arrives when Thea is back, and is "
        "lost if Thea leaves instead."
    )
    for line in ("/msg Thea Hi", "/r Hi"):
        assert person.client.noted.pop() == "say to Thea: Hi"
        person.type(line)
        assert person.shown.pop() == told


def private(name: str, to: str = "Ira", number: int = 1) -> MessageReceived:
    key = {one.name: one.fingerprint for one in PEOPLE}[name]
    return MessageReceived(name, 0, "Psst", name == "Ira", number, to, key)


def test_answer_goes_to_the_person_who_was_heard_last_in_private(person: Person) -> None:
    for said in (private("Thea"), private("sahnawaz"), private("Ira", "Thea")):
        person.commands.heard(said)
    person.hear("Thea")
    person.type("/r  one ", " /R two")
    assert person.client.noted == ["say to sahnawaz: one", "say to sahnawaz: two"]


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["gone", "another key"])
def test_answer_goes_to_nobody_else_under_that_name(person: Person, key: bytes | None) -> None:
    person.commands.heard(private("Thea"))
    person.client.people = PEOPLE[:2]
    if key is not None:
        person.client.people.append(events.Person("Thea", 0, key))
    with pytest.raises(UsageError, match="Thea is not here any more"):
        person.type("/r Hi")


def test_name_with_blanks_is_completed_in_quotation_marks(person: Person) -> None:
    person.client.people.append(events.Person("Thea B", 0, bytes(32)))
    assert person.completed("/msg T") == ["/msg Thea ", '/msg "Thea B" ']
    assert person.completed("/msg thea b") == person.completed('/msg "THEA ') == ['/msg "Thea B" ']
    person.type(person.completed("/msg T")[1] + "Hi")
    assert person.client.noted == ["say to Thea B: Hi"]


# -- ignoring and trusting


@pytest.mark.parametrize("name", ["Thea", "THEA", "  thea "])
def test_who_is_ignored_is_listed_until_it_is_over(person: Person, name: str) -> None:
    person.type(f"/ignore {name}")
    person.client.people = PEOPLE[:2]
    person.type("/ignore sahnawaz", "/ignore", "/unignore tHEA", "/unignore sahnawaz")
    person.type("/ignore thea")
    assert person.shown == [
        "[+] Ignored: Thea",
        "[+] Ignored: sahnawaz",
        "[+] Ignored: Thea, sahnawaz",
        "[+] Ignored: sahnawaz",
        "[+] Nobody is ignored.",
        "[+] Ignored: Thea",
    ], "even after a leave"


NEW = "is new, and no other is known"
NO_KEY = "has not proved to have the room key, so there is nothing to trust."


@pytest.mark.parametrize(
    ("name", "fingerprint", "unproved", "answer"),
    [
        ("THEA", OTHER, False, f"[+] From now on this is the key of Thea: {OTHER_KEY}"),
        ("Thea", OTHER, True, f"[!] Thea {NO_KEY}"),
        ("Thea", PEOPLE[2].fingerprint, False, f"[+] The key of Thea {NEW}: {THEA}"),
        ("Ira", PEOPLE[0].fingerprint, False, "[!] That is you."),
        ("Zoe", OTHER, False, f"[+] The key of Zoe {NEW}: {OTHER_KEY}"),
    ],
)
def test_trust_says_what_became_of_it(
    person: Person, name: str, fingerprint: bytes, unproved: bool, answer: str
) -> None:
    shown = name.title() if name == "THEA" else name
    person.client.people = [events.Person(shown, 0, fingerprint, unproved=unproved)]
    person.type(f"/trust {name}")
    assert person.shown == [answer]


def test_key_that_was_trusted_is_known(person: Person) -> None:
    person.client.people = [events.Person("Thea", 0, OTHER)]
    person.type("/trust thea", "/trust thea", "/trust Bob", "/trust")
    assert person.shown[1:] == [
        f"[+] The key of Thea is known since 2023-06-24: {OTHER_KEY}",
        "[!] Nobody here is called Bob.",
        "[!] /trust needs a name.",
    ]


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
        ("hello th", ["hello Thea "]),
        ("hello\nth", ["hello\nThea "]),
        ("I", []),
        ("x", []),
        ("/b", ["/bell "]),
        ("/me s", ["/me sahnawaz "]),
        ("/msg ", ["/msg sahnawaz ", "/msg Thea ", '/msg "Jean Luc" ']),
        ("/msg T", ["/msg Thea "]),
        ("/MSG  T", ["/MSG  Thea "]),
        ('/msg "T', ["/msg Thea "]),
        ("/msg jean l", ['/msg "Jean Luc" ']),
        ('/msg "jean ', ['/msg "Jean Luc" ']),
        ("/msg Thea s", ["/msg Thea sahnawaz "]),
        ("/msg Thea jean l", ["/msg Thea Jean Luc "]),
        ("/r s", ["/r sahnawaz "]),
        ("/edit @jean ", ["/edit @Jean Luc "]),
        ("/ignore ", ["/ignore sahnawaz", "/ignore Thea", "/ignore Jean Luc"]),
        ("/ignore T", ["/ignore Thea"]),
        ("/ignore jean l", ["/ignore Jean Luc"]),
        ("/ignore x T", []),
        ("/trust t", ["/trust Thea"]),
        ("/IGNORE T", ["/IGNORE Thea"]),
        ("/unignore ", []),
        ("/bell ", ["/bell on", "/bell off"]),
        ("/bell of", ["/bell off"]),
        ("/help be", ["/help bell"]),
        ("/help /be", ["/help /bell"]),
        ("/more ", []),
        ("/who t", []),
        ("@th", ["@Thea "]),
        ("(th", ["(Thea "]),
        ("(@@th", ["(@@Thea "]),
        ("hello (jean l", ["hello (Jean Luc "]),
        ("hello @", ["hello @sahnawaz ", "hello @Thea ", "hello @Jean Luc "]),
        ("jean l", ["Jean Luc: "]),
        ("jean ", ["Jean Luc: "]),
        ("jeanl", []),
        ("my jean l", ["my Jean Luc "]),
        ("x" * 100_000 + " jean l", ["x" * 100_000 + " Jean Luc "]),
        ("hello /b", []),
        ("/x", []),
    ],
    ids=lambda value: value[-20:] if isinstance(value, str) else None,
)
def test_word_is_completed(person: Person, line: str, offered: list[str]) -> None:
    person.client.people.append(events.Person("Jean Luc", 0, bytes(32)))
    assert person.completed(line) == offered
