"""Names that a lookup table refuses: told when somebody decides, and no write fails for them."""

from dataclasses import replace

import psycopg
import pytest

from rollout.engine import ddl, mapping
from rollout.engine.mapping import CannotDecide, Decision
from rollout.engine.target import Target
from rollout.plan import Column
from tests.engine.actions import do_phase
from tests.schemas import PARCEL, STATUS, MakeScenario, RefusedByPreflight, Scenario, plan_of

RULES = {
    "ALTER TABLE parcel_statuses ADD CONSTRAINT no_slash CHECK (name NOT LIKE '%/%')": (
        "sent / shipped",
        "CHECK no_slash fails",
    ),
    "ALTER TABLE parcel_statuses ALTER name TYPE varchar(12)": (
        "a very long name",
        "value too long for type",
    ),
    "CREATE DOMAIN word AS text CONSTRAINT one_word CHECK (VALUE !~ ' ');"
    "ALTER TABLE parcel_statuses ALTER name TYPE word": (
        "two words",
        "CHECK one_word of the type word fails",
    ),
    "CREATE UNIQUE INDEX by_letter ON parcel_statuses (left(name, 5))": (
        "Unspecial",
        "constraint by_letter already has an equal row",
    ),
    "ALTER TABLE parcel_statuses ADD code text; UPDATE parcel_statuses SET code = name;"
    "ALTER TABLE parcel_statuses ALTER code SET NOT NULL": (
        "brand new",
        "column code needs a value and has no default",
    ),
}
TEXTS = "'open', 'sent', 'SENT ', 'lost'"


def decide(parcels: Scenario, name: str, *, keep: bool) -> mapping.Outcome:
    wanted = {"lost": Decision(name), "sent": Decision(name)}
    return mapping.decide(
        parcels.connection, parcels.plan, STATUS, wanted, reviewer="grace", keep=keep
    )


def test_a_name_that_the_lookup_table_refuses_is_refused_when_it_is_decided(
    scenario: MakeScenario, newest: Target
) -> None:
    parcels = scenario(PARCEL.replace(TEXTS, "'open', 'sent', 'sent', 'lost'"))
    parcels.carry_out(0, 1)
    for phase in (None, 2):
        if phase is not None:
            parcels.carry_out(phase)
        before = parcels.application("SELECT * FROM parcel_statuses ORDER BY id")
        for rule, (name, says) in RULES.items():
            if phase is not None and "code" in rule:
                continue  # The row of “lost” is only named again, and has its code.
            if phase is None and "UNIQUE" in rule:
                parcels.application("INSERT INTO parcel_statuses (name) VALUES ('Unspecified')")
            with parcels.connection.transaction(force_rollback=True):
                parcels.connection.execute(rule.encode())
                for keep in (False, True):
                    with pytest.raises(CannotDecide) as refused:
                        decide(parcels, name, keep=keep)
                    assert set(refused.value.problems) == {"lost", "sent"}
                    assert says in refused.value.problems["lost"]
                    assert f"parcel_statuses rejects the name “{name}”" in str(refused.value)
            if phase is None:
                parcels.application("DELETE FROM parcel_statuses")
        assert parcels.application("SELECT * FROM parcel_statuses ORDER BY id") == before
        assert decide(parcels, "on the way", keep=False).decided == 2
        assert parcels.application("SELECT * FROM rollout.decisions") == []


def test_a_new_text_that_the_lookup_table_refuses_fails_no_write_before_the_cutover(
    scenario: MakeScenario, newest: Target
) -> None:
    parcels = scenario(PARCEL)
    parcels.carry_out(0, 1, 2)
    parcels.application(next(iter(RULES)))
    written = "INSERT INTO parcel (status) VALUES ('sent/lost') RETURNING status, status_id"
    assert parcels.application(written) == [("sent/lost", None)]
    assert parcels.audit().categories["unmapped"] == 1
    mapping.decide(
        *(parcels.connection, parcels.plan, STATUS, {"sent/lost": Decision("lost")}),
        reviewer="grace",
        keep=True,
    )
    parcels.application("UPDATE parcel SET remark = 'again' WHERE status = 'sent/lost'")
    assert parcels.audit().mismatched == 0
    parcels.carry_out(3)
    with pytest.raises(psycopg.errors.CheckViolation, match="no_slash"):
        parcels.application("INSERT INTO parcel (status) VALUES ('open/lost')")


