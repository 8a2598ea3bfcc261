"""Loads listings, made up or from a file, in whatever phase the rollout is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from properties.loading.csv_file import FileUnreadable, Rejected, read_listings
from properties.loading.generated import generated_rows
from properties.loading.rows import Row, analyze, load


class Command(BaseCommand):
    help = (
        "Load listings: --rows makes them up, --file reads a CSV file. Loading the same listings "
        "again adds nothing. Exit code 2 when nothing could be loaded."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--rows", type=_count, help="how many listings to make up")
        source.add_argument("--file", type=Path, help="CSV file, UTF-8, with a header")
        parser.add_argument("--seed", type=int, default=1, help="what --rows depends on")
        parser.add_argument("--database", default="default", help="alias of the database")

    def handle(self, *args: Any, **options: Any) -> None:
        self.read = self.rejected = 0
        if options["file"]:
            rows = self.rows_of_file(options["file"])
        else:
            now = timezone.now()
            rows = self.counted(generated_rows(options["rows"], seed=options["seed"], now=now))
        try:
            inserted = load(rows, using=options["database"])
        except FileUnreadable as error:
            raise CommandError(str(error), returncode=2) from error
        if inserted:
            analyze(using=options["database"])
        self.stdout.write(
            f"Loaded {inserted:,} listings; {self.read - inserted:,} were there already; "
            f"{self.rejected:,} rows were rejected."
        )
        if options["file"] and not self.read:
            raise CommandError(f"{options['file']}: no row could be read.", returncode=2)

    def rows_of_file(self, path: Path) -> Iterator[Row]:
        """The file's good rows; each bad one is reported on the way."""
        for outcome in read_listings(path, now=timezone.now()):
            if isinstance(outcome, Rejected):
                self.rejected += 1
                self.stderr.write(f"{path}: line {outcome.line}: {outcome.reason}")
            else:
                self.read += 1
                yield outcome

    def counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self.read += 1
            yield row


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return count
