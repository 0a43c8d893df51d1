"""The words that both ends say, the server to its operator and the client to its person.

The status lines are those of the demo that this program grew out of; `[+]` is good news, `[!]` is
trouble. Text of other people is made harmless here, right where it becomes a line.
"""

from chat.errors import REASONS, Reason
from chat.localtime import time_of
from chat.text import escape_line, fingerprint_of

INDENT = "    "
"""Before the further lines of one message, so that none of them can pass for another's."""


def good(text: str) -> str:
    return f"[+] {text}"


TROUBLE = "[!]"


def trouble(text: str) -> str:
    return f"{TROUBLE} {text}"


MAKING_KEY = good("Making a new RSA key, which takes a moment")
MAKING_KEY_NOW = "Making a new RSA key"


def left(name: str, reason: Reason, text: str = "") -> str:
    if reason is Reason.LEFT:
        return good(f"{escape_line(name)} left the server.")
    return trouble(f"{escape_line(name)} left the server: {escape_line(text or REASONS[reason])}.")


def lost(name: str, text: str = "") -> str:
    return trouble(
        f"{escape_line(name)} lost the connection{': ' if text else ''}{escape_line(text)}."
    )


def back(name: str) -> str:
    return good(f"{escape_line(name)} is back.")


def member_line(name: str, since: float, key_digest: bytes) -> str:
    return good(f"{escape_line(name)}, since {time_of(since)}, {fingerprint_of(key_digest)}")


def members_count(count: int) -> str:
    return good("Nobody is here." if not count else f"In the room: {count}")


def nobody_named(name: str) -> str:
    return trouble(f"Nobody here is called {escape_line(name)}.")


def needs_argument(word: str, argument: str) -> str:
    return trouble(f"{word} needs a {argument}.")
