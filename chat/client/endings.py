"""How a connection's end ends the stay, or does not; and the sentences for a stay that ends badly.

`outcome_of` is a table of stages and reasons. A stage is how far the connection had come, and
whether we had been in the room before. Two rules are behind it. Nobody vouches for what is said in
the handshake, so anybody could forge a refusal: a member who comes back takes it for a loss. And a
client that has never been in the room has nothing to come back to, so for it each end is final; but
what was only lost may be tried again, and the client knows whether it may wait for that.
"""

from collections.abc import Mapping
from enum import Enum, auto

from chat.errors import LOSSES, REASONS, ClockError, Reason, RefusedError, TransportError
from chat.localtime import time_of
from chat.session import Ended
from chat.text import counted, escape_line


class Outcome(Enum):
    """What the end of a connection does to the stay."""

    LOSE = auto()
    """The connection is lost. Get it back."""
    TRY_AGAIN = auto()
    """The connection was lost before we were in for the first time. Later it may go well."""
    END_WELL = auto()
    """The stay is over, and nothing is wrong."""
    REFUSE = auto()
    """The stay is over: the server does not want us."""
    FAIL = auto()
    """The stay is over: something is wrong."""


_FINAL: Mapping[Reason, Outcome] = {
    **dict.fromkeys(Reason, Outcome.FAIL),
    Reason.KICKED: Outcome.REFUSE,
    Reason.REPLACED: Outcome.REFUSE,
    Reason.NAME_TAKEN: Outcome.REFUSE,
    Reason.NAME_INVALID: Outcome.REFUSE,
    Reason.FULL: Outcome.REFUSE,
    Reason.NOT_ALLOWED: Outcome.REFUSE,
    Reason.NO_ROOM: Outcome.REFUSE,
}

_FIRST = {**_FINAL, **dict.fromkeys(LOSSES, Outcome.TRY_AGAIN)}

_OUTCOMES: Mapping[tuple[bool, bool], Mapping[Reason, Outcome]] = {
    # Has joined before, is established:
    (False, False): _FIRST,
    (False, True): _FIRST,
    (True, False): dict.fromkeys(Reason, Outcome.LOSE),
    (True, True): {
        **_FINAL,
        **dict.fromkeys(LOSSES, Outcome.LOSE),
        # The places may be our own, of connections of which nobody knows yet that they are lost.
        Reason.FULL: Outcome.LOSE,
        Reason.CLOSING: Outcome.END_WELL,
    },
}

_OF_ONE_SERVER = {*LOSSES, Reason.CLOSING, Reason.FULL, Reason.NO_ROOM}


def may_differ_elsewhere(end: Ended) -> bool:
    """Whether another server of the same room may let us in where one ended like this. If the clock
    is wrong, it may be that of this server alone."""
    return end.reason in _OF_ONE_SERVER or isinstance(end.error, ClockError)


def outcome_of(reason: Reason, established: bool, has_joined: bool) -> Outcome:
    """What the end of a connection does to the stay. `established`: the handshake was completed;
    `has_joined`: we have been in the room before."""
    return _OUTCOMES[has_joined, established][reason]


_OF_A_CLIENT = (Reason.TIMEOUT, Reason.TOO_SLOW, Reason.PROTOCOL, Reason.REPLACED)
"""Reasons whose words say what the client has done, and not who."""

_STRANGE = "is it a chat server that listens there?"
_MUTE = "it may be stopped or overloaded, or it is no chat server"


def loss_of(end: Ended) -> TransportError:
    """Why the connection was lost."""
    if isinstance(end.error, ClockError):
        text = clocks_differ(end.error.not_after, end.error.now)
        return TransportError(text, "set this machine's clock right, or ask for the server's")
    return TransportError(_sentence_of(end, True) if end.by_peer else escape_line(end.text))


def refusal_of(end: Ended, established: bool) -> RefusedError:
    """Why the server does not want us."""
    return RefusedError(end.reason, _sentence_of(end, established))


def key_for_the_list(name: str, openssh: str) -> str:
    """What somebody can do who may not come in: the line is for the server's list of keys."""
    return f"whoever runs the server can let you in; this is your key:\n    {openssh} {name}"


def failure_of(end: Ended, established: bool) -> TransportError:
    """Why the stay cannot go on."""
    if end.by_peer:
        return TransportError(f"the server ended the connection: {_sentence_of(end, established)}")
    error = loss_of(end)
    if not established and not error.hint:
        error.hint = _MUTE if end.reason is Reason.TIMEOUT else _STRANGE
    return error


def passed_over(where: str, end: Ended, established: bool) -> TransportError:
    """Why we go from this server to another one."""
    if end.by_peer:
        return TransportError(f"{where} says: {_sentence_of(end, established)}")
    return TransportError(f"{where}: {loss_of(end)}")


def _sentence_of(end: Ended, established: bool) -> str:
    """The peer's own sentence. Before the handshake is complete anybody on the way may have said
    it, and nobody should do what a stranger advises: then the words for the reason come first."""
    sentence = escape_line(end.text)
    if sentence == REASONS[end.reason]:
        return f"this client {sentence}" if end.reason in _OF_A_CLIENT else sentence
    if established:
        return sentence
    return f'{REASONS[end.reason]} (it says, unproved: "{sentence}")'


def clocks_differ(not_after: float, now: float) -> str:
    """Until when the server's signature was good, and the time here; both in seconds since 1970."""
    return (
        f"one of the two clocks is wrong: what the server signed was good until "
        f"{time_of(not_after)}, and here it is {time_of(now)}"
    )


def not_acknowledged(count: int) -> str:
    return f"{counted(count, 'message')} not acknowledged"


def not_answered(command: str) -> str:
    word = command.partition(" ")[0].upper()
    return f"the connection was lost before the server answered {word}; it may have obeyed or not"


def not_sent(count: int) -> str:
    return f"{counted(count, 'line')} not sent"


def not_commands(count: int) -> str:
    return "1 line was not a command" if count == 1 else f"{count} lines were not commands"


def closed_before_the_end(lines: int) -> str:
    text = "the server has shut down before the end of the input"
    return f"{text}: {counted(lines, 'line')} read and not sent" if lines else text
