"""Django's administration of this site: users, groups and the journal, which it only shows."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

QUEUE = "django_q"
"""Whoever may write its tables can have any function called: nobody may, from a browser."""


class Site(AdminSite):
    """Everybody logs in at one place, where tries are counted and the console looks the same."""

    site_header = site_title = "Rollout administration"
    index_title = "Users, groups and the journal"
    site_url = "/rollout/"
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, *args: Any, **options: Any) -> None:
        several = isinstance(model_or_iterable, list | tuple)
        models = model_or_iterable if several else [model_or_iterable]
        kept = [model for model in models if model._meta.app_label != QUEUE]
        super().register(kept, *args, **options)

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        page = request.GET.get("next") or reverse("admin:index")
        if request.user.is_authenticated:
            raise PermissionDenied("Admin access requires a staff account. Ask an administrator.")
        return redirect_to_login(page)
