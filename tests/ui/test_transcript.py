"""The words that people read: the demo's lines to the letter, and other people's text disarmed."""

from datetime import datetime
from typing import Any

import pytest

from chat import localtime, phrases
from chat.client import events
from chat.errors import REASONS, Reason
from chat.frozen import replace
from chat.server import words
from chat.ui import transcript
from chat.ui.style import Painter


def told(event: events.ClientEvent) -> str:
    """The one line for what happened."""
    (line,) = transcript.happened(event)
    return line


def said(name: str, time_ms: int, text: str) -> str:
    """When, who and what, as they stand in the first line."""
    return " ".join(
        transcript.said(
            events.MessageReceived(name, time_ms, text, own=False), localtime.TIME_FORMAT
        )
    )


def at(text: str) -> float:
    """Seconds since 1970 for a local time."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").timestamp()


def secure(**fields: Any) -> events.Security:
    """An open room in which nothing has happened, but for this."""
    here = events.Security(b"", "SHA256:server", 0, True, 0, 0, 0, (), ())
    return replace(here, **fields)


def test_messages_are_exchanged_as_in_the_demo() -> None:
    first, second = at("2023-06-25 09:35:24"), at("2023-06-25 09:35:36")
    assert [
        said("Ira", int(first) * 1000, "Hi"),
        said("sahnawaz", int(second) * 1000, "Hello Ira"),
        said("Ira", int(first) * 1000, "\x01ACTION waves\x01"),
        words.exchanged(1, first),
        words.exchanged(250, second),
    ] == [
        "2023-06-25 09:35:24 Ira: Hi",
        "2023-06-25 09:35:36 sahnawaz: Hello Ira",
        "2023-06-25 09:35:24 * Ira waves",
        "2023-06-25 09:35:24 Message exchanged",
        "2023-06-25 09:35:36 250 messages exchanged",
    ]


# -- what is new -------------------------------------------------------------------------------


def test_further_lines_read_in_the_same_style() -> None:
    digest = bytes(32)
    fingerprint = "SHA256:" + "A" * 43
    since = at("2023-06-25 09:35:24")
    assert [
        phrases.MAKING_KEY,
        told(events.MemberJoined("Ira")),
        told(events.NoticeReceived("Back in a minute")),
        told(events.Entered(("Ira", "sahnawaz"), again=True)),
        told(events.NamedByLogin("Ira")),
        transcript.server_fingerprint(fingerprint, None),
        transcript.server_fingerprint(fingerprint, ""),
        phrases.member_line("Ira", since, digest),
        phrases.members_count(0),
        phrases.members_count(2),
        words.stats(2, 3, 400, 59.7),
        transcript.title("Ira", 2),
        *transcript.happened(events.Leaving(1)),
    ] == [
        "[+] Making a new RSA key, which takes a moment",
        "[+] New person joined the room. Username: Ira",
        "[+] The server says: Back in a minute",
        "[+] In the room: Ira, sahnawaz",
        "[+] You are Ira, as you are logged in. --name gives another.",
        f"[+] Fingerprint of the server: {fingerprint} (new)",
        f"[+] Fingerprint of the server: {fingerprint} (known)",
        f"[+] Ira, since 2023-06-25 09:35:24, {fingerprint}",
        "[+] Nobody is here.",
        "[+] In the room: 2",
        "[+] 2 members, 3 messages exchanged, 400 bytes relayed, up for 60 s",
        "(2) chat: Ira",
        "[+] Waiting for 1 message to be acknowledged; Ctrl-C leaves at once.",
    ]


@pytest.mark.parametrize(
    ("known", "since", "from_whom", "standing", "kind"),
    [
        (True, "2026-11-27", {"named": True}, "known since 2026-11-27", phrases.Assuring),
        (True, "", {"invited": True}, "known", phrases.Assuring),
        (False, "", {"invited": True}, "as in the invite", phrases.Assuring),
        (False, "", {"named": True}, "as you have named it", phrases.Assuring),
        (False, "", {}, "new: compare it with the one that its operator", phrases.Unproved),
    ],
)
def test_key_of_the_server_stands_out(
    known: bool, since: str, from_whom: dict[str, bool], standing: str, kind: type
) -> None:
    event = events.ServerMet("example", "SHA256:" + "A" * 43, known, since, **from_whom)
    shown, sending = transcript.happened(event)
    first, key, last = shown.split("\n")
    assert first == "[+] The server example has the key"
    assert key == event.fingerprint
    assert last.startswith(standing)
    assert max(map(len, (first, key, last))) <= 76
    assert type(shown) is kind
    assert sending == "[+] Sending public key to server"


def test_server_that_is_not_back_itself_is_not_promised() -> None:
    alone, one_of_several = REASONS[Reason.RESTARTING], words.ONE_ENDS
    assert [told(events.Disconnected(one, restarting=True)) for one in (alone, one_of_several)] == [
        "[+] The server restarts and will be back in a moment; waiting for it.",
        "[+] Another server carries the room, and this one restarts or ends; waiting for it.",
    ]


def test_trouble_is_marked_as_trouble() -> None:
    assert [
        words.refused("127.0.0.1:4000", "the name is taken"),
        words.went_away("[::1]:4000", "the connection was lost"),
        words.many_refused(7, "192.0.2.1", 7),
        words.many_refused(7, "192.0.2.1", 4),
        words.many_refused(1, "192.0.2.1", 1),
        words.faults_again(1),
        phrases.nobody_named("Ira"),
        words.unknown_command("DANCE"),
        phrases.needs_argument("KICK", "a name"),
        words.lines_dropped(1),
        words.lines_dropped(12),
        told(events.Warned("Ira: a message arrived twice")),
        words.OUT_OF_DESCRIPTORS,
        *transcript.happened(events.RoomClosed()),
        phrases.lost("Ira"),
        phrases.lost("Ira", "was silent for too long"),
        told(events.Disconnected("the connection was lost")),
        told(events.Disconnected("the connection broke in the middle of a frame")),
        told(events.Disconnected("the server has not answered for 45 s")),
        told(events.OutboxFull(1024)),
    ] == [
        "[!] 127.0.0.1:4000 was refused: the name is taken.",
        "[!] [::1]:4000 went away: the connection was lost.",
        "[!] 7 more connections were refused or went away, all from 192.0.2.1.",
        "[!] 7 more connections were refused or went away, 4 of them from 192.0.2.1.",
        "[!] 1 more connection, from 192.0.2.1, was refused or went away.",
        "[!] Errors in this program that are shown above came again once.",
        "[!] Nobody here is called Ira.",
        "[!] Unknown command: DANCE. HELP lists the commands.",
        "[!] KICK needs a name.",
        "[!] 1 line was not shown.",
        "[!] 12 lines were not shown.",
        "[!] Ira: a message arrived twice.",
        "[!] No descriptors are left: new connections have to wait.",
        "[!] The server has shut down.",
        "[!] Ira lost the connection.",
        "[!] Ira lost the connection: was silent for too long.",
        "[!] The connection was lost; trying to get it back.",
        "[!] The connection broke in the middle of a frame; trying to get it back.",
        "[!] The connection was lost: the server has not answered for 45 s; trying to get it back.",
        "[!] 1,024 messages wait for the connection; no more can be taken.",
    ]


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (events.Reconnected(0, new_room=False, awaiting=False), ["[+] The connection is back."]),
        (
            events.Reconnected(37, new_room=False, awaiting=False),
            ["[+] The connection is back.", "[!] 37 messages missed."],
        ),
        (
            events.Reconnected(1, new_room=True, awaiting=True),
            [
                "[+] The connection is back, in a new room. Your messages are sent "
                "when the others are back, or in 20 s.",
                "[!] 1 message missed.",
            ],
        ),
        (
            events.Reconnected(0, new_room=False, awaiting=False, server="b.example:9443"),
            ["[+] Connected to b.example:9443."],
        ),
        (
            events.Reconnected(0, new_room=True, awaiting=False, server="b\x1b:9443"),
            [r"[+] Connected to b\x1b:9443, in a new room."],
        ),
        (events.MemberLost("Ira"), ["[!] Ira lost the connection."]),
        (events.MemberBack("Ira"), ["[+] Ira is back."]),
        (events.MemberLeft("Ira", Reason.LEFT), ["[+] Ira left the server."]),
        (
            events.MemberLeft("Ira", Reason.LEFT, "so\n\x1b"),
            [r'[+] Ira left the server: "so\n\x1b"'],
        ),
        (events.Entered(("Ira", "Thea"), again=True), ["[+] In the room: Ira, Thea"]),
        (
            events.MessageNotForUs("\x1b[2J"),
            [r"[+] What \x1b[2J said just before you came was for those who were here then."],
        ),
        (events.FrameRefused("the connection that is lost for it is told"), []),
        (events.LogGone(), []),
        # These are only shown while they last.
        (events.LookingUp("localhost"), []),
        (events.Connecting("localhost", 9443), []),
    ],
)
def test_event_has_its_lines(event: events.ClientEvent, lines: list[str]) -> None:
    assert transcript.happened(event) == lines


@pytest.mark.parametrize(
    ("certain", "again", "said"),
    [
        (True, True, ["Somebody on the way", "since 09:35:24", "may be changed", "comes again."]),
        (True, False, ["Somebody on the way", "since 09:35:24", "may be changed", "incomplete."]),
        (False, False, ["The server has not confirmed what was shown since 09:35:24."]),
    ],
)
def test_tampering_is_told_with_the_time_since_when(
    monkeypatch: pytest.MonkeyPatch, certain: bool, again: bool, said: list[str]
) -> None:
    monkeypatch.setattr("time.time", lambda: at("2023-06-25 09:35:29"))
    line = told(events.Tampered(5.0, certain, again))
    assert line.startswith("[!] " if certain else "[+] ")
    assert line.endswith(said[-1])
    assert [words in line for words in said] == [True] * len(said)


@pytest.mark.parametrize(
    ("event", "activity"),
    [
        (events.MakingKey(), "Making a new RSA key"),
        (events.LookingUp("\x1b[2J"), r"Looking up \x1b[2J"),
        (events.Connecting("\x1b[2J", 9443), r"Connecting to \x1b[2J, port 9443"),
        (events.Reconnected(0, new_room=False, awaiting=False), "Catching up"),
        (events.Reconnected(3, new_room=True, awaiting=True), "Waiting for the others"),
        (events.Connected(), "Exchanging keys"),
        (events.MemberJoined("Ira"), ""),
    ],
)
def test_what_may_take_long_has_a_word_for_it(event: events.ClientEvent, activity: str) -> None:
    assert transcript.activity(event) == activity


@pytest.mark.parametrize(
    ("present", "waiting", "prompt"),
    [
        (True, 0, "> "),
        (True, 3, "> "),
        (False, 0, "(offline) > "),
        (False, 3, "(offline, 3 waiting) > "),
    ],
)
def test_prompt_says_when_one_is_offline(present: bool, waiting: int, prompt: str) -> None:
    assert transcript.prompt(present, waiting) == prompt


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Hi", "... Hi"),
        ("one\ntwo", r"... one\ntwo"),
        ("\x1b[2J", r"... \x1b[2J"),
        ("\x01ACTION waves\x01", "... * waves"),
    ],
)
def test_message_under_way_is_one_harmless_line(text: str, line: str) -> None:
    assert transcript.pending(text) == line
    assert transcript.pending(text, "\x1bBoris") == line.replace(
        "... ", r"... to \x1bBoris [private]: "
    )


def test_private_message_under_way_or_not_sent_says_for_whom_it_was() -> None:
    assert [transcript.pending_at_the_end("Psst", off, "Boris") for off in (True, False)] == [
        "[!] Not sent to Boris [private]: Psst",
        "[!] Perhaps not delivered to Boris [private]: Psst",
    ]


@pytest.mark.parametrize(
    ("name", "to", "text", "line"),
    [
        ("Ira", "Boris", "Psst", "Ira -> you [private]: Psst"),
        ("Boris", "Ira", "Psst", "you -> Ira [private]: Psst"),
        ("Ira", "Boris", "\x01ACTION waves\x01", "* Ira -> you [private] waves"),
        ("\x1b", "Boris", "Psst", r"\x1b -> you [private]: Psst"),
        ("Boris", "\x1b\n", "Psst", r"you -> \x1b\n [private]: Psst"),
    ],
)
def test_private_message_says_between_whom_it_is(name: str, to: str, text: str, line: str) -> None:
    said = events.MessageReceived(name, 0, text, own=False, to=to)
    assert " ".join(transcript.said(said, "", "bORIS")[1:]) == line


def test_draft_is_kept_or_shown_as_not_sent() -> None:
    assert [transcript.draft("half\na \x1b", kept) for kept in (True, False)] == [
        "[+] What you were typing is kept: the up key brings it back.",
        "[!] Not sent: half\na \\x1b",
    ]


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.LEFT}))
def test_leaving_in_any_other_way_is_trouble_with_its_reason(reason: Reason) -> None:
    line = f"[!] Ira left the server: {REASONS[reason]}."
    assert phrases.left("Ira", reason) == line
    assert phrases.left("Ira", reason, "a word") == "[!] Ira left the server: a word."


def test_help_lists_each_command_once() -> None:
    commands = [line.split()[1] for line in words.HELP]
    rooms = ["WHO", "ROOMS", "KICK"]
    lists = ["BAN", "UNBAN", "BANS", "ALLOW", "FORGET"]
    assert commands == ["TERMINATE", "RESTART", *rooms, *lists, "SAY", "TOPIC", "STATS", "HELP"]
    assert all(line.startswith("[+] ") for line in words.HELP)


# -- times -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("half_past")
def test_time_is_local() -> None:
    assert localtime.time_of(0) == "1970-01-01 05:30:00"
    assert said("Ira", 1_687_665_924_999, "Hi") == "2023-06-25 09:35:24 Ira: Hi"


# -- whose keys, and what kind of room ---------------------------------------------------------

TAG = bytes(range(16))
ZEROS, ONES = "SHA256:" + "A" * 43, "SHA256:" + "AQEB" * 10 + "AQE"


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (events.Entered(("Ira",), again=True), ["[+] In the room: Ira"]),
        (
            events.Entered(("Ira", "Thea"), True, TAG, ("Thea",)),
            [
                "[+] In a sealed room with: Ira, Thea",
                "[!] Not proved to have the room key: Thea",
            ],
        ),
        (
            events.Entered(("Ira",), False, TAG),
            [*transcript.SET_UP, "[+] In a sealed room. You are the first here."],
        ),
        (events.Entered(("Ira",), True, TAG), ["[+] In a sealed room. Nobody else is here."]),
        (
            events.MemberJoined("Ira", bytes(32), unproved=True),
            [
                "[+] New person joined the room. Username: Ira",
                "[!] Ira has not proved to have the room key.",
            ],
        ),
        (
            events.KeyChanged("Ira", bytes(32), b"\1" * 32, int(at("2023-06-25 09:35:24"))),
            [
                "[!] Ira HAS ANOTHER KEY than the Ira whom you know since 2023-06-25\n"
                f"known: {ZEROS}\n"
                f"shown: {ONES}\n"
                "It may be somebody else. Ask Ira over another channel; if the new key is right, "
                "type /trust Ira"
            ],
        ),
        (
            events.NameChanged("Ira", "Bob", bytes(32), int(at("2023-06-25 09:35:24"))),
            ["[+] Ira has the key that you know as Bob since 2023-06-25."],
        ),
    ],
)
def test_room_and_keys_are_shown_as_what_they_are(
    event: events.ClientEvent, lines: list[str]
) -> None:
    assert transcript.happened(event) == lines


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "[+] Room     open: whoever reaches the server can join"),
        ({}, "[+] Readers  the members, and whoever runs the server, who could forge as well"),
        (
            {"tag": TAG},
            "[+] Room     sealed: only somebody with its invite can join; to the server it is "
            f"{TAG.hex()[:8]}",
        ),
        (
            {"tag": TAG},
            "[+] Readers  only who has the invite; the server sees who talks when, and no words",
        ),
        ({}, "[+] Checked  by the server: all that was shown, last at 09:35:24"),
        (
            {"all_checked": False},
            "[+] Checked  by the server: what was shown until 09:35:24, not yet what came since",
        ),
        ({}, "[+] Tampered never in this run"),
        (
            {"tampered": 1, "tampered_at": at("2023-06-25 09:35:36")},
            "[!] Tampered once in this run, last at 09:35:36",
        ),
        (
            {"tampered": 1200, "tampered_at": at("2023-06-25 09:35:36")},
            "[!] Tampered 1,200 times in this run, last at 09:35:36",
        ),
        (
            {"unconfirmed": 2},
            "[+] Unsure   2 times in this run what was shown could not be checked",
        ),
        (
            {"split": ("Bob", "Zoe")},
            "[!] Split    another conversation than yours was shown to Bob, Zoe",
        ),
        (
            {"members": (events.Person("Bob", 0, bytes(32), unproved=True),)},
            f"[!] Bob, {ZEROS}, new, has not proved to have the room key",
        ),
    ],
)
def test_security_says_what_holds_here(fields: dict[str, Any], line: str) -> None:
    lines = transcript.security(secure(**{"checked_at": at("2023-06-25 09:35:24"), **fields}))
    assert line in lines
    marked = [line for line in lines if line.startswith("[!]")]
    assert all(isinstance(line, phrases.Trouble) for line in marked)


def test_security_fits_a_narrow_terminal() -> None:
    everything = secure(
        tag=TAG,
        all_checked=False,
        tampered=3,
        unconfirmed=3,
        split=("Bob",),
        members=(
            events.Person("Bob", 0, bytes(32), unproved=True, standing=events.Standing.CHANGED),
        ),
    )
    rows = Painter().status(transcript.security(everything), 40)
    wide = [row for row in rows if len(row) > 40]
    # A fingerprint is one word, which the terminal wraps, so that it can be copied.
    assert all("SHA256:" in row for row in wide)
    assert len(rows) <= 30


# -- other people's text -----------------------------------------------------------------------

EVIL = "\x1b[2J\x9b31m\u202e\u2028\r\x85\x0b\0"


def lines_with(text: str) -> dict[str, str]:
    """One line each with a piece of somebody else's text in it."""
    since = at("2023-06-25 09:35:24")
    return {
        "newcomer": words.joined(text, 0)[0],
        "broadcast": words.joined(text, 1)[1],
        "came": told(events.MemberJoined(text)),
        "left": phrases.left(text, Reason.LEFT),
        "left in trouble": phrases.left(text, Reason.LOST),
        "left with a word": phrases.left("Ira", Reason.KICKED, text),
        "speaker": said(text, 0, "Hi"),
        "refused": words.refused("127.0.0.1:4000", text),
        "member": phrases.member_line(text, since, bytes(32)),
        "members": told(events.Entered(("Ira", text), again=True)),
        "nobody": phrases.nobody_named(text),
        "command": words.unknown_command(text),
        "client's command": transcript.no_such_command(text, ""),
        "ignored": transcript.ignoring(["Ira", text]),
        "not ignored": transcript.not_ignored(text),
        "security": transcript.security(secure(members=(events.Person(text, 0, bytes(32)),)))[-1],
        "split": transcript.security(secure(split=(text,)))[-3],
        "another name": told(events.NameChanged("Ira", text, bytes(32), 0)),
        "unproved": transcript.happened(events.Entered(("Ira",), unproved=(text,)))[-1],
        "trusted": transcript.trusted(events.Person(text, 0, bytes(32))),
        "title": transcript.title(text, 0),
        "pending": transcript.pending(text),
        "warning": told(events.Warned(text)),
    }


