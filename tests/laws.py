"""The laws of the conversation, checked over what a simulation has written down.

Words. A *run* is one process of a client, from start to end. A *life* is one process of a server;
its room has one log. A *membership* is a stay in a room: from the JOINED that names the member to
the LEFT that does, or to the end of the life. A message is known by its run and its *number*, which
says the how many-eth line of that run it is; it can stand in several logs, and in one log more than
once (under several memberships of its sender). Every line that is typed is unlike any other.

1. Log. In each membership the messages bear the sequence numbers 1, 2, 3, … and the numbers of
   their run follow each other without a hole. The numbers of a run stand in the logs, taken in the
   order of time, for the first time in the order 1, 2, 3, … Each is the line that was typed.
2. Display. What a run shows of a membership is its log from the place of its welcome to how far it
   has taken it, in order, entry by entry and nothing else. Left out are only: its own LOST and
   BACK; messages sealed under an epoch before that of its last welcome, whose key it was not given
   (their senders had not heard of the next one yet);
   messages whose number is not greater than one it has shown of the same run; and gaps. There is
   no warning, ever. What is said is shown with its number, so that the run knows its own again.
3. Gaps. After each new connection the run says so once, and says how many messages of the log lie
   between how far it had taken it and where it goes on: that is the gap. There is none as long as
   the window of the log reaches back to the place of the member, and the first secret that it was
   not given is not older than the silence and the grace together. Its own messages in the gap, if
   its membership is still the same, do not count: they are shown in order, as any other of its own,
   before whatever else is said.
4. Stay. A run that comes back to the same life has the same membership still, unless that ended by
   a kick, or since the connection was lost for the whole grace, or since another run of the same
   name and key took it over. LOST and BACK alternate.
5. Keys. No run is ever given a secret from which that of an epoch follows in which it was not a
   member: one before the epoch of its welcome, or after that of its LEFT.
6. Death. Of a life that died, look at the messages that were written in its last
   REPLAY_SECONDS, by runs that are alive at the end and in a later life. Each of them that
   stands in no later log has been taken by every run that is alive at the end and to whom that log
   shows it (as in 2). If it does stand in a later log, 2 and 7 say who is shown it there.
7. Patience. In a new life a run sends nothing until everybody whom it knew in the one before has
   joined, or RETURN_SECONDS have passed since its welcome, or it has been asked to leave.
8. Exit. A run that ends without an error stands in the logs with every line that it was given. One
   that says how many were not acknowledged names at least those that stand in no log, and no more
   than it was given; one that does not say so has none such. A run ends because it was asked to, as
   the server has shut down, was kicked, replaced or refused for its name by another one of that
   name, had no first connection, or nothing went on for its patience; nothing else ends it.

The simulation itself looks at the following while it goes on: no process fails or spins; the log
stays within its window and forgets nothing of it; nothing that could be sent waits for something
else to happen; once everything is healed, all runs are up to date within a bounded time, and what
they have shown has left on standard output.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from chat.client.events import (
    ClientEvent,
    Entered,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
    NoticeReceived,
    Reconnected,
    RoomClosed,
)
from chat.errors import Reason
from chat.kex import RoomSecret
from chat.limits import REGROUP_SECONDS, REPLAY_SECONDS
from chat.messages import Back, Closing, Joined, Left, Lost, Notice, RoomEvent
from tests.support.simulated import ViolationError
from tests.support.simulated_record import (
    Continued,
    Entry,
    Life,
    Membership,
    RecordedClient,
    Welcomed,
)


class Told:
    """What the laws have to know of a run."""

    endured = False
    """Whether it was alive when everything was healed."""
    has_rival = False
    """Whether another process with the same name and key ran at the same time."""
    leaving_at = float("inf")

    def __init__(self, title: str, fingerprint: bytes, client: RecordedClient) -> None:
        self.title = title
        self.fingerprint = fingerprint
        self.client = client
        self.story = client.story
        self.typed: list[str] = []
        self.places: dict[bytes, int] = {}
        """How far it has taken each log."""

    @property
    def room(self) -> bytes:
        return self.client.recorded.room


Runs = Sequence[Told]
Lives = list[Life]


def require(holds: bool, text: str) -> None:
    if not holds:
        raise ViolationError(text)


def check(runs: Runs, lives: Lives, grace_seconds: float) -> None:
    """Raises ViolationError if a law does not hold."""
    for life in lives:
        require(not life.faults, "; ".join(life.faults))
        check_memberships(life, grace_seconds)
    check_logs(runs, lives)
    rooms = {life.room: life for life in lives}
    for run in runs:
        Replay(run, rooms).check()
        check_stays(run, rooms)
        check_patience(run, rooms)
    check_keys(runs, lives)
    check_deaths(runs, lives)


# -- 1: the logs -------------------------------------------------------------------------------


def check_logs(runs: Runs, lives: Lives) -> None:
    typed = {run.story.origin: run.typed for run in runs}
    first: dict[bytes, int] = {}
    for life in lives:
        last_seq: dict[int, int] = {}
        last_number: dict[int, int] = {}
        for entry in life.messages():
            content = life.content(entry)
            sender, number, origin = entry.sender, content.number, content.origin
            where = f"message {number} of {life.memberships[sender].name}"
            require(entry.seq == last_seq.get(sender, 0) + 1, f"{where} is out of sequence")
            if sender in last_number:
                require(number == last_number[sender] + 1, f"{where} is out of order")
            require(number <= first.get(origin, 0) + 1, f"{where} comes before the one before")
            require(content.text == typed[origin][number - 1], f"{where} is not what was typed")
            last_seq[sender], last_number[sender] = entry.seq, number
            first[origin] = max(first.get(origin, 0), number)


# -- 2 and 3: what is shown --------------------------------------------------------------------


class Replay:
    """Walks through the logs beside a run, and expects it to show what stands there."""

    def __init__(self, run: Told, rooms: dict[bytes, Life]) -> None:
        self._run = run
        self._rooms = rooms
        self._seen: dict[tuple[bytes, bytes], int] = {}
        self._life: Life
        self._membership: Membership
        self._index = 0
        self._expected: deque[ClientEvent] = deque()
        self._missed = 0
        self._own_in_gap: list[Entry] = []
        self._new_room = False
        self._entered = False
        self._at = 0
        self._first_epoch = 0
        self._kept_epochs: frozenset[int] = frozenset()

    def check(self) -> None:
        connected = 0
        for item in self._run.story.stream:
            match item:
                case Welcomed():
                    connected += bool(item.room_before)
                    self._on_welcomed(item)
                case Continued():
                    connected += 1
                case Reconnected():
                    require(connected > 0, f"{self._run.title} is back without having been away")
                    connected = 0
                    self._on_reconnected(item)
                case Entered():
                    self._on_entered(item)
                case _:
                    self._on_event(item)
        if self._run.room:
            self._leave(self._run.room, self._run.client.recorded.offset)

    def _leave(self, room: bytes, offset: int) -> None:
        """The run has taken the log to here: nothing of it must be left to be shown."""
        left = [*self._expected, *self._until(offset)]
        require(not left, f"{self._run.title} does not show {left[:1]}")
        self._run.places[room] = offset

    def _on_welcomed(self, item: Welcomed) -> None:
        if item.room_before:
            self._leave(item.room_before, item.offset_before)
        welcome = item.welcome
        same_room = item.room_before == welcome.room
        self._life = self._rooms[welcome.room]
        again = same_room and self._membership.id == welcome.member
        if not again:
            self._own_in_gap.clear()
        if same_room:
            gap = self._life.messages_between(item.offset_before, welcome.offset)
            self._missed += len(gap)
            self._own_in_gap += (entry for entry in gap if again and entry.sender == welcome.member)
        elif item.room_before:
            self._new_room = True
        self._membership = self._life.memberships[welcome.member]
        self._first_epoch = welcome.epoch
        self._kept_epochs = item.epochs if again else frozenset()
        self._at = welcome.offset
        starts = [entry.start for entry in self._life.entries]
        at_boundary = welcome.offset in starts or welcome.offset >= self._life.entries[-1].end
        require(at_boundary, f"{self._run.title} is welcomed between two entries")
        self._index = sum(start < welcome.offset for start in starts)

    def _on_reconnected(self, item: Reconnected) -> None:
        run, missed = self._run.title, self._missed - len(self._own_in_gap)
        require(item.missed == missed, f"{run} says {item.missed} missed where it is {missed}")
        require(item.new_room == self._new_room, f"{run} is wrong about the room being new")
        self._missed, self._new_room = 0, False
        for entry in self._own_in_gap:
            self._expected += self._of_content(entry)
        self._own_in_gap.clear()

    def _on_entered(self, item: Entered) -> None:
        here = {
            membership.name
            for membership in self._life.memberships.values()
            if membership.joined <= self._at and (membership.left or 2**63) > self._at
        }
        require(set(item.members) == here, f"{self._run.title} is told the wrong names")
        text = f"{self._run.title} is wrong about having been in before"
        require(item.again == self._entered, text)
        self._entered = True

    def _on_event(self, event: ClientEvent) -> None:
        while not self._expected and self._index < len(self._life.entries):
            self._expected += self._take()
        expected = self._expected.popleft() if self._expected else None
        text = f"{self._run.title} shows {event} where {expected} is due"
        require(event == expected, text)

    def _until(self, offset: int) -> Iterator[ClientEvent]:
        entries = self._life.entries
        while self._index < len(entries) and entries[self._index].end <= offset:
            yield from self._take()

    def _take(self) -> Iterable[ClientEvent]:
        entry = self._life.entries[self._index]
        self._index += 1
        if entry.event is not None:
            return self._of_event(entry.event)
        return self._of_message(entry)

    def _of_message(self, entry: Entry) -> Iterable[ClientEvent]:
        if entry.epoch < self._first_epoch and entry.epoch not in self._kept_epochs:
            return
        yield from self._of_content(entry)

    def _of_content(self, entry: Entry) -> Iterable[ClientEvent]:
        content = self._life.content(entry)
        sender = self._life.memberships[entry.sender]
        last = self._seen.get((sender.fingerprint, content.origin), 0)
        if content.number > last:
            self._seen[sender.fingerprint, content.origin] = content.number
            own = sender.id == self._membership.id
            yield MessageReceived(sender.name, content.time_ms, content.text, own, content.number)

    def _of_event(self, event: RoomEvent) -> Iterable[ClientEvent]:
        members = self._life.memberships
        match event:
            case Joined(entries):
                yield from (MemberJoined(entry.name) for entry in entries)
            case Left(departures):
                yield from (
                    MemberLeft(members[member].name, reason) for member, reason in departures
                )
            case Lost(member) if member != self._membership.id:
                yield MemberLost(members[member].name)
            case Back(member) if member != self._membership.id:
                yield MemberBack(members[member].name)
            case Notice(text):
                yield NoticeReceived(text)
            case Closing():
                yield RoomClosed()


# -- 4: memberships ----------------------------------------------------------------------------


def check_memberships(life: Life, grace_seconds: float) -> None:
    lost_at: dict[int, float] = {}
    for entry in life.entries:
        match entry.event:
            case Lost(member):
                require(member not in lost_at, "a member is lost twice")
                lost_at[member] = entry.at
            case Back(member):
                require(member in lost_at, "a member is back that was not lost")
                del lost_at[member]
            case Left(departures):
                for member, reason in departures:
                    since = entry.at - lost_at.pop(member, entry.at)
                    name = life.memberships[member].name
                    if reason is Reason.LOST:
                        require(
                            since > grace_seconds - 1e-6, f"{name} is put out before its grace ends"
                        )
                    require(reason is not Reason.PROTOCOL, f"{name} breaks the protocol")


def check_stays(run: Told, rooms: dict[bytes, Life]) -> None:
    before: Membership | None = None
    room = b""
    for item in run.story.stream:
        if not isinstance(item, Welcomed):
            continue
        membership = rooms[item.welcome.room].memberships[item.welcome.member]
        if before is not None and item.welcome.room == room and membership is not before:
            fair = before.reason in (Reason.LOST, Reason.KICKED) or (
                before.reason is Reason.REPLACED and run.has_rival
            )
            require(fair, f"{run.title} lost its membership: {before.reason}")
        before, room = membership, item.welcome.room


# -- 5: keys -----------------------------------------------------------------------------------


def check_keys(runs: Runs, lives: Lives) -> None:
    epochs: dict[bytes, tuple[Life, int]] = {}
    follows: dict[bytes, bytes] = {}
    for life in lives:
        for epoch, secret in life.secrets.items():
            epochs[secret] = life, epoch
            step = RoomSecret(secret).step().secret
            if life.secrets.get(epoch + 1) == step:
                follows[secret] = step
    for run in runs:
        welcomes = [item.welcome for item in run.story.stream if isinstance(item, Welcomed)]
        of_run = {(welcome.room, welcome.member) for welcome in welcomes}
        for given in run.story.given:
            held: bytes | None = given
            while held is not None:
                life, epoch = epochs[held]
                its_own = any(
                    room == life.room
                    and life.memberships[member].first_epoch
                    <= epoch
                    <= life.memberships[member].last_epoch
                    for room, member in of_run
                )
                require(its_own, f"{run.title} can open epoch {epoch}, which is not its own")
                held = follows.get(held)


# -- 6 and 7: a server dies --------------------------------------------------------------------


def check_deaths(runs: Runs, lives: Lives) -> None:
    last: dict[tuple[bytes, int], tuple[Life, Entry]] = {}
    for life in lives:
        for entry in life.messages():
            content = life.content(entry)
            last[content.origin, content.number] = life, entry
    endured = {run.story.origin: run for run in runs if run.endured}
    texts = {
        origin: {item.text for item in run.story.stream if isinstance(item, MessageReceived)}
        for origin, run in endured.items()
    }
    for (origin, _), (life, entry) in last.items():
        recent = entry.at >= life.died_at - REPLAY_SECONDS
        if not recent or origin not in endured or endured[origin].room == life.room:
            continue
        text = life.content(entry).text
        for reader, run in endured.items():
            taken = run.places.get(life.room, 0) >= entry.end or text in texts[reader]
            owed = not taken and _is_shown_to(run, life, entry)
            require(not owed, f"{run.title} never shows {text}, said before the death")


def _is_shown_to(run: Told, life: Life, entry: Entry) -> bool:
    return any(
        isinstance(item, Welcomed)
        and item.welcome.room == life.room
        and (stay := life.memberships[item.welcome.member]).first_epoch <= entry.epoch
        and stay.joined <= entry.start < (stay.left or 2**63)
        for item in run.story.stream
    )


def check_patience(run: Told, rooms: dict[bytes, Life]) -> None:
    awaited: set[bytes] = set()
    for item in run.story.stream:
        if not isinstance(item, Welcomed) or item.room_before in (b"", item.welcome.room):
            continue
        life = rooms[item.welcome.room]
        until = min(item.at + REGROUP_SECONDS, run.leaving_at)
        awaited = set(item.known) - {run.fingerprint}
        for sent in run.story.sent:
            if sent.room != life.room or sent.at >= until:
                continue
            back = {
                stay.fingerprint
                for stay in life.memberships.values()
                if stay.first_epoch <= sent.epoch
            }
            text = f"{run.title} says {sent.content.text} before all are back"
            require(awaited <= back, text)
