"""The stages of the dual write besides the first, how they are put in and taken away."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from rollout.engine import ddl
from rollout.engine.target import Connection, Target
from rollout.plan.conversion_lines import Stage
from rollout.plan.resolvers import resolver_name
from tests.engine.actions import NoControl, audit
from tests.engine.samples import BIGINT, ODD, SAMPLES, Sample
from tests.plan.test_dual_writes import TRIGGERS, start
from tests.support.bare_databases import OF_PLANS


class TestReverse:
    @pytest.fixture(autouse=True)
    def reverse(self, target: Target, connection: Connection) -> None:
        start(target, connection, stage="reverse")

    def test_a_new_row_gets_the_name_of_its_lookup_row_as_its_text(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind_id=BIGINT.lookup_id(app, "House"))
        assert BIGINT.row(app, 1, "kind", "state") == ("House", None)

    def test_the_row_for_blanks_gives_no_text(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind_id=BIGINT.lookup_id(app, "Unspecified"))
        assert BIGINT.row(app, 1, "kind") is None

    def test_a_change_of_the_foreign_key_changes_the_text(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind="House")
        BIGINT.update(app, 1, kind_id=BIGINT.lookup_id(app, "Flat"))
        assert BIGINT.row(app, 1, "kind") == "Flat"

    def test_a_text_keeps_its_spelling_while_it_means_its_row(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind=" hOuSe ", state="\u00a0")
        house = BIGINT.row(app, 1, "kind_id")
        BIGINT.update(app, 1, note="another column")
        BIGINT.update(app, 1, kind_id=house)
        BIGINT.update(app, 1, kind_id=house, made_at="2025-01-01 00:00+00")
        assert BIGINT.row(app, 1, "kind", "state") == (" hOuSe ", "\u00a0")

    def test_a_spelling_may_come_with_its_row_whether_it_is_known_or_not(
        self, app: Connection
    ) -> None:
        BIGINT.insert(app, 1, kind=" hOuSe ")
        house = BIGINT.row(app, 1, "kind_id")
        BIGINT.insert(app, 2, kind=" hOuSe ", kind_id=house)
        assert BIGINT.row(app, 2, "kind") == " hOuSe "
        BIGINT.insert(app, 3, kind="HOuse ", kind_id=house)
        BIGINT.update(app, 2, kind="hOUSE", kind_id=house, note="both are written")
        assert [BIGINT.row(app, n, "kind") for n in (2, 3)] == ["hOUSE", "HOuse "]

    def test_a_writer_that_knows_only_the_text_is_understood(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind="House", state="open")
        assert BIGINT.name_of(app, 1) == "House"
        BIGINT.update(app, 1, kind=" CASTLE", state="sold")
        assert BIGINT.name_of(app, 1) == "CASTLE"
        assert BIGINT.row(app, 1, "kind", "is_open", "opened_at") == (" CASTLE", False, None)

    def test_the_foreign_key_wins_over_a_text_that_means_another_row(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind="House")
        flat = BIGINT.lookup_id(app, "Flat")
        BIGINT.update(app, 1, kind="Castle", kind_id=flat)
        assert BIGINT.row(app, 1, "kind", "kind_id") == ("Flat", flat)
        BIGINT.insert(app, 2, kind="Castle", kind_id=flat)
        assert BIGINT.row(app, 2, "kind", "kind_id") == ("Flat", flat)

    def test_a_derived_value_follows_a_foreign_key_unless_the_writer_gave_it(
        self, app: Connection
    ) -> None:
        opened = BIGINT.lookup_id(app, "Open", BIGINT.state)
        sold = BIGINT.lookup_id(app, "Sold", BIGINT.state)
        BIGINT.insert(app, 1, kind="House", state_id=opened)
        assert BIGINT.row(app, 1, "state", "is_open") == ("Open", True)
        BIGINT.update(app, 1, state_id=sold)
        assert BIGINT.row(app, 1, "state", "is_open", "opened_at") == ("Sold", False, None)
        BIGINT.update(app, 1, state_id=opened, is_open=True, opened_at="2025-01-01 00:00+00")
        assert BIGINT.row(app, 1, "opened_at").year == 2025

    def test_going_back_to_forward_needs_no_repair(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        BIGINT.insert(app, 1, kind_id=BIGINT.lookup_id(app, "Castle"), is_open=False)
        BIGINT.insert(app, 2, kind="house", state="OPEN")
        BIGINT.update(app, 2, kind_id=BIGINT.lookup_id(app, "Tower"))
        BIGINT.insert(app, 3, kind_id=BIGINT.lookup_id(app, "Unspecified"), is_open=False)
        ddl.apply(connection, TRIGGERS.install("forward"), NoControl())
        result = audit(target, BIGINT.plan)
        assert (result.rows, result.mismatches) == (3, [])


class TestFrozen:
    @pytest.fixture(autouse=True)
    def frozen_triggers(self, target: Target, connection: Connection) -> None:
        start(target, connection, stage="reverse")
        BIGINT.insert(connection, 1, kind=" HOUSE", state="sold")
        BIGINT.insert(connection, 2, kind="house", state="sold")
        ddl.apply(connection, TRIGGERS.install("frozen"), NoControl())

    def test_a_change_of_the_text_alone_is_refused_and_says_what_to_write(
        self, app: Connection
    ) -> None:
        with pytest.raises(psycopg.errors.RaiseException, match=r"things\.kind .* write kind_id"):
            BIGINT.update(app, 1, kind="Flat")
        assert BIGINT.row(app, 1, "kind") == " HOUSE"

    def test_a_new_row_with_the_text_alone_is_refused(self, app: Connection) -> None:
        with pytest.raises(psycopg.errors.RaiseException, match="write kind_id"):
            BIGINT.insert(app, 3, kind="House")

    def test_a_write_of_the_new_columns_goes_through(self, app: Connection) -> None:
        BIGINT.update(app, 1, kind_id=BIGINT.lookup_id(app, "Flat"))
        BIGINT.insert(app, 3, kind_id=BIGINT.lookup_id(app, "Castle"))
        BIGINT.insert(app, 4)
        assert [BIGINT.row(app, n, "kind") for n in (1, 3, 4)] == ["Flat", "Castle", None]
        assert BIGINT.name_of(app, 4) == "Unspecified"

    def test_a_write_of_other_columns_leaves_the_spelling(self, app: Connection) -> None:
        BIGINT.update(app, 1, note="touched")
        assert BIGINT.row(app, 1, "kind") == " HOUSE"

    def test_a_text_that_comes_with_its_row_says_no_more_than_the_row(
        self, app: Connection
    ) -> None:
        house = BIGINT.row(app, 1, "kind_id")
        BIGINT.insert(app, 3, kind="house", kind_id=house)
        assert BIGINT.row(app, 3, "kind") == "HOUSE"


@contextmanager
def role_of_the_application(connection: Connection, sample: Sample) -> Iterator[sql.Identifier]:
    """A role that may write a sample's table and knows nothing of the schema `rollout`."""
    role = sql.Identifier(f"writer {uuid4().hex}")
    connection.execute(
        sql.SQL(
            "CREATE ROLE {0}; GRANT USAGE ON SCHEMA {1} TO {0};"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON {2} TO {0}"
        ).format(role, sql.Identifier(sample.schema), sample.table.identifier)
    )
    yield role
    connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))


