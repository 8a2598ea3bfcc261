"""Keeps a small stream of application traffic running until it is stopped."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from properties.traffic import Traffic


class Command(BaseCommand):
    help = (
        "Create, update, search and show properties at a steady rate, as people would, until "
        "SIGTERM, SIGINT or --duration. No error ends it; a line after each 100 operations says "
        "how many there were."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rate", type=_positive, default=5.0, help="operations a second")
        parser.add_argument("--seed", type=int, default=1, help="what the stream depends on")
        parser.add_argument("--duration", type=_positive, help="seconds; default: until stopped")
        parser.add_argument("--database", default="default", help="alias of the database")
        parser.add_argument(
            "--slow",
            type=_positive,
            nargs="?",
            const=600.0,
            default=0.0,
            metavar="MS",
            help="let each operation take so much longer (600 ms where no number is given)",
        )
        parser.add_argument(
            "--slow-until",
            type=Path,
            metavar="FILE",
            help="let each operation take 150 ms longer until the time in the file, if it is there",
        )
        parser.add_argument(
            "--errors",
            type=_share,
            nargs="?",
            const=50.0,
            default=0.0,
            metavar="PERCENT",
            help="let so many of a hundred operations fail (50 where no number is given)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        stop = Event()
        traffic = Traffic(
            seed=options["seed"],
            report=self.say,
            using=options["database"],
            slow_seconds=options["slow"] / 1000,
            slow_until=options["slow_until"],
            error_share=options["errors"] / 100,
        )
        before = {
            number: signal.signal(number, lambda *_: stop.set())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        if options["slow"]:
            self.say(f"Each operation takes {options['slow']:g} ms longer.")
        if options["errors"]:
            self.say(f"{options['errors']:g} % of the operations fail.")
        try:
            traffic.run(stop, rate=options["rate"], duration=options["duration"])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.say(f"Stopped after {traffic.summary()}.")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be a positive number")
    return number


def _share(text: str) -> float:
    number = _positive(text)
    if number > 100:
        raise argparse.ArgumentTypeError("must be a percentage")
    return number
