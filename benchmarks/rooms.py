"""Many rooms at one server: what a join costs with a tag and without, a room that one is in, and a
message in 64 rooms of 16 beside one in a room of 1,024. In turns, as far as it can be."""

import os
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import (
    AT_ONCE,
    Crowd,
    Keys,
    Member,
    Program,
    Row,
    chat_server,
    join,
    join_speakers,
    short,
    spread,
)
from chat.kex import RoomKey
from chat.limits import MAX_ROOMS

TURNS = 25
MEMBERS = 16
"""In each of the small rooms."""

DELIVERIES = 10 * MEMBERS * MAX_ROOMS
"""In one turn, however large the rooms are."""

TEXT = "x" * 100
ROUNDS = 15


def measure(keys: Keys, directory: Path) -> list[Row]:
    """Joins, memory, and relaying."""
    with chat_server(directory) as server, Crowd(server) as crowd:
        rows = _joins(crowd, server, keys)
    with chat_server(directory) as server, Crowd(server) as crowd:
        rows += _memory(crowd, server, keys)
    return rows + _relaying(keys, directory)


def _joins(crowd: Crowd, server: Program, keys: Keys) -> list[Row]:
    room_key = RoomKey.fresh(os.urandom)
    for room in (None, room_key):
        join(crowd, server.port, ["first"], keys, 1, room)
    costs: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(TURNS):
        for room in (None, room_key):
            before = server.cpu_seconds
            join(crowd, server.port, [f"visitor{turn}"], keys, 1, room)
            costs[room is not None].append((server.cpu_seconds - before) * 1000)
    ratios = [with_tag / without for without, with_tag in zip(*costs.values(), strict=True)]
    return [
        Row("one join of the open room", spread(costs[False], "ms")),
        Row("one join of a sealed room", spread(costs[True], "ms")),
        Row("  sealed / open", spread(ratios, "x")),
    ]


def _memory(crowd: Crowd, server: Program, keys: Keys) -> list[Row]:
    """The first ones make the server load modules and allocate what it keeps."""
    join(crowd, server.port, [f"first{number}" for number in range(MEMBERS)], keys, 1)
    before = server.resident_bytes
    join(crowd, server.port, [f"visitor{number}" for number in range(MAX_ROOMS)], keys, AT_ONCE)
    of_members = server.resident_bytes - before
    for number in range(MAX_ROOMS):
        join(crowd, server.port, [f"host{number}"], keys, 1, RoomKey.fresh(os.urandom))
    of_rooms = server.resident_bytes - before - of_members
    each = (of_rooms - of_members) / MAX_ROOMS / 1024
    return [
        Row("memory of a room of one", f"{short(of_rooms / MAX_ROOMS / 1024)} KiB"),
        Row("  without its member", f"{short(each)} KiB"),
    ]


class _Side:
    """A server with rooms of one size, and somebody to speak in each."""

    def __init__(self, stack: ExitStack, directory: Path, keys: Keys, rooms: int, size: int):
        self.server = stack.enter_context(chat_server(directory))
        self.crowd = stack.enter_context(Crowd(self.server))
        self.size = size
        self.speakers: list[Member] = []
        for _ in range(rooms):
            names = [f"member{number}" for number in range(size - 1)]
            room_key, port = RoomKey.fresh(os.urandom), self.server.port
            join(self.crowd, port, names, keys, AT_ONCE, room_key)
            # It comes last, and so need not follow how the room fills up.
            (speaker,) = join_speakers(self.crowd, port, ["speaker"], keys, room_key)
            self.crowd.count_only(speaker.socket.fileno())
            self.speakers.append(speaker)
        self.costs: list[float] = []

    def turn(self) -> None:
        """Messages in each room, one after the other; microseconds of CPU per delivery."""
        self.crowd.drain()
        count = DELIVERIES // (len(self.speakers) * self.size)
        speakers = self.speakers * count
        messages = [speaker.seal(TEXT) for speaker in speakers]
        before = self.server.cpu_seconds
        for speaker, message in zip(speakers, messages, strict=True):
            self.crowd.unit = len(message.down)
            speaker.socket.sendall(message.up)
            missing = len(message.down) * self.size
            while missing > 0:
                missing -= self.crowd.count()
        self.costs.append((self.server.cpu_seconds - before) / DELIVERIES * 1e6)


def _relaying(keys: Keys, directory: Path) -> list[Row]:
    sizes = {
        f"one room of {MEMBERS * MAX_ROOMS}": (1, MEMBERS * MAX_ROOMS),
        f"one room of {MEMBERS}": (1, MEMBERS),
        f"{MAX_ROOMS} rooms of {MEMBERS}": (MAX_ROOMS, MEMBERS),
    }
    with ExitStack() as stack:
        sides = {name: _Side(stack, directory, keys, *rooms) for name, rooms in sizes.items()}
        for _ in range(1 + ROUNDS):
            Crowd.keep_alive()
            for side in sides.values():
                side.turn()
        large, small, many = (side.costs[1:] for side in sides.values())
    rows = [
        Row(f"one delivery, {name}", spread(side.costs[1:], "µs")) for name, side in sides.items()
    ]
    ratios = [ours / one for ours, one in zip(many, small, strict=True)]
    beside_large = [ours / one for ours, one in zip(many, large, strict=True)]
    return [
        *rows,
        Row(f"  {MAX_ROOMS} rooms / one of {MEMBERS}", spread(ratios, "x")),
        Row(f"  {MAX_ROOMS} rooms / one of {MEMBERS * MAX_ROOMS}", spread(beside_large, "x")),
    ]
