"""The triggers that keep legacy and new columns in step, in a real database."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.engine import ddl
from rollout.engine.mapping import Decision, decide
from rollout.engine.target import Connection, Target, own_transaction
from rollout.plan.actions import Fill, Statement
from rollout.plan.dual_write_functions import Stage
from rollout.plan.dual_writes import DualWriteTriggers
from rollout.plan.names import in_target, tidy
from rollout.plan.resolvers import resolver_name
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers as triggers_of
from tests.engine.actions import (
    NoControl,
    audit,
    do_step,
    do_until,
    run_fill,
    undo_step,
    wait_until_somebody_waits,
)
from tests.engine.conftest import clear
from tests.engine.samples import BIGINT, DIRTY, ODD, SAMPLES, Sample

TRIGGERS = triggers_of(BIGINT.plan, BIGINT.table)


def start(
    target: Target, connection: Connection, *, stage: Stage = "forward", sample: Sample = BIGINT
) -> DualWriteTriggers:
    """An empty table whose triggers are in a stage."""
    sample.create(connection)
    do_until(target, connection, sample.plan, "dual-write")
    triggers = triggers_of(sample.plan, sample.table)
    ddl.apply(connection, triggers.install(stage), NoControl())
    return triggers


class TestForward:
    @pytest.fixture(autouse=True)
    def forward(self, target: Target, connection: Connection) -> None:
        start(target, connection)

    def test_an_insert_that_knows_only_the_text_fills_the_new_columns(
        self, app: Connection
    ) -> None:
        BIGINT.insert(app, 1, kind="House", state="open")
        assert BIGINT.name_of(app, 1) == "House"
        assert BIGINT.name_of(app, 1, BIGINT.state) == "open"
        is_open, opened, made = BIGINT.row(app, 1, "is_open", "opened_at", "made_at")
        assert (is_open, opened) == (True, made)

    def test_an_update_of_the_text_takes_the_new_columns_with_it(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind="House", state="open")
        BIGINT.update(app, 1, kind="Flat", state="sold")
        assert BIGINT.name_of(app, 1) == "Flat"
        assert BIGINT.name_of(app, 1, BIGINT.state) == "sold"
        assert BIGINT.row(app, 1, "is_open", "opened_at") == (False, None)

    def test_an_update_of_the_text_to_null_means_the_row_for_blanks(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind="House", state="open")
        BIGINT.update(app, 1, kind=None, state=None)
        assert BIGINT.name_of(app, 1) == "Unspecified"
        assert BIGINT.name_of(app, 1, BIGINT.state) is None

    def test_a_writer_of_both_sides_keeps_what_it_wrote(self, app: Connection) -> None:
        house = BIGINT.lookup_id(app, "House")
        BIGINT.insert(app, 1, kind=" HOUSE", kind_id=house, is_open=False)
        assert BIGINT.row(app, 1, "kind", "kind_id") == (" HOUSE", house)
        flat = BIGINT.lookup_id(app, "Flat")
        BIGINT.update(app, 1, kind="flat", kind_id=flat)
        assert BIGINT.row(app, 1, "kind", "kind_id") == ("flat", flat)

    def test_a_text_wins_over_the_foreign_key_that_came_with_it(self, app: Connection) -> None:
        house, flat = BIGINT.lookup_id(app, "House"), BIGINT.lookup_id(app, "Flat")
        BIGINT.insert(app, 1, kind="Flat", kind_id=house)
        assert BIGINT.row(app, 1, "kind", "kind_id") == ("Flat", flat)
        BIGINT.update(app, 1, kind="House", kind_id=flat)
        assert BIGINT.row(app, 1, "kind", "kind_id") == ("House", house)

    @pytest.mark.parametrize("blank", [{}, {"kind": None}, {"kind": ""}, {"kind": " \u00a0"}])
    def test_a_new_row_with_the_foreign_key_alone_gets_its_text(
        self, app: Connection, blank: dict[str, str | None]
    ) -> None:
        flat = BIGINT.lookup_id(app, "Flat")
        BIGINT.insert(app, 1, kind_id=flat, state_id=BIGINT.lookup_id(app, "Open", BIGINT.state))
        assert BIGINT.row(app, 1, "kind", "state", "is_open") == ("Flat", "Open", True)
        BIGINT.insert(app, 2, kind_id=flat, **blank)
        assert BIGINT.row(app, 2, "kind", "kind_id") == ("Flat", flat)

    def test_a_change_of_the_foreign_key_alone_takes_the_text_with_it(
        self, app: Connection
    ) -> None:
        BIGINT.insert(app, 1, kind=" House", state="open")
        flat = BIGINT.lookup_id(app, "Flat")
        BIGINT.update(app, 1, kind_id=flat)
        assert BIGINT.row(app, 1, "kind", "kind_id", "state") == ("Flat", flat, "open")
        BIGINT.update(app, 1, kind=None, kind_id=BIGINT.lookup_id(app, "House"))
        assert BIGINT.row(app, 1, "kind") == "House"
        BIGINT.update(app, 1, kind_id=BIGINT.lookup_id(app, "Unspecified"))
        assert BIGINT.row(app, 1, "kind") is None
        BIGINT.update(app, 1, state_id=BIGINT.lookup_id(app, "sold", BIGINT.state))
        assert BIGINT.row(app, 1, "state", "is_open", "opened_at") == ("sold", False, None)

    def test_a_foreign_key_alone_is_kept_where_the_backfill_has_not_been(
        self, connection: Connection, app: Connection
    ) -> None:
        ddl.apply(connection, TRIGGERS.remove(), NoControl())
        BIGINT.insert(app, 1, kind="House", state="open")
        ddl.apply(connection, TRIGGERS.install("forward"), NoControl())
        BIGINT.update(app, 1, kind_id=BIGINT.lookup_id(app, "Flat"), is_open=True)
        run_fill(connection, fill_of(BIGINT.plan, BIGINT.table))
        assert (BIGINT.row(app, 1, "kind"), BIGINT.name_of(app, 1)) == ("Flat", "Flat")

    def test_null_in_the_foreign_key_alone_is_filled_in_again(self, app: Connection) -> None:
        """A writer of whole rows has read it before the backfill came by."""
        BIGINT.insert(app, 1, kind="House", state="open")
        BIGINT.update(app, 1, kind="House", kind_id=None)
        BIGINT.update(app, 1, state="open", state_id=None)
        assert BIGINT.name_of(app, 1) == "House"
        assert BIGINT.name_of(app, 1, BIGINT.state) == "open"

    def test_a_foreign_key_to_no_row_is_refused_and_says_what_to_write(
        self, app: Connection
    ) -> None:
        BIGINT.insert(app, 1, kind="House")
        refusal = (
            r"things\.kind_id was written as a row that is not there\. Write .* of kinds, not 9"
        )
        with pytest.raises(psycopg.errors.ForeignKeyViolation, match=refusal):
            BIGINT.insert(app, 2, kind_id=9_999)
        with pytest.raises(psycopg.errors.ForeignKeyViolation, match=refusal):
            BIGINT.update(app, 1, kind_id=9_999)
        assert BIGINT.row(app, 1, "kind") == "House"

    def test_a_foreign_key_alone_to_a_row_that_people_decided_away_is_refused(
        self, connection: Connection, app: Connection
    ) -> None:
        house, h = BIGINT.lookup_id(app, "House"), BIGINT.lookup_id(app, "h")
        decide(
            *(connection, BIGINT.plan, BIGINT.kind, {"h": Decision("House")}),
            reviewer="ada",
            keep=True,
        )
        with pytest.raises(psycopg.errors.RaiseException, match=r"Write the row that they chose"):
            BIGINT.insert(app, 1, kind_id=h)
        # A release that goes by names writes both: the text is what people decided on.
        BIGINT.insert(app, 2, kind="h", kind_id=h)
        BIGINT.insert(app, 3, kind_id=house)
        assert [BIGINT.row(app, n, "kind", "kind_id") for n in (2, 3)] == [
            ("h", house),
            # No other text of that row has been written.
            ("h", house),
        ]

    @pytest.mark.parametrize("default", ["Castle", "it's \\ a castle", ""])
    def test_a_default_of_the_text_neither_hides_a_foreign_key_nor_stops_an_old_release(
        self, default: str, connection: Connection, app: Connection
    ) -> None:
        connection.execute(
            sql.SQL("ALTER TABLE things ALTER kind SET DEFAULT {}").format(sql.Literal(default))
        )
        flat = BIGINT.lookup_id(app, "Flat")
        BIGINT.insert(app, 1)
        assert BIGINT.row(app, 1, "kind") == default
        assert BIGINT.name_of(app, 1) == (default or "Unspecified")
        castle = BIGINT.row(app, 1, "kind_id")
        BIGINT.insert(app, 2, kind_id=castle)
        assert BIGINT.row(app, 2, "kind", "kind_id") == (default, castle)
        BIGINT.insert(app, 3, kind="flat", kind_id=flat)
        assert BIGINT.row(app, 3, "kind", "kind_id") == ("flat", flat)
        if default:
            with pytest.raises(psycopg.errors.RaiseException, match=r"without kind, .* kind too"):
                BIGINT.insert(app, 4, kind_id=flat)
        else:
            BIGINT.insert(app, 4, kind_id=flat)
            assert BIGINT.row(app, 4, "kind", "kind_id") == ("Flat", flat)

    def test_any_write_heals_a_row_that_the_scan_has_not_reached(
        self, connection: Connection, app: Connection
    ) -> None:
        ddl.apply(connection, TRIGGERS.remove(), NoControl())
        BIGINT.insert(app, 1, kind="House", state="open")
        assert BIGINT.row(app, 1, "kind_id", "is_open") == (None, None)
        ddl.apply(connection, TRIGGERS.install("forward"), NoControl())
        BIGINT.update(app, 1, note="touched")
        assert BIGINT.name_of(app, 1) == "House"
        assert BIGINT.row(app, 1, "is_open") is True

    def test_an_unknown_text_gets_one_lookup_row_and_a_mapping_row_for_each_spelling(
        self, app: Connection
    ) -> None:
        spellings = ("Maison  bleue", " maison bleue", "MAISON\u00a0BLEUE")
        for number, kind in enumerate(spellings):
            BIGINT.insert(app, number, kind=kind)
        names = app.execute("SELECT name FROM kinds ORDER BY id").fetchall()
        assert names == [("Unspecified",), ("Maison bleue",)]
        mapped = app.execute(
            "SELECT legacy FROM rollout.\"sample-bigint_things_kind_mapping\" WHERE legacy <> ''"
        ).fetchall()
        assert {text for (text,) in mapped} == set(spellings)

    def test_a_text_whose_row_another_session_is_making_is_filled_in_by_the_next_write(
        self, target: Target, app: Connection
    ) -> None:
        with target.connect() as first:
            first.execute("BEGIN")
            BIGINT.insert(first, 1, kind="Castle")
            app.execute("SET statement_timeout = '5s'")
            BIGINT.insert(app, 2, kind="CASTLE")
            assert BIGINT.row(app, 2, "kind_id") is None
            first.execute("COMMIT")
        BIGINT.update(app, 2, state="open")
        assert BIGINT.name_of(app, 2) == BIGINT.name_of(app, 1) == "Castle"

    def test_a_text_of_more_than_two_hundred_characters_stays_unmapped(
        self, target: Target, app: Connection
    ) -> None:
        BIGINT.insert(app, 1, kind="x" * 200, state="x" * 10_000)
        BIGINT.insert(app, 2, kind="é" * 201)
        BIGINT.insert(app, 3, kind="y" * 10_000)
        BIGINT.update(app, 3, kind="z" * 10_000)
        assert BIGINT.name_of(app, 1) == "x" * 200
        assert BIGINT.row(app, 1, "state_id") is None
        assert BIGINT.row(app, 2, "kind_id") is None
        assert BIGINT.row(app, 3, "kind", "kind_id") == ("z" * 10_000, None)
        assert audit(target, BIGINT.plan).categories == {"unmapped": 3}

    def test_a_long_text_of_white_space_is_blank(self, app: Connection) -> None:
        BIGINT.insert(app, 1, kind=" \u00a0" * 5_000)
        assert BIGINT.name_of(app, 1) == "Unspecified"

    def test_the_backfill_does_not_call_the_function(
        self, connection: Connection, app: Connection
    ) -> None:
        ddl.apply(connection, TRIGGERS.remove(), NoControl())
        for number in range(5):
            BIGINT.insert(app, number, kind="House", state="open")
        do_until_mapped(connection)
        ddl.apply(connection, TRIGGERS.install("forward"), NoControl())
        connection.execute("SET track_functions = 'all'")
        assert run_fill(connection, fill_of(BIGINT.plan, BIGINT.table)).updated == 5
        connection.execute("SELECT pg_stat_force_next_flush()")
        calls = connection.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions"
        ).fetchone()
        assert calls == (0,)


def do_until_mapped(connection: Connection) -> None:
    for statement in BIGINT.plan.step(2, "map-values").forward(BIGINT.plan):
        ddl.apply(connection, statement, NoControl())  # type: ignore[arg-type]


def test_a_lookup_row_bears_the_commonest_tidy_spelling(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    for number, kind in enumerate(["House", "House", " House", "House  ", *["house"] * 3]):
        BIGINT.insert(connection, number, kind=kind)
    do_until(target, connection, BIGINT.plan, "map-values")
    names = connection.execute("SELECT name FROM kinds WHERE lower(name) = 'house'").fetchall()
    assert names == [("House",)]


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
    def frozen(self, target: Target, connection: Connection) -> None:
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
            "SELECT proname FROM pg_proc WHERE pronamespace = 'rollout'::regnamespace"
            " UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
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


TEXTS = (
    st.sampled_from(DIRTY)
    | st.none()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
)
NUMBERS = st.integers(0, 4)
OPERATIONS = st.one_of(
    st.tuples(st.just("write text"), NUMBERS, TEXTS, TEXTS),
    st.tuples(st.just("write both"), NUMBERS, TEXTS, TEXTS),
    st.tuples(st.just("clear new"), NUMBERS, st.none(), st.none()),
    st.tuples(st.just("touch"), NUMBERS, TEXTS, st.none()),
    st.tuples(st.just("delete"), NUMBERS, st.none(), st.none()),
    st.tuples(st.just("backfill"), NUMBERS, st.none(), st.none()),
)


@dataclass
class Application:
    """Writes rows of the sample, and remembers what the legacy texts must be."""

    connection: Connection
    texts: dict[tuple[int], tuple[str | None, str | None]] = field(default_factory=dict)

    def write(self, number: int, kind: str | None, state: str | None, **more: object) -> None:
        write = BIGINT.update if (number,) in self.texts else BIGINT.insert
        write(self.connection, number, kind=kind, state=state, **more)
        self.texts[number,] = (kind, state)

    def do(self, operation: str, number: int, kind: str | None, state: str | None) -> None:
        there = (number,) in self.texts
        match operation:
            case "write text":
                self.write(number, kind, state)
            case "write both":
                self.write(number, kind, state, kind_id=self.id_of(kind), is_open=False)
            case "clear new" if there:
                BIGINT.update(self.connection, number, kind_id=None, is_open=None)
            case "touch" if there:
                BIGINT.update(self.connection, number, note=kind)
            case "delete" if there:
                BIGINT.delete(self.connection, number)
                del self.texts[number,]
            case "backfill":
                run_fill(self.connection, FILL)

    def id_of(self, kind: str | None) -> int:
        """What an application that writes both shapes makes of a text."""
        shown = self.connection.execute(
            sql.SQL("SELECT coalesce(nullif({}, ''), 'Unspecified')").format(
                tidy(sql.Literal(kind or ""))
            )
        ).fetchone()
        assert shown is not None
        self.connection.execute(
            "INSERT INTO kinds (name) VALUES (%s) ON CONFLICT DO NOTHING", shown
        )
        found = self.connection.execute(
            "SELECT id FROM kinds WHERE lower(name) = lower(%s)", shown
        ).fetchone()
        assert found is not None
        return int(found[0])


FILL: Fill = fill_of(BIGINT.plan, BIGINT.table)


@pytest.fixture(scope="module")
def expanded(target: Target, module_connection: Connection) -> Connection:
    """An empty table at the end of phase 1."""
    clear(module_connection)
    BIGINT.create(module_connection)
    do_until(target, module_connection, BIGINT.plan, "add-columns")
    return module_connection


@settings(max_examples=25)
@given(
    before=st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
    operations=st.lists(OPERATIONS, max_size=8),
)
def test_any_sequence_of_writes_leaves_every_row_right_and_rolls_back_to_the_exact_texts(
    expanded: Connection,
    target: Target,
    before: list[tuple[str | None, str | None]],
    operations: list[tuple[str, int, str | None, str | None]],
) -> None:
    connection, plan = expanded, BIGINT.plan
    begun = plan.phases[2].steps[:2]
    connection.execute("TRUNCATE things")
    application = Application(connection)
    for number, texts in enumerate(before):
        application.write(number, *texts)
    for step in begun:
        do_step(target, connection, plan, 2, step)
    for operation in operations:
        application.do(*operation)
    run_fill(connection, FILL)
    result = audit(target, plan)
    assert result.mismatches == []
    assert result.rows == len(application.texts)
    assert BIGINT.texts(connection) == application.texts
    for step in reversed(begun):
        undo_step(target, connection, plan, 2, step)
    filled = BIGINT.count(connection, "num_nonnulls(kind_id, state_id, is_open, opened_at) > 0")
    assert filled == 0
    assert BIGINT.texts(connection) == application.texts


def test_the_mapping_never_keeps_one_transaction_waiting_for_another(
    target: Target, connection: Connection, app: Connection
) -> None:
    """Its own uncommitted lookup rows are in nobody's way while it waits for somebody's."""
    start(target, connection)
    ddl.apply(connection, TRIGGERS.remove(), NoControl())
    BIGINT.insert(app, 1, kind="Castle")
    BIGINT.insert(app, 2, kind="Tower")
    ddl.apply(connection, TRIGGERS.install("forward"), NoControl())
    app.execute("BEGIN")
    BIGINT.insert(app, 3, kind="Tower")
    mapping = [
        action
        for action in BIGINT.plan.step(2, "backfill").forward(BIGINT.plan)
        if isinstance(action, Statement)
    ]
    with target.connect() as other:
        other.execute("SET statement_timeout = '20s'")
        engine = threading.Thread(target=apply_all, args=(connection, mapping))
        engine.start()
        wait_until_somebody_waits(other)
        BIGINT.insert(other, 4, kind="Castle")
        app.execute("COMMIT")
        engine.join(20)
    run_fill(connection, FILL)
    assert [BIGINT.name_of(connection, n) for n in (1, 2, 3, 4)] == [
        *("Castle", "Tower", "Tower", "Castle")
    ]


def apply_all(connection: Connection, statements: list[Statement]) -> None:
    for statement in statements:
        ddl.apply(connection, statement, NoControl())


class TestAnnouncedWrites:
    """The engine's own writes bring every value that they mean to write."""

    @pytest.mark.parametrize("stage", ["forward", "reverse", "frozen"])
    def test_the_trigger_function_is_not_even_called(
        self, stage: Stage, target: Target, connection: Connection
    ) -> None:
        triggers = start(target, connection, stage=stage)
        BIGINT.insert(connection, 1, kind_id=BIGINT.lookup_id(connection, "House"))
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE FUNCTION {} () RETURNS trigger LANGUAGE plpgsql AS"
                " $$BEGIN RAISE 'called'; END$$"
            ).format(in_target(triggers.function))
        )
        with pytest.raises(psycopg.errors.RaiseException, match="called"):
            BIGINT.update(connection, 1, kind=" h ")
        with own_transaction(connection):
            BIGINT.update(connection, 1, kind=" h ")
            BIGINT.insert(connection, 2, kind=" h ")
        assert BIGINT.row(connection, 1, "kind") == " h "
        assert BIGINT.row(connection, 2, "kind", "kind_id") == (" h ", None)

    def test_an_announcement_ends_with_its_transaction(
        self, target: Target, connection: Connection
    ) -> None:
        start(target, connection)
        with own_transaction(connection):
            pass
        BIGINT.insert(connection, 1, kind="House")
        assert BIGINT.name_of(connection, 1) == "House"

    @pytest.mark.parametrize("value", ["on", "''", "1", "'none'", "current"])
    def test_nothing_that_a_session_keeps_is_taken_for_one(
        self, value: str, target: Target, connection: Connection, app: Connection
    ) -> None:
        """Nor what a pooler hands on: the id of a transaction that has ended."""
        start(target, connection)
        if value == "current":
            app.execute("SELECT set_config('rollout.engine', pg_current_xact_id()::text, false)")
        else:
            app.execute(f"SET rollout.engine = {value}".encode())
        BIGINT.insert(app, 1, kind="House")
        BIGINT.update(app, 1, kind="Flat")
        assert BIGINT.name_of(app, 1) == "Flat"
