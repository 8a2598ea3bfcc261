"""What the application reads and writes holds still while it works, and no longer."""

import threading
from collections.abc import Iterator
from typing import cast

import psycopg
import pytest
from django.db import ProgrammingError, models, transaction
from django.db import connection as django_connection
from psycopg import conninfo

from rollout import modes as rollout_modes
from rollout.engine import ddl
from rollout.engine.target import Connection, Target, install
from rollout.models import Rollout
from rollout.modes import Modes, UnsafeIsolation, current_modes, modes_in, modes_now
from rollout.plan.switch import lock_key, stop_using_feature, switch_modes, use_feature
from tests.engine.actions import NoControl, wait_until_somebody_waits
from tests.support import rollouts
from tests.support.processes import PATIENCE
from tests.support.servers import Database

PLAN = "a plan"


@pytest.fixture
def target(committed_db: Database) -> Target:
    return Target(conninfo.conninfo_to_dict(committed_db.url))


@pytest.fixture
def modes_engine(target: Target) -> Iterator[Connection]:
    """The engine's connection to a target that it has installed its schema in."""
    with target.connect() as connection:
        install(connection)
        yield connection


def test_a_database_that_no_rollout_has_touched_is_legacy(target: Target) -> None:
    with current_modes(PLAN) as modes:
        assert modes == Modes(read="legacy", write="legacy", features=frozenset())
    assert modes_now(PLAN) == Modes()


def test_a_schema_that_is_installed_later_is_noticed(target: Target) -> None:
    assert modes_now(PLAN) == Modes()
    with target.connect() as connection:
        install(connection)
        ddl.apply(connection, switch_modes(PLAN, read="new", write="new"), NoControl())
    assert modes_now(PLAN) == Modes("new", "new")


class Old(models.Model):
    kind = models.TextField()

    class Meta:
        abstract = True


class Wider(Old):
    kind_row = models.IntegerField()

    class Meta:
        abstract = True


class Final(models.Model):
    kind_row = models.IntegerField()

    class Meta:
        abstract = True


class OfTheSameName(models.Model):
    kind = models.IntegerField()

    class Meta:
        abstract = True


@pytest.mark.parametrize(
    ("modes", "of_two", "of_three", "of_a_table_that_loses_nothing"),
    [
        (Modes("legacy", "legacy"), Old, Old, Old),
        (Modes("legacy", "both"), Old, Wider, Wider),
        (Modes("legacy", "new"), Old, Wider, Wider),
        (Modes("new", "both"), Final, Final, Wider),
        (Modes("new", "new"), Final, Final, Wider),
    ],
)
def test_the_model_in_force_has_the_columns_that_the_modes_read(
    modes: Modes,
    of_two: type[models.Model],
    of_three: type[models.Model],
    of_a_table_that_loses_nothing: type[models.Model],
) -> None:
    old, wider, final = cast(list[type[models.Model]], [Old, Wider, Final])
    assert modes.model_of(old, final) is of_two
    assert modes.model_of(old, wider, final) is of_three
    assert modes.model_of(old, wider) is of_a_table_that_loses_nothing


def test_the_model_of_a_column_whose_type_changes_is_the_old_one_until_the_cutover() -> None:
    old, new = cast(list[type[models.Model]], [Old, OfTheSameName])
    for modes in (Modes("legacy", "legacy"), Modes("legacy", "both"), Modes("legacy", "new")):
        assert modes.model_of(old, new) is Old
    for modes in (Modes("new", "both"), Modes("new", "new")):
        assert modes.model_of(old, new) is OfTheSameName


def test_a_plan_without_a_switch_is_legacy(modes_engine: Connection) -> None:
    ddl.apply(modes_engine, switch_modes("another plan", read="new", write="new"), NoControl())
    with current_modes(PLAN) as modes:
        assert modes == Modes()


