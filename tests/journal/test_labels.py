from rollout.engine import commit_latencies, health
from rollout.engine.audit import CATEGORIES
from rollout.engine.preflight import probes
from rollout.journal import labels
from rollout.plan.gates import Gate
from rollout.plan.plan import ROLES
from rollout.shadow.causes import ANSWER_DIFFERS
from rollout.telemetry import signals as application


def test_labels_are_of_keys_that_exist_and_every_category_has_one() -> None:
    assert set(labels.CATEGORIES) == {*CATEGORIES, ANSWER_DIFFERS}
    assert set(labels.GATES) <= {gate.name for gate in Gate.__subclasses__()}
    assert set(labels.ROLES) <= set(ROLES)
    of_categories = [label for label, _ in labels.CATEGORIES.values()]
    for texts in (of_categories, [*labels.JOBS.values()], [*labels.GATES.values()]):
        assert len(set(texts)) == len(texts)


def test_every_signal_has_a_label_and_no_check_a_label_that_another_has() -> None:
    signals = {*health._QUESTIONS, application.NAME, commit_latencies.NAME}
    assert set(labels.SIGNALS) == signals
    checks = {probe.name for probe in probes.PROBES} | {"the database", "health"}
    assert set(labels.CHECKS) <= checks
    texts = [labels.check_label(name) for name in checks | signals]
    assert len(set(texts)) == len(texts)
    assert labels.check_label("nulls in things.kind") == "Nulls in things.kind"
    assert labels.signal_label("rule slow") == "Guardrail: slow"


def test_a_key_without_a_label_is_put_for_people() -> None:
    assert labels.gate_label("audit clean") == "Audit clean"
    assert labels.gate_label("SQL files unchanged") == "SQL files unchanged"
    assert labels.trigger_label("reverse, enabled") == "dual write, new columns lead"
    assert labels.trigger_label("calls public.f, disabled") == "calls public.f, disabled"
    assert labels.category_label("of_tomorrow") == "Of tomorrow"
    assert labels.job_label("fill") == "Backfill"
    assert labels.role_label("contract") == "Contract"


def test_a_plan_is_named_by_its_title_as_long_as_the_code_has_it() -> None:
    assert labels.plan_title("property-classification") == "Property classification"
    assert labels.plan_title("gone") == "gone"
