"""The words that a person at the client reads: one function a line.

The status lines are those of the demo that this program grew out of; `[+]` is good news, `[!]` is
trouble. Text of other people is made harmless here, right where it becomes a line. Where lines go,
and what they look like there, is not known here.
"""

from collections.abc import Iterable

from chat.client.events import (
    ClientEvent,
    Connected,
    Connecting,
    Disconnected,
    Entered,
    KeysExchanged,
    Leaving,
    LookingUp,
    MakingKey,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
    NoticeReceived,
    OutboxFull,
    Person,
    Reconnected,
    RoomClosed,
    ServerMet,
    Warned,
)
from chat.localtime import time_of
from chat.phrases import INDENT, MAKING_KEY, MAKING_KEY_NOW, back, good, left, lost, trouble
from chat.text import action_of, escape, escape_line, fingerprint_of


def _lines(text: str) -> str:
    return escape(text).replace("\n", "\n" + INDENT)


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


def said(message: MessageReceived, time_format: str) -> tuple[str, str, str]:
    """When, who, and what, which may have several lines."""
    time = time_of(message.time_ms / 1000, time_format)
    action = action_of(message.text)
    if action is None:
        return time, f"{escape_line(message.name)}:", escape(message.text)
    return time, f"* {escape_line(message.name)}", escape(action)


def happened(event: ClientEvent) -> list[str]:
    """What happens, but for what is said, in words."""
    return _happened_to_us(event) + _happened_to_others(event)


def _happened_to_us(event: ClientEvent) -> list[str]:
    match event:
        case MakingKey():
            return [MAKING_KEY]
        case Connected():
            return [CONNECTED, *EXCHANGING]
        case ServerMet(fingerprint, known):
            return [server_fingerprint(fingerprint, known), SENDING_KEY]
        case KeysExchanged():
            return [EXCHANGED]
        case Entered(members, again):
            listed = good("In the room: " + ", ".join(map(escape_line, members)))
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
        case OutboxFull(messages):
            return [outbox_full(messages)]
        case Leaving():
            return [good(f"{activity(event)}.")]
        case Warned(text):
            return [trouble(f"{escape_line(text)}.")]
    return []


def _happened_to_others(event: ClientEvent) -> list[str]:
    match event:
        case MemberJoined(name):
            return [good(f"New person joined the room. Username: {escape_line(name)}")]
        case MemberLeft(name, reason):
            return [left(name, reason)]
        case MemberLost(name):
            return [lost(name)]
        case MemberBack(name):
            return [back(name)]
        case NoticeReceived(text):
            return [good(f"The server says: {_lines(text)}")]
        case RoomClosed():
            return [trouble("The server has shut down.")]
    return []


def folded(lines: int, characters: int, number: int) -> str:
    """What stands below the first rows of a message that has too many."""
    what = f"{lines:,} more lines" if lines > 1 else f"{characters:,} more characters"
    return good(f"{what} of this; /more {number} shows the whole.")


def line_not_sent(number: int, why: str) -> str:
    return f"chat: line {number}: {escape_line(why)}"


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
    return trouble(f"Unknown command: {escape_line(word)}; {hint} // sends a line with a slash.")


def security(server: str, members: Iterable[Person]) -> list[str]:
    """What protects this conversation, and the fingerprints to compare."""
    return [
        *CONVERSATION_PROTECTED,
        good(f"{server} the server"),
        *(good(f"{fingerprint_of(one.fingerprint)} {escape_line(one.name)}") for one in members),
    ]


IGNORE_ONESELF = trouble("That is you.")


def not_ignored(name: str) -> str:
    return trouble(f"{escape_line(name)} is not ignored.")


def ignoring(names: Iterable[str]) -> str:
    listed = ", ".join(map(escape_line, names))
    return good(f"Ignored: {listed}" if listed else "Nobody is ignored.")


def not_folded(number: str) -> str:
    return trouble(
        f"Nothing was folded as {escape_line(number)}." if number else "Nothing is folded."
    )


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


def activity(event: ClientEvent) -> str:
    """What begins with this and may take long; empty if nothing does."""
    match event:
        case MakingKey():
            return MAKING_KEY_NOW
        case LookingUp(host):
            return f"Looking up {escape_line(host)}"
        case Connecting(host, port):
            return f"Connecting to {escape_line(host)}, port {port}"
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
    return "... " + escape_line(text if (action := action_of(text)) is None else f"* {action}")


def more_pending(count: int) -> str:
    return f"... and {count} more"


def title(name: str, mentions: int) -> str:
    return f"({mentions}) chat: {escape_line(name)}"
