from rollout.engine.audit import CATEGORIES
from rollout.journal import labels
from rollout.plan.gates import Gate
from rollout.plan.plan import ROLES
from rollout.shadow.causes import ANSWER_DIFFERS


def test_labels_are_of_keys_that_exist_and_every_category_has_one() -> None:
    assert set(labels.CATEGORIES) == {*CATEGORIES, ANSWER_DIFFERS}
    assert set(labels.GATES) <= {gate.name for gate in Gate.__subclasses__()}
    assert set(labels.ROLES) <= set(ROLES)
    of_categories = [label for label, _ in labels.CATEGORIES.values()]
    for texts in (of_categories, [*labels.JOBS.values()], [*labels.GATES.values()]):
        assert len(set(texts)) == len(texts)


def test_a_key_without_a_label_is_put_for_people() -> None:
    assert labels.gate_label("audit clean") == "Audit clean"
    assert labels.gate_label("SQL files unchanged") == "SQL files unchanged"
    assert labels.trigger_label("reverse, enabled") == "dual write, new columns lead"
    assert labels.trigger_label("calls public.f, disabled") == "calls public.f, disabled"
    assert labels.category_label("of_tomorrow") == "Of tomorrow"
    assert labels.job_label("fill") == "Backfill"
    assert labels.role_label("contract") == "Contract"
