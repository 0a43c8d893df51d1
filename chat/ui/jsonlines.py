"""A conversation for programs: one JSON object a line (https://jsonlines.org), both ways.

`docs/BOTS.md` describes the fields, which do not change.
"""

import json
from collections.abc import Iterable
from typing import Any

from chat.client.events import (
    Answered,
    ClientEvent,
    ClockDiffers,
    Connected,
    Disconnected,
    Entered,
    Failed,
    KeyChanged,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageNotForUs,
    MessageReceived,
    MotdReceived,
    NameChanged,
    NoticeReceived,
    Person,
    Reconnected,
    RoomClosed,
    Security,
    ServerMet,
    Tampered,
    TopicSet,
    Warned,
)
from chat.client.view import ChatClient
from chat.errors import REASONS, CommandError
from chat.frozen import as_dict
from chat.limits import CONSOLE_LINE_BYTES
from chat.text import action_of, as_action, fingerprint_of
from chat.ui.addressee import person_called
from chat.ui.plain import LineView
from chat.ui.transcript import when_back

Fields = dict[str, Any]


class JsonView(LineView):
    """Events out; commands, or plain lines that are messages, in."""

    def open(self, client: ChatClient) -> None:
        # This is for programs, even at a terminal: no commands that begin with a slash.
        self.client = client

    def _show(self, event: ClientEvent) -> None:
        fields = fields_of(event)
        if fields is not None:
            self._emit(fields)

    def _emit(self, fields: Fields) -> None:
        self.output.write(json.dumps(fields))

    def _warn(self, why: str) -> None:
        self._show(Warned(why))

    def _take(self, line: str) -> None:
        command = _command_in(line)
        if not command:
            super()._take(line)
            return
        if self.input.line_bytes > CONSOLE_LINE_BYTES:
            raise CommandError(*self._too_long("command"))
        fields = _parse(command)
        if not self._say(fields) and not self._answer(fields):
            raise CommandError(_what_is_wrong(*fields))

    def _say(self, fields: Fields) -> bool:
        """Say what a command says, or leave; whether this is such a command."""
        match fields:
            case {"say": str(text)} if text:
                self.client.say(text)
            case {"me": str(text)} if text:
                self.client.say(as_action(text))
            case {"direct": {"to": str(to), "text": str(text), **more}} if text and not more:
                person = person_called(to, self.client.members())
                self.client.say_direct(person, text)
                if not person.connections:
                    self._show(Warned(when_back(person.name)))
            case {"leave": True}:
                self.input.stop()
                self.client.finish()
            case _:
                return False
        return True

    def _answer(self, fields: Fields) -> bool:
        """Answer a command with an event; whether this is such a command."""
        match fields:
            case {"who": True}:
                self._emit(_members(self.client.members()))
            case {"invite": True}:
                self._emit({"event": "invite", "invite": self.client.invite})
            case {"topic": True}:
                self._show(self.client.topic())
            case {"security": True}:
                self._emit(_security(self.client.security()))
            case {"op": str(command)} if command.strip():
                self.client.operate(command)
            case {"trust": str(name)} if name:
                self._trust(name)
            case {"ignore": str(name)} if name:
                self._ignore(name)
            case {"unignore": str(name)} if name:
                self.client.unignore(name)
                self._emit({"event": "ignored", "names": self.client.ignored()})
            case _:
                return False
        return True

    def _trust(self, name: str) -> None:
        if self.client.trust(name) is None:
            self._warn(f"nobody here is called {name}")
        else:
            self._emit(_members(self.client.members()))

    def _ignore(self, name: str) -> None:
        if not self.client.ignore(name):
            self._warn(f"nobody else is called {name}")
        self._emit({"event": "ignored", "names": self.client.ignored()})

    def _is_message(self, line: str) -> bool:
        if not _command_in(line):
            return super()._is_message(line)
        match _parsed(line):
            case {"say": str(text)} | {"me": str(text)} | {"direct": {"text": str(text)}}:
                return bool(text)
        return False

    def _leaves(self, line: str) -> bool:
        return super()._leaves(line) or _parsed(line) == {"leave": True}


_TEXT = "a text that is not empty"
_NAME = "a name"
_TAKES = {
    "say": _TEXT,
    "me": _TEXT,
    "direct": f'an object with "to", a name, and "text", {_TEXT}',
    "who": "true",
    "invite": "true",
    "topic": "true",
    "security": "true",
    "op": "a command for the server",
    "trust": _NAME,
    "ignore": _NAME,
    "unignore": _NAME,
    "leave": "true",
}
"""What is right of each command, in words."""


