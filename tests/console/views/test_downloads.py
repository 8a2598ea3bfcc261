"""A phase as a script for psql, from the pages that show its steps."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.psql_scripts import forward_script, rollback_script
from tests.console.journal import PAGE, PLAN, ran, ready_for_phase_1, text_of

SCRIPTS = {"forward": forward_script, "rollback": rollback_script}


@pytest.mark.parametrize("direction", SCRIPTS)
@pytest.mark.parametrize("number", [1, 4])
def test_a_script_downloads_under_a_name_that_says_what_it_is(
    rollout: Rollout, viewer: Client, number: int, direction: str
) -> None:
    answer = viewer.get(f"{PAGE}phases/{number}/{direction}.sql")
    assert answer.content.decode() == SCRIPTS[direction](plans.get(PLAN), number)
    name = f"{PLAN}-phase-{number}-{direction}.sql"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer["Content-Type"] == "application/sql; charset=utf-8"


def test_the_pages_that_show_what_a_phase_runs_offer_both_scripts(
    rollout: Rollout, lead: Client
) -> None:
    ready_for_phase_1(rollout)
    both = [f'href="{PAGE}phases/1/{direction}.sql"' for direction in SCRIPTS]
    for page in ("", "start/"):
        text = text_of(lead, f"{PAGE}phases/1/{page}")
        assert [link in text for link in both] == [True, True], page
    ran(rollout, 1)
    text = text_of(lead, f"{PAGE}phases/1/roll-back/")
    assert [link in text for link in both] == [True, True]


def test_the_item_about_rollback_scripts_offers_each_of_them(
    rollout: Rollout, viewer: Client
) -> None:
    item = text_of(viewer, PAGE).partition("Rollback scripts exported")[2]
    item = item.partition("</li>")[0]
    assert re.findall(r"phases/(\d)/rollback.sql", item) == ["1", "2", "3", "4"]


def test_a_script_is_for_those_who_may_see_the_rollout(rollout: Rollout, viewer: Client) -> None:
    address = f"{PAGE}phases/1/rollback.sql"
    assert Client().get(address).status_code == 302
    nobody, elsewhere = User.objects.create_user("nobody"), User.objects.create_user("elsewhere")
    elsewhere.groups.add(Group.objects.create(name="lead:staging"))
    for user in (nobody, elsewhere):
        client = Client()
        client.force_login(user)
        assert client.get(address).status_code == 403
    assert viewer.post(address).status_code == 405
    assert viewer.get(f"{PAGE}phases/5/rollback.sql").status_code == 404
    assert viewer.get("/rollout/none/production/phases/1/rollback.sql").status_code == 404
