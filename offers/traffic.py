"""A small stream of offers, for rehearsals and the demo: ``python -m offers.traffic``."""

from __future__ import annotations

import os
import random
import signal
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Event

import django

# Operations a second of the demo, of which one in so many writes, and how many of a thousand of
# these write a text that is no number.
RATE = 5.0
READS_FOR_A_WRITE = 4
NO_NUMBERS_IN_1000 = 5
REPORT_EVERY = 100
MAX_KNOWN_IDS = 500
SHOWN = 50


def traffic(
    *,
    using: str,
    seed: int,
    operation: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> Callable[[], None]:
    """A function that does one thing in the database ``using``, and raises if that fails.

    ``operation`` measures it: a rehearsal's traffic is none of the application's.
    """
    from offers import book
    from offers.generated import NO_NUMBERS, pick_buyer, pick_home, price_text

    source = random.Random(seed)
    known: deque[int] = deque(maxlen=MAX_KNOWN_IDS)

    def price() -> str:
        if source.random() * 1000 < NO_NUMBERS_IN_1000:
            return source.choice(list(NO_NUMBERS))
        return price_text(source)

    def once() -> None:
        if not known or source.random() < 0.5:
            home, buyer = pick_home(source), pick_buyer(source)
            with operation("make-offer"):
                known.append(book.make_offer(home, buyer, price(), using=using))
        else:
            offer = source.choice(known)
            with operation("change-price"):
                book.change_price(offer, price(), using=using)

    return once


def run(stop: Event, *, rate: float = RATE, seed: int = 1) -> None:
    """List, make and change offers until ``stop``. No error ends it; reports name the last one."""
    from django.db import close_old_connections

    from offers import book
    from rollout.telemetry import operation

    once = traffic(using="default", seed=seed, operation=operation)
    operations = errors = 0
    last_error = ""
    while not stop.wait(1 / rate):
        operations += 1
        try:
            if operations % (READS_FOR_A_WRITE + 1):
                with operation("list-offers"):
                    book.newest_offers(SHOWN)
            else:
                once()
        except Exception as error:
            errors += 1
            last_error = f" (last: {type(error).__name__}: {error})".splitlines()[0]
            # A broken connection is dropped here; the next operation opens another.
            close_old_connections()
        if operations % REPORT_EVERY == 0:
            print(f"{operations:,} operations, {errors:,} errors{last_error}", flush=True)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(stop)


if __name__ == "__main__":
    main()
