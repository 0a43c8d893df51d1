"""When a connection asks for what is to be sent. All else is in `test_client`."""

import socket
from contextlib import closing
from unittest import mock

from chat.client.connection import Connection
from chat.client.participant import Participant
from tests.support.helpers import FixedBytes, Pair
from tests.support.loopback import SteppedReactor

SIZE = 4_000_000


class Talker(Participant):
    """A participant that always has something to say, and counts how often it is asked."""

    asked = 0

    def data_to_send(self) -> bytes:
        self.asked += 1
        return bytes(SIZE)


def test_messages_are_asked_for_only_when_all_before_has_left() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    talker = Talker(FixedBytes("talker"))
    with closing(far), closing(SteppedReactor()) as reactor:
        connection = Connection(mock.Mock(), reactor, near, Pair().client, talker)
        for _ in range(5):
            connection.send()
            assert talker.asked == 1
        received = 0
        while talker.asked == 1:
            received += len(far.recv(1 << 20))
            connection.send()
        assert received > SIZE // 2
        connection.close()
