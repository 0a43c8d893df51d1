"""A conversation for programs: one JSON object a line (https://jsonlines.org), both ways.

`docs/BOTS.md` describes the fields, which do not change.
"""

import json
from dataclasses import asdict
from typing import Any

from chat.client.events import (
    ClientEvent,
    Connected,
    Disconnected,
    Entered,
    Failed,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageNotForUs,
    MessageReceived,
    NoticeReceived,
    Person,
    Reconnected,
    RoomClosed,
    ServerMet,
    Tampered,
    Warned,
)
from chat.client.view import ChatClient
from chat.errors import REASONS, CommandError
from chat.limits import CONSOLE_LINE_BYTES
from chat.text import action_of, as_action, fingerprint_of
from chat.ui.plain import LineView

Fields = dict[str, Any]


class JsonView(LineView):
    """Events out; commands, or plain lines that are messages, in."""

    def open(self, client: ChatClient) -> None:
        # This is for programs, even at a terminal: no commands that begin with a slash.
        self.client = client

    def show(self, event: ClientEvent) -> None:
        fields = fields_of(event)
        if fields is not None:
            self._emit(fields)

    def _emit(self, fields: Fields) -> None:
        self.output.write(json.dumps(fields))

    def _warn(self, why: str) -> None:
        self.show(Warned(why))

    def _take(self, line: str) -> None:
        command = _command_in(line)
        if not command:
            super()._take(line)
            return
        if self.input.line_bytes > CONSOLE_LINE_BYTES:
            raise CommandError(*self._too_long("command"))
        fields = _parse(command)
        match fields:
            case {"say": str(text)} if text:
                self.client.say(text)
            case {"me": str(text)} if text:
                self.client.say(as_action(text))
            case {"who": True}:
                members = [_person(one) for one in self.client.members()]
                self._emit({"event": "members", "members": members})
            case {"leave": True}:
                self.input.stop()
                self.client.finish()
            case _:
                raise CommandError(_what_is_wrong(*fields))

    def _is_message(self, line: str) -> bool:
        if not _command_in(line):
            return super()._is_message(line)
        match _parsed(line):
            case {"say": str(text)} | {"me": str(text)}:
                return bool(text)
        return False

    def _leaves(self, line: str) -> bool:
        return super()._leaves(line) or _parsed(line) == {"leave": True}


_TEXT = "a text that is not empty"
_TAKES = {"say": _TEXT, "me": _TEXT, "who": "true", "leave": "true"}
"""What is right of each command, in words."""


def _what_is_wrong(name: str) -> str:
    """Why a field with this name is no command: there is none of this name, or it takes another
    value."""
    takes = _TAKES.get(name)
    return f"{name} takes {takes}" if takes else "a command is one of say, me, who and leave"


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
    Entered: "entered",
    Disconnected: "disconnected",
    Reconnected: "reconnected",
    MessageNotForUs: "not-for-you",
    Tampered: "tampered",
    MemberJoined: "joined",
    MemberLost: "lost",
    MemberBack: "back",
    NoticeReceived: "notice",
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
        case MemberLeft(name, reason):
            return {"event": "left", "name": name, "reason": REASONS[reason]}
    kind = EVENTS.get(type(event))
    return None if kind is None else {"event": kind, **asdict(event)}


def _content(said: MessageReceived) -> Fields:
    action = action_of(said.text)
    return {
        "name": said.name,
        "text": said.text if action is None else action,
        "action": action is not None,
        "time": said.time_ms / 1000,
    }


def _person(one: Person) -> Fields:
    return {
        "name": one.name,
        "since": one.since,
        "fingerprint": fingerprint_of(one.fingerprint),
        "connections": one.connections,
        "calling": one.calling,
    }
