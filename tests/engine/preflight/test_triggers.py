"""Triggers of the application's own beside those of the dual write."""

import pytest

from rollout.engine.target import Target
from tests.schemas import PARCEL, MakeScenario, RefusedByPreflight


def trigger(
    name: str, body: str, when: str = "BEFORE INSERT OR UPDATE", condition: str = ""
) -> str:
    """A trigger for each row, with a function of its own."""
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
        f"CREATE TRIGGER {name} {when} ON parcel FOR EACH ROW {condition}"
        f" EXECUTE FUNCTION {name}();"
    )


CHANGING = {
    "by an assignment": "NEW.status := coalesce(NEW.status, 'open'); RETURN NEW;",
    "by an equals sign": "IF NEW.status = '' THEN NEW.status = 'open'; END IF; RETURN NEW;",
    "by a query": "SELECT lower(NEW.status) INTO NEW.status; RETURN NEW;",
    "by a whole row": 'NEW := jsonb_populate_record(NEW, \'{"status": "open"}\'); RETURN NEW;',
}


@pytest.mark.parametrize("body", CHANGING.values(), ids=list(CHANGING))
def test_a_trigger_that_changes_the_legacy_text_after_it_was_read_is_refused_before_the_dual_write(
    scenario: MakeScenario, server: Target, body: str
) -> None:
    parcels = scenario(PARCEL + trigger("t_default", body))
    parcels.carry_out(0, 1)
    with pytest.raises(
        RefusedByPreflight,
        match="t_default on parcel changes status after rollout_parcels_insert has read it",
    ):
        parcels.carry_out(2)


def test_a_trigger_that_changes_the_legacy_text_first_goes_forward_and_back(
    scenario: MakeScenario, server: Target
) -> None:
    body = "NEW.status := CASE NEW.status WHEN 'L' THEN 'lost' ELSE NEW.status END; RETURN NEW;"
    parcels = scenario(PARCEL + trigger("a_default", body))
    parcels.carry_out(0, 1, 2)
    parcels.application("INSERT INTO parcel (id, status) VALUES (901, 'L')")
    parcels.carry_out(3)
    parcels.application("INSERT INTO parcel (id, status) VALUES (902, 'L')")
    assert parcels.application(
        "SELECT DISTINCT p.status, s.name FROM parcel p"
        " JOIN parcel_statuses s ON s.id = p.status_id WHERE p.id > 900"
    ) == [("lost", "lost")]
    assert parcels.audit().mismatched == 0
    with pytest.raises(RefusedByPreflight, match=r"a_default\(\) of trigger a_default names"):
        parcels.carry_out(4)
    parcels.take_back(3, 2, 1, 0)


READS = "IF NEW.status = 'lost' THEN NEW.remark := 'stamped'; END IF; RETURN NEW;"
READING = {
    "in its function": trigger("a_stamp", READS),
    "in its condition": trigger(
        "a_stamp", "NEW.remark := 'x'; RETURN NEW;", condition="WHEN (NEW.status = 'sent')"
    ),
    "by an argument": (
        "ALTER TABLE parcel ADD words tsvector; CREATE TRIGGER a_stamp BEFORE INSERT OR UPDATE"
        " ON parcel FOR EACH ROW EXECUTE FUNCTION"
        " tsvector_update_trigger(words, 'pg_catalog.simple', status);"
    ),
}


@pytest.mark.parametrize("statements", READING.values(), ids=list(READING))
def test_a_trigger_that_reads_the_legacy_text_first_is_refused_before_the_cutover(
    scenario: MakeScenario, server: Target, statements: str
) -> None:
    parcels = scenario(PARCEL + statements)
    parcels.carry_out(0, 1, 2)
    with pytest.raises(
        RefusedByPreflight,
        match="a_stamp on parcel reads status before rollout_parcels_insert has written it",
    ):
        parcels.carry_out(3)


def test_a_trigger_that_is_renamed_before_the_cutover_sees_what_the_new_column_says(
    scenario: MakeScenario, server: Target
) -> None:
    parcels = scenario(PARCEL + trigger("a_stamp", READS))
    parcels.carry_out(0, 1, 2)
    parcels.application("ALTER TRIGGER a_stamp ON parcel RENAME TO z_stamp")
    parcels.carry_out(3)
    assert parcels.application(
        "UPDATE parcel SET status_id = (SELECT id FROM parcel_statuses WHERE name = 'lost')"
        " WHERE status = 'open' AND id < 5 RETURNING remark"
    ) == [("stamped",)]


@pytest.mark.parametrize("when", ["AFTER UPDATE OF status", "BEFORE UPDATE OF remark, status"])
def test_a_trigger_of_the_legacy_column_alone_is_refused_before_the_cutover(
    scenario: MakeScenario, server: Target, when: str
) -> None:
    parcels = scenario(PARCEL + trigger("tell", "RETURN NEW;", when))
    parcels.carry_out(0, 1, 2)
    with pytest.raises(RefusedByPreflight, match="tell on parcel fires for UPDATE OF status"):
        parcels.carry_out(3)


def test_a_trigger_of_any_update_with_a_condition_tells_of_both_kinds_of_writer(
    scenario: MakeScenario, server: Target
) -> None:
    tells = trigger(
        *("tell", "INSERT INTO told VALUES (NEW.id); RETURN NULL;", "AFTER UPDATE"),
        condition="WHEN (OLD.status IS DISTINCT FROM NEW.status)",
    )
    parcels = scenario(PARCEL + "CREATE TABLE told (id bigint);" + tells)
    parcels.carry_out(0, 1, 2, 3)
    parcels.application(
        "UPDATE parcel SET status = 'sent' WHERE id = 4",
        "UPDATE parcel SET status_id = (SELECT id FROM parcel_statuses WHERE name = 'lost')"
        " WHERE id = 8",
    )
    assert parcels.application("SELECT id FROM told ORDER BY id") == [(4,), (8,)]


@pytest.mark.parametrize("answer", ["NULL", "OLD"])
def test_a_trigger_that_can_swallow_updates_is_reported_before_the_backfill(
    scenario: MakeScenario, server: Target, answer: str
) -> None:
    stays = f"IF OLD.id % 10 = 0 THEN RETURN {answer}; END IF; RETURN NEW;"
    parcels = scenario(PARCEL + trigger("stay", stays, "BEFORE UPDATE"))
    parcels.carry_out(0, 1)
    item = parcels.item(2, "triggers that can swallow updates")
    assert item.level == "warns"
    assert "stay on parcel can skip an update with RETURN NULL or RETURN OLD" in item.evidence
