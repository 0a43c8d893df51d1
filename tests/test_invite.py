"""Invites: what they say, and that no damage to one passes unnoticed."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import InviteError
from chat.invite import Invite, is_cut_off
from chat.limits import MAX_INVITE_CHARS
from chat.place import Endpoint

DIGEST, ROOM_KEY = bytes(range(32)), bytes(range(100, 132))
ADDRESS = "chat://chat.example:9443/"
BODY = (
    "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoOSEHIB"
)
INVITE = ADDRESS + BODY


def invite(host: str = "chat.example", port: int = 9443) -> Invite:
    return Invite((Endpoint(host, port),), DIGEST, ROOM_KEY)


def refused(text: str) -> str:
    """Why this is not read."""
    with pytest.raises(InviteError) as caught:
        Invite.decode(text)
    assert caught.value.exit_status == 2
    assert BODY[40:80] not in caught.value.advice
    return str(caught.value)


def test_invite_has_one_form_and_says_what_was_put_into_it() -> None:
    assert invite().encode() == INVITE
    assert Invite.decode(INVITE) == invite()
    assert invite().fingerprint == "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def test_more_may_follow_until_an_invite_is_whole() -> None:
    for end in range(len("chat://"), len(INVITE)):
        assert is_cut_off(f"{INVITE[:end]} \n")
    for text in (INVITE, f"\n {INVITE}x", INVITE[:5], "friends", ""):
        assert not is_cut_off(text)


@pytest.mark.parametrize(
    "host", ["h", "192.0.2.7", "2001:db8::1", "::1", "my_host-1.local", "x" * 63]
)
@pytest.mark.parametrize("port", [1, 65_535])
def test_host_of_any_kind_comes_back(host: str, port: int) -> None:
    text = invite(host, port).encode()
    assert re.fullmatch("[!-~]+", text)
    assert Invite.decode(text) == invite(host, port)
    assert len(text) <= MAX_INVITE_CHARS


def test_longest_host_fits_and_one_beyond_ascii_is_written_in_ascii() -> None:
    longest = ".".join(["x" * 63] * 3 + ["x" * 61])
    for host, written in ((longest, longest), ("bücher.example", "xn--bcher-kva.example")):
        (server,) = Invite.decode(invite(host, 65_535).encode()).servers
        assert server.host == written


@pytest.mark.parametrize(
    "host", ["", "fe80::1%eth0", "a b", "a/b", "a..b", "::x", "x" * 64, "\udcff"]
)
def test_host_that_is_none_or_means_nothing_elsewhere_makes_no_invite(host: str) -> None:
    with pytest.raises(InviteError):
        invite(host).encode()


@given(
    st.sampled_from([" ", "\n", "\r\n", "\t", "\u00a0", "\u2028"]),
    st.sets(st.integers(0, len(INVITE))),
)
def test_blanks_and_line_ends_anywhere_do_not_count(blank: str, places: set[int]) -> None:
    broken = "".join(blank * (at in places) + char for at, char in enumerate(INVITE)) + blank
    assert Invite.decode(broken) == invite()


def test_upper_case_of_scheme_and_host_does_not_count() -> None:
    assert Invite.decode(ADDRESS.upper() + BODY) == invite()
    assert "not as it was made" in refused(INVITE.upper())


@pytest.mark.parametrize("at", range(len(ADDRESS), len(INVITE)))
def test_letter_that_was_changed_is_noticed_wherever_it_stands(at: int) -> None:
    for letter in set(string.ascii_letters + string.digits + "-_") - {INVITE[at]}:
        why = refused(INVITE[:at] + letter + INVITE[at + 1 :])
        assert "not as it was made" in why or (at < len(ADDRESS) + 2 and "has version" in why)


@pytest.mark.parametrize(
    ("old", "new"), [("chat.e", "chat-e"), ("9443", "9444"), ("9443", "944"), ("chat.", "")]
)
def test_host_or_port_that_was_changed_is_noticed(old: str, new: str) -> None:
    assert "host or the port was changed" in refused(ADDRESS.replace(old, new, 1) + BODY)


@pytest.mark.parametrize("length", range(len(INVITE)))
def test_invite_that_is_cut_anywhere_is_noticed(length: int) -> None:
    why = refused(INVITE[:length])
    assert why == "this is no invite" if length < 7 else "cut off" in why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "this is no invite"),
        ("https://chat.example:9443/" + BODY, "this is no invite"),
        (BODY, "this is no invite"),
        ("x" * 10_000, "this is no invite"),
        (INVITE + "A" * 10_000, "too long: no invite has 10,117 characters"),
        (INVITE + "A", "too long: a character behind its end"),
        (INVITE + "chat", "too long: 4 characters behind its end"),
        (INVITE + "=", "a character that no invite has"),
        (INVITE + "/", "a character that no invite has"),
        (INVITE + ">", "a character that no invite has"),
        (INVITE[:-1] + "é", "a character that no invite has"),
        (ADDRESS + "Ag" + BODY[2:], "version 2, and this program reads version 1"),
        (ADDRESS + "_w" + BODY[2:40], "version 255, and"),
        *(
            (f"chat://{address}/{BODY}", "names no host and port")
            for address in ("", "host", "host:", ":9443", "host:0", "host:65536", "host:09443")
        ),
        *(
            (f"chat://{address}/{BODY}", "names no host and port")
            for address in (
                "a@b:1",
                "::1:1",
                "[::1]",
                "[]:1",
                "h\u017f:1",
                "host:\u0661",
                "[::1%a]:1",
            )
        ),
        (f"chat://[1:2]:1/{BODY}", "is no IPv6 address"),
        (f"chat://a..b:1/{BODY}", "is no host"),
    ],
    ids=lambda value: value[:50],
)
def test_what_is_wrong_is_told(text: str, why: str) -> None:
    assert why in refused(text)


@given(
    st.text()
    | st.text().map(lambda text: ADDRESS + text)
    | st.binary().map(lambda data: ADDRESS + data.hex())
)
def test_no_text_breaks_the_reader(text: str) -> None:
    refused(text)


def test_room_key_is_not_shown_when_an_invite_is_printed() -> None:
    for hidden in (repr(ROOM_KEY), ROOM_KEY.hex(), BODY[50:70]):
        assert hidden not in f"{invite()!r} {invite()!s}"
