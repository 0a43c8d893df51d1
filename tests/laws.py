"""The laws of the conversation, checked over what a simulation has written down.

Words. A *run* is one process of a client, from start to end. A *life* is one of a room, from its
first member to its last, or to the end of its server's process; it has one log. There are the open
room and, in some worlds, a sealed one. All laws hold for each. A *membership* is a stay in a room:
from the JOINED that names the member to the LEFT that does, or to the end of the life. A message is
known by its run and its *number*, which says the how many-eth line of that run it is; it can stand
in several logs, and in one log more than once (under several memberships of its sender). Every line
that is typed is unlike any other.

1. Log. In each membership the messages bear the sequence numbers 1, 2, 3, … and the numbers of
   their run follow each other without a hole. The numbers of a run stand in the logs, taken in the
   order of time, for the first time in the order 1, 2, 3, … Each is the line that was typed. What
   is repeated opens with the repeat key of the epoch under which it was said, and no other.
2. Display. What a run shows of a membership is its log from the place of its welcome to how far it
   has taken it, in order, entry by entry and nothing else. Who comes and goes is shown by 13a, and
   whose key is another by 16. Left out are only: what is ignored (17); the text of messages sealed
   under an epoch before that of its last welcome (their senders had not heard of it yet) whose
   secret it did not have, of which it says once for each sender that they are not for it; messages
   that are repeated of an epoch of which it had no secret; messages that it has shown before, and
   perhaps some that it has missed, if it has shown a later one of the same run; private messages
   that were sealed for none of its share, unless it has said them; and gaps. There is no warning,
   ever, but that nobody vouches for what it took last, where a welcome comes before the next CHECK,
   that a private message of its own found nobody for whom it was sealed, and what 2a says. What is
   said is shown with its number, so that the run knows its own again.
2a. Unread. When a private message of its own is in the log while all for whom it was sealed are
   lost, and all of them leave and none comes back before, then a run that takes the log so far says
   with their name that it was not read, and nobody says so without need. Each message lets it say
   so once.
3. Gaps. After each new connection the run says so once, and says how many messages of the log lie
   between how far it had taken it and where it goes on: that is the gap. There is none as long as
   the window of the log reaches back to the place of the member, and the first secret that it was
   not given is not older than the silence and the grace together. Its own messages in the gap, if
   its membership is still the same, do not count: they are shown in order, as any other of its own,
   before whatever else is said. What became of people in the gap is told by 13a, if it has kept its
   place; but not why.
4. Stay. A run that comes back to the same life has the same membership still, unless that ended by
   a kick, or since the connection was lost for the whole grace, or it was lost and made room for
   another of its key. LOST and BACK alternate.
5. Keys. No run is ever given a secret from which that of an epoch follows in which it was not a
   member: one before the epoch of its welcome, or after that of its LEFT.
6. Death. Of a life that died, look at the messages that were written in its last
   REPLAY_SECONDS, by runs that are alive at the end and in a later life. What is repeated there,
   and was acknowledged in an earlier life, was written then. Each of them that stands in no later
   log has been taken by every run that is alive at the end and to whom that log shows it (as in 2).
   If it does stand in a later log, 2 and 7 say who is shown it there.
7. Patience. In a new life a run sends nothing until everybody whom it knew in the one before has
   joined, by as many connections as stood (callers left out), or RETURN_SECONDS have passed since
   its welcome, or it has been asked to leave.
8. Exit. A run that ends without an error stands in the logs with every line that it was given. One
   that says how many were not acknowledged names at least those that stand in no log, and no more
   than it was given; one that does not say so has none such. A run ends because it was asked to, as
   the server has shut down, was kicked, or refused for its name by another key of that name or as
   too many of its key are in, had no first connection, or nothing went on for its patience; nothing
   else ends it.

With an enemy on a cable 2, 3, 6 and 7 do not hold as they stand, and these do:

9. Truth. What a run shows between two CHECKs of the server that agree with it is what stands in the
   log there, all of it and in its order; or it has said in between that it was tampered with, and
   then it has shown all of it all the same.
10. Place. 4 and 8 hold: an enemy ends no membership and no run. (Nobody holds a cable for as long
   as the grace.)
11. Leaves. Nothing that was sealed under an epoch before the last LEFT is written behind it, nor
   shown behind it by a run that has taken it.
12. Repeats. No run can open what is repeated of an epoch in which it was not a member. With nobody
   on the cables, what was acknowledged to its sender is not said as new in a later room.

13. Lies. A server may show one member of a room another log than the others: leave out a message,
   swap two, or make up somebody who joins. When either of them shows a message of the other that
   was sealed after that one had taken what the two were shown differently, it has said with the
   other's name that they were shown different conversations; unless what the other says to have
   seen lies before its own welcome. Nobody says so without need, and who says what it has seen says
   the truth. Each is shown what stands in the log that it is given (2 and 3; 6 and the second half
   of 12 are not looked at then). In a sealed room who is made up is shown as one who has not proved
   to have the key.

    It may also swap two entries of the roster that it tells a newcomer. In a sealed room the
    newcomer is shown nothing then of what either says, but that it could not be opened; and both as
    ones who have not proved to have the key, unless their proofs and shares were swapped, too. In
    the open room it is shown what each says to all under the name of the other, nothing of what
    they say in private, and 16 holds.

13a. People. A person is a name and a key, and in by all its memberships but callers'. People come
   and go in what is shown exactly as their first and last membership do; they are lost when all
   are, and back when one is. To a run its own membership is never lost. Callers are shown by what
   they say alone. When a run enters it is told who is in, and which of them are lost.

14. Rooms. A run is in the room whose key it has, or in the open one, and hears what is said there
   and nothing of another. No secret that the server has opens a message of a sealed room.

15. Bans. From when the operator bans a key to when that is taken back, nobody is in with it in any
   room, nor joins with it.

16. Keys. Of whoever comes, or is found in, under a name that the run knows with another key, it is
   said so behind that, and before the first word of whoever comes and goes untold; each time, until
   the person trusts the new key. Of a known key with another name that is said the first time.
   Neither is said of anybody else. Who may be trusted is whom that was
   said of. What a run has learned and decided by its end is known to all runs of the person that
   begin later.

17. Ignored. Nothing is shown that comes under a key that the person ignores, whatever its name is,
   until it is not ignored any more; all else is shown as if nobody were ignored.

18. Doors. Where the server has a list of keys, nobody else joins any room. Where it keeps names,
   nobody joins the open room under one that another key used last, unless the operator has freed it
   since, that key is banned, or its server died before it had written that down.

Where several servers carry the rooms, all of these hold, whichever server a run is at. A life is
one of all servers then, and ends when the next room begins. A ban holds when all servers have heard
of it: at the end nobody is in with a banned key. And there are two more:

19. One log. All servers make the same of a room: at the same offsets of a log the same bytes, the
   same secrets of its epochs, and at the same place of the stream the same members, whatever is to
   be known of them, and the same window. A server that was restored from a snapshot has in its log
   what others have made, and as long as it knows a room it never goes on there without something
   that its members were told. Only a fail-over of Redis that loses what some servers had read may
   split a room: those that had read it, and those that had not, have another log each from there
   on, at most one more for each such fail-over, and until the next room begins. A run that went
   over from one of these logs to another is not looked at further (2, 3, 7); nor is, in 6 and 12,
   what it shows and says. Who has come and gone in one of them alone has not left the other: what
   follows there from a secret that the run was given is still its own (5).
20. One seat. At any place of the stream a member is at one server: the one where it came in last.
   No other has a connection of its, can say anything for it, or end its stay.

The simulation itself looks at the following while it goes on: no process fails or spins; the log
stays within its window and forgets nothing of it; nothing that could be sent waits for something
else to happen; once everything is healed, all runs are up to date within a bounded time, and what
they have shown has left on standard output.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

from chat.client.events import (
    ClientEvent,
    Entered,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageNotForUs,
    MessageReceived,
    NoticeReceived,
    Reconnected,
    Tampered,
    TopicSet,
    Warned,
)
from chat.contents import Kind, Repeat
from chat.errors import Reason
from chat.frozen import replace
from chat.kex import RoomSecret
from chat.limits import REGROUP_SECONDS, REPLAY_SECONDS
from chat.presence import Presence
from chat.roomevents import Back, Joined, Left, Lost, Notice, RoomEvent, Topic
from tests.laws_of_keys import Acquaintance, Change, Person, check_doors, check_memory, require
from tests.support.simulated import ViolationError
from tests.support.simulated_liar import GHOST
from tests.support.simulated_record import (
    Checked,
    Continued,
    Decided,
    Doors,
    Entry,
    Life,
    Loaded,
    Membership,
    Private,
    Read,
    RecordedClient,
    Welcomed,
)

People = dict[Person, Presence]


class Told:
    """What the laws have to know of a run."""

    endured = False
    """Whether it was alive when everything was healed."""
    leaving_at = float("inf")
    began = 0.0
    ended_at = float("inf")
    """When it came to its end by itself."""
    keeps = True
    """Whether what it learns of keys is kept for later runs."""

    def __init__(
        self, title: str, fingerprint: bytes, client: RecordedClient, tag: bytes = b""
    ) -> None:
        """`tag` is that of the sealed room into which it comes; empty for the open one."""
        self.title = title
        self.tag = tag
        self.name = client.name
        self.fingerprint = fingerprint
        self.client = client
        self.story = client.story
        self.typed: list[str] = []
        self.places: dict[tuple[bytes, int], int] = {}
        """How far it has taken each log."""
        self.own_places: dict[tuple[tuple[bytes, int], int], int] = {}
        """The same, for each member that it was there."""
        self.crossed = False
        """Whether it has gone over from one log of a room to another one that is not the same: what
        it shows from there on is not looked at."""
        self.acquaintance = Acquaintance((self.name, fingerprint))

    @property
    def room(self) -> bytes:
        return self.client.recorded.room


LIAR = "lying_server"
"""An enemy that is not on the cables: the server itself."""

SAYS_SPLIT = " says to have been shown another conversation"
"""What a warning says behind the name of somebody who was."""

Runs = Sequence[Told]
Lives = list[Life]
Branches = Mapping[tuple[str, bytes], Mapping[float, Life]]
"""What a process of a server has made of a room, each time that it came to it."""


class Rooms:
    """The logs by their rooms. If the servers of a cluster did not agree on one (see 19), it
    depends on who tells it."""

    def __init__(self, lives: Lives, branches: Branches) -> None:
        self._of = {life.room: life for life in lives}
        self._branches = branches
        self.split = {life.room for life in lives if life.key[1]}
        """The rooms of which there is more than one log."""

    def __getitem__(self, room: bytes) -> Life:
        return self._of[room]

    def told_by(self, server: str, room: bytes, at: float) -> Life:
        """The log as this process of a server had it then."""
        told = self._branches.get((server, room), {})
        begun = [since for since in told if since <= at]
        return told[max(begun)] if begun else self[room]


def check(
    runs: Runs,
    lives: Lives,
    doors: Doors,
    grace_seconds: float,
    enemy: str = "",
    branches: Branches | None = None,
) -> None:
    """`enemy`: what somebody on the cables knew, if there was anybody; or LIAR. `branches`: only
    where several servers carried the rooms.

    Raises:
        ViolationError: a law does not hold.
    """
    for life in lives:
        require(not life.faults, "; ".join(life.faults))
        check_memberships(life, grace_seconds)
    check_logs(runs, lives)
    rooms = Rooms(lives, branches or {})
    check_walls(runs, lives, rooms)
    check_seen(runs, lives)
    check_doors(lives, doors)
    again = said_again_in_private(lives)
    for run in runs:
        check_stays(run, rooms)
        check_epochs(run, rooms, enemy)
        if enemy and enemy != LIAR:
            check_truth(run, rooms, again)
        else:
            check_split(run, rooms)
            check_shown(run, rooms)
    if not enemy or enemy == LIAR:
        crossed = {run.name for run in runs if run.crossed}
        check_memory([run for run in runs if run.name not in crossed])
    check_keys(runs, lives, rooms)
    if not enemy:
        for run in runs:
            check_unread(run, lives)
        check_deaths(runs, lives, rooms)
        check_repeats(runs, lives)


# -- 1: the logs -------------------------------------------------------------------------------


def check_logs(runs: Runs, lives: Lives) -> None:
    typed = {run.story.origin: run.typed for run in runs}
    first: dict[bytes, int] = {}
    epochs: dict[tuple[bytes, bytes, int], set[int]] = {}
    for life in lives:
        last_seq: dict[int, int] = {}
        last_number: dict[int, int] = {}
        oldest_epoch = 0
        for entry in life.entries:
            if entry.event is not None:
                if isinstance(entry.event, Left):
                    oldest_epoch = entry.epoch + 1
                continue
            require(entry.epoch >= oldest_epoch, "a message from before a leave is taken after it")
            sender, number, where = entry.sender, life.content(entry).number, _name_of(life, entry)
            require(entry.seq == last_seq.get(sender, 0) + 1, f"{where} is out of sequence")
            if sender in last_number:
                require(number == last_number[sender] + 1, f"{where} is out of order")
            last_seq[sender], last_number[sender] = entry.seq, number
    for life, entry in _in_time(lives):
        content, where = life.content(entry), _name_of(life, entry)
        number, origin = content.number, content.origin
        require(number <= first.get(origin, 0) + 1, f"{where} comes before the one before")
        first[origin] = max(first.get(origin, 0), number)
        line = typed[origin][number - 1 : number]
        require(line == [life.text(entry)], f"{where} is not what was typed")
        if content.kind is Kind.REPEAT:
            repeat = Repeat.decode(content.body)
            said = epochs.get((repeat.room, origin, number), set())
            require(repeat.epoch in said, f"{where} can be read by others than before")
        else:
            epochs.setdefault((life.room, origin, number), set()).add(entry.epoch)


def _name_of(life: Life, entry: Entry) -> str:
    return f"message {life.content(entry).number} of {life.memberships[entry.sender].name}"


def _in_time(lives: Lives) -> list[tuple[Life, Entry]]:
    """The messages of all logs in the order of time: a room may have come back after another one.
    Those of a log stay in its order."""
    placed: list[tuple[float, Life, Entry]] = []
    for life in lives:
        at = 0.0
        for entry in life.messages():
            at = max(at, entry.at)
            placed.append((at, life, entry))
    return [(life, entry) for _, life, entry in sorted(placed, key=lambda one: one[0])]


# -- 14: several rooms -------------------------------------------------------------------------


def check_walls(runs: Runs, lives: Lives, rooms: Rooms) -> None:
    room_of = {text: run.tag for run in runs for text in run.typed}
    for run in runs:
        for item in run.story.stream:
            match item:
                case Welcomed(welcome=welcome):
                    own = rooms[welcome.room].tag == run.tag
                    require(own, f"{run.title} is welcomed in another room")
                case Entered(tag=tag):
                    require(tag == run.tag, f"{run.title} is told another tag")
                case MessageReceived(text=text):
                    here = room_of.get(text, run.tag) == run.tag
                    require(here, f"{run.title} shows {text} of another room")
    for life in lives:
        for entry in life.messages() if life.tag else []:
            text = "the server could read what is said in a sealed room"
            require(not life.opens_with(entry, None), text)


# -- 13: a server that lies --------------------------------------------------------------------


def check_seen(runs: Runs, lives: Lives) -> None:
    offsets = {
        (sent.room, sent.member, sent.seq, sent.epoch, sent.offset)
        for run in runs
        for sent in run.story.sent
    }
    for life in lives:
        for entry in life.messages():
            seen = life.content(entry).seen
            said = (life.room, entry.sender, entry.seq, entry.epoch, seen.offset)
            name = life.memberships[entry.sender].name
            require(said in offsets, f"{name} says to have seen what it has not")


def check_split(run: Told, rooms: Rooms) -> None:
    if rooms.split:
        # Their members were shown different conversations, indeed.
        return
    told_from = member = 0
    due: dict[int, str] = {}
    """By the identity of what is shown: two connections may say the same."""
    split: set[str] = set()
    said: set[str] = set()
    for item in run.story.stream:
        match item:
            case Welcomed(welcome=welcome):
                told_from, member = welcome.offset, welcome.member
            case Read(room, sender, name, seen, shown):
                differs_at = rooms[room].differs_at(member, sender)
                if differs_at is not None and seen.offset > differs_at:
                    split.add(name)
                    # Of what was before its welcome nobody knows anything.
                    if seen.offset >= told_from:
                        due.update(dict.fromkeys(map(id, shown), name))
            case Warned(text) if SAYS_SPLIT in text:
                name = text.split(SAYS_SPLIT)[0]
                require(name in split, f"{run.title} says without need that {text}")
                said.add(name)
            case MessageReceived():
                name = due.get(id(item), "")
                text = f"{run.title} is shown another conversation than {name}, and does not say so"
                require(not name or name in said, text)


def check_shown(run: Told, rooms: Rooms) -> None:
    """2, 3 and 7. Who was in a room that was split may have gone over from one of its logs to the
    other: if so, what it shows is not what stands in either."""
    try:
        Replay(run, rooms).check()
        check_patience(run, rooms)
    except ViolationError:
        welcomes = (item.welcome for item in run.story.stream if isinstance(item, Welcomed))
        run.crossed = any(welcome.room in rooms.split for welcome in welcomes)
        if not run.crossed:
            raise


# -- 2 and 3: what is shown --------------------------------------------------------------------


class Replay:
    """Walks through the logs beside a run, and expects it to show what stands there."""

    def __init__(self, run: Told, rooms: Rooms) -> None:
        self._run = run
        self._rooms = rooms
        self._seen: set[tuple[bytes, bytes, int]] = set()
        self._last: dict[tuple[bytes, bytes], int] = {}
        self._late: set[ClientEvent] = set()
        self._life: Life
        self._membership: Membership
        self._index = 0
        self._expected: deque[ClientEvent] = deque()
        self._missed = 0
        self._own_in_gap: list[Entry] = []
        self._told_until: int | None = None
        self._was_here = False
        self._new_room = False
        self._knows_gap = True
        self._entered = False
        self._at = 0
        self._first_epoch = 0
        self._vouched = 0
        self._told_not_for_us: set[int] = set()
        self._told_unreadable: set[int] = set()
        self._repeatable: frozenset[tuple[bytes, int]] = frozenset()
        self._known_epochs: frozenset[int] = frozenset()
        self._acquaintance = run.acquaintance

    def check(self) -> None:
        connected = 0
        told = (item for item in self._run.story.stream if not isinstance(item, Read))
        for item in takewhile(lambda _: not self._run.crossed, told):
            match item:
                case Welcomed():
                    connected += bool(item.room_before)
                    self._on_welcomed(item)
                case Continued():
                    connected += 1
                    self._on_continued(item)
                case Reconnected():
                    require(connected > 0, f"{self._run.title} is back without having been away")
                    connected = 0
                    self._on_reconnected(item)
                case Entered():
                    self._on_entered(item)
                case Checked():
                    self._vouched = item.offset
                case Loaded(known=known):
                    self._acquaintance.load(known)
                case Decided():
                    # What was taken before goes by what was decided before.
                    self._take_until(item.offset)
                    self._acquaintance.decide(item)
                case Warned(text) if SAYS_SPLIT in text or UNREAD.fullmatch(text):
                    # See laws 13 and 2a.
                    pass
                case Tampered():
                    require(
                        not item.certain, f"{self._run.title} sees an enemy where there is none"
                    )
                case _:
                    self._on_event(item)
        if self._run.room:
            self._leave(self._run.room, self._run.client.recorded.offset)

    def _leave(self, room: bytes, offset: int) -> None:
        if self._run.crossed:
            return
        self._take_until(offset)
        assert room == self._life.room
        self._run.places[self._life.key] = offset
        self._run.own_places[self._life.key, self._membership.id] = offset

    def _on_continued(self, item: Continued) -> None:
        there = self._rooms.told_by(item.server, item.room, item.at)
        if there.key != self._life.key:
            self._cross(there, item.offset)

    def _cross(self, there: Life, offset: int, *, is_shorter: bool = False) -> None:
        """The run goes on with another log of the same room. If that is one with its own so far,
        nothing has happened."""
        self._take_until(offset)
        own = [entry.frame or entry.event for entry in self._life.entries if entry.end <= offset]
        other = [entry.frame or entry.event for entry in there.entries if entry.end <= offset]
        self._run.crossed = is_shorter or own != other
        if self._run.crossed:
            # Of what nobody has vouched for it takes back that it was acknowledged.
            place = self._life.key, self._membership.id
            self._run.own_places[place] = min(self._run.own_places.get(place, 0), self._vouched)
        self._life = there

    def _take_until(self, offset: int) -> None:
        """The run has taken the log to here: nothing of it must be left to be shown."""
        left = [*self._expected, *self._until(offset)]
        left = [each for each in left if each not in self._late]
        require(not left, f"{self._run.title} does not show {left[:1]}")
        self._expected.clear()

    def _on_welcomed(self, item: Welcomed) -> None:
        if item.room_before:
            self._leave(item.room_before, item.offset_before)
        welcome = item.welcome
        told = self._rooms.told_by(item.server, welcome.room, item.at)
        # One that was put back is another one, also if nothing was said in it since.
        is_shorter = welcome.offset < item.offset_before
        if item.room_before == welcome.room and (told.key != self._life.key or is_shorter):
            self._cross(told, item.offset_before, is_shorter=is_shorter)
            if self._run.crossed:
                return
        same_room = item.room_before == welcome.room
        before = self._life if same_room else None
        self._life = told.told_to(welcome.member)
        # Where a log begins anew that is not the one before, nobody knows what lies between.
        self._knows_gap = before in (None, self._life)
        again = same_room and self._membership.id == welcome.member
        if not again:
            self._own_in_gap.clear()
            self._told_until = None
            self._was_here = False
        elif self._told_until is None and self._was_here:
            self._told_until = item.offset_before
        if same_room:
            gap = self._life.messages_between(item.offset_before, welcome.offset)
            self._missed += len(gap)
            self._own_in_gap += (entry for entry in gap if again and entry.sender == welcome.member)
        elif item.room_before:
            self._new_room = True
        self._membership = self._life.memberships[welcome.member]
        self._first_epoch = welcome.epoch
        self._told_not_for_us.clear()
        self._told_unreadable.clear()
        self._repeatable = item.repeatable
        self._known_epochs = item.epochs
        self._at = self._vouched = welcome.offset
        starts = [entry.start for entry in self._life.entries]
        at_boundary = welcome.offset in starts or welcome.offset >= self._life.entries[-1].end
        require(at_boundary, f"{self._run.title} is welcomed between two entries")
        self._index = sum(start < welcome.offset for start in starts)

    def _on_reconnected(self, item: Reconnected) -> None:
        run, missed = self._run.title, self._missed - len(self._own_in_gap)
        known = item.missed == missed or not self._knows_gap
        require(known, f"{run} says {item.missed} missed where it is {missed}")
        require(item.new_room == self._new_room, f"{run} is wrong about the room being new")
        self._missed, self._new_room = 0, False
        if self._told_until is not None:
            self._expected += self._changes(self._told_until)
            self._told_until = None
        for entry in self._own_in_gap:
            self._expected += self._of_content(entry, placed=False)
        self._own_in_gap.clear()

    def _people(self, offset: int) -> dict[Person, Presence]:
        """Who is in, by the log up to an offset, in the order of their numbers."""
        people: dict[Person, Presence] = {}
        for number, stay in sorted(self._life.memberships.items()):
            if stay.is_in(offset) and not stay.caller:
                person = stay.name, stay.fingerprint
                lost = stay.is_lost(offset) and number != self._membership.id
                if not lost or person not in people:
                    people[person] = Presence.LOST if lost else Presence.HERE
        return people

    def _changes(self, told_until: int) -> Iterator[ClientEvent]:
        """What became of people in a gap."""
        before, now = self._people(told_until), self._people(self._at)
        for person in [*(each for each in before if each not in now), *now]:
            yield from self._told(person, before, now, Reason.LEFT, self._at)

    def _on_entered(self, item: Entered) -> None:
        if not item.again:
            # What lay between two welcomes, of which the first did not come through, was missed by
            # nobody, and the room of the first is none that the run was in.
            self._missed, self._new_room = 0, False
            self._own_in_gap.clear()
        here = self._people(self._at)
        names = {name for name, _ in here}
        require(set(item.members) == names, f"{self._run.title} is told the wrong names")
        text = f"{self._run.title} is wrong about having been in before"
        require(item.again == self._entered, text)
        unproved = {name for name in item.members if not self._has_proved(name, self._at)}
        text = f"{self._run.title} is told that {item.unproved} have no key"
        require({*item.unproved} == unproved, text)
        self._entered = self._was_here = True
        lost = [name for (name, _), how in here.items() if how is Presence.LOST]
        stays = [stay for stay in self._life.memberships.values() if stay.is_in(self._at)]
        people = {(stay.name, stay.fingerprint) for stay in stays}
        members = [(person, self._has_proved(person[0], self._at)) for person in sorted(people)]
        self._expected += self._acquaintance.enter(members)
        self._expected += [MemberLost(name) for name in lost]

    def _has_proved(self, name: str, offset: int) -> bool:
        """Whether all of this name that are in have proved to have the key of a sealed room. Who is
        made up has not, nor who is swapped with another but for the proof."""
        stays = (self._life.memberships[member] for member in self._life.unproved)
        unproved = any(stay.name == name and stay.is_in(offset) for stay in stays)
        return not unproved and not (self._life.tag and name == GHOST)

    def _on_event(self, event: ClientEvent) -> None:
        if isinstance(event, Change):
            # Since when is not looked at here.
            event = replace(event, since=0)
        expected = self._next_expected(event)
        while expected != event and expected in self._late:
            expected = self._next_expected()
        text = f"{self._run.title} shows {event} where {expected} is due"
        require(event == expected, text)

    def _next_expected(self, event: ClientEvent | None = None) -> ClientEvent | None:
        while not self._expected and self._index < len(self._life.entries):
            self._expected += self._take()
        keys = takewhile(lambda one: isinstance(one, Change), self._expected)
        if event is not None and event in list(keys):
            # Of those who are in, in any order.
            self._expected.remove(event)
            return event
        return self._expected.popleft() if self._expected else None

    def _until(self, offset: int) -> Iterator[ClientEvent]:
        entries = self._life.entries
        while self._index < len(entries) and entries[self._index].end <= offset:
            yield from self._take()

    def _take(self) -> Iterable[ClientEvent]:
        entry = self._life.entries[self._index]
        self._index += 1
        if entry.event is not None:
            return self._of_event(entry.event, entry)
        return self._of_message(entry)

    def _knows(self, epoch: int) -> bool:
        """Whether the run has had the secret of an epoch of this room since its welcome."""
        return epoch >= self._first_epoch or epoch in self._known_epochs

    def _of_message(self, entry: Entry) -> Iterable[ClientEvent]:
        if not self._knows(entry.epoch):
            if entry.sender not in self._told_not_for_us:
                self._told_not_for_us.add(entry.sender)
                yield MessageNotForUs(self._life.memberships[entry.sender].name)
        elif entry.sender in self._life.unreadable:
            if entry.sender not in self._told_unreadable:
                self._told_unreadable.add(entry.sender)
                name = self._life.memberships[entry.sender].name
                yield Warned(f"{name}: a message could not be opened, and was dropped")
        else:
            yield from self._of_content(entry)

    def _of_content(self, entry: Entry, *, placed: bool = True) -> Iterable[ClientEvent]:
        content, private = self._life.content(entry), self._life.private(entry)
        mistaken = private is not None and entry.sender in self._life.mistaken
        if mistaken or not _is_for(self._run, self._life, entry):
            return
        sender = self._life.memberships[entry.sender]
        if content.kind is Kind.REPEAT:
            repeat = Repeat.decode(content.body)
            here = repeat.room == self._life.room and self._knows(repeat.epoch)
            if not here and (repeat.room, repeat.epoch) not in self._repeatable:
                return
        run = sender.fingerprint, content.origin
        if (*run, content.number) not in self._seen:
            self._seen.add((*run, content.number))
            own, text = sender.id == self._membership.id, self._life.text(entry)
            to = "" if private is None else private.to
            shown = MessageReceived(sender.name, content.time_ms, text, own, content.number, to)
            if content.number < self._last.get(run, 0):
                self._late.add(shown)
            self._last[run] = max(content.number, self._last.get(run, 0))
            if not own:
                person = sender.name, sender.fingerprint
                if self._acquaintance.ignores(person):
                    return
                proved = self._has_proved(sender.name, entry.start)
                yield from self._acquaintance.hear(person, proved=proved)
            yield shown
            if own and private is not None:
                yield from self._not_reached(entry, private, placed=placed)

    def _not_reached(
        self, entry: Entry, private: Private, *, placed: bool
    ) -> Iterator[ClientEvent]:
        if not self._life.has_reader(private, entry.start if placed else self._at):
            was, did = ("was", "did not reach") if placed else ("is", "may not have reached")
            text = f"{private.to} {was} not here any more: the private message {did} {private.to}"
            yield Warned(text)

    def _of_event(self, event: RoomEvent, entry: Entry) -> Iterable[ClientEvent]:
        match event:
            case Joined(entries):
                yield from self._of_people(entry, {each.id: Reason.LEFT for each in entries})
            case Left(departures):
                yield from self._of_people(entry, dict(departures))
            case Lost(member) | Back(member):
                yield from self._of_people(entry, {member: Reason.LOST})
            case Notice(text):
                yield NoticeReceived(text)
            case Topic(since, text):
                yield TopicSet(text, since, changed=True)

    def _of_people(self, entry: Entry, members: dict[int, Reason]) -> Iterable[ClientEvent]:
        """What becomes of the people whose members these are; with why each has gone."""
        before, now = self._people(entry.start), self._people(entry.end)
        reasons: dict[Person, Reason] = {}
        for member, reason in members.items():
            stay = self._life.memberships[member]
            if not stay.caller:
                reasons[stay.name, stay.fingerprint] = reason
        for person, reason in reasons.items():
            yield from self._told(person, before, now, reason, entry.end)

    def _told(
        self, person: Person, before: People, now: People, reason: Reason, offset: int
    ) -> Iterator[ClientEvent]:
        """What is shown of a person who was in as `before`, and is as it is `now`, which is at an
        offset of the log."""
        (name, _), was, is_now = person, before.get(person), now.get(person)
        if was is None and is_now is not None:
            proved = self._has_proved(name, offset)
            yield MemberJoined(name, unproved=not proved)
            yield from self._acquaintance.meet(person, proved=proved)
            was = Presence.HERE
        if was is not None and is_now is None:
            yield MemberLeft(name, reason)
            self._acquaintance.leave(name)
        elif was is Presence.HERE and is_now is Presence.LOST:
            yield MemberLost(name)
        elif was is Presence.LOST and is_now is Presence.HERE:
            yield MemberBack(name)


# -- 2a: what was said in private, and not read ------------------------------------------------

UNREAD = re.compile(
    "(.+) left without having read what you said in private|"
    "(.+) is here anew, and has not read what you said in private before|"
    "What you said to (.+) in private may not have reached .+"
)
NOT_REACHED = re.compile("(.+) (?:is|was) not here any more: the private message .+")


def check_unread(run: Told, lives: Lives) -> None:
    said: Counter[str] = Counter()
    unread: set[str] = set()
    gone: dict[int, str] = {}
    read: set[int] = set()
    for life in lives:
        for entry in life.messages():
            content, private = life.content(entry), life.private(entry)
            if private is None or content.origin != run.story.origin:
                continue
            said[private.to] += 1
            readers = [one for one in life.readers(private) if one.is_in(entry.start)]
            if all(one.is_gone_since(entry.start) for one in readers):
                unread.add(private.to)
                until = max((one.left or 0 for one in readers), default=2**63)
                if until <= run.places.get(life.key, 0):
                    gone[content.number] = private.to
            else:
                read.add(content.number)
    # What is said again in a new room may have been read in the old one.
    due = {to for number, to in gone.items() if number not in read}
    told: Counter[str] = Counter()
    for text in (item.text for item in run.story.stream if isinstance(item, Warned)):
        due -= {found[1] for found in [NOT_REACHED.fullmatch(text)] if found}
        if found := UNREAD.fullmatch(text):
            name = found[1] or found[2] or found[3]
            told[name] += 1
            known = name in unread or found[3]
            require(bool(known), f"{run.title} says that {name} has not read what it has read")
    require(due <= {*told}, f"{run.title} does not say that {due} have not read what it said")
    require(told <= said, f"{run.title} says too often what was not read")


# -- 4: memberships ----------------------------------------------------------------------------


def check_memberships(life: Life, grace_seconds: float) -> None:
    lost_at: dict[int, float] = {}
    for entry in life.entries:
        match entry.event:
            case Lost(member):
                require(member not in lost_at, "a member is lost twice")
                lost_at[member] = entry.clock
            case Back(member):
                require(member in lost_at, "a member is back that was not lost")
                del lost_at[member]
            case Left(departures):
                for member, reason in departures:
                    since = entry.clock - lost_at.pop(member, entry.clock)
                    name = life.memberships[member].name
                    if reason is Reason.LOST and member not in life.crowded_out:
                        require(
                            since > grace_seconds - 1e-6, f"{name} is put out before its grace ends"
                        )
                    require(reason is not Reason.PROTOCOL, f"{name} breaks the protocol")


def check_stays(run: Told, rooms: Rooms) -> None:
    before: Membership | None = None
    log: object = None
    for item in run.story.stream:
        if not isinstance(item, Welcomed):
            continue
        life = rooms.told_by(item.server, item.welcome.room, item.at)
        membership = life.memberships[item.welcome.member]
        if before is not None and life.key == log and membership is not before:
            # What it was told in a life that has split off from this one may be more than this one
            # has. Then it joins anew.
            fair = before.reason in (Reason.LOST, Reason.KICKED) or life.room in rooms.split
            require(fair, f"{run.title} lost its membership: {before.reason}")
        before, log = membership, life.key


# -- 5: keys -----------------------------------------------------------------------------------


def check_keys(runs: Runs, lives: Lives, rooms: Rooms) -> None:
    epochs: dict[bytes, list[tuple[Life, int]]] = {}
    follows: dict[bytes, bytes] = {}
    for life in lives:
        for epoch, secret in life.secrets.items():
            epochs.setdefault(secret, []).append((life, epoch))
            step = RoomSecret(secret).step().secret
            if life.secrets.get(epoch + 1) == step:
                follows[secret] = step
    for run in runs:
        stays = list(_stays(run, rooms))
        for given in run.story.given:
            held: bytes | None = given
            while held is not None:
                its_own = any(
                    _has_key(stay, log, life, epoch)
                    for life, epoch in epochs[held]
                    for stay, log in stays
                )
                epoch = epochs[held][0][1]
                require(its_own, f"{run.title} can open epoch {epoch}, which is not its own")
                held = follows.get(held)


def _stays(run: Told, rooms: Rooms) -> Iterator[tuple[Membership, Life]]:
    """The stays of a run, each with the log in which it was told of it."""
    for item in run.story.stream:
        if isinstance(item, Welcomed):
            log = rooms.told_by(item.server, item.welcome.room, item.at)
            yield log.memberships[item.welcome.member], log


def _has_key(stay: Membership, log: Life, life: Life, epoch: int) -> bool:
    """Whether somebody who was so in a room, by this log of it, may have the key of an epoch of
    `life`; that is perhaps another log of the same room."""
    if life.room != log.room or epoch < stay.first_epoch:
        return False
    there = life.memberships.get(stay.id)
    if there is not None and there.share == stay.share:
        return epoch <= there.last_epoch
    # Those who go on there have heard neither of the stay nor of its end.
    return life is not log


# -- 9, 11 and 12: an enemy ---------------------------------------------------------------------


def said_again_in_private(lives: Lives) -> set[str]:
    """The texts of private messages that stand in several logs: they are repeated as they are."""
    texts = Counter[str]()
    for life in lives:
        private = (entry for entry in life.messages() if life.private(entry) is not None)
        texts.update({life.text(entry) for entry in private})
    return {text for text, logs in texts.items() if logs > 1}


def check_truth(run: Told, rooms: Rooms, again: set[str]) -> None:
    """Where the server vouched for what a run took, the run has shown what stands in the log, in
    its order, or has said that it was tampered with since it was vouched for last. What is repeated
    may be left out: the messages of a kind, and the texts of private messages, `again`."""
    start, first_epoch, known = 0, 0, frozenset[int]()
    segment: list[tuple[str, str]] = []
    shown: set[tuple[str, str]] = set()
    doubted = False
    for item in run.story.stream:
        match item:
            case Welcomed(welcome=welcome, epochs=known):
                start, first_epoch = welcome.offset, welcome.epoch
                shown.update(segment)
                segment, doubted = [], False
            case MessageReceived(name, _, text):
                segment.append((name, text))
            case Tampered():
                doubted = True
            case Checked(room, offset):
                life = rooms[room]
                said = [
                    (life.memberships[entry.sender].name, life.text(entry))
                    for entry in life.messages_between(start, offset)
                    if (entry.epoch >= first_epoch or entry.epoch in known)
                    and not _is_repeat(life, entry, again)
                    and _is_for(run, life, entry)
                ]
                missing = set(said) - shown - set(segment)
                require(not missing, f"{run.title} does not show {missing}")
                others = {each for each in segment if each[0] != run.name} - set(said)
                untrue = others - _repeated(life, start, offset, again)
                if not doubted:
                    require(not untrue, f"{run.title} shows {untrue}, which nobody said")
                    new = [each for each in dict.fromkeys(said) if each not in shown]
                    in_order = [each for each in segment if each in new]
                    require(in_order == new, f"{run.title} shows another order")
                shown.update(segment)
                start, segment, doubted = offset, [], False
    heard = [each for each in segment if each[0] != run.name]
    require(not run.endured or not heard or doubted, f"{run.title} was not vouched for")


def _is_repeat(life: Life, entry: Entry, again: set[str]) -> bool:
    return life.content(entry).kind is Kind.REPEAT or life.text(entry) in again


def _repeated(life: Life, start: int, end: int, again: set[str]) -> set[tuple[str, str]]:
    return {
        (life.memberships[entry.sender].name, life.text(entry))
        for entry in life.messages_between(start, end)
        if _is_repeat(life, entry, again)
    }


def check_repeats(runs: Runs, lives: Lives) -> None:
    senders = {run.story.origin: run for run in runs}
    acknowledged: dict[tuple[bytes, int], bytes] = {}
    for life, entry in _in_time(lives):
        content = life.content(entry)
        said = content.origin, content.number
        text = f"{life.text(entry)} was acknowledged, and is said to everybody"
        room = acknowledged.get(said, life.room)
        require(room == life.room or content.kind is not Kind.SAY, text)
        if _is_acknowledged(senders[content.origin], life, entry):
            acknowledged.setdefault(said, life.room)


def _is_acknowledged(sender: Told, life: Life, entry: Entry) -> bool:
    """Whether its sender has come to a message as the member that said it. As another member it may
    have been welcomed behind it."""
    return sender.own_places.get((life.key, entry.sender), 0) >= entry.end


def check_epochs(run: Told, rooms: Rooms, enemy: str) -> None:
    require(not run.story.faults, f"{run.title} {'; '.join(run.story.faults)}")
    if enemy == "present_member":
        # Who knows the room's keys can make a run derive one that will never be.
        return
    stays: list[tuple[bytes, Membership]] = []
    member = 0
    for item in run.story.stream:
        if isinstance(item, Welcomed):
            for room, epoch in item.repeatable:
                was_there = any(
                    where == room and stay.first_epoch <= epoch <= stay.last_epoch
                    for where, stay in stays
                )
                require(was_there, f"{run.title} can open what was said where it was not")
            room, member = item.welcome.room, item.welcome.member
            life = rooms.told_by(item.server, room, item.at)
            stays.append((room, life.memberships[member]))
        elif isinstance(item, Continued):
            # Perhaps in another log of the room, which was the same so far.
            life = rooms.told_by(item.server, item.room, item.at)
            stays.append((item.room, life.memberships[member]))


# -- 6 and 7: a server dies --------------------------------------------------------------------


def check_deaths(runs: Runs, lives: Lives, rooms: Rooms) -> None:
    last: dict[tuple[bytes, int], tuple[Life, Entry]] = {}
    acknowledged: dict[tuple[bytes, int], float] = {}
    senders = {run.story.origin: run for run in runs}
    for life in lives:
        for entry in life.messages():
            content = life.content(entry)
            said = content.origin, content.number
            last[said] = life, entry
            if _is_acknowledged(senders[content.origin], life, entry):
                acknowledged.setdefault(said, entry.at)
    endured = {run.story.origin: run for run in runs if run.endured}
    texts = {
        origin: {item.text for item in run.story.stream if isinstance(item, MessageReceived)}
        for origin, run in endured.items()
    }
    ignored = {origin: run.acquaintance.ever_ignored for origin, run in endured.items()}
    for (origin, number), (life, entry) in last.items():
        said_at = acknowledged.get((origin, number), entry.at)
        recent = said_at >= life.died_at - REPLAY_SECONDS
        if not recent or origin not in endured or endured[origin].room == life.room:
            continue
        text = life.text(entry)
        for reader, run in endured.items():
            taken = run.places.get(life.key, 0) >= entry.end or text in texts[reader]
            taken |= run.crossed
            owed = not taken and _is_shown_to(run, life, entry, rooms)
            owed &= _is_for(run, life, entry)
            owed &= life.memberships[entry.sender].fingerprint not in ignored[reader]
            require(not owed, f"{run.title} never shows {text}, said before the death")


def _is_for(run: Told, life: Life, entry: Entry) -> bool:
    """Whether the run may read this; of what is private, only its sender and the one who is meant
    may."""
    private = life.private(entry)
    own = life.content(entry).origin == run.story.origin
    if private is None or own:
        return True
    # It is bound to the key as well.
    meant = private.shares if run.fingerprint == private.fingerprint else frozenset[bytes]()
    return run.client.recorded.share in meant | private.own


def _is_shown_to(run: Told, life: Life, entry: Entry, rooms: Rooms) -> bool:
    # In another log of the same room the number may be that of somebody else.
    return any(
        isinstance(item, Welcomed)
        and rooms.told_by(item.server, item.welcome.room, item.at).key == life.key
        and (stay := life.memberships.get(item.welcome.member)) is not None
        and stay.fingerprint == run.fingerprint
        and stay.first_epoch <= entry.epoch
        and stay.joined <= entry.start < (stay.left or 2**63)
        for item in run.story.stream
    )


def check_patience(run: Told, rooms: Rooms) -> None:
    for item in run.story.stream:
        if not isinstance(item, Welcomed) or item.room_before in (b"", item.welcome.room):
            continue
        life = rooms.told_by(item.server, item.welcome.room, item.at)
        until = min(item.at + REGROUP_SECONDS, run.leaving_at)
        for sent in run.story.sent:
            if sent.room != life.room or sent.at >= until:
                continue
            back = Counter(
                stay.fingerprint
                for stay in life.memberships.values()
                if stay.first_epoch <= sent.epoch and not stay.caller
            )
            text = f"{run.title} says {sent.content.number} before all are back"
            require(item.known <= back, text)
