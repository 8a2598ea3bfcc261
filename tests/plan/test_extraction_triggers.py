"""Extract while both releases write in any order, and while its worker is killed."""

import subprocess
import sys
from dataclasses import replace
from itertools import takewhile
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import conninfo, errors

from config.home import ROOT
from rollout.engine import backfill, lane_totals
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill
from rollout.plan.transition import fill
from tests.engine.actions import act, do_step, new_job, work_off
from tests.plan.test_extractions import AGENT, HOME, HOMES, PLAN
from tests.schemas import MakeScenario, Scenario, plan_of

VALUE = st.sampled_from([None, "", "a", "b", "c"])
HOME_ID = st.integers(1, 4)
LEGACY = ("agent_name", "agent_phone", "agent_email")
NAMES = ("name", "phone", "email")
OPERATIONS = st.lists(
    st.tuples(st.just("insert"), HOME_ID, st.tuples(VALUE, VALUE, VALUE))
    | st.tuples(st.sampled_from(LEGACY), HOME_ID, VALUE)
    | st.tuples(st.sampled_from(NAMES), HOME_ID, VALUE)
    | st.tuples(st.sampled_from(["point", "save"]), HOME_ID, HOME_ID),
    max_size=20,
)
Row = dict[str, str | int | None]


class Story:
    """Four homes that an old and a new release write."""

    def __init__(self, session: Connection) -> None:
        self.session = session
        session.execute("TRUNCATE home; DELETE FROM agent")

    def homes(self) -> dict[int, Row]:
        rows = self.session.execute(
            "SELECT h.id, agent_name, agent_phone, agent_email, agent_id, name, phone, email"
            " FROM home AS h LEFT JOIN agent AS a ON a.id = agent_id"
        ).fetchall()
        return {row[0]: dict(zip((*LEGACY, "key", *NAMES), row[1:], strict=True)) for row in rows}

    def carry_out(self, what: str, home: int, value: object) -> None:
        """One write, and what it must have done to the home and left of the others."""
        before = self.homes()
        if (what == "insert") == (home in before):
            return
        try:
            self._write(what, home, value, before)
        except errors.UniqueViolation:
            # A new release gave an agent the key of another one, as it cannot after the rollout.
            assert what in NAMES
            assert self.homes() == before
            return
        after = self.homes()
        # What is written as it is changes nothing: a home may hold another value of a conflict.
        if what in LEGACY and after[home]["key"] and before[home][what] != after[home][what]:
            assert _same(after[home][what], after[home][NAMES[LEGACY.index(what)]])
        if what in NAMES and before[home]["key"] is not None and before[home][what] != value:
            assert _same(after[home][LEGACY[NAMES.index(what)]], value)
        if what == "point" and before.get(value, before[home])["key"] != before[home]["key"]:  # type: ignore[call-overload]
            assert after[home]["key"] == before[value]["key"]  # type: ignore[index]
            assert all(
                _same(after[home][legacy], after[home][name])
                for legacy, name in zip(LEGACY, NAMES, strict=True)
            )
        for other in before.keys() - {home}:
            for column in LEGACY:
                follows = what in NAMES and before[other]["key"] == before[home]["key"]
                if not (follows and LEGACY.index(column) == NAMES.index(what)):
                    assert after[other][column] == before[other][column], (what, column)

    def _write(self, what: str, home: int, value: object, before: dict[int, Row]) -> None:
        if what == "insert":
            assert isinstance(value, tuple)
            name, *others = value
            self.session.execute(
                "INSERT INTO home (id, agent_name, agent_phone, agent_email)"
                " VALUES (%s, coalesce(%s, ''), %s, %s)",
                [home, name, *others],
            )
        elif what in LEGACY:
            value = value or "" if what == "agent_name" else value
            self.session.execute(
                f"UPDATE home SET {what} = %s WHERE id = %s".encode(), [value, home]
            )
        elif what in NAMES:
            self.session.execute(
                f"UPDATE agent SET {what} = %s WHERE id = %s".encode(),
                [value, before[home]["key"]],
            )
        elif what == "point" and value in before:
            assert isinstance(value, int)
            self.session.execute(
                "UPDATE home SET agent_id = %s WHERE id = %s", [before[value]["key"], home]
            )
        elif what == "save":
            # As an ORM saves what it has read: every column, with nothing changed.
            self.session.execute(
                "UPDATE home SET agent_name = agent_name, agent_phone = agent_phone,"
                " agent_email = agent_email, agent_id = agent_id WHERE id = %s",
                [home],
            )


def _same(legacy: object, value: object) -> bool:
    return (legacy or None) == (value or None)


@pytest.mark.slow
@pytest.mark.parametrize("conflicts", ["refuse", "each"])
@pytest.mark.parametrize("phase", [2, 3])
def test_whatever_both_releases_write_each_side_has_it_and_no_other_row_is_touched(
    scenario: MakeScenario, newest: Target, conflicts: Literal["refuse", "each"], phase: int
) -> None:
    homes = scenario(HOMES, plan_of(replace(AGENT, conflicts=conflicts)))
    homes.carry_out(*range(phase + 1))

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(operations=OPERATIONS)
    def is_lawful(operations: list[tuple[str, int, object]]) -> None:
        with homes.target.connect() as session:
            story = Story(session)
            for operation in operations:
                story.carry_out(*operation)
        assert homes.audit().mismatched == 0

    is_lawful()


@pytest.mark.crash
def test_a_worker_that_is_killed_leaves_the_rest_to_another(
    scenario: MakeScenario, newest: Target
) -> None:
    homes: Scenario = scenario(HOMES, PLAN)
    homes.application(
        "INSERT INTO home (agent_name, agent_phone, agent_email)"
        " SELECT 'A' || g % 500, '0' || g % 500, g % 500 || '@k.test'"
        " FROM generate_series(1, 6000) g"
    )
    before = homes.application("SELECT id, agent_name, agent_phone, agent_email FROM home")
    homes.carry_out(0, 1)
    connection = homes.connection
    dual_write, write_both, fill_step, audit = PLAN.phases[2].steps
    for step in (dual_write, write_both):
        do_step(homes.target, connection, PLAN, 2, step)
    for action in takewhile(lambda a: not isinstance(a, Fill), PLAN.forward(fill_step).actions):
        act(homes.target, connection, PLAN, 2, action)
    job, stripes = new_job(connection, fill(PLAN, HOME))
    connection.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.01); RETURN NULL; END $$;"
        " CREATE TRIGGER slow AFTER UPDATE ON home FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    )
    address = conninfo.make_conninfo("", **homes.target.parameters)
    command = [sys.executable, "-m", "tests.engine.worker", address, str(job), str(stripes)]
    with subprocess.Popen(
        [*command, "the extraction"], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        for _ in range(6_000):
            if lane_totals.totals(connection, job).updated >= 200:
                break
            connection.execute("SELECT pg_sleep(0.005)")
        process.kill()
    connection.execute("SET lock_timeout = '10s'")
    connection.execute("DROP TRIGGER slow ON home")
    connection.execute("UPDATE rollout.lanes SET lease_until = now() - interval '1s'")
    work_off(connection, fill(PLAN, HOME), job, stripes)
    assert lane_totals.totals(connection, job).updated == 6_040
    assert backfill.count_unfilled(connection, fill(PLAN, HOME), job) == 0
    do_step(homes.target, connection, PLAN, 2, audit)
    homes.carry_out(3, 4)
    homes.take_back(4, 3, 2, 1, 0)
    assert sorted(before) == sorted(
        homes.application("SELECT id, agent_name, agent_phone, agent_email FROM home")
    )