@pytest.mark.parametrize("kind", lines_with(""))
def test_line_shows_harmful_text_as_escapes_and_stays_one_line(kind: str) -> None:
    line = lines_with(EVIL)[kind]
    assert r"\x1b[2J\x9b31m\u202e\u2028\r\x85\x0b\x00" in line
    assert line.isprintable()
    assert "\n" not in lines_with("\n[+] Server is shut down")[kind]


@pytest.mark.parametrize(
    "line",
    [
        said("Ira", 0, EVIL),
        told(events.NoticeReceived(EVIL)),
        told(events.TopicSet(EVIL, 7, changed=True)),
        told(events.TopicSet(EVIL, 7, changed=False)),
        told(events.MotdReceived(EVIL)).replace("\n", " "),
    ],
)
def test_message_shows_harmful_text_as_escapes(line: str) -> None:
    assert line.endswith(r": \x1b[2J\x9b31m\u202e\u2028\r\x85\x0b\x00")
    assert line.isprintable()


def test_further_lines_of_a_message_are_left_to_whoever_shows_it() -> None:
    message = events.MessageReceived(
        "Ira", int(at("2023-06-25 09:35:24")) * 1000, "one\n\ttwo", own=False
    )
    assert transcript.said(message, "%H:%M") == ("09:35", "Ira:", "one\n\ttwo")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "1 s"),
        (0.2, "1 s"),
        (5.4, "5 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 days"),
        (1e9, "11574 days"),
    ],
)
def test_span_is_said_in_a_unit_that_fits(seconds: float, said: str) -> None:
    assert words.span(seconds) == said
