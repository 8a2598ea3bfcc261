"""The site's addresses in the demo: those of every site, and what only the demo can do."""

from django.urls import path

from config import demo_accounts, demo_views
from config.urls import handler400, handler500
from config.urls import urlpatterns as of_every_site
from offers.views import offers

__all__ = ["handler400", "handler500", "urlpatterns"]

urlpatterns = [
    path("demo/user/", demo_accounts.become, name="demo_become"),
    path("demo/review/", demo_views.review, name="demo_review"),
    path("demo/request-approval/", demo_views.request_approval, name="demo_request_approval"),
    path("demo/mark/", demo_views.mark, name="demo_mark"),
    path("demo/plant/", demo_views.plant, name="demo_plant"),
    path("demo/approve/", demo_views.approve, name="demo_approve"),
    path("demo/slow/", demo_views.slow, name="demo_slow"),
    path("demo/full-pace/", demo_views.full_pace, name="demo_full_pace"),
    path("offers/", offers, name="offers"),
    *of_every_site,
]
