"""Names that a lookup table refuses: told when somebody decides, and no write fails for them."""

import psycopg
import pytest

from rollout.engine import mapping
from rollout.engine.mapping import CannotDecide, Decision
from rollout.engine.target import Target
from tests.schemas import PARCEL, STATUS, MakeScenario, Scenario

RULES = {
    "ALTER TABLE parcel_statuses ADD CONSTRAINT no_slash CHECK (name NOT LIKE '%/%')": (
        "sent / shipped",
        "its CHECK no_slash does not hold",
    ),
    "ALTER TABLE parcel_statuses ALTER name TYPE varchar(12)": (
        "a very long name",
        "it is too long",
    ),
    "CREATE DOMAIN word AS text CONSTRAINT one_word CHECK (VALUE !~ ' ');"
    "ALTER TABLE parcel_statuses ALTER name TYPE word": (
        "two words",
        "its CHECK one_word of the type word does not hold",
    ),
    "CREATE UNIQUE INDEX by_letter ON parcel_statuses (left(name, 5))": (
        "Unspecial",
        "by its constraint by_letter another row is the same",
    ),
    "ALTER TABLE parcel_statuses ADD code text; UPDATE parcel_statuses SET code = name;"
    "ALTER TABLE parcel_statuses ALTER code SET NOT NULL": (
        "brand new",
        "a row needs a value of code, which has no default",
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
                continue  # The row of “lost” is only named anew, and has its code.
            if phase is None and "UNIQUE" in rule:
                parcels.application("INSERT INTO parcel_statuses (name) VALUES ('Unspecified')")
            with parcels.connection.transaction(force_rollback=True):
                parcels.connection.execute(rule.encode())
                for keep in (False, True):
                    with pytest.raises(CannotDecide) as refused:
                        decide(parcels, name, keep=keep)
                    assert set(refused.value.problems) == {"lost", "sent"}
                    assert says in refused.value.problems["lost"]
                    assert f"parcel_statuses refuses the name “{name}”" in str(refused.value)
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
