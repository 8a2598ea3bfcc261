"""Runs smoke tests: short, and in transactions that are rolled back."""

from collections import Counter

import psycopg
from django.db import DatabaseError, connections, transaction
from django.utils.module_loading import import_string

from rollout.conf import setting
from rollout.journal.environments import alias_of
from rollout.journal.moments import by_the_database
from rollout.logs.texts import counted
from rollout.models import FlowProbe, Rollout
from rollout.plan import plans
from rollout.worker.failures import SmokeTestTooSlow, connection_lost

# Timeout of a statement of a smoke test; ``ROLLOUT["SMOKE_TEST_TIMEOUT_MS"]`` replaces it.
TIMEOUT_MS = 2000
# Rows that a smoke test may read of a table without an index: a few tenths of a second.
ROWS_WITHOUT_INDEX = 500_000


def try_out(rollout: Rollout, flow: str) -> str:
    """Run a flow's smoke test, store its result, and return its evidence.

    Beside the application it uses one core at most, and no statement of it takes longer than the
    timeout. Raises SmokeTestTooSlow, and what the flow raises.
    """
    alias = alias_of(rollout.environment)
    try:
        with transaction.atomic(using=alias):
            _bound(alias)
            before = _rows_read(alias)
            evidence: str = import_string(flow)(using=alias)
            scanned = _scanned(before, _rows_read(alias))
            transaction.set_rollback(True, using=alias)
    except Exception as raised:
        error = _too_slow(flow) if _timed_out(raised) else raised
        _keep(rollout, flow, passed=False, message=str(error).strip() or type(error).__name__)
        if error is raised:
            raise
        raise error from raised
    evidence = f"{evidence} The test was rolled back."
    _keep(rollout, flow, passed=True, message=evidence, warning=scanned)
    return f"{evidence} {scanned}".rstrip()


def probe_all(rollout: Rollout) -> list[FlowProbe]:
    """Run every smoke test of the plan; the newest result of each."""
    for flow in plans.get(rollout.plan).flows:
        try:
            try_out(rollout, flow)
        except Exception as error:  # What went wrong is kept.
            if connection_lost(error):
                raise
    newest = FlowProbe.objects.filter(rollout=rollout).order_by("flow", "-id").distinct("flow")
    return list(newest)


def _bound(alias: str) -> None:
    """Bound what this transaction takes from the application beside it."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true),"
            " set_config('max_parallel_workers_per_gather', '0', true)",
            [str(_timeout())],
        )


def _rows_read(alias: str) -> Counter[str]:
    """The rows of each table that sequential scans read and the server has not added up yet."""
    with connections[alias].cursor() as cursor:
        # Also those of earlier transactions, for up to a second.
        cursor.execute(
            "SELECT relname, sum(seq_tup_read)::bigint FROM pg_stat_xact_user_tables GROUP BY 1"
        )
        return Counter(dict(cursor.fetchall()))


def _scanned(before: Counter[str], after: Counter[str]) -> str:
    """A sentence naming the tables that were read in full meanwhile, if they are large."""
    tables = ", ".join(
        f"{counted(count, 'row')} of {table}"
        for table, count in (after - before).most_common()
        if count >= ROWS_WITHOUT_INDEX
    )
    return f"It read {tables} without an index: add one, or narrow the test." if tables else ""


def _timeout() -> int:
    return int(setting("SMOKE_TEST_TIMEOUT_MS", TIMEOUT_MS))


def _timed_out(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return isinstance(cause, psycopg.errors.QueryCanceled)


def _too_slow(flow: str) -> SmokeTestTooSlow:
    return SmokeTestTooSlow(
        f"A statement of {flow} exceeded {_timeout():,} ms. Add the index it needs, narrow the "
        "test, or raise SMOKE_TEST_TIMEOUT_MS."
    )


def _keep(rollout: Rollout, flow: str, *, passed: bool, message: str, warning: str = "") -> None:
    FlowProbe.objects.create(
        rollout=rollout,
        flow=flow,
        at=by_the_database(),
        passed=passed,
        message=message.replace("\x00", ""),
        warning=warning,
    )
