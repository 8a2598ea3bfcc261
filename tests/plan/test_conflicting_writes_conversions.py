"""Writes that give both sides of a conversion different meanings are counted, and fail never."""

from rollout.engine.conflicting_writes import count_conflicting_writes
from rollout.engine.target import Target
from tests.plan.test_conversions import NAMES, OFFERS, PRICE
from tests.schemas import MakeScenario, plan_of


def test_a_write_that_gives_both_sides_different_meanings_is_counted_as_one_of_a_lookup(
    scenario: MakeScenario, newest: Target
) -> None:
    offers = scenario(OFFERS, plan_of(PRICE, NAMES))
    offers.carry_out(0, 1, 2)
    write = offers.application

    def noted() -> list[tuple[str, str, int, str | None, str | None]]:
        return [
            (of.column, of.application, of.writes, of.legacy, of.new)
            for of in count_conflicting_writes(offers.connection, offers.plan)
        ]

    # A legacy value that does not convert is no error of the write beside it.
    for _ in range(2):
        write("UPDATE offer SET price = 'on request' WHERE id = 3")
        assert write(
            "UPDATE offer SET price_cents = 300 WHERE id = 3 RETURNING price, price_cents"
        ) == [("3.00", 300)]
    # Neither both sides in agreement, nor one alone, nor a default or a blank beside the new one.
    write("UPDATE offer SET price = '7', price_cents = 700 WHERE id = 2")
    write("UPDATE offer SET price = '8', price_cents = NULL WHERE id = 2")
    both_write = "INSERT INTO offer (price, price_cents, full_name, first_name) VALUES "
    for price in ("''", "NULL"):
        assert write(
            f"{both_write} ({price}, 250, 'Eve Mo', NULL) RETURNING price, price_cents"
        ) == [("2.50", 250)]
    assert noted() == []
    contradiction = "UPDATE offer SET price = '9', price_cents = 100 WHERE id = 2 RETURNING price"
    assert write(contradiction) == [("9",)]
    assert write(f"{both_write} ('3', 5, 'Al Lu', 'Bo') RETURNING price_cents, first_name") == [
        (300, "Al")
    ]
    counted = [
        ("first_name, last_name", "the application", 1, "Al Lu", "Bo"),
        ("price_cents", "the application", 2, "3", "5"),
    ]
    assert noted() == counted
    offers.carry_out(3)
    write("INSERT INTO offer (price_cents, first_name, last_name) VALUES (250, 'Eve', 'Mo')")
    assert noted() == counted
    write("UPDATE offer SET price = '1', price_cents = 950 WHERE id = 2")
    assert write("SELECT price FROM offer WHERE id = 2") == [("9.50",)]
    assert noted()[1] == ("price_cents", "the application", 3, "1", "950")
    offers.take_back(3, 2, 1, 0)
