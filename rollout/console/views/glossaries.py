"""The glossary: what the words of the console mean."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.glossary import GLOSSARY
from rollout.console.http.access import ConsoleRequest, may


@may("view_rollout", anywhere=True)
@require_safe
def glossary(request: ConsoleRequest) -> HttpResponse:
    return render(request, "rollout/glossary.html", {"chapters": GLOSSARY})
