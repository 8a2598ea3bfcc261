"""A phase, either way, as a script for psql: to be reviewed, and the last resort.

The script needs nothing but psql, the rollout's role and a direct connection. It asks the catalog
before each statement, so it takes up wherever the phase, the console or an earlier run of itself
has stopped, and may be run any number of times. It refuses the wrong order of phases.
"""

from collections.abc import Iterator

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import (
    EVERY_SERVER,
    Action,
    Audit,
    CompareSchema,
    Compute,
    Fill,
    Probe,
    Proof,
    Statement,
)
from rollout.plan.announcement import ANNOUNCE
from rollout.plan.plan import ROLES, Plan
from rollout.plan.step import PREPARE, Step

_RELATION = sql.Identifier("the batch's relation")
_FORWARD = """\
-- Phase {number} ({role}) of {name}, digest {of_phase}, plan version {digest}.
--
-- For review, and for whoever has to carry it out by hand. While the console is up, let it do this:
--   manage.py rollout start {name} {number} --wait
-- It asks the gates first, watches the application, and can be paused; this script does not.
--
-- Before
--   1. Look at the gates, and have a verified snapshot: manage.py rollout show {name}
--   2. Stop the console's workers (manage.py qcluster) and its watchdog.
--   3. {order}
--   4. Connect directly, not through a pooler, as the role that owns the tables of the plan.
"""
_FORWARD_END = """\
-- Afterwards, once the workers run again, have the console carry the phase out all the same:
--   manage.py rollout start {name} {number} --wait
-- It finds each statement applied, does what no SQL can, audits, and writes it down. The gate
-- "no drift" fails until then, because the schema is ahead of the journal: override it.
"""
_BACKWARD = """\
-- Rollback of phase {number} ({role}) of {name}, plan version {digest}.
--
-- The last resort, for when the console is down. While it is up, let the console do this:
--   manage.py rollout rollback {name} {number} --wait
--
-- Before
--   1. Stop the console's workers (manage.py qcluster) and its watchdog: they would go on with the
--      phase. The application goes on as it is.
--   2. {order}
--   3. Connect directly, not through a pooler, as the role that owns the tables of the plan.
"""
_BACKWARD_END = """\
-- Afterwards, before the workers are started again, tell the console's journal:
--   manage.py rollout recognise {name} {number}
-- It looks at the schema, ends the run that a dead worker left, and writes down that phase {number}
-- is rolled back. `manage.py rollout show {name}` tells what stands then.
"""
_RUN = """\
--
-- Run it, not with --single-transaction:
--   psql -X -v ON_ERROR_STOP=1 -f this-file "postgresql://role@host/database"
--
-- Each statement asks the catalog first whether it is done already: a second run says "already so"
-- and changes nothing. A statement gives up on a lock after 0.2 to 2 s and tries again, {attempts}
-- times: the application waits no longer than that. Where it fails nothing of that statement
-- remains. End the transaction that it names, and run the script again: it goes on from there.
--
"""
_SETUP = """\

\\set ON_ERROR_STOP on
\\set QUIET on
\\pset pager off
SET application_name = 'rollout by hand';
SET client_min_messages = notice;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET default_transaction_read_only = off;
DO $$ BEGIN
  IF current_setting('server_version_num')::integer >= 170000 THEN
    PERFORM set_config('transaction_timeout', '0', false);
  END IF;
END $$;
SET lock_timeout = '2s';
SET synchronous_commit = on;
SET check_function_bodies = off;
SET standard_conforming_strings = on;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';

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
  IF question IS NULL THEN
    RAISE NOTICE '  done; it may be run any number of times';
    RETURN;
  END IF;
  EXECUTE 'SELECT ' || question INTO done;
  IF done IS NOT TRUE THEN
    RAISE EXCEPTION 'The statement ended, but the catalog does not show its result.';
  END IF;
  RAISE NOTICE '  done';
END $patiently$;

-- Brings the rows of a table right, some blocks in each transaction, until none is left. The
-- query "locking", where there is one, locks the rows of a batch and gives a fingerprint of each:
-- the batch is rolled back unless it is the same when they are written.
CREATE PROCEDURE pg_temp.in_batches (
  wanted regclass, statement text, unfilled text, locking text DEFAULT NULL)
LANGUAGE plpgsql AS $in_batches$
DECLARE
  leaf record;
  first bigint;
  blocks bigint;
  began timestamptz;
  written bigint;
  total bigint := 0;
  remaining bigint;
  places tid[];
  keys text[];
  prints bigint[];
  after_keys text[];
  after_prints bigint[];
  changed text;
BEGIN
  EXECUTE unfilled INTO remaining;
  COMMIT;
  IF remaining = 0 THEN RAISE NOTICE '  already so'; RETURN; END IF;
  PERFORM set_config('lock_timeout', '100', false);
  FOR round IN 1 .. 20 LOOP
    RAISE NOTICE '  % rows to do', remaining;
    FOR leaf IN SELECT c.oid, format('%s.%I', c.relnamespace::regnamespace, c.relname) AS name,
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
          PERFORM {announced};
          IF locking IS NULL THEN
            EXECUTE replace(statement, {relation}, leaf.name)
              USING format('(%s,0)', first)::tid, format('(%s,0)', first + blocks)::tid;
            GET DIAGNOSTICS written = ROW_COUNT;
          ELSE
            EXECUTE replace(locking, {relation}, leaf.name) INTO places, keys, prints
              USING format('(%s,0)', first)::tid, format('(%s,0)', first + blocks)::tid;
            EXECUTE replace(statement, {relation}, leaf.name) INTO after_keys, after_prints
              USING places;
            written := cardinality(after_keys);
            SELECT string_agg(key, ', ' ORDER BY key) FILTER (WHERE n <= 20)
                   || CASE WHEN max(n) > 20 THEN format(' and %s more', max(n) - 20) ELSE '' END
              INTO changed
              FROM (SELECT coalesce(b.key, a.key) AS key, row_number() OVER () AS n
                      FROM unnest(keys, prints) AS b (key, print)
                      FULL JOIN unnest(after_keys, after_prints) AS a (key, print) USING (key)
                     WHERE a.print IS DISTINCT FROM b.print) AS differing;
            IF changed IS NOT NULL THEN
              RAISE EXCEPTION 'A trigger of the table changes more than was written, of rows: %. '
                'Disable it, then run the script again.', changed;
            END IF;
          END IF;
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
    EXECUTE unfilled INTO remaining;
    COMMIT;
    EXIT WHEN remaining = 0;
  END LOOP;
  IF remaining > 0 THEN
    RAISE EXCEPTION '% rows are still not right. Run the script again.', remaining;
  END IF;
  RAISE NOTICE '  % rows were written, none is left', total;
  PERFORM set_config('lock_timeout', '2s', false);
END $in_batches$;

-- Compares the rows of a table with what is kept of them, some blocks at a time.
-- Without a "source" that is what the legacy columns say.
CREATE PROCEDURE pg_temp.prove (wanted regclass, question text, recorded text, source text)
LANGUAGE plpgsql AS $prove$
DECLARE
  leaf record;
  first bigint;
  blocks bigint;
  began timestamptz;
  part record;
  rows bigint := 0;
  exact bigint := 0;
  differing bigint := 0;
  prints numeric := 0;
  named text[] := '{{}}';
BEGIN
  FOR leaf IN SELECT c.oid, format('%s.%I', c.relnamespace::regnamespace, c.relname) AS name,
                     pg_relation_size(c.oid) / current_setting('block_size')::integer AS blocks
                FROM pg_class AS c
               WHERE c.relkind = 'r' AND (c.oid = wanted
                  OR c.oid IN (SELECT relid FROM pg_partition_tree(wanted) WHERE isleaf))
  LOOP
    first := 0;
    blocks := 64;
    WHILE first <= leaf.blocks LOOP
      began := clock_timestamp();
      EXECUTE format('WITH met AS MATERIALIZED (%s) SELECT count(*) AS rows,'
          ' count(*) FILTER (WHERE exact AND differs IS NULL) AS exact,'
          ' count(differs) AS differing, coalesce(sum(print), 0) AS prints,'
          ' ARRAY(SELECT array_to_string(key, '' '') || '': '' || differs FROM met'
          ' WHERE differs IS NOT NULL ORDER BY key LIMIT 20) AS named FROM met',
          replace(question, {relation}, leaf.name))
        INTO part USING format('(%s,0)', first)::tid, format('(%s,0)', first + blocks)::tid;
      COMMIT;
      rows := rows + part.rows;
      exact := exact + part.exact;
      differing := differing + part.differing;
      prints := prints + part.prints;
      named := (named || part.named)[:20];
      first := first + blocks;
      IF clock_timestamp() - began > interval '100 ms' THEN
        blocks := greatest(1, blocks / 2);
      ELSE
        blocks := least(4096, blocks + blocks / 4 + 1);
      END IF;
    END LOOP;
  END LOOP;
  IF differing > 0 THEN
    RAISE EXCEPTION E'% rows of % differ from what %. The first of them:\n%', differing,
      wanted, coalesce(source || ' says', 'the legacy columns say'), array_to_string(named, E'\n')
      USING HINT = 'Put them right, then run the script again: it compares every row once more.';
  END IF;
  IF recorded <> format('%s rows, %s', rows, prints) THEN
    RAISE EXCEPTION '% had % and has % rows, or other ones. Restore what it lacks from the '
      'snapshot taken before phase 4.', source, split_part(recorded, ',', 1), rows;
  END IF;
  IF source IS NULL THEN
    RAISE NOTICE '  % rows compared: the legacy columns say what the new ones hold; none differs',
      rows;
  ELSE
    RAISE NOTICE '  % rows compared: % to the letter, % by their lookup row; none differs',
      rows, exact, rows - exact;
  END IF;
END $prove$;

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
CALL pg_temp.refuse('Phase {number} has begun. {advice}');
\\endif
"""
_NOT_HERE = """\
SELECT to_regclass('rollout.modes') IS NULL AS lacking \\gset
\\if :lacking
CALL pg_temp.refuse('Phase 0 has not been carried out here: the console makes its schema then.');
\\endif
"""
_ORDER = """\
SELECT {begun} AS begun, {in_place} AS in_place \\gset
\\if :begun
\\elif :in_place
{filled}\\else
{otherwise}
\\endif
"""
_FILLED = """\
SELECT n AS remaining, n > 0 AS unfilled FROM ({query}) AS counted (n) \\gset
\\if :unfilled
CALL pg_temp.refuse(:'remaining' || {message});
\\endif
"""
_ASKED = """\
SELECT {done} AS done \\gset
\\if :done
\\echo '  already so'
\\else
{text}
SELECT {done} AS done \\gset
\\if :done
\\echo '  done'
\\else
CALL pg_temp.refuse('The catalog does not show the result. Run the script again.');
\\endif
\\endif"""
_LONG = """\
-- Outside a transaction, and waiting as long as it takes: it blocks neither reads nor writes.
SET lock_timeout = 0;
SELECT {statement} \\gexec
SET lock_timeout = '2s';"""
_GENERATED = """\
SELECT format('CALL pg_temp.patiently(%L, NULL)', statement)
  FROM ({query}) AS generated (statement) \\gexec"""
