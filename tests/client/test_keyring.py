"""The keys of the epochs as a client keeps them."""

import pytest

from chat.client.keyring import Keyring
from chat.errors import ProtocolError
from chat.kex import RoomSecret
from chat.limits import EPOCH_GRACE_SECONDS, MAX_EPOCHS

SECRET = RoomSecret(b"5" * 32)


def keyring_at(epoch: int) -> Keyring:
    keyring = Keyring()
    keyring.welcome(epoch, SECRET)
    return keyring


def known(keyring: Keyring, epochs: range) -> list[int]:
    return [epoch for epoch in epochs if keyring.message_key(epoch) is not None]


def test_keys_are_kept_as_long_as_messages_under_them_can_come_and_then_forgotten() -> None:
    """However late we hear of it all: ten seconds of grace, with 20 joins and 10 leaves in each."""
    assert MAX_EPOCHS >= EPOCH_GRACE_SECONDS * 30
    keyring = keyring_at(5)
    for _ in range(MAX_EPOCHS - 1):
        keyring.step()
    epochs = range(keyring.current + 2)
    assert known(keyring, epochs) == list(epochs)[5:-1]
    keyring.step()
    assert known(keyring, epochs) == list(epochs)[6:]


@pytest.mark.parametrize("back", [0, 1, 7, 8, 9])
def test_welcome_to_an_epoch_of_before_makes_it_the_newest(
    back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is dropped must be the oldest epoch, and never the current one."""
    monkeypatch.setattr("chat.client.keyring.MAX_EPOCHS", 8)
    keyring = keyring_at(5)
    for _ in range(10):
        keyring.step()
    keyring.welcome(keyring.current - back, SECRET)
    for _ in range(10):
        assert keyring.message_key(keyring.current) is keyring.current_message_key
        assert keyring.current_event_key is not keyring.current_message_key
        keyring.step()
    assert len(known(keyring, range(40))) == 8
    oldest = known(keyring, range(40))[0]
    for epoch in (oldest, 50):
        keyring.welcome(epoch, SECRET)
    assert known(keyring, range(51))[0] == oldest


def test_rekey_is_expected_behind_a_leave_alone() -> None:
    keyring = keyring_at(5)
    assert not keyring.expects(6)
    keyring.await_rekey()
    assert [epoch for epoch in range(10) if keyring.expects(epoch)] == [6]
    keyring.renew(RoomSecret(b"6" * 32))
    assert (keyring.first, keyring.current, keyring.awaits_rekey) == (5, 6, False)
    keyring.await_rekey()
    keyring.welcome(9, SECRET)
    assert (keyring.first, keyring.current, keyring.awaits_rekey) == (9, 9, False)
    assert known(keyring, range(12)) == [5, 6, 9]
    keyring.forget()
    assert known(keyring, range(12)) == []


def test_epochs_that_run_out_are_a_breach() -> None:
    """Nobody gets there honestly; the number must not grow beyond the four bytes it travels in."""
    with pytest.raises(ProtocolError, match="have run out"):
        keyring_at(2**32 - 1).step()
