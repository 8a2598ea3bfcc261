"""The rollback of a phase as a script for psql: the last resort while the console is down.

The script needs nothing but psql, the rollout's role and a direct connection. It asks the catalog
before each statement, so it takes up wherever the phase, the console's rollback or an earlier run
of itself has stopped, and may be run any number of times.
"""

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import EVERY_SERVER, Fill, Statement
from rollout.plan.plan import Plan
from rollout.plan.step import Step

_RELATION = sql.Identifier("the batch's relation")
_HEAD = """\
-- Rollback of phase {number} ({role}) of {name}, plan version {digest}.
--
-- The last resort, for when the console is down. While it is up, let the console do this:
--   manage.py rollout rollback {name} {number} --wait
--
-- Before
--   1. Stop the console's workers (manage.py qcluster) and its watchdog: they would go on with the
--      phase. The application goes on as it is.
--   2. {newer}
--   3. Connect directly, not through a pooler, as the role that owns the tables of the plan.
--
-- Run it, not with --single-transaction:
--   psql -X -v ON_ERROR_STOP=1 -f this-file "postgresql://role@host/database"
--
-- Each statement asks the catalog first whether it is done already. It gives up on a lock after
-- 0.2 to 2 s and tries again, {attempts} times: the application waits no longer than that. Where it
-- fails nothing of that statement remains. End the transaction that it names, and run the script
-- again: it goes on where it stopped.
--
-- Afterwards, before the workers are started again, tell the console's journal:
--   manage.py rollout recognise {name} {number}
-- It looks at the schema, ends the run that a dead worker left, and writes down that phase {number}
-- is rolled back. `manage.py rollout show {name}` tells what stands then.

\\set ON_ERROR_STOP on
\\set QUIET on
\\pset pager off
SET application_name = 'rollout by hand';
SET client_min_messages = notice;
SET statement_timeout = 0;
SET lock_timeout = '2s';
SET synchronous_commit = on;
SET check_function_bodies = off;

-- Runs a statement in a transaction of its own with rising lock timeouts, unless it is done; then
-- asks whether it is.
CREATE PROCEDURE pg_temp.patiently (statement text, question text) LANGUAGE plpgsql AS $patiently$
DECLARE
  done boolean := false;
  wait integer := 200;
  blockers text;
BEGIN
  IF question IS NOT NULL THEN
    EXECUTE 'SELECT ' || question INTO done;
    IF done THEN RAISE NOTICE '  already so'; RETURN; END IF;
  END IF;
  FOR attempt IN 1 .. {attempts} LOOP
    BEGIN
      PERFORM set_config('lock_timeout', wait::text, true);
      EXECUTE statement;
      done := true;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
      SELECT string_agg(format('pid %s (%s, %s, open for %s)', pid, application_name, state,
                               date_trunc('second', clock_timestamp() - xact_start)), '; ')
        INTO blockers FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL;
      RAISE NOTICE '  attempt % of {attempts}: a lock was not to be had. Open transactions: %',
        attempt, coalesce(blockers, 'none any more');
    END;
    COMMIT;
    EXIT WHEN done;
    wait := least(2000, wait * 13 / 10);
    PERFORM pg_sleep(random() * least(3, wait / 500.0));
    COMMIT;
  END LOOP;
  IF NOT done THEN
    RAISE EXCEPTION 'The lock was not to be had. End the transactions named above, then run the '
      'script again: it goes on here.';
  END IF;
  IF question IS NOT NULL THEN
    EXECUTE 'SELECT ' || question INTO done;
    IF NOT done THEN
      RAISE EXCEPTION 'The statement ended, but the catalog does not show its result.';
    END IF;
  END IF;
  RAISE NOTICE '  done';
END $patiently$;

-- Brings the rows of a table right, some blocks in each transaction, until none is left.
CREATE PROCEDURE pg_temp.in_batches (wanted regclass, statement text, unfilled text)
LANGUAGE plpgsql AS $in_batches$
DECLARE
  leaf record;
  first bigint;
  blocks bigint;
  began timestamptz;
  written bigint;
  total bigint := 0;
  remaining bigint;
BEGIN
  PERFORM set_config('lock_timeout', '100', false);
  FOR round IN 1 .. 20 LOOP
    EXECUTE unfilled INTO remaining;
    COMMIT;
    EXIT WHEN remaining = 0;
    RAISE NOTICE '  % rows to do', remaining;
    FOR leaf IN SELECT c.oid, format('%I.%I', c.relnamespace::regnamespace, c.relname) AS name,
                       pg_relation_size(c.oid) / current_setting('block_size')::integer AS blocks
                  FROM pg_class AS c
                 WHERE c.relkind = 'r' AND (c.oid = wanted
                    OR c.oid IN (SELECT relid FROM pg_partition_tree(wanted) WHERE isleaf))
    LOOP
      first := 0;
      blocks := 64;
      WHILE first <= leaf.blocks LOOP
        began := clock_timestamp();
        BEGIN
          EXECUTE replace(statement, {relation}, leaf.name)
            USING format('(%s,0)', first)::tid, format('(%s,0)', first + blocks)::tid;
          GET DIAGNOSTICS written = ROW_COUNT;
          total := total + written;
          first := first + blocks;
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
          blocks := greatest(1, blocks / 4);
          PERFORM pg_sleep(random());
        END;
        COMMIT;
        IF clock_timestamp() - began > interval '100 ms' THEN
          blocks := greatest(1, blocks / 2);
        ELSE
          blocks := least(4096, blocks + blocks / 4 + 1);
        END IF;
      END LOOP;
    END LOOP;
  END LOOP;
  IF remaining > 0 THEN
    RAISE EXCEPTION '% rows are still not right. Run the script again.', remaining;
  END IF;
  RAISE NOTICE '  % rows were written, none is left', total;
  PERFORM set_config('lock_timeout', '2s', false);
END $in_batches$;

CREATE PROCEDURE pg_temp.refuse (reason text) LANGUAGE plpgsql AS $refuse$
BEGIN
  RAISE EXCEPTION '%', reason;
END $refuse$;

\\echo 'Looking before anything is changed. To go on all the same: psql -v anyway=1'
\\if :{{?anyway}}
\\else
SELECT count(*) > 0 AS at_work FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'rollout' \\gset
\\if :at_work
CALL pg_temp.refuse('The console is connected. Stop its workers, then look again.');
\\endif
"""
_NEWER = """\
SELECT {begun} AS begun \\gset
\\if :begun
CALL pg_temp.refuse('Phase {number} has begun. Roll that back first, with its own script.');
\\endif
"""
_LONG = """\
SELECT {done} AS done \\gset
\\if :done
\\echo '  already so'
\\else
-- Outside a transaction, and waiting as long as it takes: it blocks neither reads nor writes.
SET lock_timeout = 0;
{statement};
SET lock_timeout = '2s';
SELECT {done} AS done \\gset
\\if :done
\\echo '  done'
\\else
CALL pg_temp.refuse('The catalog does not show the result. Run the script again.');
\\endif
\\endif
"""
_GENERATED = """\
SELECT format('CALL pg_temp.patiently(%L, NULL)', statement)
  FROM ({query}) AS generated (statement) \\gexec
"""
_ON_SOME = """\
SELECT current_setting('server_version_num')::integer / 10000 >= {first}
   AND current_setting('server_version_num')::integer / 10000 < {end} AS fits \\gset
\\if :fits
{text}
\\endif
"""
_RESTORE = """\
SELECT {there} AS there \\gset
\\if :there
{fill}\\elif :begun
CALL pg_temp.refuse('What the old text is restored from is gone. Restore a snapshot instead.');
\\else
\\echo '  the phase did not come this far'
\\endif
"""
ATTEMPTS = 30


