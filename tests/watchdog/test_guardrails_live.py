"""The application becomes slow or fails in processes of its own; the backfill pauses itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout import runner
from rollout.models import AuditReport, LogEntry, Measurement, PhaseRun, Rollout, RunState
from tests.support import rollouts
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("rules")

ROWS = 40_000
WITHIN_SECONDS = 15
# Every batch takes long enough that the backfill outlasts the test.
SLOW_BATCHES = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF current_query() LIKE '%ctid%' THEN PERFORM pg_sleep(0.4); END IF; RETURN NULL; END $$;
CREATE TRIGGER slow AFTER UPDATE ON properties FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""
# The newest rows, which every search without filters shows, filled and yet wrong.
WRONG_VALUES = """
SET LOCAL session_replication_role = replica;
UPDATE properties SET property_type_id =
  (SELECT min(id) FROM property_types WHERE id <> property_type_id)
 WHERE id IN (SELECT id FROM properties WHERE property_type_id IS NOT NULL
              ORDER BY created_at DESC LIMIT 500)
"""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of this test measure and compare, as those of a site do."""
    monkeypatch.setenv("ROLLOUT_TELEMETRY", "1")
    monkeypatch.setenv("ROLLOUT_SHADOW", "1")


@pytest.fixture
def backfill(
    measured: None,
    committed_db: Database,
    expanded: Rollout,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[PhaseRun]:
    """A backfill at work beside an application whose calls are quick and succeed."""
    rollouts.load_listings(ROWS)
    rollouts.execute(SLOW_BATCHES)
    for process in ("qcluster", "watchdog"):
        request.getfixturevalue(process)
    with stopped_after(traffic(committed_db, tmp_path / "usual.log", "--rate", "5")) as usual:
        usual.wait_for(lambda: calls() > 40)
        run = runner.start(expanded, 2, actor=ADA)
        wait_until(lambda: backfilling(run))
        yield run


def backfilling(run: PhaseRun) -> bool:
    return run.steps.filter(step="backfill", state="running").exists()


def calls() -> int:
    return sum(Measurement.objects.values_list("calls", flat=True))


def traffic(database: Database, log: Path, *options: str) -> Running:
    return manage_process("traffic", *options, env=database.env(), log=log)


TROUBLES = (
    # Far slower than a machine that tests keep busy is anyway.
    ("--slow=1500", "Each operation takes 1500 ms longer.", "slow"),
    ("--errors", "50 % of the operations fail.", "errors"),
)


def test_the_backfill_pauses_by_itself_within_fifteen_seconds(
    backfill: PhaseRun, committed_db: Database, tmp_path: Path
) -> None:
    for trouble, announced, rule in TROUBLES:
        with stopped_after(
            traffic(committed_db, tmp_path / f"{rule}.log", trouble, "--rate", "20")
        ) as bad:
            says(bad, announced)
            entry = paused_by(rule, backfill)
        assert entry.data["value"] > entry.data["bound"]
        # Trouble is over; nobody has said that it may continue.
        assert not LogEntry.objects.filter(event="resumed", source="watchdog").exists()
        runner.resume(backfill.rollout, actor=ADA)
        wait_until(lambda: rollouts.state_of(backfill) == RunState.RUNNING)

    # A wrong value that a request meets stops it at once, by whatever writer.
    runner.set_shadow_percent(backfill.rollout, 100, actor=ADA)
    rollouts.execute(WRONG_VALUES)
    entry = paused_by("wrong-values", backfill)
    report = AuditReport.objects.get(mode="shadow")
    assert f"shadow reads {report.pk}" in entry.message
    mismatch = report.found.filter(category="wrong").first()
    assert mismatch is not None
    assert mismatch.operation in ("search", "detail")
    assert not LogEntry.objects.filter(event="resumed", source="watchdog").exists()


def says(running: Running, words: str) -> None:
    """Waits until a process has begun: the fifteen seconds count from there."""
    running.wait_for(lambda: words in running.output())


def paused_by(rule: str, run: PhaseRun) -> LogEntry:
    """Waits until a rule has paused the run, and gives the entry that says so."""
    wait_until(
        lambda: rollouts.state_of(run) in (RunState.PAUSING, RunState.PAUSED),
        seconds=WITHIN_SECONDS,
        seen=lambda: str(list(LogEntry.objects.values_list("event", "message"))),
    )
    entry = LogEntry.objects.filter(event="paused by rule").order_by("id").last()
    assert entry is not None
    assert entry.actor == f"guardrail {rule}"
    wait_until(lambda: rollouts.state_of(run) == RunState.PAUSED)
    paused = LogEntry.objects.filter(event="paused").order_by("id").last()
    assert paused is not None
    assert paused.actor == entry.actor
    return entry
