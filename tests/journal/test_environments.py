"""A setting decides where people and the application are asked, not the name of an environment."""

from typing import Any

import pytest
from django.test import Client

from rollout.gates import Evidence
from rollout.journal.environments import protected
from rollout.models import Rollout
from tests.console.journal import text_of

ABOUT_PEOPLE = {"approved"}


def environments(settings: Any, **of: Any) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": of}


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("default", True),
        ({"DATABASE": "default"}, True),
        ({"DATABASE": "default", "PROTECTED": False}, False),
    ],
)
def test_production_is_protected_unless_the_setting_says_otherwise(
    settings: Any, rollout: Rollout, named: object, asked: bool
) -> None:
    environments(settings, production=named)
    gates = {gate.name for gate in Evidence(rollout, 3).gates}
    assert (gates >= ABOUT_PEOPLE) == asked


@pytest.mark.parametrize("asked", [True, False])
def test_an_environment_of_any_name_can_be_protected(
    settings: Any, rollout: Rollout, asked: bool
) -> None:
    tenant = {"DATABASE": "default", "PROTECTED": True} if asked else "default"
    environments(settings, production="default", tenant=tenant)
    of_tenant = Rollout.objects.create(plan=rollout.plan, environment="tenant")
    gates = {gate.name for gate in Evidence(of_tenant, 3).gates}
    assert (gates >= ABOUT_PEOPLE) == asked
    assert ("tenant" in protected()) == asked


@pytest.mark.parametrize("named", ["default", {"DATABASE": "default", "PROTECTED": False}])
def test_the_page_of_an_unprotected_environment_says_so(
    settings: Any, rollout: Rollout, admin_client: Client, named: object
) -> None:
    environments(settings, production=named)
    says_so = "production is not protected: approval, soak" in text_of(
        admin_client, f"/rollout/{rollout.plan}/production/"
    )
    assert says_so == (named != "default")
