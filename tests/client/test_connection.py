"""When a connection asks for what is to be sent, and what it does not handle any more. All else is
in `test_client`."""

import socket
from contextlib import closing
from unittest import mock

from chat.client.connection import Connection
from chat.client.participant import Participant
from chat.controls import Resend
from chat.session import ControlReceived
from tests.support.helpers import FixedBytes, Pair
from tests.support.loopback import SteppedReactor

SIZE, RUNS = 4_000_000, 80


class Talker(Participant):
    """A participant that always has something to say, and counts how often it is asked."""

    asked = 0

    def data_to_send(self) -> list[bytes]:
        self.asked += 1
        return [bytes(SIZE // RUNS)] * RUNS


def test_messages_are_asked_for_only_when_all_before_has_left() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    talker = Talker(FixedBytes("talker"))
    with closing(far), closing(SteppedReactor()) as reactor:
        connection = Connection(mock.Mock(), reactor, near, Pair().shake_hands().client, talker)
        for _ in range(5):
            connection.send()
            assert talker.asked == 1
        received = 0
        while talker.asked == 1:
            received += len(far.recv(1 << 20))
            connection._transport.flush()  # as the reactor does, now that it can be written
            connection.send()
        assert received > SIZE // 2
        connection.close()


def test_what_arrives_together_with_the_end_is_not_handled() -> None:
    """A view may end the stay for what it is shown, and more has arrived with it."""
    near, far = socket.socketpair()
    near.setblocking(False)
    stay, session = mock.Mock(), mock.Mock(deadline=float("inf"))
    session.receive.return_value = [ControlReceived(Resend(1))] * 2
    with closing(far), closing(SteppedReactor()) as reactor:
        connection = Connection(stay, reactor, near, session, mock.Mock())
        stay.show_all.side_effect = lambda _events: connection.close()
        connection.received(b"?")
    stay.show_all.assert_called_once()