_GENERATED_LONG = """\
-- Each outside a transaction, and waiting as long as it takes.
SET lock_timeout = 0;
{query} \\gexec
SET lock_timeout = '2s';"""
_ON_SOME = """\
SELECT {fits} AS fits \\gset
\\if :fits
{text}
\\endif"""
_RESTORE = """\
SELECT {there} AS there \\gset
\\if :there
{fill}\\elif :begun
CALL pg_temp.refuse('What the old text is restored from is gone. Restore a snapshot instead.');
\\else
\\echo '  the phase did not come this far'
\\endif"""
_COMPUTE = """\
SELECT n AS remaining, n = 0 AS done FROM ({unfilled}) AS counted (n) \\gset
\\if :done
\\echo '  already so'
\\else
\\echo '  left to the console, rows:' :remaining
\\endif"""
ATTEMPTS = 30


def forward_script(plan: Plan, number: int) -> str:
    """The script that carries a phase out, whole but for what no SQL can do."""
    order = "No phase but 0 comes before this one."
    if number > 1:
        before = "Phase 1 is" if number == 2 else f"Phases 1 to {number - 1} are"
        order = f"{before} carried out, in this order."
    lines = _top(plan, number, (_FORWARD, _FORWARD_END), order)
    if number != PREPARE:
        lines.append(_NOT_HERE.rstrip("\n"))
    lines += _newer(plan, number, f"Phase {number} comes before it.")
    lines += [*_after_the_earlier(plan, number, forward=True), "\\endif", ""]
    for step in plan.phases[number].steps:
        level = [f"-- It is {step.level}."] if step.level else []
        lines += _way(step, plan.forward(step).actions, "nothing is to be done", *level)
    return "\n".join([*lines, "", _echo(f"Phase {number} is carried out, as far as SQL can."), ""])


