"""Several servers of one room: on the command line, and in an invite."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import InviteError, UsageError
from chat.invite import Invite
from chat.limits import DEFAULT_PORT, MAX_HOST_CHARS, MAX_INVITE_CHARS, MAX_SERVERS
from chat.place import Endpoint, Place, destination_of, place_of, words_of_destination
from tests.support.processes import ROOT

A, B, C = (
    Endpoint("a.example", 9443),
    Endpoint("b.example", 444),
    Endpoint("2001:db8::1", DEFAULT_PORT),
)
LISTS = [
    (["a.example:9443,b.example:444"], [A, B]),
    (["a.example:9443,b.example:444", "9999"], [A, B]),
    (["a.example,b.example:444,[2001:db8::1]"], [A, B, C]),
    (["2001:db8::1,b.example", "444"], [Endpoint("2001:db8::1", 444), B]),
    (["localhost:1,localhost:2"], [Endpoint("localhost", 1), Endpoint("localhost", 2)]),
    (
        ["fe80::1%Eth0,fe80::1%eth1"],
        [Endpoint("fe80::1%Eth0", 9443), Endpoint("fe80::1%eth1", 9443)],
    ),
]


@pytest.mark.parametrize(("words", "servers"), LISTS)
def test_list_of_servers_is_a_place(words: list[str], servers: list[Endpoint]) -> None:
    first, *others = servers
    place = Place(*first, others=tuple(others))
    assert place.servers == tuple(servers)
    assert place_of(words) == place
    assert destination_of([*words, "Ira"]) == (place, "Ira")
    assert destination_of(words, usual="Zoe") == (place, "Zoe")
    assert words_of_destination([*words, "Ira", "hello"]) == len(words) + 1
    if len(words) == 1:
        assert destination_of([f"Ira@{words[0]}"]) == (place, "Ira")


NO_BLANKS = "a list of servers has a host on each side of a comma, and no blanks"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["a,", "Ira"], NO_BLANKS),
        ([",a", "Ira"], NO_BLANKS),
        (["a,,b", "9443", "Ira"], NO_BLANKS),
        (["a, b", "Ira"], NO_BLANKS),
        (["a,A:9443", "Ira"], "the server A:9443 is given twice"),
        (["a,a", "1", "Ira"], "the server a:1 is given twice"),
        (["a:,b", "Ira"], "a port is a number from 1 to 65535"),
        (["a,b", "x", "Ira"], "a port is a number from 1 to 65535"),
        (["a,b", "9443"], "9443 is taken for a port, so your name is missing"),
        (["a:1,b:2", "9443"], "9443 is taken for a port, so your name is missing"),
        (["a,chat://b:1/AQAB", "Ira"], "a host has no slash, and an invite begins with chat://"),
        ([",".join(map(str, range(MAX_SERVERS + 1))), "Ira"], "at most 8 servers can be given"),
    ],
)
def test_what_is_no_list_of_servers_is_refused_with_the_reason(words: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        destination_of(words)
    assert why in str(caught.value)


# -- an invite

DIGEST, ROOM_KEY = bytes(range(32)), bytes(range(100, 132))
SEVERAL = Invite((A, B, C), DIGEST, ROOM_KEY)
INVITE = (
    "chat://a.example:9443,b.example:444,[2001:db8::1]:9443/"
    "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoP93xUR"
)


def test_invite_to_several_servers_has_one_form() -> None:
    assert SEVERAL.encode() == INVITE
    assert Invite.decode(INVITE) == SEVERAL
    assert SEVERAL.servers == (A, B, C)
    assert SEVERAL.address == "a.example:9443,b.example:444,[2001:db8::1]:9443"


def test_sample_in_the_protocol_is_this_invite() -> None:
    assert INVITE in (ROOT / "docs/PROTOCOL.md").read_text()


def test_longest_invite_is_read() -> None:
    longest = ".".join(["x" * 63] * 3 + ["x" * 60])
    servers = tuple(Endpoint(f"{longest}{number}", 65_535) for number in range(MAX_SERVERS))
    assert {len(host) for host, _ in servers} == {MAX_HOST_CHARS}
    invite = Invite(servers, DIGEST, ROOM_KEY)
    assert len(invite.encode()) == 2_179 <= MAX_INVITE_CHARS
    assert Invite.decode(invite.encode()) == invite


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (",b.example:444", "", "not as it was made"),
        ("b.example", "c.example", "not as it was made"),
        ("a.example:9443,b.example:444", "b.example:444,a.example:9443", "not as it was made"),
        (",b.example:444", ",", "names no host and port"),
        (":444,", ",", "names no host and port"),
        (":444,", ":444,,", "names no host and port"),
        ("b.example:444", "a.example:9443", "names one server twice, or more than 8"),
        ("b.example:444", ",".join(f"b:{n}" for n in range(1, 9)), "names one server twice, or"),
    ],
)
def test_invite_to_several_servers_that_was_changed_is_refused(
    old: str, new: str, why: str
) -> None:
    with pytest.raises(InviteError, match=why):
        Invite.decode(SEVERAL.encode().replace(old, new, 1))


@given(st.integers(1, len(SEVERAL.encode()) - 1))
def test_invite_to_several_servers_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(InviteError):
        Invite.decode(SEVERAL.encode()[:length])