def rollback_script(plan: Plan, number: int) -> str:
    """The script that takes a phase back, whole, for ``psql -f``."""
    head = _HEAD.format(
        number=number,
        role=("prepare", "expand", "backfill", "enforce", "contract")[number],
        name=plan.name,
        digest=plan.digest,
        newer=_newer_phases(number),
        attempts=ATTEMPTS,
        relation=sql.Literal(_RELATION.as_string()).as_string(),
    )
    lines = [head.rstrip("\n")]
    for later in range(number + 1, len(plan.phases)):
        begun = _begins(plan, later)
        if begun is not None:
            lines.append(_NEWER.format(begun=begun.as_string(), number=later).rstrip("\n"))
    lines += ["\\endif", ""]
    for step in reversed(plan.phases[number].steps):
        lines += _undo(plan, step)
    lines += [
        f"\\echo 'Phase {number} is rolled back. Now: manage.py rollout recognise"
        f" {plan.name} {number}'",
        "",
    ]
    return "\n".join(lines)


def _newer_phases(number: int) -> str:
    if number == 4:
        return "No phase is newer than this one."
    return f"Phases {number + 1} to 4 are rolled back, or were never begun; the newest goes first."


def _begins(plan: Plan, number: int) -> sql.Composable | None:
    """SQL: the first step of a phase that changes the schema is in place, or part of it."""
    for step in plan.phases[number].steps:
        done = _done_of(plan.forward(step).actions)
        undone = _done_of(plan.backward(step).actions)
        if done and undone:
            return sql.SQL("(({}) AND NOT {})").format(
                sql.SQL(" OR ").join(done), facts.all_of(*undone)
            )
    return None


