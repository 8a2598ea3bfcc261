"""What keeps the objects of a column from going along with its name."""

from rollout.engine.target import Target
from tests.plan.test_wide_keys import SHOP, TICKETS, widening
from tests.schemas import MakeScenario, assert_each_refused

# What is not handed on: how it is made, taken away, and named.
REFUSED = {
    "a view": ("CREATE VIEW seen AS SELECT id FROM ticket", "DROP VIEW seen", "view seen"),
    "a generated column": (
        "ALTER TABLE ticket ADD double integer GENERATED ALWAYS AS (id * 2) STORED",
        "ALTER TABLE ticket DROP double",
        "column double",
    ),
    "an index by an expression": (
        "CREATE INDEX odd ON ticket ((id % 2))",
        "DROP INDEX odd",
        "index odd, by an expression",
    ),
    "an index by a condition": (
        "CREATE INDEX high ON ticket (subject) WHERE id > 10",
        "DROP INDEX high",
        "index high, by an expression",
    ),
    "an index of another operator class": (
        "CREATE OPERATOR CLASS other FOR TYPE integer USING hash AS OPERATOR 1 ="
        " (integer, integer), FUNCTION 1 hashint4(integer);"
        " CREATE INDEX classed ON ticket USING hash (id other)",
        "DROP OPERATOR FAMILY other USING hash CASCADE",
        "index classed, by its operator class",
    ),
    "a CHECK over a name with a quote": (
        'ALTER TABLE ticket ADD "it\'s" integer CONSTRAINT quoted CHECK (id > "it\'s")',
        'ALTER TABLE ticket DROP "it\'s"',
        "constraint quoted on table ticket, by a quote in a name",
    ),
    "an exclusion constraint": (
        "ALTER TABLE ticket ADD CONSTRAINT apart EXCLUDE USING btree (id WITH =)",
        "ALTER TABLE ticket DROP CONSTRAINT apart",
        "constraint apart on table ticket",
    ),
    "statistics": (
        "CREATE STATISTICS pair ON id, parent_id FROM ticket",
        "DROP STATISTICS pair",
        "statistics object pair",
    ),
    "a referrer that the plan does not name": (
        "CREATE TABLE note (about integer REFERENCES ticket)",
        "DROP TABLE note",
        "note.about",
    ),
    "a column of the name that the narrow one gets": (
        "ALTER TABLE ticket ADD id_legacy integer",
        "ALTER TABLE ticket DROP id_legacy",
        "column id_legacy",
    ),
    "a child table": (
        "CREATE TABLE child () INHERITS (ticket)",
        "DROP TABLE child",
        "table ticket, which is a partition, or has parents or children",
    ),
}


def test_an_object_that_cannot_be_handed_on_is_listed_and_refused_before_phase_0(
    scenario: MakeScenario, server: Target
) -> None:
    assert_each_refused(scenario(SHOP, widening(TICKETS)), REFUSED)
