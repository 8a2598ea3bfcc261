"""What a rollback makes of each value."""

from typing import Any

import pytest

from rollout import plan as r
from rollout.console.rollback_fates import fates_of, is_archived
from rollout.models import Rollout
from rollout.plan import plans

PLACES = r.Table(name="places", key=("id",), columns={"a": r.Column("text")})


def test_the_fate_of_a_value_follows_from_its_translation() -> None:
    derived: dict[str, Any] = {"table": PLACES, "type": "text", "expression": "{a}"}
    plan = r.Plan(
        name="fates",
        title="Fates",
        description="",
        tables=(PLACES,),
        translations=(
            r.Derived(column="led", back={"a": "{led}"}, **derived),
            r.Derived(column="closed", writable=False, **derived),
            r.Derived(column="open", writable=True, **derived),
        ),
        phases=(r.Phase(steps=()),) * 5,
    )
    gone = [f"places.{column}" for column in ("led", "closed", "open", "note")]
    fates = {fate.title: fate.names for fate in fates_of(plan, gone, [])}
    assert fates["Lost where the application set its own values"] == ["places.open"]
    assert fates["Lost"] == ["places.note"]
    kept = [name for fate in fates_of(plan, gone, []) for name in fate.names]
    assert kept == ["places.led", "places.closed", "places.open", "places.note"]


@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_new_value_is_not_lost_by_what_the_legacy_columns_are_at_the_time(
    rollout: Rollout, is_dropped: bool
) -> None:
    plan = plans.get(rollout.plan)
    restored = ["properties.type"] if is_dropped else []
    fates = fates_of(plan, ["properties.property_type_id"], restored)
    sentence = next(fate.sentence for fate in fates if fate.title == "Not lost")
    assert ("the rollback of phase 4 brings each value back" in sentence) == is_dropped
    assert ("the dual write has kept each value" in sentence) != is_dropped


def test_a_phase_is_archived_only_if_each_of_its_removals_is() -> None:
    drop = r.DropLegacy(id="drop", description="", table=PLACES)
    archive = r.ArchiveLegacy(id="archive", description="", table=PLACES)
    index = r.DropIndex(id="index", description="", table=PLACES, name="of_a", columns=("a",))

    rest = r.Phase(steps=())

    def with_steps(*steps: r.Step) -> r.Plan:
        return r.Plan(
            name="archived",
            title="",
            description="",
            tables=(PLACES,),
            translations=(),
            phases=(r.Phase(steps=steps), rest, rest, rest, rest),
        )

    assert is_archived(with_steps(archive, drop, index), 0)
    assert not is_archived(with_steps(drop), 0)
    assert not is_archived(with_steps(archive, index), 0), "there is nothing to restore"
