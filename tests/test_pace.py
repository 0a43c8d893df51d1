"""The token bucket that holds up who sends too fast."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chat.pace import TokenBucket


def test_burst_is_free_and_what_exceeds_it_takes_its_time() -> None:
    bucket = TokenBucket(rate=10.0, burst=40.0, now=100.0)
    assert bucket.spend(40, 100.0) == 0
    assert bucket.spend(5, 100.0) == 0.5
    assert bucket.spend(20, 100.0) == 2.5
    # Half a second later two seconds of it are still owed.
    assert bucket.spend(0, 100.5) == 2.0
    assert bucket.spend(1, 102.5) == 0.1


def test_silence_fills_the_bucket_no_further_than_the_burst() -> None:
    bucket = TokenBucket(rate=10.0, burst=40.0, now=0.0)
    bucket.spend(40, 0.0)
    assert bucket.spend(10, 1.0) == 0
    assert bucket.spend(41, 1e9) == 0.1


def test_steady_sender_below_the_rate_is_never_held_up() -> None:
    bucket = TokenBucket(rate=512.0, burst=1.0, now=0.0)
    assert all(bucket.spend(1, number / 512) == 0 for number in range(1, 5_001))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 50)), min_size=1, max_size=50))
def test_who_waits_as_told_sends_no_faster_than_the_rate(acts: list[tuple[int, int]]) -> None:
    """Sixteenths of a second and a rate of 16, so that nothing is rounded."""
    bucket = TokenBucket(rate=16.0, burst=32.0, now=0.0)
    now = spent = 0.0
    for cost, pause in acts:
        now += pause / 16
        # Before each piece there is no debt, so all but the last piece fit into the rate.
        assert spent <= 32 + 16 * now
        spent += cost
        now += bucket.spend(cost, now)
