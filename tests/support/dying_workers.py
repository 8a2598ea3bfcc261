"""Workers that die in the middle of a step while releases of the application write."""

import threading
import traceback
from collections.abc import Callable, Sequence
from hashlib import md5
from uuid import UUID

from django.db import connection

from rollout.models import BackfillJob, PhaseRun, RunState
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.test_crashes import kill_the_worker_at_its_work, ten_seconds_pass, wait_for

# While a worker has to die, every batch takes a while in its transaction; a writer's statement,
# which is about few rows, never does.
SLOW = """
CREATE TABLE batch_seconds AS SELECT 0::float AS seconds;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF (SELECT count(*) FROM written) > {few} THEN
    PERFORM pg_sleep(seconds) FROM batch_seconds;
  END IF; RETURN NULL;
END $$;
CREATE TRIGGER slow AFTER UPDATE ON {table} REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""
WRITTEN = "SELECT coalesce(sum(updated), 0)::bigint FROM rollout.lanes WHERE job = %s"


def md5_key(number: int) -> str:
    """The key of a row that is ``md5(number)::uuid``."""
    return str(UUID(md5(str(number).encode(), usedforsecurity=False).hexdigest()))


class Release(threading.Thread):
    """A release of the application: writes its own rows, by their keys, until it is retired."""

    def __init__(self, write: Callable[[int, int], None], keys: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.keys = keys
        self.values: dict[int, int] = {}
        self.errors: list[str] = []
        self._write = write
        self._retired = threading.Event()

    def run(self) -> None:
        number = 0
        try:
            while not self._retired.wait(0.02):
                number += 1
                key, value = self.keys[number % len(self.keys)], 100_000 + number
                try:
                    self._write(key, value)
                except Exception:
                    self.errors.append(traceback.format_exc())
                else:
                    self.values[key] = value
        finally:
            connection.close()

    def retire(self) -> dict[int, int]:
        """Stop once each row was written; what was written last to each."""
        wait_until(lambda: self.errors != [] or len(self.values) == len(self.keys))
        self._retired.set()
        self.join()
        assert self.errors == []
        return self.values


def released(write: Callable[[int, int], None] | str, keys: Sequence[int]) -> Release:
    """A release that writes from now on: by a function of key and value, or by their statement."""
    release = Release(by_sql(write) if isinstance(write, str) else write, keys)
    release.start()
    return release


def by_sql(statement: str) -> Callable[[int, int], None]:
    """How a release writes that never heard of modes."""

    def write(key: int, value: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"key": key, "value": value})

    return write


def die_in_a_pass(start: Callable[[], PhaseRun], kind: str, *, rows: int) -> None:
    """Start a run, kill its worker once the job of a kind has written some of so many rows, and
    wait for the run's end."""
    run = die_in_the_middle(start, kind, rows=rows)
    wait_for(run, RunState.DONE)


def die_in_the_middle(start: Callable[[], PhaseRun], kind: str, *, rows: int) -> PhaseRun:
    """The same without the wait; the run."""
    rollouts.execute("UPDATE batch_seconds SET seconds = 0.5")
    run = start()

    def is_in_the_middle() -> bool:
        job = BackfillJob.objects.filter(step_run__run=run, kind=kind, finished_at=None).first()
        return job is not None and 0 < rollouts.ask(WRITTEN, job.pk) < rows

    wait_until(is_in_the_middle, seen=lambda: f"{run}, {list(run.steps.values())}")
    kill_the_worker_at_its_work(run)
    rollouts.execute("UPDATE batch_seconds SET seconds = 0")
    ten_seconds_pass(run)
    return run
