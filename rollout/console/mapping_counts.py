"""What a review reads of a large lookup takes seconds, so it is kept."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast, overload
from zlib import crc32

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from rollout.console.http.fragments import kept_for
from rollout.console.http.inputs import number_in
from rollout.console.http.links import rollout_url
from rollout.engine import mapping
from rollout.engine.mapping import Review
from rollout.engine.target import Connection
from rollout.journal.audits import audited_texts
from rollout.models import AuditReport, Rollout
from rollout.plan import plans
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

KEPT_SECONDS = 300
# Seconds; faster counts are repeated for each page.
WORTH_KEEPING = 0.02
# From this number of texts on, counts and their review are kept however fast they were.
MANY_TEXTS = 2000
# Maximum reviews of large lookups kept by a process: each takes 60 MB for 100,000 texts.
MAX_REVIEWS = 2


@dataclass(frozen=True)
class Counted:
    """``rows``: legacy text to number of rows.

    Where counting takes too long they are those of the newest full audit, ``audit`` its number;
    None without one, and then ``texts`` are those of a sample of rows. ``asked_at`` is when the
    table was asked, whether or not it told.
    """

    rows: dict[str, int] | None
    at: datetime
    asked_at: datetime
    kept: bool = False
    audit: int | None = None
    texts: Sequence[str] = ()

    @property
    def mark(self) -> int:
        """When the table was asked, in milliseconds since 1970; it grows."""
        return int(self.asked_at.timestamp() * 1000)

    @property
    def took_too_long(self) -> bool:
        return self.rows is None or self.audit is not None


_reviews: OrderedDict[tuple[object, ...], tuple[object, Review]] = OrderedDict()


def reviewed(
    connection: Connection, rollout: Rollout, lookup: Lookup, *, since: int = 0
) -> tuple[Review, Counted]:
    """What each text means, as it is now; how many rows have it may be some minutes old.

    Another process may keep newer counts: none that are older than ``since``, the mark of those
    that the user has seen, are shown.
    """
    counts = counted(connection, rollout, lookup, since=since)
    return _reviewed(connection, rollout, lookup, counts), counts


def reviewed_within(
    seconds: int, connection: Connection, rollout: Rollout, lookup: Lookup
) -> Review | None:
    """The same; None where nothing is kept and counting takes longer than that."""
    counts = counted(connection, rollout, lookup, seconds=seconds)
    return None if counts is None else _reviewed(connection, rollout, lookup, counts)


def _reviewed(connection: Connection, rollout: Rollout, lookup: Lookup, counts: Counted) -> Review:
    plan = plans.get(rollout.plan)
    if not counts.kept or len(counts.rows or counts.texts) < MANY_TEXTS:
        return _review(connection, plan, lookup, counts)
    key = (rollout.pk, lookup.table.label, lookup.legacy)
    version = (counts.at, plan.digest, mapping.version_of(connection, plan, lookup))
    known_version, known = _reviews.pop(key, (None, None))
    if known is None or known_version != version:
        known = _review(connection, plan, lookup, counts)
    _reviews[key] = version, known
    while len(_reviews) > MAX_REVIEWS:
        _reviews.popitem(last=False)
    return known


def _review(connection: Connection, plan: Plan, lookup: Lookup, counts: Counted) -> Review:
    return mapping.review(
        *(connection, plan, lookup, counts.rows),
        counted_at=counts.at if counts.kept else None,
        texts=counts.texts,
    )


@overload
def counted(
    connection: Connection, rollout: Rollout, lookup: Lookup, *, since: int = 0
) -> Counted: ...
@overload
def counted(
    connection: Connection, rollout: Rollout, lookup: Lookup, *, seconds: int
) -> Counted | None: ...
def counted(
    connection: Connection,
    rollout: Rollout,
    lookup: Lookup,
    *,
    since: int = 0,
    seconds: int | None = None,
) -> Counted | None:
    """None where counting takes longer than ``seconds``; without them, what is known otherwise."""
    key = f"rollout-counts-{rollout.pk}-{lookup.table.label}-{lookup.legacy}".replace(" ", "_")
    counts = cast(Counted | None, cache.get(key))
    if counts is not None and not _is_outdated(rollout, counts, since):
        return counts
    began, at = time.monotonic(), timezone.now()
    rows = mapping.counts_of(connection, lookup, mapping.EVERY_TEXT, seconds=seconds)
    if rows is None and seconds is not None:
        return None
    if rows is None:
        counts = _otherwise(connection, rollout, lookup, at)
    elif time.monotonic() - began < WORTH_KEEPING and len(rows) < MANY_TEXTS:
        return Counted(rows, at, at)
    else:
        counts = Counted(rows, at, at, kept=True)
    kept = kept_for(KEPT_SECONDS)
    cache.set(key, counts, kept)
    return counts if kept or counts.audit else replace(counts, kept=False)


def _otherwise(connection: Connection, rollout: Rollout, lookup: Lookup, now: datetime) -> Counted:
    """What is known of the texts where counting takes too long; kept, so that no page waits."""
    audited = audited_texts(rollout, lookup)
    if audited is not None:
        return Counted(audited.rows, audited.at, now, kept=True, audit=audited.audit)
    return Counted(None, now, now, kept=True, texts=mapping.sample_of(connection, lookup))


def _is_outdated(rollout: Rollout, counts: Counted, since: int) -> bool:
    """Whether the user has seen newer ones, or comes to see what an audit found unmapped since."""
    if counts.mark < since:
        return True
    ended = AuditReport.objects.filter(rollout=rollout, finished_at__isnull=False)
    if counts.audit is not None:
        return ended.filter(pk__gt=counts.audit).exists()
    return ended.filter(finished_at__gt=counts.at).exists()


def seen_mark(request: HttpRequest, lookup: Lookup) -> int:
    """The mark of the newest counts that the browser has been shown; 0 where it has none."""
    return number_in(request.COOKIES.get(_cookie_of(lookup), "")) or 0


def remembering(
    response: HttpResponse, request: HttpRequest, rollout: Rollout, lookup: Lookup, mark: int
) -> HttpResponse:
    """The answer; the browser is shown no counts older than ``mark`` from then on."""
    response.set_cookie(
        _cookie_of(lookup),
        str(max(mark, seen_mark(request, lookup))),
        max_age=KEPT_SECONDS,
        path=rollout_url(rollout, "mappings"),
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    return response


def _cookie_of(lookup: Lookup) -> str:
    # Names of tables and columns may have letters that no cookie's name has.
    return f"counted-{crc32(f'{lookup.table.label}.{lookup.legacy}'.encode()):08x}"
