"""What a dump of tables does not tell outlives a restore in their place."""

import pytest
from psycopg import sql

from rollout.engine.snapshot.restore import replace_tables
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase
from tests.engine.snapshot.taken_dumps import CONTROL, filled, taken

pytestmark = pytest.mark.slow

RIGHTS = """
SELECT coalesce(a.attname, c.relname), x.privilege_type, x.is_grantable
  FROM pg_class AS c LEFT JOIN pg_attribute AS a
    ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped,
       aclexplode(coalesce(a.attacl, c.relacl)) AS x
 WHERE c.relname IN ('things', 'things_number_seq') AND x.grantee = 'pg_monitor'::regrole
 ORDER BY 1, 2
"""


@pytest.mark.parametrize("dropped", [False, True], ids=["all there", "a column was dropped since"])
def test_rights_on_columns_and_sequences_outlive_a_restore(
    target: Target, connection: Connection, dropped: bool
) -> None:
    plan = filled(target, connection)
    connection.execute("ALTER TABLE things ADD number serial")
    connection.execute(
        "GRANT SELECT (kind), UPDATE (kind) ON things TO pg_monitor;"
        "GRANT SELECT (number) ON things TO pg_monitor WITH GRANT OPTION;"
        "GRANT USAGE ON SEQUENCE things_number_seq TO pg_monitor"
    )
    before = connection.execute(RIGHTS).fetchall()
    assert [row[0] for row in before] == ["kind", "kind", "number", "things_number_seq"]
    with taken(target, plan) as (archive, recorded):
        for phase in (3, 4) if dropped else ():
            do_phase(target, connection, plan, phase)
        replace_tables(connection, plan, archive, recorded, CONTROL)
    assert connection.execute(RIGHTS).fetchall() == before


def test_rights_of_a_role_that_is_gone_keep_no_tables_from_coming_back(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    role = sql.Identifier(f"{target.parameters['dbname']}_reader")
    connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    try:
        connection.execute(sql.SQL("GRANT SELECT (kind) ON things TO {}").format(role))
        connection.execute("GRANT SELECT (kind) ON things TO pg_monitor")
        before = connection.execute(RIGHTS).fetchall()
        with taken(target, plan) as (archive, recorded):
            for phase in (3, 4):
                do_phase(target, connection, plan, phase)
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))
            replace_tables(connection, plan, archive, recorded, CONTROL)
    finally:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
    assert connection.execute(RIGHTS).fetchall() == before


def test_rights_that_new_tables_have_by_default_are_not_those_of_one_that_comes_back(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    connection.execute(
        "ALTER TABLE things ADD number serial; GRANT INSERT ON things TO pg_monitor;"
        "ALTER DEFAULT PRIVILEGES GRANT SELECT, DELETE ON TABLES TO pg_monitor, PUBLIC;"
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO PUBLIC"
    )
    with taken(target, plan) as (archive, recorded):
        replace_tables(connection, plan, archive, recorded, CONTROL)
    rights = connection.execute(
        "SELECT c.relname, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END,"
        " x.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS x"
        " WHERE c.relname IN ('things', 'things_number_seq') AND x.grantee <> c.relowner"
    ).fetchall()
    assert rights == [("things", "pg_monitor", "INSERT")]
