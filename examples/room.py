"""A room alone, without sockets: a log, a server's half and two members (PROTOCOL 6).

    python examples/room.py

The room appends everything that happens to the log, and returns the few messages that are for one
member only. A participant takes the bytes of the log, and returns events for its user. Between the
two there are only bytes.
"""

import hashlib
import os

from chat.client.participant import Participant
from chat.controls import decode_control
from chat.server.log import OrderedLog
from chat.server.room import Room, Unicast
from chat.wire import FrameReader

log = OrderedLog(1024 * 1024)
room = Room(log, os.urandom, grace_seconds=60)
now = 0.0
people = {}
for name in ("Ira", "Boris"):
    member = room.join(name, hashlib.sha256(name.encode()).digest(), joined_at=now)
    people[member.id] = (member, Participant(os.urandom))


def deliver(unicasts: list[Unicast]) -> None:
    for unicast in unicasts:
        member, participant = people[unicast.member.id]
        for control in unicast.controls:
            print(f"to {member.name} alone: {type(decode_control(control)).__name__}")
            for event in participant.receive_control(decode_control(control), now):
                print(f"{member.name} is shown: {event}")


# Both joins share one step of the key. The tick returns the messages for one member alone.
deliver(room.tick(now))

ira, ears = people[1]
start = log.end
ears.say("Hello, Boris.", time_ms=0)
for run in ears.data_to_send():
    room.submit(ira, run, now)
room.say("The server speaks, too.")

for member, participant in people.values():
    for frame_type, run in FrameReader(65_535).feed(log.read(start, log.end)):
        for event in participant.receive_frames(frame_type, run):
            print(f"{member.name} is shown: {event}")

# A second later the server vouches for all of it. If a byte of the log had been changed on the way
# to Boris, CHECK would not agree, and he would be told.
now += 1
deliver(room.tick(now))
print(f"the log has {log.end} bytes")
