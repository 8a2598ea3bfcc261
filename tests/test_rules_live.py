"""The application becomes slow or fails in processes of its own; the backfill pauses itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout import runner
from rollout.models import LogEntry, Measurement, PhaseRun, Rollout, RunState
from tests import rollouts
from tests.processes import Running, manage_process, stopped_after, wait_until
from tests.rollouts import ADA
from tests.servers import Database

pytestmark = pytest.mark.xdist_group("rules")

ROWS = 40_000
WITHIN_SECONDS = 15
# Every batch takes long enough that the backfill outlasts the test.
SLOW_BATCHES = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF current_query() LIKE '%ctid%' THEN PERFORM pg_sleep(0.4); END IF; RETURN NULL; END $$;
CREATE TRIGGER slow AFTER UPDATE ON properties FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of this test measure, as those of a site do."""
    monkeypatch.setenv("ROLLOUT_TELEMETRY", "1")


@pytest.fixture
def backfill(
    measured: None,
    committed_db: Database,
    qcluster: Running,
    watchdog: Running,
    web: str,
    tmp_path: Path,
) -> Iterator[PhaseRun]:
    """A backfill at work beside an application whose calls are quick and succeed."""
    rollouts.load_listings(ROWS)
    rollout = rollouts.the_rollout()
    for phase in (0, 1):
        carried_out(rollout, phase)
    rollouts.execute(SLOW_BATCHES)
    with stopped_after(traffic(committed_db, tmp_path / "usual.log", "--rate", "10")) as usual:
        usual.wait_for(lambda: calls() > 60)
        run = runner.start(rollout, 2, actor=ADA)
        wait_until(lambda: backfilling(run))
        yield run


def carried_out(rollout: Rollout, phase: int) -> None:
    run = runner.start(rollout, phase, actor=ADA)
    wait_until(lambda: rollouts.state_of(run) == RunState.DONE, seconds=60)


def backfilling(run: PhaseRun) -> bool:
    return run.steps.filter(step="backfill", state="running").exists()


def calls() -> int:
    return sum(Measurement.objects.values_list("calls", flat=True))


def traffic(database: Database, log: Path, *options: str) -> Running:
    return manage_process("traffic", *options, env=database.env(), log=log)


@pytest.mark.parametrize(
    ("trouble", "announced", "rule"),
    [
        ("--slow", "Each operation takes 600 ms longer.", "slow"),
        ("--errors", "50 % of the operations fail.", "errors"),
    ],
)
def test_the_backfill_pauses_by_itself_within_fifteen_seconds(
    backfill: PhaseRun,
    committed_db: Database,
    tmp_path: Path,
    trouble: str,
    announced: str,
    rule: str,
) -> None:
    with stopped_after(traffic(committed_db, tmp_path / "bad.log", trouble, "--rate", "20")) as bad:
        bad.wait_for(lambda: announced in bad.output())
        wait_until(
            lambda: rollouts.state_of(backfill) in (RunState.PAUSING, RunState.PAUSED),
            seconds=WITHIN_SECONDS,
            seen=lambda: str(list(LogEntry.objects.values_list("event", "message"))),
        )
    entry = LogEntry.objects.get(event="paused by rule")
    assert entry.actor == f"rule {rule}"
    assert entry.data["value"] > entry.data["bound"]
    wait_until(lambda: rollouts.state_of(backfill) == RunState.PAUSED)
    # Trouble is over; nobody has said that it may go on.
    assert not LogEntry.objects.filter(event="resumed").exists()
