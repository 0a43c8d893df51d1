"""An invite in a wrong place of the command line: the error does not repeat it, since errors end up
in logs and in mail."""

import pytest

from chat.__main__ import main
from chat.errors import UsageError
from chat.invite import Invite
from chat.place import Endpoint
from tests.support.secrets import Secret

INVITE = Invite((Endpoint("chat.example", 9443),), bytes(32), bytes(range(100, 132))).encode()
LAST_PART = INVITE.rpartition("/")[2]

ANYTHING_IS_WRONG = [
    *("IT", "server IT", "server --host IT", "server --port IT", "server --grace IT"),
    *("server --pending IT", "server --keep-names IT", "client h IT Ira", "client h 1 IT"),
    *("client xIT Ira", "client --color IT h Ira", "client --bits IT h Ira"),
    *("client --time IT% h Ira", "client --patience IT h Ira", "client --fingerprint IT h Ira"),
    *("client --json=IT h Ira", "client --IT h Ira", "client -IT h Ira", "invite IT 1"),
    *("invite h --tag=IT", "rooms IT", "rooms add x IT", "rooms remove x IT", "fingerprint IT 1"),
    *("fingerprint h IT", "forget IT 1", "forget h IT", "forget h 1 IT"),
]
INVITE_IS_WRONG = [
    *("server --keys IT", "server --room-tags IT", "server --authorized-keys IT"),
    *("client IT Ira --nope", "client IT Ira Bob", "client IT/ Ira", "invite IT"),
    *("invite h --keep IT", "rooms add IT", "rooms remove IT", "fingerprint --keys IT h"),
]


@pytest.mark.parametrize(
    ("words", "it"),
    [
        *((words, INVITE) for words in ANYTHING_IS_WRONG + INVITE_IS_WRONG),
        *((words, LAST_PART) for words in [*ANYTHING_IS_WRONG, "client Ira@IT", "invite IT"]),
        *((words, LAST_PART) for words in ("server chat.example:9443/IT", "server h.IT")),
    ],
)
def test_error_does_not_repeat_an_invite(
    words: str, it: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words.replace("IT", it).split()) == UsageError.exit_status
    out, err = capfd.readouterr()
    assert (out, "error: " in err, Secret(INVITE).found_in(err)) == ("", True, set())
