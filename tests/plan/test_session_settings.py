"""Settings of a role or a database that cut sessions off, or keep them from writing."""

from pathlib import Path

import pytest

from rollout import plan as r
from rollout.engine.target import Target
from tests.schemas import PARCEL, STATUS, MakeScenario, plan_of

SETTINGS = {
    "statement_timeout": "40s",
    "lock_timeout": "40s",
    "idle_in_transaction_session_timeout": "40s",
    "idle_session_timeout": "40s",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
}
HEAD = "-- rollout: repeatable\n-- rollout: locks: none\n"
OWNED = """
GRANT CREATE ON DATABASE "{database}" TO the_owner;
GRANT USAGE, CREATE ON SCHEMA public TO the_owner;
ALTER TABLE parcel OWNER TO the_owner;
"""
CUT_OFF = """
SELECT name, setting FROM pg_settings
 WHERE name LIKE '%\\_timeout' AND context = 'user' AND setting <> '0'
   AND source IN ('user', 'database', 'database user')
"""


def set_for(what: str, settings: dict[str, str]) -> str:
    return "".join(f"ALTER {what} SET {name} = '{value}';" for name, value in settings.items())


@pytest.mark.parametrize("what", ["ROLE the_owner", 'DATABASE "{database}"'])
def test_timeouts_of_a_role_or_database_neither_cut_off_nor_stop_the_console(
    server: Target, owner: str, scenario: MakeScenario, what: str
) -> None:
    with server.connect() as connection:
        since_17 = connection.info.server_version >= 170000
    settings = {**SETTINGS, **({"transaction_timeout": "40s"} if since_17 else {})}
    sql = PARCEL + OWNED + set_for(what, settings)
    parcels = scenario(sql.replace("the_owner", owner), user=owner)
    with parcels.target.connect() as session:
        assert session.execute(CUT_OFF).fetchall() == []
    parcels.there_and_back()


@pytest.mark.parametrize("limit", ["transaction_timeout", "statement_timeout"])
def test_a_statement_of_a_step_outlasts_what_cuts_the_roles_sessions_off(
    scenario: MakeScenario, newest: Target, tmp_path: Path, limit: str
) -> None:
    slow = tmp_path / "010_take_time.up.sql"
    slow.write_text(f"-- rollout: phase: 1\n{HEAD}DO $$ BEGIN PERFORM pg_sleep(1.2); END $$;\n")
    steps = r.SqlFiles(tmp_path).of_phase(1)
    parcels = scenario(
        PARCEL + set_for('DATABASE "{database}"', {limit: "1s"}), plan_of(STATUS, extra={1: steps})
    )
    assert parcels.check() == []
    parcels.carry_out(0, 1)
