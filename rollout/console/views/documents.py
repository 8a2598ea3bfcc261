"""The pages of the documents that the package carries too."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console import documents
from rollout.console.http.access import ConsoleRequest, may


@may("view_rollout", anywhere=True)
@require_safe
def glossary(request: ConsoleRequest) -> HttpResponse:
    return render(request, "rollout/glossary.html", {"chapters": documents.chapters()})


@may("view_rollout", anywhere=True)
@require_safe
def runbook(request: ConsoleRequest) -> HttpResponse:
    return render(request, "rollout/runbook.html", {"entries": documents.entries()})
