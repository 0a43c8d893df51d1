"""The words that people read: one function a line, all of them here.

The status lines are those of the demo that this program grew out of; `[+]` is good news, `[!]` is
trouble. Text of other people is made harmless here, right where it becomes a line. Where lines go,
and what they look like there, is not known here.
"""

from collections.abc import Iterable

from chat.client.events import (
    Came,
    Connected,
    Connecting,
    Disconnected,
    Entered,
    Exchanged,
    Full,
    Happening,
    Leaving,
    LookingUp,
    MakingKey,
    Noticed,
    Person,
    Reconnected,
    Returned,
    RoomClosed,
    Said,
    ServerMet,
    Vanished,
    Warned,
    Went,
)
from chat.errors import REASONS, Reason
from chat.kex import fingerprint_of
from chat.localtime import local
from chat.text import action_of, in_line, printable

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

INDENT = "    "
"""Before the further lines of one message, so that none of them can pass for another's."""


def time_of(seconds: float, time_format: str = TIME_FORMAT) -> str:
    """A time since 1970 as local time; what no calendar holds is shown as question marks."""
    try:
        return local(seconds).strftime(time_format)
    except (OverflowError, OSError, ValueError):
        return "????-??-?? ??:??:??"


def good(text: str) -> str:
    return f"[+] {text}"


TROUBLE = "[!]"


def trouble(text: str) -> str:
    return f"{TROUBLE} {text}"


def _lines(text: str) -> str:
    return printable(text).replace("\n", "\n" + INDENT)


# -- at both ends ------------------------------------------------------------------------------

MAKING_KEY = good("Making a new RSA key, which takes a moment")
MAKING_KEY_NOW = "Making a new RSA key"


def left(name: str, reason: Reason, text: str = "") -> str:
    if reason is Reason.LEFT:
        return good(f"{in_line(name)} left the server.")
    return trouble(f"{in_line(name)} left the server: {in_line(text or REASONS[reason])}.")


def vanished(name: str, text: str = "") -> str:
    return trouble(f"{in_line(name)} lost the connection{': ' if text else ''}{in_line(text)}.")


def returned(name: str) -> str:
    return good(f"{in_line(name)} is back.")


# -- at the server -----------------------------------------------------------------------------

TERMINATED = good("All connections had been terminated")
SHUT_DOWN = good("Server is shut down")

HELP = [
    good("TERMINATE   end the server"),
    good("WHO         list the members"),
    good("KICK name   put somebody out"),
    good("SAY text    tell everybody something"),
    good("STATS       count members, messages and bytes"),
    good("HELP        show this"),
]


def running(host: str, port: int, fingerprint: str) -> list[str]:
    return [
        good(f"Running on host: {host}"),
        good(f"Running on port: {port}"),
        good(f"Fingerprint: {fingerprint}"),
    ]


ONLY_HERE = good("Only this machine can connect; --host :: lets others in.")


def invitation(host: str, port: int, fingerprint: str) -> str:
    """What the others type."""
    command = f"python -m chat client {host} {port} NAME --fingerprint {fingerprint}"
    return good(f"Others join with: {command}")


def newcomer(name: str, heard_by: int) -> list[str]:
    """A client is in; `heard_by` others were told."""
    lines = [good(f"New connection. Username: {in_line(name)}")]
    if heard_by:
        lines.append(
            good(f"Broadcast message:  New person joined the room. Username: {in_line(name)}")
        )
    return [
        *lines,
        good("Client public key had been received"),
        good("Secret key had been sent to the client"),
    ]


def exchanged(count: int, seconds: float) -> str:
    what = "Message exchanged" if count == 1 else f"{count} messages exchanged"
    return f"{time_of(seconds)} {what}"


def refused(address: str, text: str) -> str:
    return trouble(f"{address} was refused: {in_line(text)}.")


def went_away(address: str, text: str) -> str:
    return trouble(f"{address} went away: {in_line(text)}.")


def many_refused(count: int, source: str, from_there: int) -> str:
    """`source` is where most of them came from."""
    if count == 1:
        return trouble(f"1 more connection, from {source}, was refused or went away.")
    where = f"all from {source}" if from_there == count else f"{from_there} of them from {source}"
    return trouble(f"{count} more connections were refused or went away, {where}.")


def fault(kinds: Iterable[tuple[str, Iterable[str]]], closed: str) -> list[str]:
    """An error in this program: for each exception its kind and its frames. `closed` is whose
    connection was closed for it, if anybody's."""
    lines = [trouble("There is an error in this program; please report it. The server goes on.")]
    if closed:
        lines.append(f"{INDENT}The connection of {in_line(closed)} was closed.")
    for kind, frames in kinds:
        lines += [f"{INDENT}{in_line(frame)}" for frame in frames]
        lines.append(f"{INDENT}{in_line(kind)}")
    return lines