def test_a_database_that_migrations_made_in_the_final_schema_is_new(
    contracted: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = Modes("new", "new", frozenset({"listing_counts"}))
    with current_modes(contracted.plan) as modes:
        assert modes == final, "as its phases left it"
    for forget in ("DELETE FROM rollout.modes", "DROP SCHEMA rollout CASCADE"):
        rollouts.execute(forget)
        monkeypatch.setattr(rollout_modes, "_last", {})
        with current_modes(contracted.plan) as modes:
            assert modes == modes_now(contracted.plan) == final
        with rollouts.target() as connection:
            assert modes_in(connection, contracted.plan) == final
    rollouts.execute("ALTER TABLE properties ADD type text")
    with current_modes(contracted.plan) as modes:
        assert modes == Modes(), "it has the legacy column still, or again"


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_that_could_miss_a_switch_is_refused(
    modes_engine: Connection, level: str
) -> None:
    with transaction.atomic(), django_connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(UnsafeIsolation, match=level), current_modes(PLAN):
            pass
        cursor.execute("SELECT 1")  # The application's transaction is whole.
    assert could_switch(modes_engine)


def test_a_switch_is_seen_by_the_next_block(modes_engine: Connection) -> None:
    ddl.apply(modes_engine, switch_modes(PLAN, read="legacy", write="both"), NoControl())
    ddl.apply(modes_engine, use_feature(PLAN, "counts"), NoControl())
    with current_modes(PLAN) as modes:
        assert modes == Modes("legacy", "both", frozenset({"counts"}))
    ddl.apply(modes_engine, stop_using_feature(PLAN, "counts"), NoControl())
    with current_modes(PLAN) as modes:
        assert modes.features == frozenset()


def test_a_process_continues_by_the_modes_it_saw_last_when_the_schema_is_dropped(
    modes_engine: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    ddl.apply(modes_engine, switch_modes(PLAN, read="legacy", write="both"), NoControl())
    assert modes_now(PLAN) == Modes("legacy", "both")
    modes_engine.execute("DROP SCHEMA rollout CASCADE")
    for _ in range(2):
        with current_modes(PLAN) as modes, django_connection.cursor() as cursor:
            assert modes == Modes("legacy", "both")
            cursor.execute("SELECT 1")  # The application's transaction is whole.
    assert modes_now(PLAN) == Modes("legacy", "both")
    with transaction.atomic():
        assert modes_now(PLAN) == Modes("legacy", "both")
        with django_connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert [r.getMessage() for r in caplog.records if "is missing" in r.getMessage()] != []
    assert len(caplog.records) == 1, "it is logged once, not for each request"
    install(modes_engine)
    ddl.apply(modes_engine, switch_modes(PLAN, read="new", write="new"), NoControl())
    with current_modes(PLAN) as modes:
        assert modes == modes_now(PLAN) == Modes("new", "new")


def test_a_switch_that_is_made_already_is_not_made_again(modes_engine: Connection) -> None:
    for statement in (
        switch_modes(PLAN, read="new", write="new"),
        use_feature(PLAN, "counts"),
        stop_using_feature(PLAN, "counts"),
    ):
        assert ddl.apply(modes_engine, statement, NoControl()) is True
        assert ddl.apply(modes_engine, statement, NoControl()) is False


def test_a_feature_is_there_once_however_often_it_is_switched_on(modes_engine: Connection) -> None:
    for _ in range(2):
        modes_engine.execute(use_feature(PLAN, "counts").sql)
    stored = modes_engine.execute("SELECT features FROM rollout.modes").fetchone()
    assert stored == (["counts"],)


def test_a_switch_waits_for_the_block_that_goes_by_the_old_modes_and_then_goes_through(
    target: Target, modes_engine: Connection
) -> None:
    switch = switch_modes(PLAN, read="new", write="new")
    switching = threading.Thread(target=ddl.apply, args=(modes_engine, switch, NoControl()))
    with target.connect() as other:
        with current_modes(PLAN) as modes:
            switching.start()
            wait_until_somebody_waits(other)
            assert modes_now(PLAN) == modes == Modes()
            assert switching.is_alive()
        switching.join(PATIENCE)
    assert not switching.is_alive()
    assert modes_now(PLAN) == Modes("new", "new")


def test_a_block_inside_a_longer_transaction_holds_the_modes_until_that_ends(
    modes_engine: Connection,
) -> None:
    with transaction.atomic():
        with current_modes(PLAN):
            pass
        assert not could_switch(modes_engine)
    assert could_switch(modes_engine)


def test_the_switch_of_another_plan_does_not_wait(modes_engine: Connection) -> None:
    with current_modes("another plan"):
        assert could_switch(modes_engine)


def test_many_blocks_continue_side_by_side(target: Target, modes_engine: Connection) -> None:
    with target.connect() as other, current_modes(PLAN), other.transaction():
        other.execute("SET LOCAL lock_timeout = '1s'")
        other.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key(PLAN)])


def test_a_block_that_fails_is_rolled_back_and_lets_go(modes_engine: Connection) -> None:
    modes_engine.execute("CREATE TABLE written (what text)")
    with pytest.raises(ProgrammingError), current_modes(PLAN):
        django_connection.cursor().execute("INSERT INTO written VALUES ('half'); SELECT nonsense")
    assert could_switch(modes_engine)
    assert modes_engine.execute("SELECT count(*) FROM written").fetchone() == (0,)


def could_switch(modes_engine: Connection) -> bool:
    try:
        with modes_engine.transaction(force_rollback=True):
            modes_engine.execute("SET LOCAL lock_timeout = '50ms'")
            modes_engine.execute(switch_modes(PLAN, read="new", write="new").sql)
    except psycopg.errors.LockNotAvailable:
        return False
    return True
