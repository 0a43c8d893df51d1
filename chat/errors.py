"""The error tree, and the reasons for which a connection ends.

    ChatError                  an error that is told in one line, without a traceback
    ├── UsageError             the user asked for something impossible
    │   ├── CommandError       a line looks like a command, but is none
    │   ├── InviteError        an invite is damaged, or is none
    │   └── OutboxFullError    too much is unacknowledged to send more at the moment
    ├── ProtocolError          the peer broke the protocol; ends its session, with a reason
    │   ├── ForgeableError     what is wrong was found before any MAC was checked
    │   │   └── OpenError      a sealed frame does not open; never says more than that
    │   └── ClockError         the server's signature is not valid at the time of our clock
    ├── RefusedError           the server does not let us in, or put us out
    ├── ClusterError           this server cannot join the others of its cluster
    ├── IdentityError          a key file, or a list in the folder of the keys, cannot be used
    ├── ServerKeyError         the server's key is not the expected one
    ├── TransportError         the network: unreachable, refused, lost
    │   └── ProxyRefusedError  the proxy would say no again, however often it is asked
    ├── EditorMissingError     lines cannot be edited here
    └── UnacknowledgedError    some messages may not have arrived

Each has the exit status of the process that it ends, and a `hint` that says what to do about it.
"""

from enum import IntEnum


class Reason(IntEnum):
    """Why a session ends (PROTOCOL 5.3). The number travels; the sentences are `REASONS`."""

    LEFT = 1
    LOST = 2
    CLOSING = 3
    KICKED = 4
    TOO_SLOW = 5
    PROTOCOL = 6
    TIMEOUT = 7
    REPLACED = 8
    RESTARTING = 9
    NAME_TAKEN = 16
    NAME_INVALID = 17
    FULL = 18
    NOT_ALLOWED = 19
    NO_ROOM = 20


REASONS = {
    Reason.LEFT: "left the room",
    Reason.LOST: "the connection was lost",
    Reason.CLOSING: "the server is shutting down",
    Reason.KICKED: "put out by the server's operator",
    Reason.TOO_SLOW: "fell too far behind the conversation",
    Reason.PROTOCOL: "does not follow the protocol",
    Reason.TIMEOUT: "was silent for too long",
    Reason.REPLACED: "came back over another connection",
    Reason.RESTARTING: "the server restarts and will be back in a moment",
    Reason.NAME_TAKEN: "the name is taken",
    Reason.NAME_INVALID: "the name cannot be used",
    Reason.FULL: "the room is full",
    Reason.NOT_ALLOWED: "this key may not come in",
    Reason.NO_ROOM: "there is no such room here",
}

LOSSES = (Reason.LOST, Reason.TIMEOUT, Reason.TOO_SLOW, Reason.RESTARTING)
"""Endings that the member did not want. It may come back: the server keeps its place for a while,
and the client tries again. (RESTARTING ends all rooms, so there is no place to keep.)"""

SERVER_ENDS = (Reason.CLOSING, Reason.RESTARTING)
"""Endings of the whole server, for good or to start anew. What was said is sent before them."""


def cause_of(error: Exception) -> str:
    """What the system says of an error, to stand within a sentence: a path in it is as it was."""
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]


class ChatError(Exception):
    """An error that is told in one line. `hint` says what to do about it, if anything."""

    exit_status = 1

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint

    def add(self, text: str) -> None:
        """Append to the sentence, and leave the hint."""
        self.args = (f"{self}; {text}",)

    @property
    def advice(self) -> str:
        """The sentence and the hint in one."""
        return f"{self}: {self.hint}" if self.hint else str(self)


class UsageError(ChatError):
    """The user asked for something impossible."""

    exit_status = 2


class CommandError(UsageError):
    """A line looks like a command, but is none."""


class InviteError(UsageError):
    """An invite is damaged, or is none. The sentence quotes nothing of its secret."""


class OutboxFullError(UsageError):
    """So much is unacknowledged that no message is taken at the moment."""


class ProtocolError(ChatError):
    """The peer broke the protocol."""

    def __init__(self, text: str, reason: Reason = Reason.PROTOCOL) -> None:
        super().__init__(text)
        self.reason = reason


class ForgeableError(ProtocolError):
    """Something is wrong that anybody on the wire could have caused, since no MAC vouches for it.
    So it says nothing about the peer, and is no more than a broken cable."""


class OpenError(ForgeableError):
    """A sealed frame does not open."""

    def __init__(self) -> None:
        super().__init__("a sealed frame does not open")


class ClockError(ProtocolError):
    """The server's signature was valid until `not_after`, and it is `now`; both in seconds since
    1970, the first by the server's clock and the second by ours."""

    def __init__(self, not_after: int, now: float) -> None:
        super().__init__("what the server signed is not valid now")
        self.not_after = not_after
        self.now = now


class RefusedError(ChatError):
    """The server does not let us in, or put us out."""

    exit_status = 3

    def __init__(self, reason: Reason, text: str, hint: str = "") -> None:
        super().__init__(text, hint)
        self.reason = reason


class ClusterError(ChatError):
    """This server cannot join the others."""

    def __init__(self, wrong: list[str]) -> None:
        """`wrong`: what was found, each a sentence."""
        super().__init__("\n    ".join(wrong))


class IdentityError(ChatError):
    """A key file or a list in the folder of the keys cannot be used."""


class ServerKeyError(ChatError):
    """The server's key is not the expected one."""

    exit_status = 4


class TransportError(ChatError):
    """The network is unreachable, or refused or lost a connection."""


class ProxyRefusedError(TransportError):
    """The proxy does not let us in, or is none: to ask it once more changes nothing."""


class EditorMissingError(ChatError):
    """Lines cannot be edited here."""


class UnacknowledgedError(ChatError):
    """Some messages may not have arrived."""