def faults_again(count: int) -> str:
    times = "once" if count == 1 else f"{count} times"
    return trouble(f"Errors in this program that are shown above came again {times}.")


def span(seconds: float) -> str:
    """How long something takes, for a person."""
    whole = max(1, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def in_use(seconds: float) -> str:
    return f"it has been in use for {span(seconds)}"


def kept(name: str, lost_for: float, free_in: float) -> str:
    return f"{name} lost the connection {span(lost_for)} ago; the name is free in {span(free_in)}"


def member_line(name: str, since: float, key_digest: bytes) -> str:
    return good(f"{in_line(name)}, since {time_of(since)}, {fingerprint_of(key_digest)}")


def members_count(count: int) -> str:
    return good("Nobody is here." if not count else f"In the room: {count}")


def nobody_named(name: str) -> str:
    return trouble(f"Nobody here is called {in_line(name)}.")


def unknown_command(word: str) -> str:
    return trouble(f"Unknown command: {in_line(word)}. HELP lists the commands.")


def needs_argument(word: str, argument: str) -> str:
    return trouble(f"{word} needs a {argument}.")


def stats(members: int, messages: int, log_bytes: int, uptime: float) -> str:
    return good(
        f"{members} member{'' if members == 1 else 's'}, "
        f"{messages} message{'' if messages == 1 else 's'} exchanged, {log_bytes} bytes relayed, "
        f"up for {uptime:.0f} s"
    )


def lines_dropped(count: int) -> str:
    return trouble(f"{_counted(count, 'line')} not shown.")


COMES_TOO_OFTEN = "joins and reconnects too often; try again in a minute"

OUT_OF_DESCRIPTORS = trouble("No descriptors are left: new connections have to wait.")


# -- at the client -----------------------------------------------------------------------------

CONNECTED = good("Connected successfully.")
EXCHANGING = [good("Exchanging keys."), good("Getting public key from the server")]
SENDING_KEY = good("Sending public key to server")
EXCHANGED = good("Exchange completed!")
SET_UP = [
    good("Initial set up had been completed!"),
    good("Now you can start to exchange messages"),
]


def server_fingerprint(of: str, known: bool) -> str:
    return good(f"Fingerprint of the server: {of}" + (" (known)" if known else " (new)"))


def outbox_full(count: int) -> str:
    return trouble(f"{count} messages wait for the connection; no more can be taken.")


def said(message: Said, time_format: str) -> tuple[str, str, str]:
    """When, who, and what, which may have several lines."""
    time = time_of(message.time_ms / 1000, time_format)
    action = action_of(message.text)
    if action is None:
        return time, f"{in_line(message.name)}:", printable(message.text)
    return time, f"* {in_line(message.name)}", printable(action)


def happened(happening: Happening) -> list[str]:
    """What happens, but for what is said, in words."""
    return _happened_to_us(happening) + _happened_to_others(happening)


def _happened_to_us(happening: Happening) -> list[str]:
    match happening:
        case MakingKey():
            return [MAKING_KEY]
        case Connected():
            return [CONNECTED, *EXCHANGING]
        case ServerMet(fingerprint, known):
            return [server_fingerprint(fingerprint, known), SENDING_KEY]
        case Exchanged():
            return [EXCHANGED]
        case Entered(members, again):
            listed = good("In the room: " + ", ".join(map(in_line, members)))
            return [listed] if again else [*SET_UP, listed]
        case Disconnected(text):
            return [trouble(f"{text[:1].upper()}{text[1:]}; trying to get it back.")]
        case Reconnected(missed, new_room, awaiting):
            anew = "; the server was started anew" if new_room else ""
            waiting = ", and the others are awaited" if awaiting else ""
            lines = [good(f"The connection is back{anew}{waiting}.")]
            if missed:
                lines.append(trouble(f"{missed} message{'' if missed == 1 else 's'} missed."))
            return lines
        case Full(messages):
            return [outbox_full(messages)]
        case Leaving():
            return [good(f"{activity(happening)}.")]
        case Warned(text):
            return [trouble(f"{in_line(text)}.")]
    return []


def _happened_to_others(happening: Happening) -> list[str]:
    match happening:
        case Came(name):
            return [good(f"New person joined the room. Username: {in_line(name)}")]
        case Went(name, reason):
            return [left(name, reason)]
        case Vanished(name):
            return [vanished(name)]
        case Returned(name):
            return [returned(name)]
        case Noticed(text):
            return [good(f"The server says: {_lines(text)}")]
        case RoomClosed():
            return [trouble("The server has shut down.")]
    return []


def clocks_differ(not_after: float, now: float) -> str:
    """Both in seconds since 1970: until when what the server signed was good, and what time it is
    here."""
    return (
        f"one of the two clocks is wrong: what the server signed was good until "
        f"{time_of(not_after)}, and here it is {time_of(now)}"
    )


def folded(lines: int, characters: int, number: int) -> str:
    """What stands below the first rows of a message that has too many."""
    what = f"{lines:,} more lines" if lines > 1 else f"{characters:,} more characters"
    return good(f"{what} of this; /more {number} shows the whole.")


def _counted(count: int, what: str) -> str:
    """ "1 message was", "2 messages were"."""
    return f"1 {what} was" if count == 1 else f"{count} {what}s were"


def not_acknowledged(count: int) -> str:
    return f"{_counted(count, 'message')} not acknowledged"


def not_commands(count: int) -> str:
    return "1 line was no command" if count == 1 else f"{count} lines were no commands"


def closed_before_the_end(lines: int) -> str:
    return (
        "the server has shut down before the end of the input: "
        f"{_counted(lines, 'line')} read and not sent"
    )


def line_not_sent(number: int, why: str) -> str:
    return f"chat: line {number}: {in_line(why)}"


# -- to the person at the client ---------------------------------------------------------------

LEAVE_HINT = good("Ctrl-C once more leaves, and so does Ctrl-D.")
BELL = {True: good("The bell rings when your name is said."), False: good("The bell is silent.")}
BELL_USAGE = trouble("It is /bell on or /bell off.")

CONVERSATION_PROTECTED = [
    good(
        "Every message is sealed with AES-256 and HMAC-SHA-256, under keys that change when "
        "somebody joins or leaves: who comes cannot read what was said before, nor who has left "
        "what is said after."
    ),
    good("On the wire can be seen who talks when, and about how much: no name, and no text."),
    good(
        "Whoever runs the server sees names and addresses, and could read along, since the server "
        "makes the keys; this program shows and keeps nothing of what is said."
    ),
    good("Compare these fingerprints with the others over another channel:"),
]


def command_line(usage: str, text: str) -> str:
    return good(f"{usage:<16} {text}")


def no_such_command(word: str, nearest: str) -> str:
    hint = f"is it {nearest}?" if nearest else "/help lists the commands;"
    return trouble(f"Unknown command: {in_line(word)}; {hint} // sends a line with a slash.")


def security(server: str, members: Iterable[Person]) -> list[str]:
    """What protects this conversation, and the fingerprints to compare."""
    return [
        *CONVERSATION_PROTECTED,
        good(f"{server} the server"),
        *(good(f"{fingerprint_of(one.fingerprint)} {in_line(one.name)}") for one in members),
    ]


IGNORE_ONESELF = trouble("That is you.")


def not_ignored(name: str) -> str:
    return trouble(f"{in_line(name)} is not ignored.")


def ignoring(names: Iterable[str]) -> str:
    listed = ", ".join(map(in_line, names))
    return good(f"Ignored: {listed}" if listed else "Nobody is ignored.")


def not_folded(number: str) -> str:
    return trouble(f"Nothing was folded as {in_line(number)}." if number else "Nothing is folded.")


def confirm_paste(lines: int) -> str:
    return f"Send these {lines} lines as one message? Type y or n, and Enter: "


PASTE_DROPPED = good("Not sent. The up key brings it back.")


def pending_at_the_end(text: str, offline: bool) -> str:
    """A message that was under way when one left, whole."""
    action = action_of(text)
    what = "Not sent" if offline else "Not acknowledged"
    return trouble(f"{what}: {_lines(text if action is None else f'* {action}')}")


def no_editing(why: str) -> str:
    return good(f"Plain input: {why}.")


CATCHING_UP = "Catching up"
AWAITING = "Waiting for the others"


def activity(happening: Happening) -> str:
    """What begins with this and may take long; empty if nothing does."""
    match happening:
        case MakingKey():
            return MAKING_KEY_NOW
        case LookingUp(host):
            return f"Looking up {in_line(host)}"
        case Connecting(host, port):
            return f"Connecting to {in_line(host)}, port {port}"
        case Connected():
            return "Exchanging keys"
        case Leaving(messages):
            what = "1 message" if messages == 1 else f"{messages} messages"
            return f"Waiting for {what} to be acknowledged; Ctrl-C leaves at once"
        case Reconnected(awaiting=True):
            return AWAITING
        case Reconnected():
            return CATCHING_UP
    return ""


def prompt(present: bool, waiting: int) -> str:
    """What stands before the line that is being typed."""
    if present:
        return "> "
    return f"(offline, {waiting} waiting) > " if waiting else "(offline) > "


def pending(text: str) -> str:
    """A message that is under way, in one line."""
    return "... " + in_line(text if (action := action_of(text)) is None else f"* {action}")


def more_pending(count: int) -> str:
    return f"... and {count} more"


def title(name: str, mentions: int) -> str:
    return f"({mentions}) chat: {in_line(name)}"
