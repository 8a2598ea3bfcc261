"""The way back from the last phase: what nobody wrote is what it was, byte for byte."""

from typing import Any

import pytest

from rollout.engine.mapping import Decision, decide
from rollout.engine.target import Connection, Target
from rollout.plan.translations import Lookup
from tests.engine.carrying import do_phase, undo_phase
from tests.engine.samples import BIGINT

PLAN = BIGINT.plan


def decided(connection: Connection, text: str, name: str | None, of: Lookup = BIGINT.kind) -> None:
    """What a person decides about a text; no row follows yet."""
    decide(connection, PLAN, of, {text: Decision(name=name)}, reviewer="ada", keep=True)


def rows_of(connection: Connection) -> dict[int, dict[str, Any]]:
    """Every row with all its columns."""
    rows = connection.execute("SELECT t.id, to_jsonb(t) FROM things AS t").fetchall()
    return dict(rows)


class TestTheLastPhase:
    @pytest.fixture(autouse=True)
    def cut_over(self, target: Target, connection: Connection) -> None:
        """Rows of many spellings, carried up to the cutover."""
        BIGINT.create(connection)
        for number, kind in enumerate(("House", "h", "Apt", " h ", "flat", "FLAT", None, "")):
            BIGINT.insert(connection, number, kind=kind, state="open")
        for number in range(4):
            do_phase(target, connection, PLAN, number)

    def test_its_rollback_changes_no_row_though_its_text_means_another_one_by_now(
        self, target: Target, connection: Connection
    ) -> None:
        decided(connection, "h", "House")
        decided(connection, "apt", "Flat")
        before = rows_of(connection)
        do_phase(target, connection, PLAN, 4)
        undo_phase(target, connection, PLAN, 4)
        assert rows_of(connection) == before