def _done_of(actions: tuple[object, ...]) -> list[sql.Composable]:
    return [a.done for a in actions if isinstance(a, Statement) and a.done is not None]


def _undo(plan: Plan, step: Step) -> list[str]:
    lines = ["", f"-- {step.id}", _echo(step.description)]
    actions = plan.backward(step).actions
    if not actions:
        return [*lines, "\\echo '  nothing is to be undone'"]
    restores = any(isinstance(action, Fill) and action.source for action in actions)
    if restores:
        begun = sql.SQL(" OR ").join(_done_of(plan.forward(step).actions))
        lines.append(f"SELECT {begun.as_string()} AS begun \\gset")
    for action in actions:
        if isinstance(action, Statement):
            lines.append(_statement(action))
        elif isinstance(action, Fill):
            lines.append(_fill(action))
    return lines


def _echo(text: str) -> str:
    return "\\echo '" + text.replace("\\", "").replace("'", "''") + "'"


def _statement(statement: Statement) -> str:
    if statement.servers != EVERY_SERVER:
        first, end = statement.servers
        return _ON_SOME.format(first=first, end=end, text=_on_any(statement)).rstrip("\n")
    return _on_any(statement)


def _on_any(statement: Statement) -> str:
    if statement.generates:
        return _generated(statement)
    if statement.long and statement.done is not None:
        return _LONG.format(done=statement.done.as_string(), statement=statement.text).rstrip("\n")
    question = "NULL" if statement.done is None else _quoted(statement.done.as_string())
    return f"CALL pg_temp.patiently(\n{_quoted(statement.text)},\n{question});"


def _generated(statement: Statement) -> str:
    """The statements that the target makes of its partitions, each carried out by psql."""
    if statement.long:
        return (
            "-- Each outside a transaction, and waiting as long as it takes.\n"
            f"SET lock_timeout = 0;\n{statement.text} \\gexec\nSET lock_timeout = '2s';"
        )
    return _GENERATED.format(query=statement.text).rstrip("\n")


def _fill(fill: Fill) -> str:
    rows = sql.SQL("t.ctid >= $1 AND t.ctid < $2")
    call = (
        f"CALL pg_temp.in_batches({sql.Literal(fill.table.identifier.as_string()).as_string()},\n"
        f"{_quoted(fill.update(rows, relation=_RELATION).as_string())},\n"
        f"{_quoted(fill.unfilled(sql.SQL('true')).as_string())});\n"
    )
    if fill.source is None:
        return call.rstrip("\n")
    there = facts.relation_exists(fill.source)
    return _RESTORE.format(there=there.as_string(), fill=call).rstrip("\n")


def _quoted(text: str) -> str:
    """The text between dollar signs, so that people can read it, and psql replaces nothing."""
    tag = "$sql$"
    number = 0
    while tag in text:
        number += 1
        tag = f"$sql{number}$"
    return f"{tag}\n{text}\n{tag}"
