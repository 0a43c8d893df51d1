"""What a person can type: messages, and the commands that begin with a slash.

Scripts do not come here: what they send is sent as it is.
"""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from chat import phrases
from chat.client.events import MessageQueued, MessageReceived
from chat.client.view import ChatClient
from chat.errors import OutboxFullError
from chat.limits import MAX_MEMBERS
from chat.text import as_action, fold_name
from chat.ui import transcript

_HELP = {
    "/help": ("", "show this"),
    "/who": ("", "who is in, since when, with which fingerprint"),
    "/me": ("waves", "tell what you do"),
    "/ignore": ("name", "do not show what somebody says; without a name, list them"),
    "/unignore": ("name", "show it again"),
    "/more": ("number", "show a folded message whole; without a number, the last"),
    "/bell": ("on|off", "ring when your name is said"),
    "/security": ("", "what protects this conversation, and the fingerprints"),
    "/clear": ("", "clear the screen"),
    "/exit": ("", "leave (also EXIT, Ctrl-D)"),
    "/quit": ("", "leave"),
}


_PATH_OR_COMMENT = re.compile(r"/(\*|[^/\s]+/)")
"""How a text can begin with a slash and be no command: no command has another one in its word."""


class Commands:
    """Obeys one person."""

    def __init__(
        self,
        client: ChatClient,
        show: Callable[[list[str]], None],
        clear: Callable[[], None],
        unfold: Callable[[str], bool],
    ) -> None:
        """`show` gets lines, `clear` clears the screen; `unfold` shows what was folded under this
        number, or last, and says whether there is such a thing."""
        self._client = client
        self._show = show
        self._unfold = unfold
        self.bell = True
        """Whether it is to ring."""
        self._ignored: dict[str, str] = {}
        self._speakers: dict[str, None] = {}
        self._actions: dict[str, Callable[[str], None]] = {
            "/help": self._on_help,
            "/who": self._on_who,
            "/me": lambda _: show([phrases.needs_argument("/me", "text")]),
            "/ignore": self._on_ignore,
            "/unignore": self._on_unignore,
            "/more": self._on_more,
            "/bell": self._on_bell,
            "/security": self._on_security,
            "/clear": lambda _: clear(),
            "/exit": lambda _: client.leave(),
            "/quit": lambda _: client.leave(),
        }

    def message_of(self, line: str, *, pasted: bool = False) -> str | None:
        """The message that the line is, or makes; None if it is none. What was pasted is one as it
        is, whatever it begins with."""
        word, _, argument = line.partition(" ")
        if not line.strip():
            return None
        if pasted or _PATH_OR_COMMENT.match(line):
            return line
        if line.startswith("//"):
            return line[1:]
        if word.lower() == "/me" and argument.strip():
            return as_action(argument.strip())
        return None if line.startswith("/") or line == "EXIT" else line

    def typed(self, text: str) -> str:
        """The line that says this text when it is typed, or called back; empty if there is none."""
        for line in (text, "/" + text):
            if self.message_of(line) == text:
                return line
        return ""

    def take(self, line: str, *, pasted: bool = False) -> MessageQueued | None:
        """Send the line, or obey it. Returns what was sent, if anything was.

        Raises:
            OutboxFullError: no message can be taken for the moment; commands always can.
            UsageError: it is too long to be sent.
        """
        message = self.message_of(line, pasted=pasted)
        if message is not None:
            if self._client.full:
                raise OutboxFullError("no more messages can be taken for the moment")
            return self._client.say(message)
        if line == "EXIT":
            self._client.leave()
        elif line.startswith("/"):
            self._obey(line)
        return None

    def _obey(self, line: str) -> None:
        word, _, argument = line.partition(" ")
        action = self._actions.get(word.lower())
        if action is None:
            nearest = get_close_matches(word.lower(), self._actions, 1)
            self._show([transcript.no_such_command(word, "".join(nearest))])
        else:
            action(argument.strip())

    # -- the commands

    def _on_help(self, _argument: str) -> None:
        lines = [
            transcript.command_line(f"{word} {argument}", text)
            for word, (argument, text) in _HELP.items()
        ]
        self._show(lines)

    def _on_who(self, _argument: str) -> None:
        members = self._client.members()
        lines = [phrases.member_line(one.name, one.since, one.fingerprint) for one in members]
        self._show([phrases.members_count(len(members)), *lines])

    def _on_ignore(self, name: str) -> None:
        key = fold_name(name)
        names = {fold_name(present): present for present in self._names()}
        if not name:
            self._show([transcript.ignoring(self._ignored.values())])
        elif key not in names:
            self._show([phrases.nobody_named(name)])
        elif key == fold_name(self._client.name):
            self._show([transcript.IGNORE_ONESELF])
        else:
            self._ignored[key] = names[key]
            self._show([transcript.ignoring([names[key]])])

    def _on_unignore(self, name: str) -> None:
        if not name:
            self._show([phrases.needs_argument("/unignore", "name")])
        elif self._ignored.pop(fold_name(name), None) is None:
            self._show([transcript.not_ignored(name)])
        else:
            self._show([transcript.ignoring(self._ignored.values())])

    def _on_more(self, number: str) -> None:
        if not self._unfold(number):
            self._show([transcript.not_folded(number)])

    def _on_bell(self, argument: str) -> None:
        if argument.lower() in ("on", "off"):
            self.bell = argument.lower() == "on"
            self._show([transcript.BELL[self.bell]])
        else:
            self._show([transcript.BELL_USAGE])

    def _on_security(self, _argument: str) -> None:
        client = self._client
        self._show(transcript.security(client.server_fingerprint, client.members()))

    # -- what was said

    def ignores(self, said: MessageReceived) -> bool:
        """Whether this is not to be shown; notes who has spoken."""
        if not said.own:
            self._speakers.pop(said.name, None)
            self._speakers[said.name] = None
            if len(self._speakers) > MAX_MEMBERS:
                del self._speakers[next(iter(self._speakers))]
        return not said.own and fold_name(said.name) in self._ignored

    def _names(self) -> list[str]:
        """Everybody who is in, those who spoke last first."""
        present = {one.name: None for one in self._client.members()}
        spoken = [name for name in reversed(self._speakers) if name in present]
        return list(dict.fromkeys([*spoken, *present]))

    def completions(self, line: str, begin: int) -> list[str]:
        """What the word that begins there, at the end of the line, can be completed to."""
        word = line[begin:]
        if begin == 0 and word.startswith("/"):
            return [f"{command} " for command in self._actions if command.startswith(word.lower())]
        command = line.split(" ")[0].lower()
        if command == "/unignore":
            return _matching(self._ignored.values(), word, "")
        others = [name for name in self._names() if name != self._client.name]
        if command == "/ignore":
            return _matching(others, word, "")
        return _matching(others, word, ": " if begin == 0 else " ")


def _matching(names: Iterable[str], word: str, end: str) -> list[str]:
    key = fold_name(word)
    return [name + end for name in names if fold_name(name).startswith(key)]
