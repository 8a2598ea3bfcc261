"""The triggers that keep legacy and new columns in step, in a real database."""

import psycopg
import pytest
from psycopg import sql

from rollout.engine import ddl
from rollout.engine.mapping import Decision, decide
from rollout.engine.target import Connection, Target, own_transaction
from rollout.plan.actions import Statement
from rollout.plan.conversion_lines import Stage
from rollout.plan.dual_writes import DualWriteTriggers
from rollout.plan.names import in_target
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers as triggers_of
from tests.engine.actions import NoControl, audit, do_until, run_fill
from tests.engine.samples import BIGINT, Sample

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


def test_a_lookup_row_has_the_commonest_tidy_spelling(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    for number, kind in enumerate(["House", "House", " House", "House  ", *["house"] * 3]):
        BIGINT.insert(connection, number, kind=kind)
    do_until(target, connection, BIGINT.plan, "map-values")
    names = connection.execute("SELECT name FROM kinds WHERE lower(name) = 'house'").fetchall()
    assert names == [("House",)]


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
