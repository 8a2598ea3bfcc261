"""Views over a column that becomes wide: created again by the swap and its rollback, or refused."""

from rollout import plan as r
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.test_wide_keys import LINE, SHOP, TICKET, widening
from tests.schemas import MakeScenario, Scenario, assert_each_refused

VIEWS = """
CREATE VIEW open AS SELECT id, subject AS title FROM ticket WHERE parent_id IS NULL
  WITH LOCAL CHECK OPTION;
ALTER VIEW open ALTER COLUMN title SET DEFAULT 'untitled';
CREATE SCHEMA reports;
CREATE VIEW reports."By Line" WITH (security_barrier) AS
  SELECT l.ticket, count(*) AS lines, max(o.title) AS title
    FROM "Ticket Line" AS l LEFT JOIN open AS o ON o.id = l.ticket GROUP BY l.ticket;
CREATE VIEW grouped AS SELECT t.id, t.subject, count(*) FROM ticket AS t
  JOIN "Ticket Line" AS l ON l.ticket = t.id GROUP BY t.id;
CREATE VIEW beside AS SELECT subject FROM ticket;
COMMENT ON VIEW open IS 'without a parent';
COMMENT ON COLUMN open.id IS 'its number';
GRANT SELECT ON open TO pg_monitor WITH GRANT OPTION;
GRANT SELECT (lines) ON reports."By Line" TO PUBLIC;
ALTER VIEW grouped OWNER TO pg_monitor;
GRANT SELECT ON ticket, "Ticket Line" TO pg_monitor;
"""
KEY = r.WidenKey(
    table=TICKET,
    references=((TICKET, "parent_id"), (LINE, "ticket")),
    depends="recreate",
)
TYPES = """SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_attribute AS a
  JOIN pg_class AS c ON c.oid = a.attrelid WHERE c.relname IN ('open', 'By Line', 'grouped')
   AND a.attname IN ('id', 'ticket') ORDER BY 1"""
OWNERS = "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relkind = 'v' ORDER BY 1"
READS = (
    'SELECT * FROM reports."By Line" ORDER BY ticket',
    "SELECT * FROM open ORDER BY id",
    "SELECT * FROM grouped ORDER BY id",
)


def readings(shop: Scenario) -> list[list[tuple[object, ...]]]:
    return [shop.application(query) for query in READS]


def test_views_over_a_wide_key_are_created_again_and_come_back(
    scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(SHOP + VIEWS, widening(KEY))
    before, rows, types = schema_of(shop.target), readings(shop), shop.application(TYPES)
    owners = shop.application(OWNERS)
    for phase in range(5):
        shop.carry_out(phase)
        assert readings(shop) == rows
    assert shop.application(TYPES) == [(view, name, "bigint") for view, name, _ in types]
    shop.application("INSERT INTO open VALUES (5000)", "DELETE FROM ticket WHERE id = 5000")
    for phase in (4, 3, 2, 1, 0):
        shop.take_back(phase)
        assert readings(shop) == rows
    assert schema_of(shop.target) == before
    assert shop.application(TYPES) == types
    assert shop.application(OWNERS) == owners


# What keeps a view from being created again: how it is made, taken away, and named.
REFUSED = {
    "a materialized view": (
        "CREATE MATERIALIZED VIEW counted AS SELECT count(id) FROM ticket",
        "DROP MATERIALIZED VIEW counted",
        "materialized view counted",
    ),
    "a materialized view over a view": (
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM open",
        "DROP MATERIALIZED VIEW counted",
        "materialized view counted",
    ),
    "a view with a trigger": (
        "CREATE TRIGGER instead INSTEAD OF DELETE ON grouped FOR EACH ROW"
        " EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
        "DROP TRIGGER instead ON grouped",
        "view grouped, which has triggers or rules",
    ),
    "a function that returns its rows": (
        "CREATE FUNCTION opened() RETURNS SETOF open LANGUAGE sql AS 'TABLE open'",
        "DROP FUNCTION opened()",
        "function opened(), by view open",
    ),
    "a generated column": (
        "ALTER TABLE ticket ADD double integer GENERATED ALWAYS AS (id * 2) STORED",
        "ALTER TABLE ticket DROP double",
        "column double",
    ),
}


def test_a_view_that_cannot_be_created_again_is_refused_by_name_before_phase_0(
    scenario: MakeScenario, newest: Target
) -> None:
    assert_each_refused(scenario(SHOP + VIEWS, widening(KEY)), REFUSED)


DEFAULTS = """
ALTER DEFAULT PRIVILEGES GRANT SELECT, UPDATE ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES IN SCHEMA reports GRANT ALL ON TABLES TO PUBLIC;
"""
RIGHTS = """SELECT c.relname, x.grantee, x.privilege_type, x.is_grantable FROM pg_class AS c,
  aclexplode(c.relacl) AS x WHERE c.relkind = 'v' AND c.oid >= 16384 AND x.grantee <> c.relowner
 ORDER BY 1, 2, 3"""


def test_a_view_that_is_created_again_has_no_rights_that_new_views_have_by_default(
    scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(SHOP + VIEWS + DEFAULTS, widening(KEY))
    before = shop.application(RIGHTS)
    assert [(view, right) for view, _, right, _ in before] == [("open", "SELECT")]
    shop.carry_out(0, 1, 2, 3, 4)
    assert shop.application(TYPES)[0][2] == "bigint"
    assert shop.application(RIGHTS) == before
    shop.take_back(4, 3, 2, 1, 0)
    assert shop.application(RIGHTS) == before
