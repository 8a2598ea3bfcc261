"""Every kind of statement that writes rows finds both sides in step, in each stage."""

import pytest

from rollout.engine.conflicting_writes import count_conflicting_writes
from rollout.engine.target import Connection, Target
from rollout.plan.conversion_lines import Stage
from tests.engine.samples import BIGINT
from tests.plan.test_dual_writes import start

# MERGE came with PostgreSQL 15.
MERGES = 150_000
WHOLE = (
    "SELECT t.id, t.kind, k.name, t.note FROM things AS t"
    " LEFT JOIN kinds AS k ON k.id = t.kind_id ORDER BY t.id"
)


@pytest.mark.parametrize("stage", ["forward", "reverse", "frozen"])
def test_every_statement_that_writes_rows_leaves_both_sides_in_step(
    stage: Stage, target: Target, connection: Connection, app: Connection
) -> None:
    start(target, connection, stage=stage)
    house, flat = BIGINT.lookup_id(app, "House"), BIGINT.lookup_id(app, "Flat")

    # COPY, by a release that knows one side, and by one that knows both.
    copies: list[tuple[str, list[tuple[object, ...]]]] = [
        ("id, kind_id", [(1, house), (2, flat)]),
        ("id, kind, kind_id", [(3, "House", house), (4, None, flat)]),
    ]
    if stage != "frozen":
        copies.append(("id, kind", [(5, "House"), (6, "Flat")]))
    for columns, rows in copies:
        with app.cursor().copy(f"COPY things ({columns}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)
    expected = {n: "House" if n % 2 else "Flat" for n in range(1, 7 if stage != "frozen" else 5)}

    # Each side written alone, as that stage understands it.
    sides = [("kind_id", str(flat)), *([("kind", "'Flat'")] if stage != "frozen" else [])]
    for column, value in sides:
        changed = "Barn" if column == "kind" else "House"
        other = "'Barn'" if column == "kind" else str(house)
        # Upserts: a new row, a change, nothing, and neither side.
        upsert = f"INSERT INTO things (id, {column}) VALUES (20, {value}) ON CONFLICT (id) DO"
        returned = app.execute(f"{upsert} NOTHING RETURNING kind, kind_id".encode()).fetchone()
        assert returned == ("Flat", flat)
        assert app.execute(f"{upsert} NOTHING RETURNING id".encode()).fetchone() is None
        app.execute(f"{upsert} UPDATE SET note = 'untouched'".encode())
        assert BIGINT.row(app, 20, "kind", "kind_id") == ("Flat", flat)
        returned = app.execute(
            f"{upsert} UPDATE SET {column} = {other} RETURNING kind, kind_id".encode()
        ).fetchone()
        assert returned == (changed, BIGINT.lookup_id(app, changed))
        app.execute(f"{upsert} UPDATE SET {column} = EXCLUDED.{column}".encode())
        assert BIGINT.row(app, 20, "kind", "kind_id") == ("Flat", flat)
        # A key that changes, alone and with the value.
        app.execute("UPDATE things SET id = 21 WHERE id = 20")
        app.execute(f"UPDATE things SET id = 22, {column} = {other} WHERE id = 21".encode())
        assert BIGINT.row(app, 22, "kind") == changed
        # UPDATE … FROM, and a statement within another.
        app.execute(
            f"WITH gone AS (DELETE FROM things WHERE id = 22 RETURNING {column}), made AS ("
            f" INSERT INTO things (id, {column}) SELECT 23, {column} FROM gone)"
            f" UPDATE things SET {column} = v.value FROM (VALUES (1, {value})) AS v (id, value)"
            " WHERE things.id = v.id".encode()
        )
        assert (BIGINT.row(app, 23, "kind"), BIGINT.name_of(app, 23)) == (changed, changed)
        assert (BIGINT.row(app, 1, "kind"), BIGINT.name_of(app, 1)) == ("Flat", "Flat")
        expected[1] = "Flat"
        if connection.info.server_version >= MERGES:
            app.execute(
                f"MERGE INTO things AS t USING (VALUES (2, {other}), (23, {value}), (24, {value}))"
                f" AS v (id, value) ON t.id = v.id WHEN MATCHED AND v.id = 23 THEN DELETE"
                f" WHEN MATCHED THEN UPDATE SET {column} = v.value"
                f" WHEN NOT MATCHED THEN INSERT (id, {column}) VALUES (v.id, v.value)".encode()
            )
            assert (BIGINT.row(app, 2, "kind"), BIGINT.name_of(app, 2)) == (changed, changed)
            assert (BIGINT.row(app, 24, "kind"), BIGINT.name_of(app, 24)) == ("Flat", "Flat")
            expected[2] = changed
        app.execute("DELETE FROM things WHERE id > 20")
    app.execute("UPDATE things SET note = 'all of them'")
    rows = app.execute(WHOLE.encode()).fetchall()
    assert rows == [(n, name, name, "all of them") for n, name in sorted(expected.items())]
    assert count_conflicting_writes(connection, BIGINT.plan) == []
