"""The site's addresses in the demo: those of every site, and what only the demo can do."""

from django.urls import path

from config import demo_accounts
from config.urls import handler400, handler500
from config.urls import urlpatterns as of_every_site

__all__ = ["handler400", "handler500", "urlpatterns"]

urlpatterns = [
    path("demo/user/", demo_accounts.become, name="demo_become"),
    *of_every_site,
]
