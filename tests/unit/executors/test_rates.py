"""The rate of calls, second by second: bursts, the rate after a throttle, and how it comes back."""

from __future__ import annotations

import pytest

from skylift.executors.fleet.rate_limiter import MOST_BACK_OFF, RateLimiter, back_off

pytestmark = pytest.mark.unit


def taken(limiter: RateLimiter, now: float) -> int:
    """How many calls may be made at this moment."""
    count = 0
    while limiter.take(now):
        count += 1
        assert count < 10_000
    return count


@pytest.mark.parametrize(("rate", "burst"), [(20, 20), (1, 1), (4, 8)])
def test_a_burst_at_first_and_then_the_rate(rate: float, burst: float) -> None:
    limiter = RateLimiter(rate, burst)
    assert taken(limiter, 100.0) == burst
    assert taken(limiter, 100.0) == 0
    assert taken(limiter, 101.0) == rate
    assert taken(limiter, 101.0 + 0.5 / rate) == 0, "half a call is none"
    assert taken(limiter, 101.0 + 1.01 / rate) == 1
    assert taken(limiter, 1000.0) == burst, "what was not used is not saved up"


def test_how_long_to_wait_for_the_next() -> None:
    limiter = RateLimiter(4, 4)
    assert limiter.wait(0.0) == 0
    taken(limiter, 0.0)
    assert limiter.wait(0.0) == 0.25
    assert limiter.wait(0.125) == 0.125
    assert limiter.wait(0.25) == 0
    slow = RateLimiter(0.1, 1)
    taken(slow, 0.0)
    assert slow.wait(0.0) == 1, "one looks again at least once a second"


def test_a_clock_that_stands_still_or_runs_back_earns_nothing() -> None:
    limiter = RateLimiter(4, 4)
    taken(limiter, 10.0)
    assert taken(limiter, 9.0) == 0
    assert taken(limiter, 9.25) == 1, "from then on"


def test_a_throttle_takes_three_tenths_once_a_second_and_the_rest_of_the_burst() -> None:
    limiter = RateLimiter(20, 20)
    limiter.take(0.0)
    for _ in range(3):
        limiter.slow_down(0.0)
    assert limiter.rate == pytest.approx(14)
    assert taken(limiter, 0.0) == 0
    limiter.slow_down(0.5)
    assert limiter.rate == pytest.approx(14)
    limiter.slow_down(1.0)
    assert limiter.rate == pytest.approx(9.8)
    for second in range(2, 40):
        limiter.slow_down(float(second))
    assert limiter.rate == 20 / 64, "never nothing"


def test_it_comes_back_within_some_ten_seconds_and_not_beyond() -> None:
    limiter = RateLimiter(20, 20)
    limiter.take(0.0)
    limiter.slow_down(0.0)
    rates = []
    for second in range(1, 20):
        limiter.wait(float(second))
        rates.append(limiter.rate)
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(14 + 20 / 60 * 1.5)
    assert rates[1] == pytest.approx(14 + 20 / 60 * 4)
    assert rates[-1] == 20


@pytest.mark.parametrize(("failures", "most"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 20), (1000, MOST_BACK_OFF)])
def test_each_failure_doubles_the_wait_up_to_a_limit(failures: int, most: float) -> None:
    waits = [back_off(failures) for _ in range(200)]
    assert most / 2 <= min(waits) <= max(waits) <= most
    assert max(waits) > most * 0.6, "by chance, so that many do not come at once"
    assert back_off(failures, 0.001, 0.002) <= 0.002
