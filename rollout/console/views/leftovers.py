"""The page of transitional code: what the source on this machine needs of the legacy schema."""

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import rollout_or_404
from rollout.journal.environments import alias_of
from rollout.logs.texts import counted
from rollout.queries.leftovers import Leftovers, leftovers_of
from rollout.queries.status import summaries_of


@dataclass(frozen=True)
class Verdict:
    """Whether phase 4 may start as far as the source says, and what to do next."""

    heading: str
    advice: str
    tone: str


def verdict_of(left: Leftovers, *, dropped: bool) -> Verdict:
    """``dropped``: phase 4 is done, and its columns are gone."""
    files = f"{counted(len(left.files), 'file')} left"
    with_modes = any(line.kind == "modes" for line in left.lines)
    match bool(left.read), bool(left.files), dropped, with_modes:
        case False, _, _, _:
            return Verdict(
                "No source on this machine",
                "Whether code still needs the legacy schema is not known here.",
                "warn",
            )
        case _, False, False, _:
            return Verdict(
                "Nothing left: phase 4 may start",
                "No line of this source needs what phase 4 drops. Its gates still apply.",
                "good",
            )
        case _, False, True, _:
            return Verdict("Nothing left to remove", "Phase 4 has dropped the columns.", "good")
        case _, _, False, True:
            return Verdict(
                f"{files}: phase 4 may start, the code switches automatically",
                "It asks Rollout which schema to use (its modes). Lines that name a dropped column "
                "must depend on the answer. Remove them after phase 4.",
                "good",
            )
        case _, _, False, False:
            return Verdict(
                f"{files}: clean up before phase 4",
                "No code asks Rollout which schema to use, so the lines below fail once the "
                "columns are dropped.",
                "bad",
            )
        case _, _, True, True:
            return Verdict(
                f"{files} to clean up",
                "A rollback of phase 4 needs this code. Remove it once nobody wants to go back.",
                "info",
            )
    return Verdict(
        f"{files}: lines that name dropped columns fail",
        "Deploy a release without them, or roll phase 4 back.",
        "bad",
    )


@may("view_rollout")
@require_safe
def leftovers(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    (status,) = summaries_of([rollout])
    left = leftovers_of(status.plan, alias_of(environment))
    page = {
        "rollout": rollout,
        "status": status,
        "left": left,
        "verdict": verdict_of(left, dropped=status.next_phase is None),
    }
    return render(request, "rollout/leftovers.html", page)
