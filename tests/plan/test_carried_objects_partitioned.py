"""A new column of a partitioned table takes its legacy one's name with all that is bound to it."""

from typing import Any

import pytest
from psycopg import errors

from rollout import plan as r
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.partitioned_shops import CATALOG
from tests.plan.test_carried_objects import NEW_TYPES, without_casts
from tests.schemas import MakeScenario, Scenario, plan_of

# One partition was attached, with an index and a CHECK of its own; one has partitions itself.
PARTS = """
CREATE TABLE kind (name varchar(10) PRIMARY KEY);
INSERT INTO kind VALUES ('a'), ('b');
CREATE TABLE part (
  id bigint, day date NOT NULL, code varchar(10) NOT NULL,
  kind varchar(10) DEFAULT 'a' REFERENCES kind ON UPDATE CASCADE, number serial, note text,
  PRIMARY KEY (id, day), CONSTRAINT coded UNIQUE (code, day),
  CONSTRAINT known CHECK (code <> 'code' AND kind <> 'c'),
  CONSTRAINT counted CHECK (number > 0)) PARTITION BY RANGE (day);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE "Part 2" (
  note text, number integer CONSTRAINT part_number_not_null NOT NULL, gone integer,
  kind varchar(10) DEFAULT 'b', code varchar(10) CONSTRAINT part_code_not_null NOT NULL,
  day date CONSTRAINT part_day_not_null NOT NULL, id bigint CONSTRAINT part_id_not_null NOT NULL,
  CONSTRAINT known CHECK (code <> 'code' AND kind <> 'c'), CONSTRAINT counted CHECK (number > 0),
  CONSTRAINT short CHECK (length(code) < 9));
ALTER TABLE "Part 2" DROP gone;
ALTER TABLE part ATTACH PARTITION "Part 2" FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE part_3 PARTITION OF part DEFAULT PARTITION BY RANGE (day);
CREATE TABLE part_3a PARTITION OF part_3 DEFAULT;
CREATE INDEX likes ON part (code varchar_pattern_ops DESC, number) WHERE note IS NULL;
CREATE INDEX "only here" ON "Part 2" (kind);
CREATE TABLE used (
  part varchar(10), day date,
  CONSTRAINT of_part FOREIGN KEY (part, day) REFERENCES part (code, day) ON DELETE CASCADE);
COMMENT ON COLUMN part.code IS 'on the label';
COMMENT ON COLUMN part_1.code IS 'of the first year';
COMMENT ON INDEX likes IS 'for searches';
ALTER TABLE part ALTER code SET STATISTICS 300;
GRANT SELECT (code), UPDATE (kind) ON "Part 2" TO pg_monitor;
INSERT INTO part (id, day, code, kind, number)
  SELECT g, date '2020-01-01' + 18 * g, 'c' || g, 'b', g FROM generate_series(1, 60) g;
SELECT setval('part_number_seq', 60);
INSERT INTO used SELECT code, day FROM part;
"""
PART = r.Table(
    name="part",
    key=("id", "day"),
    partitioned=True,
    columns={
        "id": r.Column("bigint", null=False),
        "day": r.Column("date", null=False),
        "code": r.Column("character varying(10)", null=False),
        "kind": r.Column("character varying(10)"),
        "number": r.Column("integer", null=False),
    },
)


def of_the_same_name(column: str, type_: str, forward: str = "") -> r.Convert:
    return r.Convert(
        table=PART,
        legacy=(column,),
        columns={f"{column}_new": r.Column(type_)},
        forward={f"{column}_new": forward or "{" + column + "}"},
        backward={column: "{" + column + "_new}"},
        required=not PART.columns[column].null,
        unconvertible="refuse",
        keeps_name=True,
    )


PLAN = plan_of(*(of_the_same_name(column, type_) for column, type_ in NEW_TYPES.items()))


def catalog_of(parts: Scenario, types: dict[str, str] | None = None) -> list[tuple[Any, ...]]:
    """The catalog without casts in expressions, with other types of the parts' columns."""
    return [
        (
            *row[:2],
            (types or {}).get(row[1], row[2]) if row[0].lower().startswith("part") else row[2],
            *row[3:8],
            row[8] and without_casts(row[8]),
            row[9],
            row[10] and (row[10] if types is None else "bigint 9223372036854775807"),
            [*map(without_casts, row[11])],
            row[12],
        )
        for row in parts.application(CATALOG)
    ]


