"""Admission of guests: limits for each source, who makes room for whom, turns by source."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.server.admission import Admission, Turns


def knock(admission: Admission[str], guest: str, source: str) -> str | None:
    """A guest comes. Returns the guest that had to make room for it, or itself if none could."""
    going = None
    if admission.is_full(source):
        going = admission.makes_room(source)
        if going is None:
            return guest
        admission.remove(going)
    admission.add(guest, source)
    return going


@pytest.mark.parametrize("idle", [True, False])
def test_no_number_of_sources_keeps_one_with_fewer_guests_out(idle: bool) -> None:
    """Every source gets its equal part of the places, and a guest that is busy counts like any."""
    admission: Admission[str] = Admission(12, 4)
    others = [f"{source}{number}" for source in "abcd" for number in range(4)]
    for guest in others:
        knock(admission, guest, guest[0])
        if not idle:
            admission.set_busy(guest)
    newcomers = ["n1", "n2"]
    for guest in newcomers:
        assert knock(admission, guest, "n") in others
        admission.set_busy(guest)
    for number in range(5, 15):
        for source in "abcd":
            assert knock(admission, f"{source}{number}", source) not in newcomers
    assert set(newcomers) <= set(admission._guests)


ACTS = st.tuples(
    st.sampled_from(["knock", "busy", "idle", "remove"]), st.integers(0, 40), st.sampled_from("abc")
)


class Model:
    """The guests in the order in which they became idle or busy, each with whether it is idle; and
    the rules without any cleverness."""

    def __init__(self) -> None:
        self.guests: dict[str, bool] = {}

    def mark(self, guest: str, idle: bool) -> None:
        if self.guests.get(guest) is not idle:
            self.guests.pop(guest, None)
            self.guests[guest] = idle

    def idle(self, source: str) -> list[str]:
        return [guest for guest, idle in self.guests.items() if idle and guest[0] == source]

    def all(self, source: str) -> list[str]:
        return [guest for guest in self.guests if guest[0] == source]

    def may_go(self, source: str) -> set[str | None]:
        """Which guests may make room for one of this source; None: it is refused."""
        count, own = len(self.all(source)), self.idle(source)
        if count < 3 and len(self.guests) == 6:
            idle = max(len(self.idle(name)) for name in "abc")
            if idle > count:
                return {self.idle(name)[0] for name in "abc" if len(self.idle(name)) == idle}
            largest = max(len(self.all(name)) for name in "abc")
            if largest > count:
                of_largest = [name for name in "abc" if len(self.all(name)) == largest]
                return {[*self.idle(name), *self.all(name)][0] for name in of_largest}
        return {own[0] if own else None}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(ACTS, max_size=150))
def test_who_makes_room_is_right_whatever_happens(acts: list[tuple[str, int, str]]) -> None:
    admission: Admission[str] = Admission(6, 3)
    model = Model()
    for act, number, source in acts:
        guest = f"{source}{number}"
        if act == "knock" and guest not in model.guests:
            assert admission.is_full(source) is (
                len(model.all(source)) == 3 or len(model.guests) == 6
            )
            if admission.is_full(source):
                going = admission.makes_room(source)
                assert going in model.may_go(source)
                if going is None:
                    continue
                admission.remove(going)
                del model.guests[going]
            admission.add(guest, source)
            model.mark(guest, True)
        elif act == "busy":
            admission.set_busy(guest)
            if guest in model.guests:
                model.mark(guest, False)
        elif act == "idle":
            admission.set_idle(guest)
            if guest in model.guests:
                model.mark(guest, True)
        elif act == "remove":
            admission.remove(guest)
            model.guests.pop(guest, None)
        assert len(admission) == len(model.guests)
        most = max(len(model.idle(name)) for name in "abc")
        oldest = [model.idle(name)[0] for name in "abc" if len(model.idle(name)) == most > 0]
        assert admission.oldest_idle() in oldest if oldest else admission.oldest_idle() is None
    assert set(admission._sources) == {name[0] for name in model.guests}, "no source is left behind"


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
