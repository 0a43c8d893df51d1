"""The words that people read: one function a line, all of them here.

The status lines are those of the demo that this program grew out of; `[+]` is good news, `[!]` is
trouble. Text of other people is made harmless here, right where it becomes a line. Where lines go
is not known here.
"""

from collections.abc import Iterable
from datetime import datetime

from chat.errors import REASONS, Reason
from chat.kex import fingerprint_of
from chat.names import printable

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
        return good(f"{printable(name)} left the server.")
    return trouble(f"{printable(name)} left the server: {printable(text or REASONS[reason])}.")


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
    lines = [good(f"New connection. Username: {printable(name)}")]
    if heard_by:
        lines.append(
            good(f"Broadcast message:  New person joined the room. Username: {printable(name)}")
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
    return trouble(f"{address} was refused: {printable(text)}.")


def member_line(name: str, since: float, key_digest: bytes) -> str:
    return good(f"{printable(name)}, since {time_of(since)}, {fingerprint_of(key_digest)}")


def members_count(count: int) -> str:
    return good("Nobody is here." if not count else f"In the room: {count}")


def nobody_named(name: str) -> str:
    return trouble(f"Nobody here is called {printable(name)}.")


def unknown_command(word: str) -> str:
    return trouble(f"Unknown command: {printable(word)}. HELP lists the commands.")


def needs_argument(word: str, argument: str) -> str:
    return trouble(f"{word} needs a {argument}.")


def stats(members: int, messages: int, log_bytes: int, uptime: float) -> str:
    return good(
        f"{members} members, {messages} messages exchanged, {log_bytes} bytes relayed, "
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
SERVER_CLOSED = trouble("The server has shut down.")


def server_fingerprint(of: str, known: bool) -> str:
    return good(f"Fingerprint of the server: {of}" + (" (known)" if known else " (new)"))


def in_the_room(names: Iterable[str]) -> str:
    return good("In the room: " + ", ".join(map(printable, names)))


def said(name: str, time_ms: int, text: str) -> str:
    return f"{time_of(time_ms / 1000)} {printable(name)}: {_lines(text)}"


def came(name: str) -> str:
    return good(f"New person joined the room. Username: {printable(name)}")


def notice(text: str) -> str:
    return good(f"The server says: {_lines(text)}")


def warning(text: str) -> str:
    return trouble(f"{printable(text)}.")


def not_acknowledged(count: int) -> str:
    if count == 1:
        return "1 message was not acknowledged"
    return f"{count} messages were not acknowledged"