def every_rule_is_in_force(parts: Scenario) -> None:
    """Whoever knows one name writes, in whatever phase, and is refused what was refused before."""
    write = parts.application
    for day, kind in (("2020-05-05", "a"), ("2021-05-05", "a"), ("2022-05-05", "a")):
        made = f"INSERT INTO part (id, day, code) VALUES (99, '{day}', 'x') RETURNING number, kind"
        ((number, given),) = write(made)
        assert (number > 60, given) == (True, kind)
        write(f"INSERT INTO used VALUES ('x', '{day}')")
        for refused, error in (
            ("UPDATE part SET code = 'code' WHERE id = 99", errors.CheckViolation),
            ("UPDATE part SET number = 0 WHERE id = 99", errors.CheckViolation),
            ("UPDATE part SET code = NULL WHERE id = 99", errors.NotNullViolation),
            (f"INSERT INTO part (id, day, code) VALUES (98, '{day}', 'x')", errors.UniqueViolation),
            ("UPDATE part SET kind = 'd' WHERE id = 99", errors.ForeignKeyViolation),
            (f"INSERT INTO used VALUES ('nowhere', '{day}')", errors.ForeignKeyViolation),
        ):
            with pytest.raises(error):
                write(refused)
        write("UPDATE kind SET name = 'e' WHERE name = 'a'")
        assert write("SELECT kind FROM part WHERE id = 99") == [("e",)]
        write("UPDATE kind SET name = 'a' WHERE name = 'e'", "DELETE FROM part WHERE id = 99")
        assert write("SELECT FROM used WHERE part = 'x'") == []
    with pytest.raises(errors.CheckViolation):
        write("INSERT INTO part (id, day, code) VALUES (99, '2021-05-05', 'longer one')")


def test_everything_bound_to_a_column_of_partitions_goes_along_with_its_name_and_comes_back(
    scenario: MakeScenario, server: Target
) -> None:
    parts = scenario(PARTS, PLAN)
    assert parts.check() == []
    before, catalog, rows = schema_of(parts.target), catalog_of(parts), parts.application(ROWS)
    widened = catalog_of(parts, NEW_TYPES)
    for phase in range(5):
        parts.carry_out(phase)
        every_rule_is_in_force(parts)
        live = read(parts.connection, labels_of(parts.plan))
        assert compare(parts.plan, phases_done=phase + 1, live=live) == []
        if phase in (2, 3):
            assert parts.audit().mismatched == 0
    assert catalog_of(parts) == widened
    for phase in (4, 3, 2, 1, 0):
        parts.take_back(phase)
        every_rule_is_in_force(parts)
        live = read(parts.connection, labels_of(parts.plan))
        assert compare(parts.plan, phases_done=phase, live=live) == []
    assert schema_of(parts.target) == before
    assert catalog_of(parts) == catalog
    assert parts.application(ROWS) == rows


ROWS = "SELECT tableoid::regclass::text, id, day, code, kind, number, note FROM part ORDER BY id"


def test_an_object_of_a_partition_alone_is_listed_with_a_column_of_other_values(
    scenario: MakeScenario, newest: Target
) -> None:
    other = of_the_same_name("code", "text", "upper({code})")
    parts = scenario(f"{PARTS}; ALTER TABLE part DROP CONSTRAINT coded CASCADE", plan_of(other))
    (left,) = (i for i in parts.readiness().items if i.name == "objects left with part.code")
    assert left.level == "warns"
    assert left.evidence.startswith("3 objects are bound to the legacy column part.code")
    for name in ("constraint known on table part,", 'short on table "Part 2"', "index likes"):
        assert name in left.evidence


def test_a_foreign_key_of_a_partition_alone_keeps_a_column_of_other_values_from_its_name(
    scenario: MakeScenario, newest: Target
) -> None:
    alone = """ALTER TABLE "Part 2" ADD CONSTRAINT alone FOREIGN KEY (kind) REFERENCES kind;"""
    bound = PARTS.replace(" REFERENCES kind ON UPDATE CASCADE", "") + alone
    parts = scenario(bound, plan_of(of_the_same_name("kind", "text", "upper({kind})")))
    refused = " ".join(i.evidence for i in parts.failing(0) if i.level == "blocks")
    assert 'constraint alone on table "Part 2"' in refused