CODE = Column("text")
REFUSED = "lookup rows that the lookup table refuses"
SLASHED = PARCEL.replace("'SENT '", "'sent / shipped'")
# By a rule: why it refuses a row, and what takes it away again.
RULES_OF_PHASE_1 = {
    "ALTER TABLE parcel_statuses ADD CONSTRAINT no_slash CHECK (name NOT LIKE '%/%')": (
        "“sent / shipped” (CHECK no_slash fails)",
        "ALTER TABLE parcel_statuses DROP CONSTRAINT no_slash",
    ),
    "CREATE DOMAIN word AS text CONSTRAINT one_word CHECK (VALUE !~ ' ');"
    "ALTER TABLE parcel_statuses ALTER name TYPE word": (
        "“sent / shipped” (CHECK one_word of the type word fails)",
        "ALTER TABLE parcel_statuses ALTER name TYPE text; DROP DOMAIN word",
    ),
    "CREATE UNIQUE INDEX by_letters ON parcel_statuses (left(name, 4))": (
        "“sent / shipped” (constraint by_letters already has an equal row)",
        "DROP INDEX by_letters",
    ),
    "ALTER TABLE parcel_statuses ADD code text NOT NULL": (
        "“lost” (column code needs a value and has no default)",
        "ALTER TABLE parcel_statuses DROP code",
    ),
    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
    " IF new.name LIKE '%/%' THEN RAISE 'no slash, please'; END IF; RETURN new; END$$;"
    "CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON parcel_statuses"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()": (
        "“sent / shipped” (no slash, please)",
        "DROP TRIGGER at_the_end ON parcel_statuses",
    ),
}


def test_texts_whose_lookup_rows_are_refused_are_named_before_phase_2_changes_anything(
    scenario: MakeScenario, newest: Target
) -> None:
    parcels = scenario(SLASHED)
    assert (2, REFUSED) in parcels.readiness().later
    parcels.carry_out(0, 1)
    for rule, (says, away) in RULES_OF_PHASE_1.items():
        parcels.application(rule)
        item = parcels.item(2, REFUSED)
        assert item.level == "blocks", rule
        assert item.evidence.startswith("The lookup table parcel_statuses rejects “")
        assert says in item.evidence
        assert "in the mapping review" in item.advice
        assert item in parcels.readiness(2).items
        with pytest.raises(RefusedByPreflight, match=f"“{REFUSED}”"):
            parcels.carry_out(2)
        # Somebody starts without a look, or the rule came in between.
        with pytest.raises((ddl.LookupRowRefused, AssertionError)) as failed:
            do_phase(parcels.target, parcels.connection, parcels.plan, 2)
        if "UNIQUE" not in rule:  # What another row is the same as stays unmapped.
            reason = says.split("(")[1].removesuffix(")")
            assert f"parcel_statuses rejects a row: {reason}. " in str(failed.value)
        parcels.take_back(2)
        parcels.application(away)
    tried = parcels.item(2, REFUSED)
    assert (tried.level, tried.evidence) == ("pass", "parcel_statuses: 5 new rows tested")
    parcels.application(next(iter(RULES_OF_PHASE_1)))
    decide(parcels, "on the way", keep=True)
    sent = {"sent / shipped": Decision("on the way")}
    mapping.decide(parcels.connection, parcels.plan, STATUS, sent, reviewer="grace", keep=True)
    parcels.carry_out(2)
    assert parcels.audit().mismatched == 0


def test_trying_lookup_rows_leaves_none_and_uses_no_number_of_the_sequence(
    scenario: MakeScenario, newest: Target
) -> None:
    lookup = replace(STATUS, rows={7: {"name": "Open", "code": "toolong"}}, columns={"code": CODE})
    parcels = scenario(PARCEL, plan_of(lookup))
    parcels.carry_out(0, 1)
    parcels.application(
        "INSERT INTO parcel (status) SELECT 'new ' || n FROM generate_series(1, 1100) AS n"
    )
    assert parcels.item(2, REFUSED).evidence == ("parcel_statuses: the first 1,001 new rows tested")
    parcels.application("ALTER TABLE parcel_statuses ALTER code TYPE varchar(3)")
    assert "“Open” (value too long for type" in parcels.item(2, REFUSED).evidence
    parcels.application("ALTER TABLE parcel_statuses ADD CHECK (name !~ '^new .*1$')")
    assert parcels.item(2, REFUSED).evidence.endswith("), and perhaps more.")
    assert parcels.application(
        "SELECT count(*), pg_sequence_last_value(pg_get_serial_sequence('parcel_statuses', 'id'))"
        " FROM parcel_statuses"
    ) == [(0, None)]
