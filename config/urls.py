"""The site's addresses."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from django.views.static import serve

from config.demo_accounts import Login

# Turn a database that is away into a page that says so, and never read a request once more.
handler400 = "rollout.console.http.errors.bad_request"
handler500 = "rollout.console.http.errors.server_error"

urlpatterns = [
    path("", include("rollout.health.urls")),
    path("", RedirectView.as_view(url="/rollout/")),
    path("rollout/", include("rollout.console.urls")),
    path("properties/", include("properties.urls")),
    path("accounts/login/", Login.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]

if settings.SERVE_MEDIA:
    urlpatterns.append(
        re_path(r"^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT})
    )
