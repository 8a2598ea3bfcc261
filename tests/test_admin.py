"""Django's administration: users and groups are managed there, the journal is only shown."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from rollout.journal import activity_log
from rollout.models import LogEntry, Rollout
from tests.console import journal

JOURNAL = list(apps.get_app_config("rollout").get_models())


@pytest.fixture
def superuser(db: None) -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    return browser


def page_of(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:rollout_{model._meta.model_name}_{page}", args=arguments)


@pytest.mark.parametrize("model", JOURNAL, ids=lambda model: model.__name__)
def test_nothing_of_the_journal_is_added_changed_or_deleted(
    rollout: Rollout, superuser: Client, model: type[Model]
) -> None:
    assert admin.site.is_registered(model)
    assert not str(model._meta.verbose_name_plural).endswith(("ys", "chs", "xs"))
    assert superuser.get(page_of(model, "changelist")).status_code == 200
    assert superuser.get(page_of(model, "add")).status_code == 403
    assert superuser.post(page_of(model, "add"), {}).status_code == 403
    swept = {"action": "delete_selected", "_selected_action": ["1"], "post": "yes"}
    before = model._default_manager.count()
    superuser.post(page_of(model, "changelist"), swept)
    assert model._default_manager.count() == before


@pytest.mark.parametrize("kind", ["rollout", "run", "entry", "audit", "snapshot"])
def test_one_entry_is_shown_and_stays_as_it_is(
    rollout: Rollout, superuser: Client, kind: str
) -> None:
    made: dict[str, Model] = {
        "rollout": rollout,
        "run": journal.ran(rollout, 0, "failed", error="<b>It</b> broke."),
        "entry": journal.noted(rollout),
        "audit": journal.audited(rollout),
        "snapshot": journal.taken(rollout),
    }
    thing = made[kind]
    model = type(thing)
    before = model._default_manager.filter(pk=thing.pk).values().get()
    shown = superuser.get(page_of(model, "change", thing.pk))
    assert shown.status_code == 200
    assert b"_save" not in shown.content
    assert b"<b>It</b>" not in shown.content
    sent = dict.fromkeys(before, "x") | {"_save": "Save"}
    assert superuser.post(page_of(model, "change", thing.pk), sent).status_code == 403
    assert superuser.get(page_of(model, "delete", thing.pk)).status_code == 403
    assert superuser.post(page_of(model, "delete", thing.pk), {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=thing.pk).values().get() == before
    assert activity_log.verify().broken is None


def test_a_user_who_did_things_can_be_deleted_and_the_journal_keeps_the_name(
    rollout: Rollout, superuser: Client
) -> None:
    ada = User.objects.create_user("ada")
    run = journal.ran(rollout, 0, actor=ada, actor_name="ada")
    journal.noted(rollout, actor="ada")
    answer = superuser.post(reverse("admin:auth_user_delete", args=[ada.pk]), {"post": "yes"})
    assert answer.status_code == 302
    run.refresh_from_db()
    assert (run.actor, run.actor_name) == (None, "ada")
    assert LogEntry.objects.get().actor == "ada"
    assert activity_log.verify().broken is None


def test_nobody_can_put_work_into_the_queue_from_a_browser() -> None:
    assert not [model for model in admin.site._registry if model._meta.app_label == "django_q"]


def test_users_get_their_roles_here(superuser: Client) -> None:
    ada = User.objects.create_user("ada")
    page = superuser.get(reverse("admin:auth_user_change", args=[ada.pk])).content.decode()
    assert "lead:production" in page
    assert superuser.get(reverse("admin:auth_group_changelist")).status_code == 200
    assert superuser.get(reverse("admin:axes_accessattempt_changelist")).status_code == 200


@pytest.mark.parametrize("role", ["viewer", "lead"])
def test_a_role_of_the_console_lets_nobody_into_the_administration(db: None, role: str) -> None:
    browser = journal.browser_of(role)
    assert browser.get("/admin/", follow=True).status_code == 403
    assert ">Admin<" not in journal.text_of(browser, "/rollout/")
    assert Group.objects.filter(name=role).exists()


def test_staff_find_the_way_and_see_the_journal_that_they_may_see(rollout: Rollout) -> None:
    browser = journal.browser_of("viewer")
    User.objects.filter(username="viewer").update(is_staff=True)
    assert 'href="/admin/"' in journal.text_of(browser, "/rollout/")
    assert "Log entr" in journal.text_of(browser, "/admin/")
    assert browser.get(page_of(LogEntry, "changelist")).status_code == 200
    assert browser.get(reverse("admin:auth_user_changelist")).status_code == 403


def test_everybody_logs_in_at_one_place(db: None, client: Client) -> None:
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0] == "/accounts/login/?next=/admin/"
