"""The fixed texts of a script for psql: its heads, and the blocks around its statements."""

FORWARD_HEAD = """\
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
FORWARD_END = """\
-- Afterwards, once the workers run again, have the console carry the phase out all the same:
--   manage.py rollout start {name} {number} --wait
-- It finds each statement applied, does what no SQL can, audits, and writes it down. The gate
-- "no drift" fails until then, because the schema is ahead of the journal: override it.
"""
ROLLBACK_HEAD = """\
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
ROLLBACK_END = """\
-- Afterwards, before the workers are started again, tell the console's journal:
--   manage.py rollout recognise {name} {number}
-- It looks at the schema, ends the run that a dead worker left, and writes down that phase {number}
-- is rolled back. `manage.py rollout show {name}` tells what stands then.
"""
HOW_TO_RUN = """\
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
REFUSE_IF_NEWER_BEGAN = """\
SELECT {begun} AS begun \\gset
\\if :begun
CALL pg_temp.refuse('Phase {number} has begun. {advice}');
\\endif
"""
REFUSE_WITHOUT_SCHEMA = """\
SELECT to_regclass('rollout.modes') IS NULL AS lacking \\gset
\\if :lacking
CALL pg_temp.refuse('Phase 0 has not been carried out here: the console makes its schema then.');
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
