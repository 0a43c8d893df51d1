"""The operator's commands: what each asks of the server, and what it answers.

They are the same whoever gives them: at the console, through the admin socket, or from within a
room. Who may give one, and where the answer goes, is not known here.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from chat import phrases
from chat.errors import UsageError
from chat.frozen import frozen, replace
from chat.guesses import nearest
from chat.reactor import Reactor
from chat.server import words
from chat.server.access import Access
from chat.server.completion import completions
from chat.server.greeting import Greeting
from chat.server.lists import Ban
from chat.server.members import Member, count_people, people_of
from chat.stdio import is_text
from chat.text import nearest_name


class RoomControl(Protocol):
    """What the operator can ask of a room."""

    tag: bytes
    """Empty for the open room."""

    def members(self) -> list[Member]:
        """Who is in: each connection of a person is one."""

    def has(self, name: str) -> bool:
        """Whether somebody of this name is in, or is about to be."""

    def kick(self, name: str) -> None:
        """Put somebody out who is in, by all connections."""


class RoomsControl(Protocol):
    """What the operator can ask of all rooms."""

    @property
    def relayed(self) -> int:
        """Messages relayed so far, also in rooms that have ended."""

    @property
    def relayed_bytes(self) -> int:
        """Bytes of the logs so far."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of the logs that are kept now."""

    def __iter__(self) -> Iterator[RoomControl]:
        """The rooms there are."""


class Others(Protocol):
    """What the commands need of the other servers of a cluster."""

    def lines(self) -> list[str]:
        """How they are, for the operator."""


class ServerControl(Protocol):
    """What the operator can ask of a server."""

    @property
    def rooms(self) -> RoomsControl:
        """All rooms."""

    @property
    def is_last(self) -> bool:
        """Whether its end is the end for everybody: no other server carries the rooms."""

    def terminate(self) -> None:
        """Tell everybody, send what is queued, and stop. The second time: stop at once."""

    @property
    def comes_back(self) -> bool:
        """Whether it can be started anew, and is the same to its clients then."""

    def restart(self) -> None:
        """Tell everybody that the server is back in a moment, and start it anew."""

    def say(self, text: str) -> None:
        """Tell everybody something."""

    @property
    def greeting(self) -> Greeting:
        """What newcomers are told."""

    def set_topic(self, text: str) -> None:
        """Tell everybody the topic; an empty text takes it away. Raises UsageError."""

    @property
    def access(self) -> Access:
        """Who may come in, and whose a name is."""

    def keys_meant(self, words: str) -> tuple[str, set[str], str] | None:
        """The name and the fingerprints of the keys that the words mean, and the rest of them. The
        words are a name or a fingerprint, and then anything. None if no such name is known."""

    def ban(self, fingerprint: str, name: str, why: str) -> Ban:
        """Let a key in no more, and put out who has it."""

    def unban(self, which: str) -> list[Ban]:
        """Lift the bans of a name, or of a fingerprint (`Access.unban`)."""

    def forget(self, name: str) -> bool:
        """Free a name, at the other servers as well. Returns whether it was kept here."""

    def save_orders(self) -> None:
        """Write what was changed since this was called last, all of it at once."""

    @property
    def company(self) -> Others | None:
        """The other servers, if there are any."""


@frozen
class Deed:
    """What a command has changed: its word, and what stood behind it. `private`: that is something
    that is said to people, which no log is to have."""

    word: str
    argument: str = ""
    private: bool = False

    @property
    def text(self) -> str:
        """The command."""
        return f"{self.word} {self.argument}".rstrip()


@frozen
class Answer:
    """What comes of a command. `lines` are for whoever gave it. `done`: it was carried out;
    otherwise the lines say why not. `here` are more lines, for the console alone. `confirmation` is
    a line for those who do not see the console, where what happens is shown in any case. `then` is
    what ends the server: it is called when the answer is on its way. `deed`: what has changed, if
    anything has."""

    lines: tuple[str, ...] = ()
    done: bool = True
    here: tuple[str, ...] = ()
    confirmation: str = ""
    then: Callable[[], None] | None = None
    deed: Deed | None = None

    @property
    def afar(self) -> tuple[str, ...]:
        """The lines for those who do not see the console."""
        return (*self.lines, self.confirmation) if self.confirmation else self.lines


