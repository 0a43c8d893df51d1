"""The error tree: its outline, its exit statuses, and a sentence for every reason."""

import re

import pytest

from chat import errors
from chat.errors import (
    REASONS,
    ChatError,
    EditorMissingError,
    IdentityError,
    OpenError,
    ProtocolError,
    Reason,
    RefusedError,
    ServerKeyError,
    TransportError,
    UnacknowledgedError,
    UsageError,
    cause_of,
)


def _below(error: type[ChatError]) -> list[str]:
    """The tree under `error`, parents first, in the order of definition."""
    names = [error.__name__]
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            names += _below(child)
    return names


def test_outline_in_the_docstring_is_the_tree() -> None:
    outline = re.findall(r"^[\s│├└─]*(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert outline == _below(ChatError)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ChatError("it went wrong"), 1),
        (IdentityError("it went wrong"), 1),
        (TransportError("it went wrong"), 1),
        (EditorMissingError("it went wrong"), 1),
        (UnacknowledgedError("it went wrong"), 1),
        (ProtocolError("it went wrong"), 1),
        (UsageError("it went wrong"), 2),
        (RefusedError(Reason.FULL, "it went wrong"), 3),
        (ServerKeyError("it went wrong"), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ChatError) else str(value),
)
def test_error_has_its_sentence_and_its_exit_status(error: ChatError, status: int) -> None:
    assert str(error) == "it went wrong"
    assert error.hint == ""
    assert error.exit_status == status


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(2, "No such file", "/Home"), "no such file"),
        (OSError(0, "It is in /Home"), "it is in /Home"),
        (OSError("It is in /Home"), "it is in /Home"),
        (ValueError("Null byte"), "null byte"),
        (OSError(), ""),
    ],
)
def test_cause_stands_within_a_sentence_and_a_path_in_it_is_as_it_was(
    error: Exception, cause: str
) -> None:
    assert cause_of(error) == cause


def test_added_text_follows_the_sentence_and_leaves_the_hint() -> None:
    error = ServerKeyError("the key has changed", "ask")
    error.add("2 messages were not acknowledged")
    error.add("nor was a third")
    assert str(error) == "the key has changed; 2 messages were not acknowledged; nor was a third"
    assert error.hint == "ask"
    assert error.advice == f"{error}: ask"


def test_open_error_is_always_the_same_breach_of_the_protocol() -> None:
    assert str(OpenError()) == str(OpenError())
    assert OpenError().reason is ProtocolError("anything").reason is Reason.PROTOCOL
    assert ProtocolError("too slow", Reason.TIMEOUT).reason is Reason.TIMEOUT


def test_every_reason_has_a_sentence_of_its_own() -> None:
    assert set(REASONS) == set(Reason)
    assert len(set(REASONS.values())) == len(Reason)
    assert all(0 < reason < 256 for reason in Reason), "it travels in a byte"
