"""The keys of the epochs as a client keeps them."""

import pytest

from chat.client.keyring import Keyring
from chat.errors import ProtocolError
from chat.kex import RoomSecret
from chat.limits import EPOCH_GRACE_SECONDS, MAX_EPOCHS

ROOM, SECRET = b"room one", RoomSecret(b"5" * 32)


def keyring_at(epoch: int) -> Keyring:
    keyring = Keyring()
    keyring.welcome(ROOM, epoch, 1, SECRET)
    return keyring


def known(keyring: Keyring, epochs: range) -> list[int]:
    return [epoch for epoch in epochs if keyring.message_key(epoch) is not None]


def test_keys_are_kept_as_long_as_messages_under_them_can_come_and_then_forgotten() -> None:
    """However late we hear of it all: ten seconds of grace, with 20 steps in each."""
    assert MAX_EPOCHS >= EPOCH_GRACE_SECONDS * 20
    keyring = keyring_at(5)
    for _ in range(MAX_EPOCHS - 1):
        keyring.step()
    epochs = range(keyring.current + 2)
    assert known(keyring, epochs) == list(epochs)[5:-1]
    keyring.step()
    assert known(keyring, epochs) == list(epochs)[6:]


def test_rekey_is_expected_behind_a_leave_alone_and_ends_what_was_before() -> None:
    keyring = keyring_at(5)
    keyring.step()
    assert known(keyring, range(9)) == [5, 6]
    assert not keyring.expects(7)
    keyring.await_rekey()
    assert [epoch for epoch in range(10) if keyring.expects(epoch)] == [7]
    keyring.renew(RoomSecret(b"6" * 32))
    assert (keyring.oldest, keyring.current, keyring.awaits_rekey) == (7, 7, False)
    assert known(keyring, range(9)) == [7]
    assert [epoch for epoch in range(10) if keyring.counts(epoch)] == [7]


SECRETS = {5: SECRET, 6: SECRET.step(), 7: SECRET.step().step()}


@pytest.mark.parametrize(
    ("room", "epoch", "oldest", "secret", "kept"),
    [
        # Whoever had a secret since the last leave can follow to this one.
        (ROOM, 7, 1, SECRETS[7], [5, 6, 7]),
        (ROOM, 7, 5, SECRETS[7], [5, 6, 7]),
        (ROOM, 7, 6, SECRETS[7], [6, 7]),
        (ROOM, 7, 7, SECRETS[7], [7]),
        # Not to another: what we know was forged, or the welcome is.
        (ROOM, 7, 1, SECRET, [7]),
        (ROOM, 6, 1, SECRETS[6], [5, 6]),
        (ROOM, 5, 1, SECRET, [5]),
        (ROOM, 2, 1, SECRET, [2]),
        (ROOM, 2**32 - 1, 1, SECRET, [2**32 - 1]),
        (b"room two", 7, 1, SECRETS[7], [7]),
    ],
)
def test_welcome_keeps_the_secrets_from_which_its_own_follows(
    room: bytes, epoch: int, oldest: int, secret: RoomSecret, kept: list[int]
) -> None:
    keyring = keyring_at(5)
    keyring.step()
    keyring.await_rekey()
    keyring.welcome(room, epoch, oldest, secret)
    assert (keyring.current, keyring.awaits_rekey) == (epoch, False)
    assert sorted(keyring._known) == kept
    counting = [number for number in range(12) if keyring.counts(number)]
    assert counting == [*range(oldest, min(epoch, 11) + 1)]


def test_welcome_whose_oldest_epoch_is_to_come_is_a_breach() -> None:
    with pytest.raises(ProtocolError, match="makes no sense"):
        Keyring().welcome(ROOM, 5, 6, SECRET)


def test_repeat_keys_outlive_leaves_and_rooms_but_not_without_end() -> None:
    keyring = keyring_at(5)
    old = SECRET.repeat_key()
    keyring.await_rekey()
    keyring.renew(RoomSecret(b"6" * 32))
    keyring.welcome(b"room two", 5, 1, RoomSecret(b"7" * 32))
    assert keyring.repeat_key(ROOM, 5) == old
    assert keyring.repeat_key(b"room two", 5) not in (None, old)
    assert keyring.repeat_key(ROOM, 4) is None
    for _ in range(MAX_EPOCHS - 2):
        keyring.step()
    assert keyring.repeat_key(ROOM, 5) is None
    assert keyring.repeat_key(ROOM, 6) is not None


def test_epochs_that_run_out_are_a_breach() -> None:
    """Nobody gets there honestly; the number must not grow beyond the four bytes it travels in."""
    with pytest.raises(ProtocolError, match="have run out"):
        keyring_at(2**32 - 1).step()
