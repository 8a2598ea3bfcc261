"""Keeps a backfill gentle: how long a batch may take, how long it rests, what it waits for."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rollout.engine.control import Control
from rollout.engine.health import Signal
from rollout.engine.throttles import Throttle

# Target duration of a batch: the longest time that the application waits for one of its rows.
# A job's own may be changed while it runs (`BackfillJob.target_ms`).
TARGET_MS = 75
TARGET_SECONDS = TARGET_MS / 1000
SIGNAL_POLL_SECONDS = 1.0
# With a limit of rows a second, a range has no more rows than it allows in so long.
SMOOTH_SECONDS = 1.0
# A rest that is shorter is the noise of a clock.
MIN_REST_SECONDS = 0.001
# Writes of each look: its record, and the throughput's.
WRITES_OF_A_LOOK = 2


@dataclass(frozen=True)
class Settings:
    """What people may change while a job runs; it holds from the next batch on.

    ``duty`` is the share of time in which batches run, above 0 and at most 1. A worker reads at
    most ``rows_per_second``, or as many as it can. Above ``commit_limit_ms`` commits are too slow;
    None leaves the limit to the baseline.
    """

    target_seconds: float = TARGET_SECONDS
    duty: float = 1.0
    rows_per_second: float | None = None
    commit_limit_ms: float | None = None


def record_nothing(throttle: Throttle, writes: int) -> None:
    """Nobody keeps the pace of this work."""


class Pace:
    """Rests after each batch as the settings and the health of the database ask.

    About once a second it looks at the signals and records the throttle that follows, with the
    number of its own writing transactions since the last record. ``lost`` counts, in seconds for
    each signal, the rest that was taken because of it.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Settings] = Settings,
        signals: Callable[[], Iterable[Signal]] = tuple,
        throttle: Throttle | None = None,
        record: Callable[[Throttle, int], None] = record_nothing,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._read_signals = signals
        self._record = record
        self._clock = clock
        self._sleep = sleep
        self._looked = clock() - SIGNAL_POLL_SECONDS
        self._kept = float("-inf")
        self._writes = 0
        self._ahead = 0.0
        self.throttle = throttle or Throttle()
        self.lost: dict[str, float] = {}

    @property
    def target_seconds(self) -> float:
        return self._settings().target_seconds

    def stretched(self, elapsed: float, rows: int) -> float:
        """The seconds of a batch as the next range's length goes by them.

        Where a limit allows its rows more than ``SMOOTH_SECONDS``, they are longer than the batch
        was, so that ranges become short and the rests between them do too.
        """
        limit = self._settings().rows_per_second
        if limit is None:
            return elapsed
        return max(elapsed, self.target_seconds * rows / limit / SMOOTH_SECONDS)

    def before_batch(self, control: Control, keep: Callable[[], None]) -> None:
        """Wait for as long as a signal says to stop, keeping the lane. Raises Interrupted."""
        self._look_again()
        while self.throttle.held:
            control.report_wait(self.throttle.reason)
            self._rest(SIGNAL_POLL_SECONDS, control, keep, because=self.throttle.cause)
            self._look_again()

    def after_batch(
        self,
        worked: float,
        control: Control,
        keep: Callable[[], None],
        *,
        rows: int = 0,
        writes: int = 1,
    ) -> None:
        """Rest in proportion to the seconds worked and rows read, keeping the lane.

        ``writes`` is the number of the batch's writing transactions, with its subtransactions.
        Raises Interrupted.
        """
        self._writes += writes
        settings = self._settings()
        self._kept = self._clock()
        control.report_wait(self.throttle.reason)
        rest = max(worked * (1 / settings.duty - 1), self._too_early(worked, rows, settings))
        self._rest(rest, control, keep)
        rested = self._clock()

        def left() -> float:
            return (worked + rest) * (1 / self.throttle.share - 1) - (self._clock() - rested)

        # A long rest ends early when the share has grown meanwhile.
        while (seconds := left()) >= MIN_REST_SECONDS:
            cause = self.throttle.cause
            self._rest(min(seconds, SIGNAL_POLL_SECONDS), control, keep, because=cause)
            self._look_again()

    def _too_early(self, worked: float, rows: int, settings: Settings) -> float:
        """The seconds that a batch ended before the limit of rows a second allows its rows.

        A range's rows are counted with its first stripe: the time of the others is set off.
        """
        if settings.rows_per_second is None:
            self._ahead = 0.0
            return 0.0
        self._ahead += rows / settings.rows_per_second - worked
        early = max(0.0, self._ahead)
        # What is behind is made up for by a second, not by a burst.
        self._ahead = max(-SIGNAL_POLL_SECONDS, self._ahead - early)
        return early

    def _look_again(self) -> None:
        now = self._clock()
        if (seconds := now - self._looked) >= SIGNAL_POLL_SECONDS:
            self._looked = now
            self.throttle = self.throttle.after(self._read_signals(), seconds=seconds)
            self._record(self.throttle, self._writes + WRITES_OF_A_LOOK)
            self._writes = 0

    def _rest(
        self,
        seconds: float,
        control: Control,
        keep: Callable[[], None],
        *,
        because: Signal | None = None,
    ) -> None:
        started = self._clock()
        until = started + seconds
        # Not control.pause: the lane must be kept meanwhile, and tests have a clock of their own.
        try:
            while (left := until - self._clock()) > 0:
                control.raise_if_stopped()
                if self._clock() - self._kept >= SIGNAL_POLL_SECONDS:
                    self._kept = self._clock()
                    self._writes += 1
                    keep()
                self._sleep(min(left, 0.2))
        finally:
            if because is not None:
                lost = self.lost.get(because.name, 0.0)
                self.lost[because.name] = lost + self._clock() - started
