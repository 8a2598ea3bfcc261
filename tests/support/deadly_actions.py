"""Workers that are killed in each action of a rollout, before what it does is committed."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import psutil

from rollout.models import PhaseRun, RunState
from rollout.plan import Plan
from rollout.plan.actions import Statement
from rollout.watchdog.lost_work import bring_back
from rollout.worker.runs import RunJob
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.test_crashes import ten_seconds_pass, wait_for


class DeadlyAction(NamedTuple):
    """An action of a step in one direction, by its number."""

    direction: str
    phase: int
    step: str
    number: int


# A deadly action halts at the first thing that it does: a change of the schema, a batch's
# checkpoint, modes, an audit's report. There it waits until its worker has died.
HALTS = """
CREATE TABLE deadly (
  direction text, phase integer, step text, action integer, died boolean NOT NULL DEFAULT false);
CREATE FUNCTION halt() RETURNS void LANGUAGE plpgsql SET search_path = public AS
$$ BEGIN
  IF EXISTS (SELECT FROM rollout_steprun AS s JOIN rollout_phaserun AS r ON r.id = s.run_id
      CROSS JOIN LATERAL (SELECT d.died FROM deadly AS d
        WHERE (d.direction, d.phase, d.step) = (r.direction, r.phase, s.step)
          AND d.action >= s.actions_done ORDER BY d.action LIMIT 1) AS here
     WHERE s.state = 'running' AND NOT here.died) THEN
    PERFORM set_config('application_name', 'halted', false), pg_sleep(60);
  END IF;
END $$;
CREATE FUNCTION halt_change() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.halt(); END $$;
CREATE FUNCTION halt_write() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.halt(); RETURN NULL; END $$;
CREATE TRIGGER halt AFTER UPDATE ON rollout.lanes FOR EACH ROW
  WHEN (old.scanned <> new.scanned) EXECUTE FUNCTION halt_write();
CREATE TRIGGER halt AFTER UPDATE ON rollout.modes FOR EACH ROW EXECUTE FUNCTION halt_write();
CREATE TRIGGER halt AFTER UPDATE ON rollout_auditreport FOR EACH ROW EXECUTE FUNCTION halt_write();
CREATE EVENT TRIGGER halt ON ddl_command_end EXECUTE FUNCTION halt_change();
"""
# The rows of a table that the engine makes and deletes at once; the application does so too.
HALTS_AT_ROWS = """
CREATE TRIGGER halt AFTER INSERT OR DELETE ON {table} FOR EACH STATEMENT
  WHEN (current_setting('application_name') = 'rollout') EXECUTE FUNCTION halt_write();
"""
AWAY = """
DROP EVENT TRIGGER halt;
DROP FUNCTION halt_change(), halt_write(), halt() CASCADE;
DROP TABLE deadly;
"""
HALTED = """SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'halted'"""
DIES = """
UPDATE deadly SET died = true
  FROM rollout_steprun AS s JOIN rollout_phaserun AS r ON r.id = s.run_id
 WHERE r.id = %s AND s.state = 'running' AND deadly.ctid = (SELECT d.ctid FROM deadly AS d
    WHERE (d.direction, d.phase, d.step) = (r.direction, r.phase, s.step)
      AND d.action >= s.actions_done ORDER BY d.action LIMIT 1)
 RETURNING deadly.direction, deadly.phase, deadly.step, deadly.action"""
UNDER_WAY = {RunState.QUEUED, RunState.RUNNING}


def actions_of(plan: Plan) -> list[DeadlyAction]:
    """Those of phases 1 to 4 on this server and those of their rollbacks, in order."""
    with rollouts.target() as connection:
        version = connection.info.server_version

    def actions(direction: str, phases: Iterable[int]) -> Iterator[DeadlyAction]:
        is_forward = direction == "forward"
        for phase in phases:
            steps = plan.phases[phase].steps
            for step in steps if is_forward else reversed(steps):
                of_step = plan.forward(step) if is_forward else plan.backward(step)
                for number, action in enumerate(of_step.actions):
                    # One that generates statements until a fact is true may have none to generate.
                    # VACUUM is no event of a trigger.
                    if not isinstance(action, Statement) or (
                        action.is_for(version)
                        and not (action.generates and action.done is not None)
                        and not action.text.startswith("VACUUM")
                    ):
                        yield DeadlyAction(direction, phase, step.id, number)

    return [*actions("forward", (1, 2, 3, 4)), *actions("backward", (4, 3, 2, 1))]


def make_deadly(actions: Iterable[DeadlyAction]) -> None:
    """From now on a worker that comes to one of these actions halts there, once."""
    rollouts.execute(HALTS)
    for direction, phase, step, number in actions:
        rollouts.execute(f"INSERT INTO deadly VALUES ('{direction}', {phase}, '{step}', {number})")


def take_halts_away() -> None:
    """The schema is again what it was."""
    rollouts.execute(AWAY)


def deaths_in(start: Callable[[], PhaseRun]) -> list[DeadlyAction]:
    """Start a run, kill its worker in each of its deadly actions, and wait for its end."""
    run = start()
    deaths: list[DeadlyAction] = []
    with rollouts.target() as session:

        def halted() -> int | None:
            row = session.execute(HALTED).fetchone()
            return row[0] if row else None

        while True:
            wait_until(
                lambda: halted() is not None or rollouts.state_of(run) not in UNDER_WAY,
                seen=lambda: f"{run}, {list(run.steps.values())}",
            )
            if halted() is None:
                wait_for(run, RunState.DONE)
                return deaths
            run.refresh_from_db()
            psutil.Process(int(run.worker.rpartition(":")[2])).kill()
            row = session.execute(DIES, [run.pk]).fetchone()
            assert row is not None
            deaths.append(DeadlyAction(*row))
            # The server notices at its next answer that nobody is there.
            session.execute("SELECT pg_terminate_backend(%s)", [halted()])
            wait_until(lambda: halted() is None)
            bring_back_now(run)


def bring_back_now(run: PhaseRun) -> None:
    """As the watchdog does, which looks every second, once the dead worker's lease is over."""
    ten_seconds_pass(run)
    bring_back(RunJob)
