"""Several servers of one room are one target, and have one key: PROTOCOL 8."""

from pathlib import Path

import pytest

from chat.errors import ServerKeyError
from chat.files.keyfolder import KNOWN_SERVERS, ROOMS
from chat.files.known_servers import KnownServers
from chat.files.rooms import KeptRooms
from chat.invite import Invite
from chat.place import Endpoint, Place, place_of
from chat.targets import Target, is_right_key, target_of
from tests.support.helpers import key

A, B = Endpoint("a.example", 9443), Endpoint("b.example", 444)
DIGEST, ROOM_KEY = bytes(range(32)), bytes(range(100, 132))
PAIR = Target((A, B))


def test_target_has_all_servers_of_a_list_of_an_invite_and_of_a_kept_room(tmp_path: Path) -> None:
    invite = Invite((A, B), DIGEST, ROOM_KEY)
    KeptRooms(tmp_path / ROOMS).add("friends", invite)
    invited = Target((A, B), DIGEST, ROOM_KEY)
    for place in (Place("friends", may_be_kept=True), Place(invite=invite.encode())):
        assert target_of(place, lambda: tmp_path) == invited
    assert target_of(place_of(["a.example,b.example:444"]), lambda: tmp_path) == PAIR


# -- whose key is right


def line(server: Endpoint, name: str) -> str:
    return f"[{server.host}]:{server.port} {key(name).public.openssh} 2026-11-27\n"


def is_right(
    path: Path, at: Endpoint, shown: str, target: Target = PAIR, fingerprint: str = ""
) -> str | None:
    """Since when this key is known, at one of the servers."""
    public = key(shown).public
    return is_right_key(target, fingerprint, public, KnownServers(path), lambda _: None, at)


def test_key_that_is_known_at_one_server_is_known_at_the_others(tmp_path: Path) -> None:
    path = tmp_path / KNOWN_SERVERS
    path.write_text(line(A, "server"))
    assert is_right(path, B, "server") == "2026-11-27"
    assert [one.split()[0] for one in path.read_text().splitlines()] == [
        "[a.example]:9443",
        "[b.example]:444",
    ], "B has shown it, so it is remembered for B"


def test_new_key_is_remembered_only_for_the_server_that_has_shown_it(tmp_path: Path) -> None:
    """Or somebody could have a strange key remembered for a server that was never asked."""
    path = tmp_path / KNOWN_SERVERS
    assert is_right(path, B, "server") is None
    assert path.read_text().split()[0::4] == ["[b.example]:444"]


@pytest.mark.parametrize(("known_at", "at"), [(A, B), (B, A)])
def test_key_that_differs_from_the_one_of_another_server_is_refused(
    tmp_path: Path, known_at: Endpoint, at: Endpoint
) -> None:
    """Or who can cut off the known server could answer for one that is not known yet."""
    path = tmp_path / KNOWN_SERVERS
    path.write_text(line(known_at, "server"))
    before = path.read_text()
    with pytest.raises(ServerKeyError) as caught:
        is_right(path, at, "other")
    known, shown = f"[{known_at.host}]:{known_at.port}", f"[{at.host}]:{at.port}"
    assert str(caught.value).startswith(f"THE KEY OF THE SERVER {shown} IS NOT THAT OF {known}\n")
    for name in ("server", "other"):
        assert key(name).public.fingerprint in str(caught.value)
    assert f"forget {known_at.host} {known_at.port}" in caught.value.hint
    assert path.read_text() == before


def test_servers_that_are_known_with_two_keys_do_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / KNOWN_SERVERS
    path.write_text(line(A, "server") + line(B, "other"))
    for at, shown in ((A, "server"), (B, "other")):
        with pytest.raises(ServerKeyError, match="IS NOT THAT OF"):
            is_right(path, at, shown)
        assert is_right(path, at, shown, Target((at,))) == "2026-11-27"


def test_key_that_is_revoked_for_one_server_is_refused_at_the_others(tmp_path: Path) -> None:
    path = tmp_path / KNOWN_SERVERS
    path.write_text(f"@revoked {line(A, 'server')}")
    with pytest.raises(ServerKeyError, match="IS REVOKED"):
        is_right(path, B, "server")


def test_named_fingerprint_decides_and_changes_only_the_server_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / KNOWN_SERVERS
    path.write_text(line(A, "other"))
    assert is_right(path, B, "server", fingerprint=key("server").public.fingerprint) is None
    assert path.read_text().startswith(line(A, "other"))


def test_server_that_is_known_vouches_for_no_other_one_of_an_invite(tmp_path: Path) -> None:
    path = tmp_path / KNOWN_SERVERS
    path.write_text(line(A, "server"))
    invited = PAIR._replace(server_digest=key("server").public.digest)
    assert is_right(path, B, "server", invited) is None
    with pytest.raises(ServerKeyError, match="NOT THE ONE IN THE INVITE"):
        is_right(path, B, "other", invited)


def test_list_that_is_only_read_still_knows_the_key_until_the_end(tmp_path: Path) -> None:
    """With --ephemeral nothing is written, and still nobody may answer with another key later."""
    servers = KnownServers(tmp_path / KNOWN_SERVERS, read_only=True)

    def check(at: Endpoint, name: str) -> str | None:
        return is_right_key(PAIR, None, key(name).public, servers, lambda _: None, at)

    assert check(A, "server") is None
    assert check(A, "server") is not None
    assert check(B, "server") is not None
    for at in (A, B):
        with pytest.raises(ServerKeyError):
            check(at, "other")
    assert not list(tmp_path.iterdir())
