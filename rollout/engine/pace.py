"""Keeps a backfill gentle: how long a batch may take, how long it rests, what it waits for."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rollout.engine.control import Control
from rollout.engine.health import Signal

# Target duration of a batch: the longest time that the application waits for one of its rows.
# A job's own may be changed while it runs (`BackfillJob.target_ms`).
TARGET_MS = 75
TARGET_SECONDS = TARGET_MS / 1000
# Share of the time in which batches run while a health signal says to slow down.
THROTTLED_DUTY = 0.25
SIGNAL_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Settings:
    """What people may change while a job runs; it holds from the next batch on.

    ``duty`` is the share of time in which batches run, above 0 and at most 1.
    """

    target_seconds: float = TARGET_SECONDS
    duty: float = 1.0


class Pace:
    """Rests after each batch as the settings and the health of the database ask.

    ``lost`` counts, in seconds for each signal, the rest that was taken because of it.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Settings] = Settings,
        look: Callable[[], Iterable[Signal]] = tuple,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._look = look
        self._clock = clock
        self._sleep = sleep
        self._signals: list[Signal] = []
        self._looked = float("-inf")
        self.lost: dict[str, float] = {}

    @property
    def target_seconds(self) -> float:
        return self._settings().target_seconds

    def before_batch(self, control: Control, keep: Callable[[], None]) -> None:
        """Wait for as long as a sign says to stop, keeping the lane. Raises Interrupted."""
        self._look_again()
        stops = [signal for signal in self._signals if signal.status == "stop"]
        while stops:
            control.report_wait(stops[0].reason)
            self._rest(SIGNAL_POLL_SECONDS, control, keep, because=stops[0])
            self._look_again()
            stops = [signal for signal in self._signals if signal.status == "stop"]

    def after_batch(self, worked: float, control: Control, keep: Callable[[], None]) -> None:
        """Rest in proportion to the seconds worked, keeping the lane. Raises Interrupted."""
        duty = self._settings().duty
        slow = [signal for signal in self._signals if signal.status == "throttle"]
        if not slow:
            control.report_wait("")
            self._rest(worked * (1 / duty - 1), control, keep)
            return
        control.report_wait(f"throttled: {slow[0].reason}")
        self._rest(worked * (1 / duty - 1), control, keep)
        share = min(duty, THROTTLED_DUTY)
        self._rest(worked * (1 / share - 1 / duty), control, keep, because=slow[0])

    def _look_again(self) -> None:
        now = self._clock()
        if now - self._looked >= SIGNAL_POLL_SECONDS:
            self._looked = now
            self._signals = list(self._look())

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
        kept = float("-inf") if because else started
        try:
            while (left := until - self._clock()) > 0:
                control.raise_if_stopped()
                if self._clock() - kept >= SIGNAL_POLL_SECONDS:
                    kept = self._clock()
                    keep()
                self._sleep(min(left, 0.2))
        finally:
            if because is not None:
                lost = self.lost.get(because.name, 0.0)
                self.lost[because.name] = lost + self._clock() - started
