"""From a place to where we connect: kept names, invites from elsewhere, and whose key is right."""

import contextlib
import os
import termios
from pathlib import Path
from typing import NoReturn
from unittest import mock

import pytest

from chat import targets
from chat.errors import ChatError, IdentityError, InviteError, ServerKeyError, UsageError
from chat.files.keyfolder import KNOWN_SERVERS, ROOMS
from chat.files.known_servers import KnownServers
from chat.files.rooms import KeptRooms
from chat.invite import Invite
from chat.place import Endpoint, Place
from chat.proxied import ProxiedDialer
from chat.reactor import Reactor
from chat.sockets import Dialer
from chat.socks import Proxy
from chat.targets import Target, given_invite, is_right_key, target_of, way_to
from tests.support.helpers import key

DIGEST, ROOM_KEY = key("server").public.digest, bytes(range(32))
INVITE = Invite((Endpoint("chat.example", 9443),), DIGEST, ROOM_KEY)
THERE = Target((Endpoint("chat.example", 9443),), DIGEST, ROOM_KEY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that has the room `friends`."""
    KeptRooms(tmp_path / ROOMS).add("friends", INVITE)
    return tmp_path


@pytest.fixture(autouse=True)
def typed(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """What a person answers when asked for an invite; at first nobody may be asked."""
    monkeypatch.delenv("CHAT_INVITE", raising=False)
    asked = mock.Mock(side_effect=AssertionError)
    monkeypatch.setattr(targets, "_ask", asked)
    return asked


def word(text: str) -> Place:
    return Place(text, may_be_kept=True)


def refused(place: Place, folder: Path, kind: type[ChatError] = UsageError) -> ChatError:
    with pytest.raises(kind) as caught:
        target_of(place, lambda: folder)
    return caught.value


def test_host_with_a_port_needs_no_folder() -> None:
    def none() -> NoReturn:
        raise AssertionError

    assert target_of(Place("friends", 9443), none) == Target((Endpoint("friends", 9443),))
    assert target_of(Place(invite=INVITE.encode()), none) == THERE


@pytest.mark.parametrize("name", ["friends", "FRIENDS"])
def test_kept_name_comes_before_a_host(folder: Path, name: str) -> None:
    assert target_of(word(name), lambda: folder) == THERE


@pytest.mark.parametrize("name", ["localhost", "chat.example", "friends.org", "work", "192.0.2.7"])
def test_word_that_is_not_kept_is_a_host(folder: Path, tmp_path: Path, name: str) -> None:
    assert target_of(word(name), lambda: folder) == Target((Endpoint(name, 9443),))
    assert target_of(word(name), lambda: tmp_path / "none") == Target((Endpoint(name, 9443),))


@pytest.mark.parametrize("name", ["freinds", "friend", "Friendz"])
def test_slip_in_a_kept_name_does_not_lead_to_a_host(folder: Path, name: str) -> None:
    error = refused(word(name), folder)
    assert str(error) == f"no room is kept as {name}; is it friends?"
    assert f"{name}:9443" in error.hint


def test_kept_room_that_is_damaged_is_no_host(folder: Path) -> None:
    path = folder / ROOMS
    path.write_text(path.read_text()[:-3] + "\n")
    assert "line 1 of" in str(refused(word("friends"), folder, IdentityError))


def test_invite_from_the_environment_is_taken_and_not_handed_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_INVITE", f" {INVITE.encode()}\n")
    assert target_of(Place(), lambda: folder) == THERE
    assert "CHAT_INVITE" not in os.environ
    monkeypatch.setenv("CHAT_INVITE", INVITE.encode()[:-1])
    assert "cut off" in str(refused(Place(), folder, InviteError))


def test_invite_is_asked_for_without_echo(
    folder: Path, typed: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_INVITE", "")
    typed.side_effect = [f"{INVITE.encode()}\n".encode()]
    assert target_of(Place(), lambda: folder) == THERE
    typed.assert_called_once_with()


def test_nobody_is_asked_where_the_answer_would_be_seen(typed: mock.Mock) -> None:
    for answer in ([b"\xff\n"], OSError, termios.error):
        typed.side_effect = answer
        with pytest.raises(UsageError, match="no invite was given") as caught:
            given_invite()
        assert "CHAT_INVITE" in caught.value.hint


def test_whoever_was_asked_and_gave_nothing_is_not_told_how_to_be_asked(typed: mock.Mock) -> None:
    typed.side_effect = [b""]
    with pytest.raises(UsageError, match="no invite was given") as caught:
        given_invite()
    assert caught.value.hint == ""


def test_room_key_is_not_shown_when_a_target_is_printed() -> None:
    assert repr(THERE) == str(THERE) == "<target chat.example:9443>"


# -- the way there


def test_way_is_direct_or_through_the_proxy(reactor: Reactor) -> None:
    with contextlib.closing(way_to(THERE, reactor, None)) as direct:
        assert (type(direct), direct.host, direct.port) == (Dialer, "chat.example", 9443)
    proxy = Proxy("socks5h://127.0.0.1:9")
    with contextlib.closing(way_to(THERE, reactor, proxy)) as way:
        assert (type(way), way.host, way.port) == (ProxiedDialer, "chat.example", 9443)


# -- whose key is right


def is_right(folder: Path, target: Target, shown: str, fingerprint: str | None = None) -> bool:
    known_servers = KnownServers(folder / KNOWN_SERVERS)
    public, at = key(shown).public, target.servers[0]
    return is_right_key(target, fingerprint, public, known_servers, lambda _: None, at) is not None


def test_server_with_an_alias_is_the_same_at_any_address(folder: Path) -> None:
    assert not is_right(folder, Target((Endpoint("127.0.0.1", 1),), alias="work"), "server")
    assert is_right(folder, Target((Endpoint("127.0.0.1", 2),), alias="work"), "server")
    assert not is_right(folder, Target((Endpoint("127.0.0.1", 1),), alias="home"), "other")
    with pytest.raises(ServerKeyError):
        is_right(folder, THERE._replace(alias="home"), "server")


def test_server_of_an_invite_is_remembered_as_any_other(folder: Path) -> None:
    assert not is_right(folder, THERE, "server")
    assert is_right(folder, THERE, "server")
    assert is_right(folder, Target((Endpoint("chat.example", 9443),)), "server")


@pytest.mark.parametrize("known", ["", "other", "server"])
def test_key_that_is_not_the_invites_is_refused_whatever_is_known(folder: Path, known: str) -> None:
    path = folder / KNOWN_SERVERS
    path.write_text(f"[chat.example]:9443 {key(known).public.openssh}\n" if known else "")
    before = path.read_text()
    with pytest.raises(ServerKeyError) as caught:
        is_right(folder, THERE, "other", key("other").public.fingerprint)
    assert str(caught.value) == (
        "THE SERVER'S KEY IS NOT THE ONE IN THE INVITE\n"
        f"  invite: {key('server').public.fingerprint}\n"
        f"   shown: {key('other').public.fingerprint}\n"
        "  nothing of yours has been sent"
    )
    assert caught.value.exit_status == 4
    assert path.read_text() == before


def test_invite_does_not_take_the_place_of_what_is_known(folder: Path) -> None:
    """Whoever sends an invite must not be able to change whom we trust in the open room."""
    path = folder / KNOWN_SERVERS
    path.write_text(f"[chat.example]:9443 {key('other').public.openssh}\n")
    with pytest.raises(ServerKeyError, match="HAS CHANGED"):
        is_right(folder, THERE, "server")
    assert not is_right(folder, THERE, "server", key("server").public.fingerprint)
    assert is_right(folder, THERE, "server")
