"""A model that still has a field whose column phase 4 drops is named before phase 4."""

import pytest
from django.apps import apps

from rollout.checks.migrations import check_models
from rollout.engine.preflight import Item
from rollout.models import Rollout
from rollout.queries import project_models
from rollout.queries.preflights import preflight_of, readiness_of
from tests.support import rollouts

NEW_ALONE = {"Property", "PropertyImage"}


@pytest.fixture
def without_new_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example application as an ordinary project is: each table has the old models alone."""
    others = [model for model in apps.get_models() if model.__name__ not in NEW_ALONE]
    monkeypatch.setattr(apps, "get_models", lambda: others)


def checked() -> list[str]:
    """What `manage.py check --database default` says of fields."""
    return [str(message.msg) for message in check_models(databases=["default"])]


def item(rollout: Rollout) -> Item:
    findings = preflight_of(rollout, 4).items
    return next(finding for finding in findings if finding.name == project_models.NAME)


def test_a_project_that_asks_for_the_modes_in_force_keeps_its_legacy_models(
    enforced: Rollout,
) -> None:
    assert item(enforced).level == "pass"
    assert checked() == []


def test_a_field_whose_column_goes_is_reported_before_phase_4_and_by_check_from_phase_3_on(
    enforced: Rollout, without_new_models: None
) -> None:
    finding = item(enforced)
    assert finding.level == "warns"
    assert "properties.LegacyProperty has the field type (properties.type)" in finding.evidence
    assert "rollout models property-classification --phase 4" in finding.advice
    assert project_models.NAME in {item.name for item in readiness_of(enforced).items}
    messages = checked()
    assert any("(properties.status). Phase 4 drops this column" in text for text in messages)
    assert check_models(databases=[]) == check_models() == []
    rollouts.carry_back(enforced, 3)
    assert checked() == []


def test_a_phase_before_the_last_has_nothing_to_say_of_fields(
    filled: Rollout, without_new_models: None
) -> None:
    assert project_models.NAME not in {item.name for item in preflight_of(filled, 3).items}
    assert checked() == []
