"""The words that people read: one function a line, all of them here.

The status lines are those of the demo that this program grew out of; `[+]` is good news, `[!]` is
trouble. Text of other people is made harmless here, right where it becomes a line. Where lines go
is not known here.
"""

from datetime import datetime

from chat.errors import REASONS, Reason
from chat.happenings import (
    Came,
    Entered,
    Happening,
    Noticed,
    Reconnected,
    Returned,
    RoomClosed,
    Said,
    Vanished,
    Warned,
    Went,
)
from chat.kex import fingerprint_of
from chat.names import in_line, printable

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

INDENT = "    "
"""Before the further lines of one message, so that none of them can pass for another's."""


def time_of(seconds: float) -> str:
    """A time since 1970 as local time; what no calendar holds is shown as question marks."""
    try:
        return datetime.fromtimestamp(seconds).strftime(TIME_FORMAT)
    except (OverflowError, OSError, ValueError):
        return "????-??-?? ??:??:??"


def good(text: str) -> str:
    return f"[+] {text}"


def trouble(text: str) -> str:
    return f"[!] {text}"


def _lines(text: str) -> str:
    return printable(text).replace("\n", "\n" + INDENT)


# -- at both ends ------------------------------------------------------------------------------

MAKING_KEY = good("Making a new RSA key, which takes a moment")


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
    return trouble(f"{count} lines were not shown, since nobody read them.")


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


def connection_lost(text: str) -> str:
    return trouble(f"{text[:1].upper()}{text[1:]}; trying to get it back.")


def outbox_full(count: int) -> str:
    return trouble(f"{count} messages wait for the connection; no more can be taken.")


def happened(happening: Happening) -> list[str]:
    """What the participant tells, in words."""
    match happening:
        case Entered(members):
            return [good("In the room: " + ", ".join(map(in_line, members)))]
        case Reconnected(missed, new_room, awaiting):
            anew = "; the server was started anew" if new_room else ""
            waiting = ", and the others are awaited" if awaiting else ""
            lines = [good(f"The connection is back{anew}{waiting}.")]
            if missed:
                lines.append(trouble(f"{missed} message{'' if missed == 1 else 's'} missed."))
            return lines
        case Said(name, time_ms, text):
            return [f"{time_of(time_ms / 1000)} {in_line(name)}: {_lines(text)}"]
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
        case Warned(text):
            return [trouble(f"{in_line(text)}.")]
        case RoomClosed():
            return [trouble("The server has shut down.")]


def not_acknowledged(count: int) -> str:
    if count == 1:
        return "1 message was not acknowledged"
    return f"{count} messages were not acknowledged"
