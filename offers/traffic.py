"""A small stream of offers, for rehearsals and the demo: ``python -m offers.traffic``."""

from __future__ import annotations

import os
import random
import signal
from collections import deque
from collections.abc import Callable
from threading import Event

import django

# Operations a second of the demo, and how many of a thousand write a text that is no number.
RATE = 1.0
NO_NUMBERS_IN_1000 = 5
REPORT_EVERY = 100
MAX_KNOWN_IDS = 500


def traffic(*, using: str, seed: int) -> Callable[[], None]:
    """A function that does one thing in the database ``using``, and raises if that fails."""
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
            known.append(book.make_offer(home, buyer, price(), using=using))
        else:
            book.change_price(source.choice(known), price(), using=using)

    return once


def run(stop: Event, *, rate: float = RATE, seed: int = 1) -> None:
    """Make and change offers until ``stop``. No error ends it; each report names the last one."""
    from django.db import close_old_connections

    once = traffic(using="default", seed=seed)
    operations = errors = 0
    last_error = ""
    while not stop.wait(1 / rate):
        operations += 1
        try:
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
