"""What servers propose: every proposal as bytes and back, and what is none."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.controls import Resume
from chat.errors import ProtocolError, Reason
from chat.identities import Card
from chat.limits import (
    FINGERPRINT_BYTES,
    PROPOSAL_SEED_BYTES,
    RESUME_TOKEN_BYTES,
    SERVER_ID_BYTES,
)
from chat.roomevents import Topic
from chat.server.cluster.proposals import (
    _FAMILY,
    Come,
    Header,
    Lose,
    Proposal,
    PutOut,
    Relay,
    Retitle,
    Say,
    Tick,
    Vanish,
    decode,
    encode,
)
from chat.server.ordering import Arrival


def exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


times = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=50)
servers = exactly(SERVER_ID_BYTES)
fingerprints = exactly(FINGERPRINT_BYTES)
headers = st.builds(Header, servers, times, times, exactly(PROPOSAL_SEED_BYTES))
resumes = st.builds(Resume, unsigned(32), exactly(RESUME_TOKEN_BYTES), unsigned(64), unsigned(32))
arrivals = st.builds(
    Arrival, texts, fingerprints, st.just(Card()), st.none() | resumes, times, texts, texts
)
OF: dict[type[Proposal], st.SearchStrategy[Proposal]] = {
    Come: st.builds(Come, unsigned(64), arrivals),
    Relay: st.builds(Relay, unsigned(32), unsigned(64), st.binary(max_size=200)),
    Lose: st.builds(Lose, unsigned(32), unsigned(64), st.sampled_from(Reason), texts),
    PutOut: st.builds(
        PutOut, st.lists(st.tuples(unsigned(32), fingerprints), max_size=3).map(tuple), texts
    ),
    Say: st.builds(Say, texts),
    Retitle: st.builds(Retitle, st.builds(Topic, unsigned(64), texts)),
    Tick: st.builds(Tick),
    Vanish: st.builds(Vanish, servers),
}
proposals = st.one_of(*OF.values())


def test_every_proposal_is_tried() -> None:
    assert set(OF) == set(_FAMILY.values())


@pytest.mark.parametrize("kind", OF, ids=lambda kind: str(kind.__name__))
def test_proposal_comes_back_as_it_was(kind: type[Proposal]) -> None:
    @given(headers, OF[kind])
    def comes_back(header: Header, proposal: Proposal) -> None:
        assert decode(encode(header, proposal)) == (header, proposal)

    comes_back()


@given(headers, proposals, st.data())
def test_damaged_proposal_is_an_error_of_the_protocol_or_another_one(
    header: Header, proposal: Proposal, data: st.DataObject
) -> None:
    item = bytearray(encode(header, proposal))
    for _ in range(data.draw(st.integers(1, 3))):
        item[data.draw(st.integers(0, len(item) - 1))] = data.draw(st.integers(0, 255))
    del item[data.draw(st.integers(0, len(item))) :]
    with contextlib.suppress(ProtocolError):
        decode(bytes(item))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proposal_or_an_error_of_the_protocol(item: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode(item)


@pytest.mark.parametrize("at", [math.inf, -math.inf, math.nan])
def test_proposal_of_no_time_is_refused(at: float) -> None:
    header = Header(bytes(SERVER_ID_BYTES), at, 0.0, bytes(PROPOSAL_SEED_BYTES))
    with pytest.raises(ProtocolError, match="is of no time"):
        decode(encode(header, Tick()))


def test_members_cut_off_in_the_middle_are_refused() -> None:
    header = Header(bytes(SERVER_ID_BYTES), 0.0, 0.0, bytes(PROPOSAL_SEED_BYTES))
    whole = encode(header, PutOut(((1, bytes(FINGERPRINT_BYTES)),), ""))
    size = int.from_bytes(whole[-38:-36], "big")
    with pytest.raises(ProtocolError, match="too short"):
        decode(whole[:-38] + (size - 1).to_bytes(2, "big") + whole[-36:-1])
