"""Admission of guests: limits for each source, the oldest idle one makes room, turns by source."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chat.server.admission import Admission, Turns


def knock(admission: Admission[str], guest: str, source: str) -> str | None:
    """A guest comes. Returns the guest that had to make room for it, or itself if none could."""
    going = None
    if admission.is_full(source):
        going = admission.oldest_idle(source)
        if going is None:
            return guest
        admission.remove(going)
    admission.add(guest, source)
    return going


def test_source_with_its_share_makes_room_for_its_own_alone() -> None:
    admission: Admission[str] = Admission(10, 2)
    for guest in ("b1", "a1", "a2"):
        knock(admission, guest, guest[0])
    assert [knock(admission, f"a{number}", "a") for number in (3, 4)] == ["a1", "a2"]
    assert knock(admission, "b2", "b") is None


def test_when_all_places_are_taken_the_oldest_idle_of_all_makes_room() -> None:
    admission: Admission[str] = Admission(3, 2)
    for guest in ("a1", "a2", "b1"):
        knock(admission, guest, guest[0])
    admission.set_busy("a1")
    assert knock(admission, "c1", "c") == "a2"


ACTS = st.tuples(
    st.sampled_from(["knock", "busy", "idle", "remove"]), st.integers(0, 40), st.sampled_from("abc")
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(ACTS, max_size=150))
def test_counts_are_right_whatever_happens(acts: list[tuple[str, int, str]]) -> None:
    admission: Admission[str] = Admission(6, 3)
    guests: dict[str, bool] = {}
    """The guests in order, each with whether it is idle: a model without any cleverness."""
    for act, number, source in acts:
        guest = f"{source}{number}"
        if act == "knock" and guest not in guests:
            own = [name for name in guests if name[0] == source]
            idle = [name for name in (own if len(own) == 3 else guests) if guests[name]]
            full = len(own) == 3 or len(guests) == 6
            expected = (idle[0] if idle else guest) if full else None
            # A guest that is idle again counts as new.
            assert knock(admission, guest, source) == expected
            if expected != guest:
                guests.pop(expected or "", None)
                guests[guest] = True
        elif act == "busy":
            admission.set_busy(guest)
            if guest in guests:
                guests[guest] = False
        elif act == "idle":
            admission.set_idle(guest)
            if not guests.get(guest, True):
                del guests[guest]
                guests[guest] = True
        elif act == "remove":
            admission.remove(guest)
            guests.pop(guest, None)
        assert len(admission) == len(guests)
        assert admission.oldest_idle() == next((name for name in guests if guests[name]), None)
    assert set(admission._sources) == {name[0] for name in guests}, "no source is left behind"


# -- turns


def test_sources_take_turns_and_a_flood_delays_a_newcomer_by_one_piece_of_work() -> None:
    turns: Turns[str] = Turns()
    for number in range(1000):
        turns.add(f"flood {number}", "far")
    turns.take()
    turns.add("newcomer", "near")
    assert "newcomer" in (turns.take(), turns.take())


def test_newest_of_a_source_comes_first_and_everybody_comes_once() -> None:
    turns: Turns[str] = Turns()
    for guest in ("a1", "a2", "b1", "a3"):
        turns.add(guest, guest[0])
    taken = []
    while turns:
        taken.append(turns.take())
    assert taken == ["a3", "b1", "a2", "a1"]


def test_guest_that_is_gone_has_no_turn_and_leaves_nothing_behind() -> None:
    turns: Turns[str] = Turns()
    turns.add("a1", "a")
    turns.add("b1", "b")
    turns.remove("a1", "a")
    turns.remove("a1", "a")
    assert turns.take() == "b1"
    assert not turns
