"""Which entry of the runbook an error leads to, and what it advises."""

import psycopg
import pytest

from rollout.engine import ddl
from rollout.journal.runbook import Entry
from rollout.models import AuditReport, Rollout
from rollout.worker.failures import ENTRIES, advice_for, entry_for, not_clean


def test_an_error_leads_to_the_first_entry_that_fits_or_to_the_phase() -> None:
    assert entry_for(psycopg.errors.NotNullViolation(), backward=False) == Entry.BUILD_FAILED
    assert entry_for(ddl.RowsInTheWay("7 rows."), backward=False) == Entry.BUILD_FAILED
    assert entry_for(psycopg.errors.DiskFull(), backward=True) == Entry.DISK_FULL
    assert entry_for(ddl.LockNotObtained("It waits."), backward=True) == Entry.LOCK
    assert entry_for(ValueError(), backward=False) == Entry.PHASE_FAILED
    assert entry_for(ValueError(), backward=True) == Entry.HALF_WAY
    kinds = [kind for kind, _ in ENTRIES]
    assert not [k for at, k in enumerate(kinds) if any(issubclass(k, e) for e in kinds[:at])]


@pytest.mark.parametrize(
    ("categories", "advice"),
    [
        ({"undecided": 2, "unmapped": 1}, "(manage.py rollout unconvertible shop), then retry"),
        ({"unmapped": 2, "inactive": 1}, "(manage.py rollout mapping shop), then retry"),
        ({"undecided": 2, "wrong": 1}, "Fix the reported problem, then retry"),
        ({"wrong": 3}, "Fix the reported problem, then retry"),
    ],
)
def test_an_audit_that_waits_for_decisions_alone_advises_to_make_them(
    categories: dict[str, int], advice: str
) -> None:
    rollout = Rollout(plan="shop", environment="production")
    error = not_clean(AuditReport(rollout=rollout, mismatched=3, categories=categories), "3 rows.")
    assert str(error) == "3 rows."
    assert advice in advice_for(error)
    assert entry_for(error, backward=False) == Entry.MISMATCHES