def rollback_script(plan: Plan, number: int) -> str:
    """The script that takes a phase back, whole, for ``psql -f``."""
    order = "No phase is newer than this one."
    if number < len(plan.phases) - 1:
        order = (
            f"Phases {number + 1} to 4 are rolled back, or were never begun; the newest goes first."
        )
    lines = _top(plan, number, (_BACKWARD, _BACKWARD_END), order)
    lines += _newer(plan, number, "Roll that back first, with its own script.")
    lines += [*_after_the_earlier(plan, number, forward=False), "\\endif", ""]
    for step in reversed(plan.phases[number].steps):
        actions = plan.backward(step).actions
        begun: list[str] = []
        if any(isinstance(action, Fill) and action.source for action in actions):
            fact = sql.SQL(" OR ").join(_done_of(plan.forward(step).actions))
            begun = [f"SELECT {_sure(fact)} AS begun \\gset"]
        lines += _way(step, actions, "nothing is to be undone", *begun)
    recognise = f"manage.py rollout recognise {plan.name} {number}"
    return "\n".join([*lines, _echo(f"Phase {number} is rolled back. Now: {recognise}"), ""])


def _top(plan: Plan, number: int, head: tuple[str, str], order: str) -> list[str]:
    text = "".join((head[0], _RUN, head[1], _SETUP)).format(
        number=number,
        role=ROLES[number],
        name=plan.name,
        digest=plan.digest,
        of_phase=plan.digest_of(number),
        order=order,
        attempts=ATTEMPTS,
        relation=sql.Literal(_RELATION.as_string()).as_string(),
        announced=ANNOUNCE.as_string().removeprefix("SELECT "),
    )
    return [text.rstrip("\n")]


