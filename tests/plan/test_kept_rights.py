"""Rights on dropped columns, of roles that are gone when the columns come back."""

from pathlib import Path

import pytest
from psycopg import sql

from config import embedded
from rollout.engine import ddl
from rollout.engine.control import NullControl
from rollout.engine.target import Target
from rollout.plan.kept_rights import FORGET_RIGHTS_OF_GONE_ROLES
from rollout.plan.psql_scripts import rollback_script
from tests.plan.test_attributes import TEXT, parcel, plan_with
from tests.schemas import MakeScenario, Scenario
from tests.support.processes import completed

RIGHTS = """
SELECT coalesce(r.rolname, 'PUBLIC'), x.privilege_type, x.is_grantable
  FROM pg_attribute AS a, aclexplode(a.attacl) AS x LEFT JOIN pg_roles AS r ON r.oid = x.grantee
 WHERE a.attrelid = 'parcel'::regclass AND a.attname = 'status' ORDER BY 1, 2
"""


SQL = (
    parcel(TEXT).replace("{database}_app", '"{database} TO ""b"')
    + """
GRANT SELECT (status), UPDATE (status) ON parcel TO {database}_web, "{database} TO ""b"
  WITH GRANT OPTION;
GRANT SELECT (status) ON parcel TO PUBLIC, pg_monitor;
"""
)


@pytest.fixture
def parcels(scenario: MakeScenario, server: Target) -> Scenario:
    """Parcels after phase 4, with two roles that had rights on the dropped column."""
    made = scenario(SQL, plan_with())
    made.carry_out(0, 1, 2, 3, 4)
    return made


def drop_roles(parcels: Scenario, *ends: str) -> None:
    for end in ends:
        role = sql.Identifier(f"{parcels.target.parameters['dbname']}{end}")
        parcels.connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        parcels.connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_rights_of_roles_that_are_gone_are_forgotten_and_no_others(parcels: Scenario) -> None:
    drop_roles(parcels, "_web")
    assert ddl.apply(parcels.connection, FORGET_RIGHTS_OF_GONE_ROLES, NullControl())
    assert not ddl.apply(parcels.connection, FORGET_RIGHTS_OF_GONE_ROLES, NullControl())
    parcels.take_back(4)
    there = parcels.application(RIGHTS)
    quoted = f'{parcels.target.parameters["dbname"]} TO "b'
    drop_roles(parcels, ' TO "b')
    assert there == [
        ("PUBLIC", "SELECT", False),
        ("pg_monitor", "SELECT", False),
        (quoted, "SELECT", True),
        (quoted, "UPDATE", True),
    ]


def test_a_rollback_script_gives_no_right_to_a_role_that_is_gone(
    parcels: Scenario, tmp_path: Path
) -> None:
    drop_roles(parcels, "_web", ' TO "b')
    # Its own worker's name would keep the script from its work.
    parcels.connection.execute("SET application_name = 'a test'")
    script = tmp_path / "rollback.sql"
    script.write_text(rollback_script(parcels.plan, 4))
    done = completed(
        [embedded.program("psql"), "-X", "-v", "ON_ERROR_STOP=1", "-f", script],
        env={**parcels.target.environment, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr
    assert [role for role, *_ in parcels.application(RIGHTS)] == ["PUBLIC", "pg_monitor"]
