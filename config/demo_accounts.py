"""The demo's accounts: listed before the login, and exchanged for one another after it.

Its view has an address in the demo alone, which the settings refuse on a site that others reach.
"""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from config.prepare import PEOPLE
from rollout.console.http.links import page_of_ours
from rollout.telemetry import leave_out

WORK = {
    "lead": "Start phases, roll them back, approve.",
    "engineer": "Review mappings, run audits, repair, pause.",
    "viewer": "Read.",
}


def accounts(request: HttpRequest) -> dict[str, object]:
    """For templates: name, role and work of each account of the demo."""
    return {"accounts": [(name, role, WORK[role]) for name, role in PEOPLE.items()]}


def refuse_outside(request: HttpRequest, *, even_if_strict: bool = True) -> None:
    """Admit only the demo's accounts, and only in the demo. Raises Http404, PermissionDenied.

    ``even_if_strict`` says whether a strict demo has it too.
    """
    if not settings.DEMO or (settings.DEMO_STRICT and not even_if_strict):
        raise Http404
    if request.user.get_username() not in PEOPLE:
        raise PermissionDenied("This is for the demo's accounts. Log in as one of them.")


class Login(LoginView):
    """The page of the login; ``as`` fills a name in."""

    def get_initial(self) -> dict[str, str]:
        return {"username": self.request.GET.get("as", "")[:150]}


@leave_out
@require_POST
@login_required
def become(request: HttpRequest) -> HttpResponse:
    """Go on as another account of the demo, without its password."""
    refuse_outside(request, even_if_strict=False)
    name = request.POST.get("name", "")
    if name not in PEOPLE:
        raise Http404(f"The demo has no such account. It has: {', '.join(PEOPLE)}.")
    user = get_object_or_404(User, username=name)
    page = page_of_ours(request, request.POST.get("next", ""), settings.LOGIN_REDIRECT_URL)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    messages.success(request, f"You are {name} now, with the role {PEOPLE[name]}.")
    return redirect(page)