def _newer(plan: Plan, number: int, advice: str) -> Iterator[str]:
    """Refuses while a newer phase has begun."""
    for later in range(number + 1, len(plan.phases)):
        begun = _begun(plan, later)
        if begun is not None:
            yield _NEWER.format(begun=_sure(begun), number=later, advice=advice).rstrip("\n")


def _after_the_earlier(plan: Plan, number: int, *, forward: bool) -> Iterator[str]:
    """Refuses to carry a phase out unless the one before it is; without it nothing is to undo."""
    earlier = [n for n in range(number) if (_in_place(plan, n)) is not None]
    if not earlier:
        return
    before = earlier[-1]
    in_place, begun = _in_place(plan, before), _begun(plan, number)
    assert in_place is not None
    refusal = f"Phase {before} is not carried out. Run its script first."
    nothing = f"  already so: phase {before} is not in place, so nothing of phase {number} is"
    yield _ORDER.format(
        begun="false" if begun is None else _sure(begun),
        in_place=_sure(in_place),
        filled="".join(_filled(plan, before)) if forward else "",
        otherwise=f"CALL pg_temp.refuse('{refusal}');" if forward else f"{_echo(nothing)}\n\\q",
    ).rstrip("\n")


def _filled(plan: Plan, number: int) -> Iterator[str]:
    """Refuses while a phase has left rows to be filled in."""
    for step in plan.phases[number].steps:
        for action in plan.forward(step).actions:
            if isinstance(action, Fill):
                message = (
                    f" rows of {action.table.label} are not filled in yet. Carry phase {number}"
                    " out to its end first."
                )
                yield _FILLED.format(
                    query=action.unfilled(facts.TRUE).as_string(),
                    message=sql.Literal(message).as_string(),
                )


