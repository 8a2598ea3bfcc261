"""Rows that no trigger saw, and repairs of them."""

from typing import Any

from rollout.models import AuditReport, PhaseRun, RunState
from tests.support import rollouts
from tests.support.processes import wait_until

TABLE = "properties"
# Of each kind of damage so many rows, by the row's number in the order of their keys.
DAMAGE = {
    "missing": "property_type_id = NULL",
    "wrong": "property_status_id = 1 + mod(property_status_id, 3)",
    "orphan": "property_type_id = 4711",
    "unexpected": "published_at = '2000-01-01'",
    "computed_differs": "currency = 'EUR'",
}
# A batch takes a while, in its transaction, so that there is time to do something meanwhile.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
CREATE TRIGGER slow AFTER UPDATE ON properties FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


def damage(change: str, rows: int = 1, *, where: str = "true") -> list[str]:
    """Write so many rows as no trigger sees it; their keys."""
    with rollouts.target() as other, other.transaction():
        # Checked at once: a table with checks to come cannot be altered.
        other.execute("SET CONSTRAINTS ALL IMMEDIATE")
        other.execute("ALTER TABLE properties DISABLE TRIGGER USER")
        damaged = other.execute(
            f"UPDATE properties SET {change} WHERE id IN (SELECT id FROM properties WHERE {where}"
            " ORDER BY id LIMIT %s) RETURNING id::text".encode(),
            [rows],
        ).fetchall()
        other.execute("ALTER TABLE properties ENABLE TRIGGER USER")
    assert len(damaged) == rows
    return [key for (key,) in damaged]


def versions() -> dict[str, Any]:
    """Every row with the transaction that wrote it."""
    with rollouts.target() as other:
        return {
            key: rest
            for key, *rest in other.execute(
                "SELECT id::text, xmin::text, ctid::text, to_jsonb(p)::text FROM properties AS p"
            )
        }


def changed(before: dict[str, Any]) -> set[str]:
    return {key for key, version in versions().items() if before[key] != version}


def newest_report() -> AuditReport:
    report = AuditReport.objects.first()
    assert report is not None
    return report


def wait_for(run: PhaseRun, state: RunState, seconds: float = 60) -> None:
    def state_now() -> str:
        run.refresh_from_db()
        return f"{run}: {run.error}"

    wait_until(lambda: rollouts.state_of(run) == state, seconds=seconds, seen=state_now)


def forget_a_type() -> str:
    """A legacy text of which the mapping says no more; one of its spellings in the table."""
    with rollouts.target() as other:
        row = other.execute(
            'UPDATE rollout."property-classification_properties_type_mapping"'
            " SET lookup_id = NULL, why = 'unmapped' WHERE legacy = (SELECT type FROM properties"
            " WHERE btrim(type) <> '' ORDER BY id LIMIT 1) RETURNING legacy"
        ).fetchone()
    assert row is not None
    return str(row[0])
