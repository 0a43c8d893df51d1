"""A room that is kept for another server goes on there exactly as it would have gone on here."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from chat import limits
from chat.controls import Resume
from chat.errors import ProtocolError, Reason, RefusedError
from chat.identities import Card
from chat.roomevents import Topic
from chat.runninghash import RunningHash
from chat.server import epochs as epochs_module
from chat.server import members as members_module
from chat.server.epochs import Epochs
from chat.server.log import OrderedLog
from chat.server.members import Member, Members
from chat.server.room import Room, Unicast
from chat.wire import Message
from tests.support.helpers import WALL_CLOCK, FixedBytes

WINDOW_BYTES = 6_000
GRACE_SECONDS = 20.0

OWN = {
    "Room._checks": "each server tells its own members the running hash",
    "Room.greeting": "it is not in the log",
    "Room._random_bytes": "it is given",
    "Room.grace_seconds": "it is given",
    "Room._crowded_out": "it is empty behind `end_grace`",
    "Member.sent": "it is of one connection",
    "OrderedLog.window_bytes": "it is given",
}
"""What `state` leaves out, and why."""

CLASSES = (Room, Members, Member, Epochs, OrderedLog)


class Life:
    """A room, and what happens in it. Everything follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.choices = random.Random(seed)
        self.random_bytes = FixedBytes(f"room {seed}")
        self.log = OrderedLog(WINDOW_BYTES)
        self.room = Room(self.log, self.random_bytes, GRACE_SECONDS)
        self.now = 100.0
        self.said: list[tuple[int, int, tuple[bytes, ...]]] = []
        self.names = 0

    def moved(self) -> "Life":
        """The same, at another server: through JSON."""
        state = json.loads(json.dumps([self.room.state(), self.log.state()[0]]))
        other = copy.copy(self)
        other.choices = copy.deepcopy(self.choices)
        other.random_bytes = copy.copy(self.random_bytes)
        other.said = []
        other.log = OrderedLog.restored(state[1], self.log.state()[1], WINDOW_BYTES)
        other.room = Room.restored(state[0], other.log, FixedBytes(""), GRACE_SECONDS)
        other.room._random_bytes = other.random_bytes
        return other

    def _note(self, unicasts: list[Unicast]) -> None:
        self.said += [(one.member.id, one.at, one.controls) for one in unicasts]

    def _somebody(self, *, lost: bool) -> Member | None:
        found = [one for one in self.room.members.values() if one.lost is lost]
        return self.choices.choice(found) if found else None

    def step(self) -> None:
        """Something happens, and then what is due."""
        deeds = (self.join, self.leave, self.suspend, self.resume, self.tell, self.wait)
        self.choices.choices((*deeds, self.speak), (4, 1, 2, 2, 1, 2, 8))[0]()
        if self.room.epoch_bytes > WINDOW_BYTES / 4:
            self.room.end_epoch(self.now)
        for member in self.room.end_grace(self.now):
            self.said.append((member.id, -1, ()))
        self._note(self.room.tick(self.now))
        if self.log.surplus:
            self.log.trim(self.log.start_after_trim())

    def join(self) -> None:
        name = f"n{self.choices.randint(0, 12)}"
        key = bytes([int(name[1:]) // 2]) * limits.FINGERPRINT_BYTES
        try:
            member = self.room.join(name, key, WALL_CLOCK, Card(caller=self.choices.random() < 0.2))
        except RefusedError as refusal:
            self.said.append((0, refusal.reason, (str(refusal).encode(),)))
        else:
            member.source = member.address = f"::{self.choices.randint(1, 2)}"

    def leave(self) -> None:
        if (member := self._somebody(lost=self.choices.random() < 0.3)) is not None:
            self.room.leave(member, Reason.LEFT)

    def suspend(self) -> None:
        if (member := self._somebody(lost=False)) is not None:
            self.room.suspend(member, self.now)

    def resume(self) -> None:
        if (member := self._somebody(lost=True)) is not None:
            offset = self.choices.choice((member.welcomed_at, self.log.start, self.log.end))
            request = Resume(member.id, member.token, offset, member.epoch)
            resumed = self.room.resume(request, member.fingerprint, self.now)
            assert resumed is not None
            self._note(resumed[1])

    def tell(self) -> None:
        self.room.say("a notice")
        self.room.set_topic(Topic(1, "a topic"))

    def wait(self) -> None:
        self.now += self.choices.choice((0.01, 0.1, 1, 5, 30, limits.RENEWAL_SECONDS))

    def speak(self) -> None:
        if (member := self._somebody(lost=False)) is not None:
            epoch = max(1, self.room.epoch - self.choices.choice((0, 0, 0, 1, 5)))
            seq = member.seq + self.choices.choice((1, 1, 1, 2))
            run = Message(epoch, member.id, seq, bytes(self.choices.choice((9, 300)))).to_wire()
            try:
                self._note(self.room.submit(member, run, self.now))
            except ProtocolError as error:
                self.said.append((member.id, 0, (str(error).encode(),)))


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "MAX_LOST_OF_SOURCE", 3)
    monkeypatch.setattr(members_module, "MAX_CONNECTIONS_OF_KEY", 4)
    monkeypatch.setattr(epochs_module, "JOIN_INTERVAL_SECONDS", 0.5)


# -- all that there is ----------------------------------------------------------------------------


def fields_of(found: object) -> dict[str, Any]:
    """The attributes of an object of ours, without those that are left out."""
    slots = getattr(type(found), "__slots__", ())
    names = [*vars(found)] if hasattr(found, "__dict__") else [*slots]
    kind = type(found).__name__
    fields = {name: getattr(found, name) for name in names if f"{kind}.{name}" not in OWN}
    if "_of" in fields:
        # Only looked things up in, so its own order says nothing.
        fields["_of"] = sorted(fields["_of"].items(), key=repr)
    return fields


def plain(found: Any) -> Any:
    """The same as data that can be compared, whatever it consists of."""
    if isinstance(found, dict):
        return [[plain(each), plain(found[each])] for each in found]
    if isinstance(found, str | bytes | bytearray | int | float | None):
        return found
    if isinstance(found, RunningHash):
        return [found.base, found.digest()]
    if hasattr(found, "__iter__"):
        return [plain(each) for each in found]
    return [type(found).__name__, {name: plain(each) for name, each in fields_of(found).items()}]


def parts_of(room: Room, log: OrderedLog) -> Iterator[object]:
    """What the room consists of, as far as it has a state."""
    yield from (room, log, room._members, room._epochs, *room.members.values())


@pytest.mark.parametrize("seed", range(40))
def test_room_goes_on_elsewhere_as_it_would_have_here(seed: int) -> None:
    here = Life(seed)
    for _ in range(here.choices.randint(0, 150)):
        here.step()
    here.said = []
    there = here.moved()
    assert plain([there.room, there.log]) == plain([here.room, here.log])
    for _ in range(60):
        here.step()
        there.step()
        assert there.said == here.said
        assert there.room.due_at == here.room.due_at
        assert there.room.check() == here.room.check()
    assert plain([there.room, there.log]) == plain([here.room, here.log])


def test_nothing_is_left_out_that_ever_changes() -> None:
    fresh = Room(OrderedLog(WINDOW_BYTES), FixedBytes(""), GRACE_SECONDS)
    fresh_member = Member(0, "", b"", b"", 0)
    new = {
        f"{type(part).__name__}.{name}": plain(each)
        for part in (*parts_of(fresh, fresh._log), fresh_member)
        for name, each in fields_of(part).items()
    }
    changed = set()
    for seed in range(10):
        life = Life(seed)
        for _ in range(150):
            life.step()
            for part in parts_of(life.room, life.log):
                for name, each in fields_of(part).items():
                    which = f"{type(part).__name__}.{name}"
                    if which not in changed and plain(each) != new[which]:
                        changed.add(which)
    assert set(new) - changed == set()