def _begun(plan: Plan, number: int) -> sql.Composable | None:
    """SQL: the first step of a phase that changes the schema is in place, or part of it.

    While a table that values are restored from is there, its phase is not rolled back.
    """
    signs: list[sql.Composable] = [
        facts.relation_exists(action.source)
        for step in plan.phases[number].steps
        for action in plan.backward(step).actions
        if isinstance(action, Fill) and action.source is not None
    ]
    for step in plan.phases[number].steps:
        done = _done_of(plan.forward(step).actions)
        undone = _done_of(plan.backward(step).actions)
        if done and undone:
            first = sql.SQL("(({}) AND NOT {})").format(
                sql.SQL(" OR ").join(done), facts.all_of(*undone)
            )
            return sql.SQL("({})").format(sql.SQL(" OR ").join([first, *signs]))
    return None


def _in_place(plan: Plan, number: int) -> sql.Composable | None:
    """SQL: every statement of a phase is applied that can be asked; None where none can."""
    found = [
        action.done
        if action.servers == EVERY_SERVER
        else sql.SQL("(NOT ({}) OR {})").format(_fits(action), action.done)
        for step in plan.phases[number].steps
        for action in plan.forward(step).actions
        if isinstance(action, Statement) and action.done is not None
    ]
    return facts.all_of(*found) if found else None


def _fits(statement: Statement) -> sql.Composable:
    first, end = statement.servers
    major = sql.SQL("current_setting('server_version_num')::integer / 10000")
    return sql.SQL("{major} >= {first} AND {major} < {end}").format(
        major=major, first=sql.Literal(first), end=sql.Literal(end)
    )


def _sure(fact: sql.Composable) -> str:
    """A boolean that is never null, as ``\\\\if`` needs it."""
    return f"coalesce({fact.as_string()}, false)"


def _done_of(actions: tuple[object, ...]) -> list[sql.Composable]:
    return [a.done for a in actions if isinstance(a, Statement) and a.done is not None]


def _way(step: Step, actions: tuple[Action, ...], nothing: str, *before: str) -> list[str]:
    lines = ["", f"-- {step.id}", _echo(step.description)]
    if not actions:
        return [*lines, _echo(f"  {nothing}")]
    return [*lines, *before, *map(_action, actions)]


def _echo(text: str) -> str:
    return "\\echo '" + text.replace("\\", "").replace("'", "''").replace("\n", " ") + "'"


def _action(action: Action) -> str:
    match action:
        case Statement():
            return _statement(action)
        case Fill():
            return _fill(action)
        case Compute():
            return _compute(action)
        case Proof():
            return _proof(action)
        case Audit():
            return _echo("  left to the console: an audit of every row")
        case Probe():
            return _echo(f"  left to the console: {action.flow} is tried out")
        case CompareSchema():
            return _echo("  left to the console: the schema is compared with the plan")


