from rollout.console import previews
from rollout.plan import plans
from rollout.plan.actions import Statement
from tests.console.journal import PLAN


def test_every_statement_of_the_plan_is_shown_to_the_letter() -> None:
    plan = plans.get(PLAN)
    for phase in plan.phases:
        for step in phase.steps:
            shown = previews.of_step(plan, step)
            for direction, ways in (
                (plan.forward(step), shown.forward),
                (plan.backward(step), shown.backward),
            ):
                assert len(ways) == len(direction.actions)
                for action, preview in zip(direction.actions, ways, strict=True):
                    assert preview.sql or preview.note
                    if isinstance(action, Statement):
                        assert preview.sql == action.text


def test_every_statement_is_for_this_server_or_shown_apart() -> None:
    plan = plans.get(PLAN)
    for server in (140_000, 180_000):
        for step in (step for phase in plan.phases for step in phase.steps):
            every = previews.of_step(plan, step)
            shown = previews.of_step(plan, step, server)
            for own, others, both in (
                (shown.forward, shown.forward_elsewhere, every.forward),
                (shown.backward, shown.backward_elsewhere, every.backward),
            ):
                assert sorted(map(repr, own + others)) == sorted(map(repr, both))
            assert set(shown.forward_locks) <= set(every.forward_locks)
    required = next(step for step in plan.phases[3].steps if step.id.startswith("require"))
    new, old = (previews.of_step(plan, required, server) for server in (180_000, 140_000))
    assert not any("before 18" in preview.note for preview in new.forward)
    assert not any("18 and newer" in preview.note for preview in old.forward)
    assert not any("_present" in preview.sql for preview in new.backward), "never added there"
    assert all("_present" in preview.sql for preview in old.backward)


def test_locks_are_listed_once_the_strongest_first() -> None:
    plan = plans.get(PLAN)
    locks = previews.table_locks(plan.forward(step) for step in plan.phases[3].steps)
    assert len(set(locks)) == len(locks)
    assert [lock.mode for lock in locks[:2]] == ["ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE"]
    assert [lock.harmless for lock in locks] == sorted(lock.harmless for lock in locks)


def test_every_rollback_that_changes_anything_says_what_proves_it() -> None:
    plan = plans.get(PLAN)
    proofs = {number: " ".join(previews.what_proves(plan, number)) for number in range(5)}
    assert proofs[0] == ""
    assert "No row of the application's tables is written." in proofs[1]
    assert "unless type, status, created_at have the same values" in proofs[2]
    assert "unless url has the same value" in proofs[2], "of one column"
    assert "new columns with legacy ones" in proofs[3]
    assert "with its archived value, or with its new columns" in proofs[4]
    assert not any("No row of" in proofs[number] for number in (2, 3, 4))
