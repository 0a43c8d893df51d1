"""The server's console: what the operator sees and can do.

Commands come in as lines, and what happens goes out as lines, from and to a desk. The console knows
neither sockets nor sessions nor terminals; the server does what a command asks for.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from chat import phrases
from chat.errors import UsageError
from chat.limits import (
    CONSOLE_QUEUE_BYTES,
    FAULT_SUM_SECONDS,
    MESSAGE_LINES_PER_SECOND,
    REFUSAL_LINES_PER_SECOND,
)
from chat.reactor import Reactor
from chat.server import words
from chat.server.access import Access
from chat.server.completion import completions
from chat.server.desk import Desk
from chat.server.faults import chain_of, kind_of, places_of
from chat.server.greeting import Greeting
from chat.server.members import Member, people_of
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


class ServerControl(Protocol):
    """What the operator can ask of a server."""

    @property
    def rooms(self) -> RoomsControl:
        """All rooms."""

    def terminate(self) -> None:
        """Tell everybody, send what is queued, and stop. The second time: stop at once."""

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

    def ban(self, words: str) -> bool:
        """Let a key in no more, and put out who has it. The words are a name or a fingerprint, and
        then the reason, if there is one. False if no such name is known."""


class Ration:
    """Lets a few lines through in a period. The others are counted, and summed up in one line when
    the period is over.

    The first line after a quiet time begins a period. While there is a sum to show, no single line
    is let through, so the sum never names lines that came before a single one."""

    def __init__(
        self, reactor: Reactor, lines: int, seconds: float, show_sum: Callable[[int], None]
    ) -> None:
        """`lines` in a period of `seconds`. `show_sum` is given the count of the others."""
        self._reactor = reactor
        self._lines = lines
        self._seconds = seconds
        self._show_sum = show_sum
        self._begun = float("-inf")
        self._lines_left = 0
        self._summed = 0

    def take(self, count: int) -> bool:
        """Whether so many lines may be shown one by one. If not, they are added to the sum."""
        now = self._reactor.clock()
        if now - self._begun >= self._seconds and not self._summed:
            self._begun = now
            self._lines_left = self._lines
        if count <= self._lines_left and not self._summed:
            self._lines_left -= count
            return True
        if count and not self._summed:
            self._reactor.call_at(self._begun + self._seconds, self.sum_up)
        self._summed += count
        return False

    def sum_up(self) -> None:
        """Show the sum, if there is one."""
        if not self._summed:
            return
        count, self._summed = self._summed, 0
        self._begun = self._reactor.clock()
        self._lines_left = 0
        self._show_sum(count)


_ENDINGS = ("EXIT", "QUIT", "/EXIT", "/QUIT", "STOP", "BYE")
"""What ends other programs. Here it would end the room for everybody, so it has to be said."""

_WITH_ARGUMENT = ("KICK", "SAY", "TOPIC", "BAN", "UNBAN", "ALLOW", "FORGET")


class Console:
    """The operator's lines: shows what happens, and obeys commands."""

    def __init__(self, reactor: Reactor, desk: Desk) -> None:
        self._reactor = reactor
        self._desk = desk
        self._server: ServerControl | None = None
        self._started_at = reactor.clock()
        self._dropped = 0
        self._messages = Ration(reactor, MESSAGE_LINES_PER_SECOND, 1.0, self._show_messages)
        self._refusals = Ration(reactor, REFUSAL_LINES_PER_SECOND, 1.0, self._show_refusals)
        self._faults = Ration(reactor, 0, FAULT_SUM_SECONDS, self._show_faults)
        self._refused_from: Counter[str] = Counter()
        self._known_faults: set[tuple[str, ...]] = set()
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

    def obey(self, server: ServerControl) -> None:
        """Begin to read commands for this server."""
        self._server = server
        self._desk.open(self)

    def show(self, *lines: str) -> None:
        """Show lines, all at once. If too many wait already, nobody reads them, or the disk is
        full to which they are written. Then they are only counted."""
        size, taken = self._desk.queued_bytes, []
        for line in lines:
            if size > CONSOLE_QUEUE_BYTES:
                self._dropped += 1
                continue
            if self._dropped:
                taken.append(words.lines_dropped(self._dropped))
                self._dropped = 0
            taken.append(line)
            size += len(line)
        if taken:
            self._desk.show(taken)

    def exchanged(self, count: int) -> None:
        """So many messages were relayed. Beyond a few lines a second they are summed up."""
        if self._messages.take(count):
            self.show(*[words.exchanged(1, time.time())] * count)

    def _show_messages(self, count: int) -> None:
        self.show(words.exchanged(count, time.time()))

    def refused(self, line: str, source: str) -> None:
        """A connection from this source came to nothing, as the line says. Beyond a few lines a
        second they are summed up."""
        if self._refusals.take(1):
            self.show(line)
        else:
            self._refused_from[source] += 1

    def _show_refusals(self, count: int) -> None:
        ((source, from_there),) = self._refused_from.most_common(1)
        self._refused_from.clear()
        self.show(words.many_refused(count, source, from_there))

    def fault(self, fault: Exception, closed: str = "") -> None:
        """There is an error in this program. It is shown once; when it comes again it is only
        counted. `closed` is the member or the address whose connection was closed for it."""
        chain = list(chain_of(fault))
        which = tuple(part for one in chain for part in (kind_of(one), *places_of(one)[-1:]))
        if which in self._known_faults:
            self._faults.take(1)
            return
        self._known_faults.add(which)
        self.show(*words.fault([(kind_of(one), places_of(one)) for one in chain], closed))

    def _show_faults(self, count: int) -> None:
        self.show(words.faults_again(count))

    def close(self, *, anew: bool = False) -> None:
        """Show the last lines. `anew`: the server starts again."""
        self._desk.stop()
        for ration in (self._messages, self._refusals, self._faults):
            ration.sum_up()
        if self._dropped:
            self._desk.show([words.lines_dropped(self._dropped)])
        self._desk.show([words.TERMINATED, words.STARTS_ANEW if anew else words.SHUT_DOWN])
        self._desk.close()

    # -- what the operator asks for

    def terminate(self) -> None:
        """End the server; the second time: at once."""
        assert self._server is not None
        self._server.terminate()

    def completions(self, line: str) -> tuple[int, list[str]]:
        """Where that begins which can be completed in a command, and what it could become."""
        assert self._server is not None
        members = {member.name for room in self._server.rooms for member in room.members()}
        names = {
            "KICK": sorted(members),
            "BAN": sorted(members),
            "UNBAN": [ban.name or ban.fingerprint for ban in self._server.access.bans()],
        }
        taken = dict.fromkeys(_WITH_ARGUMENT, ())
        return completions(line, {**dict.fromkeys(self._commands), **taken, **names})

    def command(self, line: str) -> None:
        """Obey a line, or say why not."""
        word, _, argument = line.strip().partition(" ")
        if not word:
            return
        if not is_text(line):
            self.show(words.NOT_TEXT)
            return
        command = self._commands.get(word.upper())
        if word.upper() in _ENDINGS:
            self.show(words.ONLY_TERMINATE)
        elif command is None:
            self.show(words.unknown_command(word, self._nearest_command(word)))
        elif argument.strip() and word.upper() not in _WITH_ARGUMENT:
            self.show(phrases.takes_nothing(word.upper()))
        else:
            assert self._server is not None
            command(self._server, argument.strip())

    def _nearest_command(self, word: str) -> str:
        from difflib import get_close_matches

        return "".join(get_close_matches(word.upper(), self._commands, 1, 0.7))

    def _on_terminate(self, server: ServerControl, _argument: str) -> None:
        server.terminate()

    def _on_restart(self, server: ServerControl, _argument: str) -> None:
        server.restart()

    def _on_help(self, _server: ServerControl, _argument: str) -> None:
        self.show(*words.HELP, *self._desk.keys)

    def _on_who(self, server: ServerControl, _argument: str) -> None:
        rooms = list(server.rooms)
        if not rooms:
            self.show(words.NO_ROOMS)
        for room in rooms:
            people = people_of(room.members())
            self.show(words.room_members(room.tag, len(people), only=len(rooms) == 1))
            for connections in people:
                first, count = connections[0], sum(not one.lost for one in connections)
                about = first.name, first.joined_at, first.fingerprint, count
                self.show(phrases.member_line(*about, calling=not first.stays))

    def _on_rooms(self, server: ServerControl, _argument: str) -> None:
        rooms = list(server.rooms)
        if not rooms:
            self.show(words.NO_ROOMS)
        for room in rooms:
            self.show(words.room_count(room.tag, _count(room)))

    def _on_kick(self, server: ServerControl, argument: str) -> None:
        if not argument:
            self.show(phrases.needs_argument("KICK", "a name"))
            return
        # A name may end in what is a room's name as well. Then it is the name.
        name, _, room_name = argument.rpartition(" ")
        for who, rooms in (
            (argument, list(server.rooms)),
            (name, [room for room in server.rooms if words.means_room(room_name, room.tag)]),
        ):
            found = [room for room in rooms if room.has(who)]
            if len(found) > 1:
                self.show(words.in_several_rooms(who, [room.tag for room in found]))
                return
            if found:
                found[0].kick(who)
                return
        present = {member.name for room in server.rooms for member in room.members()}
        self.show(phrases.nobody_named(argument, nearest_name(argument, present)))

    def _on_ban(self, server: ServerControl, argument: str) -> None:
        if not argument:
            self.show(phrases.needs_argument("BAN", "a name"))
        elif not server.ban(argument):
            self.show(words.unknown_name(argument))

    def _on_unban(self, server: ServerControl, which: str) -> None:
        if not which:
            self.show(phrases.needs_argument("UNBAN", "a name"))
            return
        lifted = server.access.unban(which)
        self.show(*map(words.ban_lifted, lifted) if lifted else [words.nobody_banned(which)])

    def _on_bans(self, server: ServerControl, _argument: str) -> None:
        bans = server.access.bans()
        self.show(words.bans_count(len(bans)), *map(words.ban_line, bans))

    def _on_allow(self, server: ServerControl, which: str) -> None:
        if not which:
            self.show(phrases.needs_argument("ALLOW", "a name"))
        elif not server.access.has_list:
            self.show(words.NO_LIST)
        else:
            match server.access.allow(which):
                case []:
                    self.show(words.nobody_refused(which))
                case [fingerprint]:
                    self.show(words.allowed(which, fingerprint))
                case [*fingerprints]:
                    self.show(*words.several_refused(which, fingerprints))

    def _on_forget(self, server: ServerControl, name: str) -> None:
        if not name:
            self.show(phrases.needs_argument("FORGET", "a name"))
        elif server.access.forget(name):
            self.show(words.forgotten(name))
        else:
            self.show(words.not_kept(name))

    def _on_say(self, server: ServerControl, text: str) -> None:
        if text:
            server.say(text)
            self.show(words.said(text))
        else:
            self.show(phrases.needs_argument("SAY", "some text"))

    def _on_topic(self, server: ServerControl, text: str) -> None:
        if not text:
            self.show(words.topic(server.greeting.topic))
            return
        try:
            server.set_topic("" if text == "-" else text)
        except UsageError as error:
            self.show(words.no_topic_like_this(error))
        else:
            self.show(words.topic_told(server.greeting.topic))

    def _on_stats(self, server: ServerControl, _argument: str) -> None:
        uptime = self._reactor.clock() - self._started_at
        rooms = server.rooms
        people = sum(_count(room) for room in rooms)
        self.show(words.stats(people, rooms.relayed, rooms.relayed_bytes, uptime))
        self.show(words.memory(len(list(rooms)), rooms.kept_bytes))


def _count(room: RoomControl) -> int:
    """How many people are in, without callers."""
    return sum(one[0].stays for one in people_of(room.members()))