def _done(*lines: str) -> Answer:
    return Answer(lines)


def refused(*lines: str) -> Answer:
    """Nothing was done, and this is why."""
    return Answer(lines, done=False)


_ENDINGS = ("EXIT", "QUIT", "/EXIT", "/QUIT", "STOP", "BYE")
"""What ends other programs. Here it would end the room for everybody, so it has to be said."""

_WITH_ARGUMENT = {
    "KICK": "a name",
    "BAN": "a name",
    "UNBAN": "a name",
    "ALLOW": "a name",
    "FORGET": "a name",
    "SAY": "some text",
    "TOPIC": "",
}
"""The commands that take something behind them, and what each must have; TOPIC may have nothing."""

_PRIVATE = ("SAY", "TOPIC")


class Commands:
    """Carries out what operators ask of a server."""

    def __init__(self, reactor: Reactor, server: ServerControl, keys: Sequence[str] = ()) -> None:
        """`keys`: the lines of the help about the console's keys."""
        self._keys = tuple(keys)
        self._reactor = reactor
        self._server = server
        self._started_at = reactor.clock()
        self._commands = {
            "TERMINATE": self._on_terminate,
            "RESTART": self._on_restart,
            "HELP": self._on_help,
            "WHO": self._on_who,
            "ROOMS": self._on_rooms,
            "KICK": self._on_kick,
            "BAN": self._on_ban,
            "UNBAN": self._on_unban,
            "BANS": self._on_bans,
            "ALLOW": self._on_allow,
            "FORGET": self._on_forget,
            "SAY": self._on_say,
            "TOPIC": self._on_topic,
            "STATS": self._on_stats,
        }

    def completions(self, line: str) -> tuple[int, list[str]]:
        """Where that begins which can be completed in a command, and what it could become."""
        here = sorted(self._names_here())
        names = {
            "KICK": here,
            "BAN": here,
            "UNBAN": [ban.name or ban.fingerprint for ban in self._server.access.bans()],
        }
        taken: dict[str, Sequence[str]] = dict.fromkeys(_WITH_ARGUMENT, ())
        return completions(line, {**dict.fromkeys(self._commands), **taken, **names})

    def _names_here(self) -> set[str]:
        return {member.name for room in self._server.rooms for member in room.members()}

    def carry_out(self, line: str) -> Answer:
        """Obey a line, or say why not."""
        if not is_text(line):
            return refused(words.NOT_TEXT)
        word, _, argument = line.strip().partition(" ")
        word, argument, typed = word.upper(), argument.strip(), word
        if not word:
            return Answer()
        if word in _ENDINGS:
            return refused(words.ONLY_TERMINATE)
        if word not in self._commands:
            return refused(words.unknown_command(typed, nearest(word, self._commands)))
        if argument and word not in _WITH_ARGUMENT:
            return refused(phrases.takes_nothing(word))
        if not argument and (needed := _WITH_ARGUMENT.get(word)):
            return refused(phrases.needs_argument(word, needed))
        answer = self._commands[word](argument)
        if answer.then is not None or (answer.done and argument):
            return replace(answer, deed=Deed(word, argument, private=word in _PRIVATE))
        return answer

    def _on_terminate(self, _argument: str) -> Answer:
        if self._server.is_last:
            return Answer(confirmation=words.ENDING, then=self._server.terminate)
        return Answer((words.ENDING_HERE,), then=self._server.terminate)

    def _on_restart(self, _argument: str) -> Answer:
        if not self._server.comes_back:
            return refused(words.NO_RESTART)
        return Answer(confirmation=words.RESTARTING, then=self._server.restart)

    def _on_help(self, _argument: str) -> Answer:
        return Answer(tuple(words.HELP), here=self._keys)

    def _on_who(self, _argument: str) -> Answer:
        rooms = list(self._server.rooms)
        lines: list[str] = []
        for room in rooms:
            people = people_of(room.members())
            lines.append(words.room_members(room.tag, len(people), only=len(rooms) == 1))
            lines += map(words.person, people)
        return _done(*lines or [words.NO_ROOMS], *self._elsewhere)

    def _on_rooms(self, _argument: str) -> Answer:
        lines = [
            words.room_count(room.tag, count_people(room.members())) for room in self._server.rooms
        ]
        return _done(*lines or [words.NO_ROOMS], *self._elsewhere)

    @property
    def _elsewhere(self) -> tuple[str, ...]:
        """What is to be known of rooms that this server does not carry, if there may be any."""
        return () if self._server.is_last else (words.ROOMS_ELSEWHERE,)

    def _on_kick(self, argument: str) -> Answer:
        rooms = list(self._server.rooms)
        # A name may end in what is a room's name as well. Then it is the name.
        name, _, room_name = argument.rpartition(" ")
        for who, where in (
            (argument, rooms),
            (name, [room for room in rooms if words.means_room(room_name, room.tag)]),
        ):
            found = [room for room in where if room.has(who)]
            if len(found) > 1:
                return refused(words.in_several_rooms(who, [room.tag for room in found]))
            if found:
                found[0].kick(who)
                return Answer(confirmation=words.put_out(who))
        unknown = phrases.nobody_named(argument, nearest_name(argument, self._names_here()))
        return refused(unknown, *self._elsewhere)

    def _on_ban(self, argument: str) -> Answer:
        found = self._server.keys_meant(argument)
        if found is None:
            return refused(words.unknown_name(argument), *self._elsewhere)
        name, keys, why = found
        if len(keys) > 1:
            return refused(*words.several_keys(name, sorted(keys)))
        (fingerprint,) = keys
        return _done(words.ban_made(self._server.ban(fingerprint, name, why)))

    def _on_unban(self, which: str) -> Answer:
        lifted = self._server.unban(which)
        return (
            _done(*map(words.ban_lifted, lifted)) if lifted else refused(words.nobody_banned(which))
        )

    def _on_bans(self, _argument: str) -> Answer:
        bans = self._server.access.bans()
        return _done(words.bans_count(len(bans)), *map(words.ban_line, bans))

    def _on_allow(self, which: str) -> Answer:
        if not self._server.access.has_list:
            return refused(words.NO_LIST)
        match self._server.access.allow(which):
            case None:
                # The list could not be changed, and has complained.
                return refused()
            case []:
                return refused(words.nobody_refused(which))
            case [fingerprint]:
                return _done(words.allowed(which, fingerprint))
            case fingerprints:
                return refused(*words.several_refused(which, fingerprints))

    def _on_forget(self, name: str) -> Answer:
        if self._server.forget(name):
            return _done(words.forgotten(name))
        if self._server.company is not None:
            return _done(words.forgotten_elsewhere(name))
        return refused(words.not_kept(name))

    def _on_say(self, text: str) -> Answer:
        self._server.say(text)
        return _done(words.said(text), *self._elsewhere)

    def _on_topic(self, text: str) -> Answer:
        if not text:
            return _done(words.topic(self._server.greeting.topic))
        if text == "-" and not self._server.greeting.topic.text:
            return _done(words.NO_TOPIC)
        try:
            self._server.set_topic("" if text == "-" else text)
        except UsageError as error:
            return refused(words.no_topic_like_this(error))
        return _done(words.topic_told(self._server.greeting.topic))

    def _on_stats(self, _argument: str) -> Answer:
        uptime = self._reactor.clock() - self._started_at
        rooms = self._server.rooms
        people = sum(count_people(room.members()) for room in rooms)
        return _done(
            words.stats(people, rooms.relayed, rooms.relayed_bytes, uptime),
            words.memory(len(list(rooms)), rooms.kept_bytes),
            *(self._server.company.lines() if self._server.company is not None else ()),
        )
