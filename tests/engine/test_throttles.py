"""The laws of the throttle, whatever the signals are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.engine.health import Signal
from rollout.engine.throttles import MILD, MIN_SHARE, RECOVERY, Throttle

# Enough for a law that has no corner far out.
FEW = settings(max_examples=40)
SECONDS = st.floats(0.0, 120.0)
NAMES = st.sampled_from(["commit latency", "lock waits", "replication lag"])
STATUSES = st.sampled_from(["ok", "unknown", "throttle", "stop"])
NUMBERS = st.none() | st.floats(0, 1e9)
SIGNALS = st.lists(st.builds(Signal, NAMES, STATUSES, st.just("why."), NUMBERS, NUMBERS))
LOOKS = st.lists(st.tuples(SIGNALS, SECONDS), max_size=30)
# A moment's status cannot disagree with its number.
SLOW = st.builds(
    lambda name, over: Signal(name, "throttle", "why.", over * 10, 10.0),
    *(NAMES, st.floats(1.01, 100)),
)
CALM = st.builds(Signal, NAMES, st.sampled_from(["ok", "unknown"]), st.just("why."))


def after(looks: list[tuple[list[Signal], float]]) -> Throttle:
    throttle = Throttle()
    for signals, seconds in looks:
        throttle = throttle.after(signals, seconds=seconds)
    return throttle


@FEW
@given(LOOKS)
def test_the_share_is_never_above_full_speed_nor_below_the_least(
    looks: list[tuple[list[Signal], float]],
) -> None:
    throttle = after(looks)
    assert MIN_SHARE <= throttle.share <= 1


@FEW
@given(LOOKS)
def test_whatever_is_slower_than_full_speed_has_a_cause_and_a_reason(
    looks: list[tuple[list[Signal], float]],
) -> None:
    throttle = after(looks)
    assert (throttle.cause is not None) == bool(throttle.reason)
    assert throttle.cause is not None or (throttle.share == 1 and not throttle.held)


@FEW
@given(LOOKS, st.lists(SLOW, min_size=1), st.lists(CALM))
def test_the_share_falls_above_a_bound_however_well_the_other_signals_are(
    looks: list[tuple[list[Signal], float]], slow: list[Signal], calm: list[Signal]
) -> None:
    before = after(looks)
    throttle = before.after([*calm, *slow], seconds=1.0)
    assert throttle.share == MIN_SHARE or throttle.share <= before.share * MILD
    assert throttle.cause in slow
    assert not throttle.held


@FEW
@given(LOOKS, st.floats(1.0, 10), st.floats(1.0, 10))
def test_the_share_falls_no_less_the_further_a_signal_is_above_its_bound(
    looks: list[tuple[list[Signal], float]], first: float, second: float
) -> None:
    near, far = sorted((first, second))
    before = after(looks)
    shares = [
        before.after([Signal("lag", "throttle", "why.", 10 * over, 10.0)], seconds=1.0).share
        for over in (near, far)
    ]
    assert shares == sorted(shares, reverse=True)


@FEW
@given(LOOKS, st.lists(CALM))
def test_the_share_recovers_below_every_bound_to_full_speed_by_small_steps(
    looks: list[tuple[list[Signal], float]], calm: list[Signal]
) -> None:
    throttle = after(looks)
    for _ in range(round(1 / RECOVERY)):
        before, throttle = throttle, throttle.after(calm, seconds=1.0)
        assert before.share <= throttle.share <= before.share + RECOVERY + 1e-9
        assert not throttle.held
    assert throttle == Throttle()


@FEW
@given(LOOKS, SIGNALS, st.lists(CALM))
def test_nothing_runs_above_a_hard_bound_and_it_begins_slowly_afterwards(
    looks: list[tuple[list[Signal], float]], others: list[Signal], calm: list[Signal]
) -> None:
    before = after(looks)
    stop = Signal("application", "stop", "It fails.", 0.5, 0.1)
    held = before.after([*others, stop], seconds=1.0)
    assert held.held
    assert held.cause is not None
    assert held.cause.status == "stop"
    assert held.share == MIN_SHARE or held.share < before.share
    again = held.after(calm, seconds=1.0)
    assert not again.held
    assert again.share <= held.share + RECOVERY + 1e-9


@FEW
@given(st.floats(0.15, 0.95), st.floats(0, 3), st.integers(0, 4))
def test_the_share_settles_where_a_server_is_at_its_bound(
    fair: float, steepness: float, late: int
) -> None:
    """A server whose signal reaches its bound at a share, steeply or not, and is seen late."""
    throttle, shares = Throttle(), [1.0] * (late + 1)
    for _ in range(160):
        value = 10.0 * (shares[-1 - late] / fair) ** (0.5 + steepness)
        status = "throttle" if value > 10.0 else "ok"
        throttle = throttle.after([Signal("lag", status, "why.", value, 10.0)], seconds=1.0)  # type: ignore[arg-type]
        shares.append(throttle.share)
    settled = shares[80:]
    mean = sum(settled) / len(settled)
    # It swings, the more the later it sees, and neither starves nor runs free.
    assert fair * 0.5 <= mean <= fair + RECOVERY * (late + 1) / 2
    assert max(settled) <= fair + RECOVERY * (late + 1) + 1e-9


def test_the_cause_stays_the_same_while_it_is_one_of_several() -> None:
    lag = Signal("lag", "throttle", "It lags.", 11.0, 10.0)
    locks = Signal("locks", "throttle", "They wait.", 40.0, 10.0)
    throttle = Throttle().after([lag], seconds=1.0).after([locks, lag], seconds=1.0)
    assert throttle.cause == lag
    assert throttle.after([locks], seconds=1.0).cause == locks


def test_a_long_batch_counts_for_no_more_than_a_short_look() -> None:
    slow = Throttle(share=0.2, cause=Signal("lag", "ok", "It lags."))
    assert slow.after([], seconds=600.0).share <= 0.2 + 2 * RECOVERY
