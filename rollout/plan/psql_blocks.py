"""The fixed texts of a psql script: its heads, and the blocks around its statements."""

FORWARD_HEAD = """\
-- Phase {number} ({role}) of {name}, digest {of_phase}, plan version {digest}.
--
-- For review, and for running the phase by hand. While the console is up, use it instead:
--   manage.py rollout start {name} {number} --wait
-- It checks the gates, monitors the application and can be paused; this script does not.
--
-- Before
--   1. Check the gates, and have a verified snapshot: manage.py rollout show {name}
--   2. Stop the console's workers (manage.py qcluster) and its watchdog.
--   3. {order}
--   4. Connect directly, not through a pooler, as the role that owns the tables of the plan.
"""
FORWARD_END = """\
-- Afterwards, once the workers run again, start the phase in the console too:
--   manage.py rollout start {name} {number} --wait
-- It skips applied statements, does what SQL cannot, audits, and records the phase. The gate
-- "no drift" fails until then, because the schema is ahead of the journal: override it.
"""
ROLLBACK_HEAD = """\
-- Rollback of phase {number} ({role}) of {name}, digest {of_phase}, plan version {digest}.
--
-- The last resort, if the console is down. While it is up, use it instead:
--   manage.py rollout rollback {name} {number} --wait
--
-- Before
--   1. Stop the console's workers (manage.py qcluster) and its watchdog: they would continue the
--      phase. The application keeps running.
--   2. {order}
--   3. Connect directly, not through a pooler, as the role that owns the tables of the plan.
"""
ROLLBACK_END = """\
-- Afterwards, before you start the workers again, record it in the console's journal:
--   manage.py rollout recognise {name} {number}
-- It checks the schema, ends the run of a stopped worker, and records that phase {number} is
-- rolled back. `manage.py rollout show {name}` shows the result.
"""
HOW_TO_RUN = """\
--
-- Run it without --single-transaction:
--   psql -X -v ON_ERROR_STOP=1 -f this-file "postgresql://role@host/database"
--
-- Each statement first checks in the catalog whether it is applied: a second run prints "already
-- so" and changes nothing. A statement waits 0.2 to 2 s for a lock, then retries, up to {attempts}
-- times: the application waits no longer than that. A statement that fails leaves nothing behind.
-- End the transaction that it names, and run the script again: it continues from there.
--
"""
REFUSE_IF_NEWER_BEGAN = """\
SELECT {begun} AS begun \\gset
\\if :begun
CALL pg_temp.refuse('Phase {number} has begun. {advice}');
\\endif
"""
REFUSE_WITHOUT_SCHEMA = """\
SELECT to_regclass('rollout.modes') IS NULL AS lacking \\gset
\\if :lacking
CALL pg_temp.refuse('Phase 0 has not run here: it creates the console''s schema. Run it first.');
\\endif
"""
REFUSE_OUT_OF_ORDER = """\
SELECT {begun} AS begun, {in_place} AS in_place \\gset
\\if :begun
\\elif :in_place
{filled}\\else
{otherwise}
\\endif
"""
REFUSE_IF_UNFILLED = """\
SELECT n AS remaining, n > 0 AS unfilled FROM ({query}) AS counted (n) \\gset
\\if :unfilled
CALL pg_temp.refuse(:'remaining' || {message});
\\endif
"""
IF_NOT = """\
SELECT {done} AS done \\gset
\\if :done
\\echo '  already so'
\\else
{text}
\\endif"""
UNLESS_DONE = """\
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
OUTSIDE_TRANSACTION = """\
-- Outside a transaction, and waiting as long as it takes: it blocks neither reads nor writes.
SET lock_timeout = 0;
SELECT {statement} \\gexec
SET lock_timeout = '2s';"""
GENERATED = """\
SELECT format('CALL pg_temp.patiently(%L, NULL)', statement)
  FROM ({query}) AS generated (statement) \\gexec"""
GENERATED_LONG = """\
-- Each outside a transaction, and waiting as long as it takes.
SET lock_timeout = 0;
{query} \\gexec
SET lock_timeout = '2s';"""
ON_MATCHING_SERVERS = """\
SELECT {fits} AS fits \\gset
\\if :fits
{text}
\\endif"""
IF_SOURCE_EXISTS = """\
SELECT {there} AS there \\gset
\\if :there
{fill}\\elif :begun
CALL pg_temp.refuse('What the old text is restored from is gone. Restore a snapshot instead.');
\\else
\\echo '  the phase did not come this far'
\\endif"""
COUNT_UNCOMPUTED = """\
SELECT n AS remaining, n = 0 AS done FROM ({unfilled}) AS counted (n) \\gset
\\if :done
\\echo '  already so'
\\else
\\echo '  left to the console, rows:' :remaining
\\endif"""
