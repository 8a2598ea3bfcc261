"""Texts that no lookup row can hold."""

from rollout.engine.mapping import Decision, decide
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase
from tests.engine.preflight.runs import PLAN, done_until, item, run
from tests.engine.samples import BIGINT


def test_texts_too_long_for_a_lookup_row_are_listed_until_somebody_decides_on_them(
    target: Target, connection: Connection
) -> None:
    long = "A house with " + "very " * 50 + "many rooms"
    name = "texts too long for a lookup row"
    assert item(run(target, 1), name).level == "pass"
    BIGINT.insert(connection, 2, kind=long, state="open")
    BIGINT.insert(connection, 3, kind=long, state=" " * 300)
    finding = item(run(target, 1), name)
    assert (finding.level, finding.evidence) == (
        "warns",
        "things.kind has 1 text of more than 200 characters: "
        f"“A house with very very very very very ve…” ({len(long)} characters).",
    )
    assert "in the mapping review" in finding.advice
    done_until(target, connection, 2)
    assert item(run(target, 2), name).level == "warns"
    decide(connection, PLAN, BIGINT.kind, {long: Decision("House")}, reviewer="ada", keep=True)
    assert item(run(target, 2), name).level == "pass"
    do_phase(target, connection, PLAN, 2)
