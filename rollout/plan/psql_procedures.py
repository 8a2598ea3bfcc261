"""What a script for psql sets first: its session, and the procedures that the rest of it calls."""

SETUP = """\

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
      'script again: it continues here.';
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

-- Brings the rows of a table right, some blocks in each transaction, until none is left. With
-- "keeping" the statement answers how many rows it wrote, and of which of them more was changed
-- than that: then the batch is rolled back. With "always" no row has to be left for it to begin.
CREATE PROCEDURE pg_temp.in_batches (
  wanted regclass, statement text, unfilled text, keeping boolean DEFAULT false,
  always boolean DEFAULT false)
LANGUAGE plpgsql AS $in_batches$
DECLARE
  leaf record;
  first bigint;
  blocks bigint;
  began timestamptz;
  written bigint;
  total bigint := 0;
  remaining bigint;
  changed text[];
BEGIN
  EXECUTE unfilled INTO remaining;
  COMMIT;
  IF remaining = 0 AND NOT always THEN RAISE NOTICE '  already so'; RETURN; END IF;
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
          IF NOT keeping THEN
            EXECUTE replace(statement, {relation}, leaf.name)
              USING format('(%s,0)', first)::tid, format('(%s,0)', first + blocks)::tid;
            GET DIAGNOSTICS written = ROW_COUNT;
          ELSE
            PERFORM {by_key};
            EXECUTE replace(statement, {relation}, leaf.name) INTO written, changed
              USING format('(%s,0)', first)::tid, format('(%s,0)', first + blocks)::tid;
            IF changed IS NOT NULL THEN
              RAISE EXCEPTION 'A trigger of the table changes more than was written, of rows: %. '
                'Disable it, then run the script again.', array_to_string(changed[:20], ', ')
                || CASE WHEN cardinality(changed) > 20
                   THEN format(' and %s more', cardinality(changed) - 20) ELSE '' END;
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
      PERFORM {by_key};
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
    RAISE NOTICE '  % rows compared: % to the letter, % by their new columns; none differs',
      rows, exact, rows - exact;
  END IF;
END $prove$;

CREATE PROCEDURE pg_temp.refuse (reason text) LANGUAGE plpgsql AS $refuse$
BEGIN
  RAISE EXCEPTION '%', reason;
END $refuse$;

\\echo 'Looking before anything is changed. To continue all the same: psql -v anyway=1'
\\if :{{?anyway}}
\\else
SELECT count(*) > 0 AS at_work FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'rollout' \\gset
\\if :at_work
CALL pg_temp.refuse('The console is connected. Stop its workers, then look again.');
\\endif
"""