class TestInstallation:
    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    @pytest.mark.parametrize("stage", ["forward", "reverse", "frozen"])
    def test_a_second_installation_of_a_stage_does_nothing(
        self, sample: Sample, stage: Stage, target: Target, connection: Connection
    ) -> None:
        triggers = start(target, connection, stage=stage, sample=sample)
        assert ddl.apply(connection, triggers.install(stage), NoControl()) is False

    def test_a_stage_takes_the_place_of_another(
        self, target: Target, connection: Connection
    ) -> None:
        start(target, connection)
        for stage in ("reverse", "frozen", "forward"):
            assert ddl.apply(connection, TRIGGERS.install(stage), NoControl()) is True
        named = connection.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'things'::regclass"
        ).fetchone()
        assert named == (2,)

    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    def test_removal_leaves_no_trigger_and_of_the_functions_only_the_resolvers(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        triggers = start(target, connection, sample=sample)
        assert ddl.apply(connection, triggers.remove(), NoControl()) is True
        left = connection.execute(
            f"SELECT proname FROM pg_proc WHERE {OF_PLANS}"
            " UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal".encode()
        ).fetchall()
        lookups = (sample.kind, sample.state)
        assert {name for (name,) in left} == {
            resolver_name(lookup, sample.plan.name) for lookup in lookups
        }
        assert ddl.apply(connection, triggers.remove(), NoControl()) is False

    @pytest.mark.parametrize("stage", ["forward", "reverse"])
    @pytest.mark.parametrize("sample", [BIGINT, ODD], ids=str)
    def test_a_role_with_rights_on_the_table_alone_writes_through_the_triggers(
        self, sample: Sample, stage: Stage, target: Target, connection: Connection, app: Connection
    ) -> None:
        start(target, connection, stage=stage, sample=sample)
        with role_of_the_application(connection, sample) as role:
            app.execute(sql.SQL("SET ROLE {}").format(role))
            sample.insert(app, 1, kind="Castle", state="open")
            sample.update(app, 1, kind="Tower")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute("SELECT * FROM rollout.modes")
            app.execute("RESET ROLE")
            assert sample.name_of(app, 1) == "Tower"
