"""Whatever writers do between batches, in whatever order: the sweep finds no row unfilled."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.engine import backfill, ddl, lane_positions, lanes
from rollout.engine.control import Interrupted
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection, Target
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers
from tests.engine.actions import (
    NoControl,
    StopAfter,
    audit,
    claimed,
    do_until,
    new_job,
    work_off,
    worker,
)
from tests.engine.samples import BIGINT, PARTITIONED, Sample
from tests.support.bare_databases import clear

pytestmark = pytest.mark.slow

ROWS = 120
TEXT = st.sampled_from([None, "", "House", " HOUSE", "flat", "Yurt 1", "Yurt 2", "open", "OPEN "])
NUMBER = st.integers(0, ROWS + 5)
Operation = tuple[str, int, str | None]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "kind", "state", "widen", "narrow", "delete", "move", "batch"])
        | st.just("batch"),
        NUMBER,
        TEXT,
    ),
    max_size=30,
)


@dataclass
class Story:
    """A table of a few rows to a page, a backfill that is requested one batch at a time."""

    sample: Sample
    connection: Connection
    job: int
    texts: dict[int, tuple[str | None, str | None]]
    lane: Lane | None = None
    inserted: int = ROWS
    done: list[str] = field(default_factory=list)

    def carry_out(self, name: str, number: int, text: str | None) -> None:
        operation: Callable[[int, str | None], None] = getattr(self, f"_{name}")
        if name in ("insert", "batch") or number in self.texts:
            operation(number, text)

    def _insert(self, number: int, text: str | None) -> None:
        self.inserted += 1
        self.sample.insert(self.connection, self.inserted, kind=text, state=text)
        self.texts[self.inserted] = (text, text)

    def _kind(self, number: int, text: str | None) -> None:
        self.sample.update(self.connection, number, kind=text)
        self.texts[number] = (text, self.texts[number][1])

    def _state(self, number: int, text: str | None) -> None:
        self.sample.update(self.connection, number, state=text)
        self.texts[number] = (self.texts[number][0], text)

    def _widen(self, number: int, text: str | None) -> None:
        """Too wide for its page: the row moves."""
        self.sample.update(self.connection, number, note="wide " * 300)

    def _narrow(self, number: int, text: str | None) -> None:
        self.sample.update(self.connection, number, note=None)

    def _delete(self, number: int, text: str | None) -> None:
        self.sample.delete(self.connection, number)
        del self.texts[number]

    def _move(self, number: int, text: str | None) -> None:
        """To another key, and in a partitioned table to another partition, and back."""
        column = self.sample.table.key[0]
        for sign in ("- 1000", "+ 1000"):
            self.connection.execute(
                f'UPDATE {self.sample.table.identifier.as_string()} AS t SET "{column}" ='
                f' "{column}" {sign} WHERE "{self.sample.table.key[-1]}" IN'
                f" ({number}, {number} - 1000)".encode()
            )

    def _batch(self, number: int, text: str | None) -> None:
        if lanes.is_finished(self.connection, self.job):
            return
        lane = claimed(self.connection, self.job)
        its_worker = worker(
            self.connection,
            fill_of(self.sample.plan, self.sample.table),
            stripes=2,
            control=StopAfter(1),
        )
        try:
            its_worker.run_lane(lane, seconds=60)
        except Interrupted:
            pass
        finally:
            lanes.release(self.connection, lane)


@pytest.mark.parametrize("sample", [BIGINT, PARTITIONED], ids=str)
@settings(max_examples=25)
@given(operations=OPERATIONS, blind=OPERATIONS)
def test_no_row_is_unfilled_after_the_sweep_and_every_text_is_as_it_was_written(
    sample: Sample,
    module_connection: Connection,
    target: Target,
    operations: list[Operation],
    blind: list[Operation],
) -> None:
    connection = module_connection
    clear(connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
        patch.setattr(lanes, "LANE_BLOCKS", 2)
        patch.setattr(lane_positions, "MAX_RANGE_BLOCKS", 1)
        sample.create(connection)
        texts: dict[int, tuple[str | None, str | None]] = {}
        for number in range(ROWS):
            kind = ("House", " house", "FLAT", "")[number % 4]
            sample.insert(connection, number, kind=kind, state="open")
            texts[number] = (kind, "open")
        do_until(target, connection, sample.plan, "map-values")
        # Before the dual write nobody watches: what comes then is for the scan.
        story = Story(sample, connection, 0, texts)
        for operation in blind:
            if operation[0] != "batch":
                story.carry_out(*operation)
        fill = fill_of(sample.plan, sample.table)
        install = triggers(sample.plan, sample.table).install("forward")
        ddl.apply(connection, install, NoControl())
        for statement in sample.plan.step(2, "backfill").forward(sample.plan):
            if statement != fill:
                ddl.apply(connection, statement, NoControl())  # type: ignore[arg-type]
        story.job, _ = new_job(connection, fill)
        for operation in operations:
            story.carry_out(*operation)
        totals = work_off(connection, fill, story.job, 2)
    assert backfill.count_unfilled(connection, fill, story.job) == 0
    assert totals.scanned >= totals.updated
    result = audit(target, sample.plan)
    assert result.mismatches == []
    assert result.rows == len(story.texts)
    assert sorted(map(repr, sample.texts(connection).values())) == sorted(
        map(repr, story.texts.values())
    )
