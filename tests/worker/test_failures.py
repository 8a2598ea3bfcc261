"""Which entry of the runbook an error leads to."""

import psycopg

from rollout.engine import ddl
from rollout.journal.runbook import Entry
from rollout.worker.failures import ENTRIES, entry_for


def test_an_error_leads_to_the_first_entry_that_fits_or_to_the_phase() -> None:
    assert entry_for(psycopg.errors.NotNullViolation(), backward=False) == Entry.BUILD_FAILED
    assert entry_for(ddl.RowsInTheWay("7 rows."), backward=False) == Entry.BUILD_FAILED
    assert entry_for(psycopg.errors.DiskFull(), backward=True) == Entry.DISK_FULL
    assert entry_for(ddl.LockNotObtained("It waits."), backward=True) == Entry.LOCK
    assert entry_for(ValueError(), backward=False) == Entry.PHASE_FAILED
    assert entry_for(ValueError(), backward=True) == Entry.HALF_WAY
    kinds = [kind for kind, _ in ENTRIES]
    assert not [k for at, k in enumerate(kinds) if any(issubclass(k, e) for e in kinds[:at])]
