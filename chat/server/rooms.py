"""Which rooms there are at the server: the open one, and one for each tag that somebody is in with.

Who may come into a room is decided there. What is said is not known here.
"""

from collections.abc import Callable, Iterator

from chat.errors import Reason, RefusedError
from chat.frozen import frozen
from chat.limits import MAX_ROOMS, ROOMS_SHARE_OF_SOURCE
from chat.server.hosted import HostedRoom
from chat.server.lists import Complain, LineFile, List, tag_of
from chat.server.members import Member

NewRoom = Callable[[bytes], HostedRoom]
"""Makes the room of a tag."""

OPEN_ROOM = b""
"""Instead of a tag."""


@frozen
class RoomRules:
    """What rooms there may be: the open one, so many sealed ones, and of these only those of which
    `is_allowed` says so."""

    open_room: bool = True
    max_rooms: int = MAX_ROOMS
    is_allowed: Callable[[bytes], bool] = lambda _tag: True
    refresh: Callable[[], None] = lambda: None
    """Reads again what `is_allowed` goes by, if that has changed."""


class ListedTags:
    """The tags of a list, which is read again when it has changed. While it cannot be read, what
    was read last holds."""

    def __init__(self, file: LineFile, complain: Complain) -> None:
        self._list = List(file, tag_of, complain)
        self._tags: frozenset[bytes] = frozenset()

    def __call__(self, tag: bytes) -> bool:
        """Whether this one is listed."""
        self.refresh()
        return tag in self._tags

    def refresh(self) -> None:
        """Read the list again if it has changed."""
        tags = self._list.read()
        if tags is not None:
            self._tags = frozenset(tags)


class Rooms:
    """The rooms by their tags. A sealed room begins when somebody comes with its tag, and ends when
    nobody is in it and nobody's place is kept. The open room never ends.

    `_begun_from` says for each sealed room from which source the first one came."""

    def __init__(self, rules: RoomRules, new_room: NewRoom) -> None:
        self._rules = rules
        self._new_room = new_room
        self._rooms: dict[bytes, HostedRoom] = {}
        self._begun_from: dict[bytes, str] = {}
        self._ended_messages = self._ended_bytes = 0
        if rules.open_room:
            self._rooms[OPEN_ROOM] = new_room(OPEN_ROOM)

    def __iter__(self) -> Iterator[HostedRoom]:
        return iter(list(self._rooms.values()))

    @property
    def open_room(self) -> HostedRoom | None:
        """The open room, if there is one."""
        return self._rooms.get(OPEN_ROOM)

    def of(self, tag: bytes, source: str) -> HostedRoom:
        """The room of this tag, for somebody from this source. It is made if it is not there.

        Raises:
            RefusedError: there is no such room, and it may not be made.
        """
        room = self._rooms.get(tag)
        if room is None:
            self._check(tag, source)
            room = self._rooms[tag] = self._new_room(tag)
            self._begun_from[tag] = source
        return room

    def _check(self, tag: bytes, source: str) -> None:
        if tag == OPEN_ROOM:
            raise RefusedError(Reason.NO_ROOM, "this server has no open room; ask for an invite")
        if not self._rules.is_allowed(tag):
            text = f"the room {tag.hex()} is not on the server's list of rooms"
            raise RefusedError(Reason.NO_ROOM, text)
        most = self._rules.max_rooms
        if len(self._begun_from) >= most:
            raise RefusedError(Reason.NO_ROOM, "this server has no place for another room")
        begun = list(self._begun_from.values()).count(source)
        if begun >= max(1, int(most * ROOMS_SHARE_OF_SOURCE)):
            text = f"your address has begun {begun} rooms already; another has to end first"
            raise RefusedError(Reason.NO_ROOM, text)

    def named(self, name: str) -> list[Member]:
        """The members of this name in all rooms."""
        return [member for room in self for member in room.room.find(name)]

    def end(self, room: HostedRoom) -> None:
        """Forget a sealed room if nobody is in it any more."""
        if room.tag != OPEN_ROOM and room.ordering.is_over and self._rooms.get(room.tag) is room:
            room.ordering.end()
            del self._rooms[room.tag], self._begun_from[room.tag]
            self._ended_messages += room.relayed
            self._ended_bytes += room.relayed_bytes

    @property
    def relayed(self) -> int:
        """Messages relayed so far, also in rooms that have ended."""
        return self._ended_messages + sum(room.relayed for room in self)

    @property
    def relayed_bytes(self) -> int:
        """Bytes of the logs so far, also of rooms that have ended."""
        return self._ended_bytes + sum(room.relayed_bytes for room in self)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the logs that are kept now."""
        return sum(room.log.end - room.log.start for room in self)
