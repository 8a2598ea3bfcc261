"""A phase's page tells the team which release to deploy, with its models."""

from html import unescape

import pytest
from django.apps import apps
from django.test import Client

from rollout.models import Rollout
from rollout.plan import plans
from rollout.queries.django_models import models_source
from tests.console.journal import PAGE, fragment_of, ran, text_of
from tests.support.rollouts import PLAN

ADVICE = {
    0: "Nothing to deploy: release A",
    1: "release B may run beside A",
    2: "triggers keep both columns in step",
    3: "deploy release C",
    4: "stop the last process of A, B and C",
}


@pytest.mark.parametrize("number", ADVICE)
def test_each_phase_says_what_to_deploy_and_shows_the_models_of_its_release(
    rollout: Rollout, viewer: Client, number: int
) -> None:
    page = unescape(text_of(viewer, f"{PAGE}phases/{number}/"))
    assert ADVICE[number] in page
    source = models_source(plans.get(PLAN), number, "default")
    name = {1: "B", 3: "C", 4: "D"}.get(number)
    assert (f"Models of release {name}" in page) is (name is not None)
    assert (source in page) is (name is not None)
    assert ADVICE[number] not in unescape(fragment_of(viewer, f"{PAGE}phases/{number}/"))


def test_a_project_without_models_of_the_tables_is_told_what_to_deploy_alone(
    rollout: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [model for model in apps.get_models() if model._meta.app_label != "properties"]
    monkeypatch.setattr(apps, "get_models", lambda: others)
    page = text_of(viewer, f"{PAGE}phases/4/")
    assert ADVICE[4] in page
    assert "Models of release" not in page


def test_once_phase_4_is_done_nothing_is_to_deploy_before_it(
    rollout: Rollout, viewer: Client
) -> None:
    for phase in range(5):
        ran(rollout, phase)
    page = unescape(text_of(viewer, f"{PAGE}phases/4/"))
    assert "Only release D runs by now" in page
    assert ADVICE[4] not in page