def _what_is_wrong(name: str) -> str:
    """Why a field with this name is no command: there is none of this name, or it takes another
    value."""
    takes = _TAKES.get(name)
    *names, last = _TAKES
    return (
        f"{name} takes {takes}" if takes else f"a command is one of {', '.join(names)} and {last}"
    )


def _command_in(line: str) -> str:
    """The line, if it begins as JSON does, and so can only be meant as a command; else empty."""
    line = line.strip().removeprefix("\ufeff").lstrip()
    return line if line.startswith(("{", "[")) else ""


def _parsed(line: str) -> object:
    """The command in a line; None if it has none."""
    try:
        return _parse(_command_in(line))
    except CommandError:
        return None


def _parse(line: str) -> Fields:
    try:
        command = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise CommandError(f"this is not JSON: {exc}") from exc
    if not isinstance(command, dict) or len(command) != 1:
        raise CommandError('a command is an object with one field, as in {"say": "text"}')
    return command


EVENTS = {
    Connected: "connected",
    ServerMet: "server",
    Disconnected: "disconnected",
    Reconnected: "reconnected",
    ClockDiffers: "clock-differs",
    MessageNotForUs: "not-for-you",
    Tampered: "tampered",
    MemberLost: "lost",
    MemberBack: "back",
    NoticeReceived: "notice",
    TopicSet: "topic",
    MotdReceived: "motd",
    Answered: "answer",
    RoomClosed: "closed",
    Warned: "warning",
    Failed: "error",
}


def fields_of(event: ClientEvent) -> Fields | None:
    """The object for an event; None if programs need not know of it."""
    match event:
        case MessageReceived(own=True):
            return {"event": "acknowledged", "number": event.number, **_content(event)}
        case MessageReceived():
            return {"event": "message", **_content(event)}
        case MemberLeft(name, reason, parting):
            return {"event": "left", "name": name, "reason": REASONS[reason], "text": parting}
        case Entered():
            fields = {"members": event.members, "again": event.again, "unproved": event.unproved}
            return {"event": "entered", **fields, **_room(event.tag)}
        case MemberJoined(name, fingerprint, unproved):
            key = fingerprint_of(fingerprint)
            return {"event": "joined", "name": name, "fingerprint": key, "unproved": unproved}
        case KeyChanged(name, known, shown, since):
            keys = {"known": fingerprint_of(known), "shown": fingerprint_of(shown)}
            return {"event": "key-changed", "name": name, **keys, "since": since}
        case NameChanged(name, before, fingerprint, since):
            key = fingerprint_of(fingerprint)
            names = {"name": name, "before": before}
            return {"event": "name-changed", **names, "fingerprint": key, "since": since}
    kind = EVENTS.get(type(event))
    return None if kind is None else {"event": kind, **as_dict(event)}


def _content(said: MessageReceived) -> Fields:
    action = action_of(said.text)
    return {
        "name": said.name,
        "text": said.text if action is None else action,
        "action": action is not None,
        "time": said.time_ms / 1000,
        "arrived": said.arrived_ms / 1000,
        "doubtful": said.doubtful,
        "direct": said.to or None,
    }


def _room(tag: bytes) -> Fields:
    return {"room": "sealed" if tag else "open", "tag": tag.hex()}


def _members(members: Iterable[Person]) -> Fields:
    return {"event": "members", "members": [_person(one) for one in members]}


def _person(one: Person) -> Fields:
    return {
        "name": one.name,
        "since": one.since,
        "fingerprint": fingerprint_of(one.fingerprint),
        "connections": one.connections,
        "calling": one.calling,
        "known": one.standing.value,
        "known_since": one.known_since or None,
        "unproved": one.unproved,
        "ignored": one.ignored,
    }


def _security(here: Security) -> Fields:
    return {
        "event": "security",
        **_room(here.tag),
        "server": here.server,
        "checked": here.checked_at,
        "all_checked": here.all_checked,
        "tampered": here.tampered,
        "tampered_at": here.tampered_at or None,
        "unconfirmed": here.unconfirmed,
        "split": here.split,
        "members": [_person(one) for one in here.members],
    }