def _statement(statement: Statement) -> str:
    if statement.servers != EVERY_SERVER:
        return _ON_SOME.format(fits=_fits(statement).as_string(), text=_on_any(statement))
    return _on_any(statement)


def _on_any(statement: Statement) -> str:
    if not statement.generates and not statement.long:
        question = "NULL" if statement.done is None else _quoted(statement.done.as_string())
        return f"CALL pg_temp.patiently(\n{_quoted(statement.text)},\n{question});"
    if statement.generates:
        # The statements that the target makes of its partitions, each carried out by psql.
        text = (_GENERATED_LONG if statement.long else _GENERATED).format(query=statement.text)
    else:
        # As one message to the server: several statements are one transaction then.
        text = _LONG.format(statement=_quoted(statement.text))
    if statement.done is None:
        return text
    return _ASKED.format(done=_sure(statement.done), text=text)


_BATCH = sql.SQL("t.ctid >= $1 AND t.ctid < $2")


def _fill(fill: Fill) -> str:
    statement = fill.update(_BATCH, relation=_RELATION)
    arguments = [_quoted(fill.unfilled(sql.SQL("true")).as_string())]
    if fill.keeps:
        statement = fill.update(sql.SQL("t.ctid = ANY ($1)"), relation=_RELATION)
        statement = sql.SQL(
            "WITH written AS ({} RETURNING {} AS key, {} AS print) SELECT"
            " coalesce(array_agg(array_to_string(key, ' ')), '{{}}'),"
            " coalesce(array_agg(print), '{{}}') FROM written"
        ).format(statement, fill.table.key_texts("t"), fill.print_of_kept)
        locking = sql.SQL(
            "SELECT coalesce(array_agg(place), '{{}}'),"
            " coalesce(array_agg(array_to_string(key, ' ')), '{{}}'),"
            " coalesce(array_agg(print), '{{}}') FROM ({}) AS locked"
        ).format(fill.locking(_BATCH, relation=_RELATION))
        arguments.append(_quoted(locking.as_string()))
    table = sql.Literal(fill.table.identifier.as_string()).as_string()
    arguments = [table, _quoted(statement.as_string()), *arguments]
    listed = ",\n".join(arguments)
    call = f"CALL pg_temp.in_batches({listed});\n"
    if fill.source is None:
        return call.rstrip("\n")
    return _from_source(fill.source, call)


def _from_source(source: sql.Identifier, call: str) -> str:
    """What reads a table of the engine's own, while that is there."""
    there = facts.relation_exists(source)
    return _RESTORE.format(there=there.as_string(), fill=call)


def _proof(proof: Proof) -> str:
    recorded = "NULL" if proof.recorded is None else proof.recorded.as_string()
    table = sql.Literal(proof.table.identifier.as_string()).as_string()
    source = "NULL" if proof.source is None else sql.Literal(proof.source.as_string()).as_string()
    question = _quoted(proof.compared(_BATCH, relation=_RELATION).as_string())
    call = f"CALL pg_temp.prove({table},\n{question},\n{recorded}, {source});\n"
    return call.rstrip("\n") if proof.source is None else _from_source(proof.source, call)


def _compute(compute: Compute) -> str:
    """How many rows are left for Python to compute."""
    return "\n".join(
        [
            _echo(f"  {compute.table.label}: {', '.join(compute.columns)} by {compute.function}"),
            _COMPUTE.format(unfilled=compute.unfilled(facts.TRUE).as_string()),
        ]
    )


def _quoted(text: str) -> str:
    """The text between dollar signs, so that people can read it, and psql replaces nothing."""
    tag = "$sql$"
    number = 0
    while tag in text:
        number += 1
        tag = f"$sql{number}$"
    return f"{tag}\n{text}\n{tag}"
