"""Sampled audits: uniform, reproducible, and with the functions of computed columns called."""

from collections import Counter
from typing import Any

import pytest

from rollout.engine.audit import Sample
from rollout.engine.target import Connection, Target
from tests.engine.actions import audit, do_until
from tests.engine.samples import BIGINT, COMPOSITE, LISTED, ODD, past_triggers
from tests.engine.samples import Sample as Shape
from tests.engine.test_backfill_computed import MEASURED, measure
from tests.engine.test_backfill_computed import PLAN as PICTURES

PLAN = BIGINT.plan


def filled(target: Target, connection: Connection, rows: int, shape: Shape = BIGINT) -> None:
    shape.create(connection)
    for number in range(rows):
        shape.insert(connection, number, kind="House", state="Open")
    do_until(target, connection, shape.plan, "backfill")


def examined(target: Target, connection: Connection, seed: int, rows: int = 20) -> set[str]:
    """The keys that a sample looks at: with every row wrong, each that it looks at is found."""
    result = audit(target, PLAN, sample=Sample(rows=rows, seed=seed))
    return {mismatch.key for mismatch in result.mismatches}


@pytest.mark.parametrize("shape", [BIGINT, COMPOSITE, ODD, LISTED], ids=str)
def test_a_sample_examines_as_many_rows_as_requested(
    shape: Shape, target: Target, connection: Connection
) -> None:
    filled(target, connection, 50, shape)
    for asked, expected in ((1, 1), (20, 20), (50, 50), (500, 50)):
        result = audit(target, shape.plan, sample=Sample(rows=asked, seed=1))
        assert (result.rows, result.population) == (expected, 50)
        assert result.mismatched == 0


def test_the_same_seed_picks_the_same_rows_wherever_they_lie(
    target: Target, connection: Connection
) -> None:
    filled(target, connection, 200)
    with past_triggers(connection):
        connection.execute("UPDATE things SET kind_id = -1")
    first = examined(target, connection, seed=7)
    connection.execute("UPDATE things SET note = repeat('x', 500) WHERE id % 3 = 0")
    connection.execute("VACUUM FULL things")
    assert examined(target, connection, seed=7) == first
    assert examined(target, connection, seed=8) != first
    assert len(first) == 20


@pytest.mark.slow
def test_every_row_has_the_same_chance(target: Target, connection: Connection) -> None:
    filled(target, connection, 40)
    with past_triggers(connection):
        connection.execute("UPDATE things SET kind_id = -1")
    seen: Counter[str] = Counter()
    for seed in range(100):
        seen.update(examined(target, connection, seed=seed, rows=10))
    assert len(seen) == 40
    # Binomial with n = 100 and p = 1/4: beyond five standard deviations nothing is by chance.
    assert all(3 <= count <= 47 for count in seen.values())


def test_an_empty_table_has_an_empty_sample(target: Target, connection: Connection) -> None:
    filled(target, connection, 0)
    result = audit(target, PLAN, sample=Sample(rows=10, seed=1))
    assert (result.rows, result.population, result.inconclusive) == (0, 0, "")


def function_of(path: str) -> Any:
    assert path == MEASURED.function
    return measure


def pictures(connection: Connection, *urls: str) -> None:
    connection.execute(
        'CREATE TABLE "Pic tures" (id uuid, part integer, url text NOT NULL, extra jsonb,'
        ' "Le ngth" integer, digest text, PRIMARY KEY (id, part))'
    )
    for number, url in enumerate(urls):
        connection.execute(
            'INSERT INTO "Pic tures" VALUES (gen_random_uuid(), %s, %s, NULL, %s, %s)',
            [number, url, len(url), url.upper()],
        )


def test_a_computed_value_that_is_another_now_differs_in_a_sample(
    target: Target, connection: Connection
) -> None:
    pictures(connection, "a.png", "bb.png", "missing.png", "d.png")
    connection.execute("""UPDATE "Pic tures" SET digest = 'ROTTEN' WHERE url = 'bb.png'""")
    connection.execute("""UPDATE "Pic tures" SET digest = NULL WHERE url = 'd.png'""")
    full = audit(target, PICTURES)
    assert full.categories == {"ok": 3, "missing": 1}
    result = audit(target, PICTURES, sample=Sample(rows=10, seed=1), function_of=function_of)
    assert result.categories == {"ok": 1, "missing": 1, "computed_differs": 2}
    (translation,) = result.translations
    assert translation.categories == result.categories
    values = {m.legacy: (m.expected, m.actual) for m in result.mismatches}
    assert values["bb.png"] == ("6, BB.PNG", "6, ROTTEN")
    assert values["missing.png"] == ("There is no missing.png.", "11, MISSING.PNG")
