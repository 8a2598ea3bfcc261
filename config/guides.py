"""The demo's guide: the one through any rollout, with what only the demo can do."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from django.conf import settings
from django.urls import reverse

from config.slowness import SECONDS, seconds_left
from properties.rollout import PLAN
from rollout.console.formats import slows_down, waiting
from rollout.console.guides import (
    Button,
    GuideStep,
    RolloutGuide,
    finds_wrong_rows,
    gate_asking,
    is_stopping,
)
from rollout.gates.checklists import ItemStatus
from rollout.journal.audits import asks_people
from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    Direction,
    PhaseRun,
    SignOffKind,
    StepState,
)
from rollout.plan.plan import BACKFILL, CONTRACT, ENFORCE
from rollout.queries.pauses import pause_of
from rollout.queries.status import PhaseStatus

WRONG_ROWS = 12
LEADS = ("lead", "lead2")


def demo_button(label: str, view: str, permission: str, back: str, **fields: str) -> Button:
    """Posts to one of the demo's own addresses."""
    return Button(label, reverse(f"demo_{view}"), permission, {"next": back, **fields})


class DemoGuide(RolloutGuide):
    title = "Guide to this demo"
    checklist_title = "Mark two items of the checklist"
    approval_title = "Get phases 3 and 4 approved"
    checklist_why = (
        "Rollout checks the others itself. For these, your name stands beside them; nobody needs "
        "telling in this demo."
    )
    approval_why = (
        "Each phase that takes something away or refuses something has an approval of its own, of "
        "its own SQL. One press gives both in this demo; elsewhere phase 4's comes after phase 3."
    )
    closing = (
        "You have carried a live table to the new model and back. Starting phase 0 begins again. "
        "For a table of your own, read docs/first-plan.md in the repository."
    )

    @property
    def is_shown(self) -> bool:
        """On the pages of the one rollout that its buttons act on."""
        return self.status.plan.name == PLAN.name

    def steps(self) -> Iterable[GuideStep]:
        yield self.application()
        yield self.phase(
            0, "Rollout compares the live schema with the plan, and tries the application out."
        )
        yield self.mapping()
        yield self.rehearsal()
        yield self.checklist()
        yield self.phase(
            1, "Lookup tables and empty columns come beside the old ones. Nothing reads them yet."
        )
        yield self.phase(
            2,
            "Triggers keep old and new columns in sync; existing rows are filled in beside "
            "traffic. Watch it, pause it, resume it.",
            title="Start phase 2: backfill",
        )
        yield self.mismatches()
        yield self.approval()
        yield self.cutover()
        yield self.rollback()

    def application(self) -> GuideStep:
        return GuideStep(
            "Look at the application",
            "Its listings have free-text types and statuses, which become lookup tables while "
            "people use it.",
            self.was_begun(0),
            Button("Open the listings", reverse("properties:list"), in_new_tab=True),
            optional=True,
        )

    def start_button(self, phase: PhaseStatus) -> Button:
        if phase.guarded:
            return super().start_button(phase)
        label = f"Start phase {phase.number} now"
        return self.post(
            label, "start", phase.number, permission="start_rollout", seen=phase.digest
        )

    def mapping(self) -> GuideStep:
        title, why = (
            "Map Apt to Apartment",
            "The same home has many spellings. People decide what each means; Rollout proposes. "
            "Condominium becomes Condo, too.",
        )
        reviewed, begun = self.is_mapped or self.is_reviewed, self.was_begun(ENFORCE)
        if reviewed or begun or not self.is_done(0):
            return GuideStep(title, why, reviewed, is_skipped=begun and not reviewed)
        button = demo_button("Map it, confirm the rest", "review", "review_mapping", self.page)
        look = self.link("Review the values", "mappings")
        return GuideStep(title, why, False, button, more=(look,))

    @property
    def is_mapped(self) -> bool:
        """Whether somebody mapped it; of what is open then, the gate before phase 3 speaks."""
        if not self.status.evidence.facts.reviewed_columns:
            return False
        changes = self.status.rollout.mapping_changes
        apt = [{"legacy": "Apt", "after": "Apartment"}]
        return changes.filter(legacy_column="type", changes__contains=apt).exists()

    def review_button(self) -> Button:
        return demo_button("Confirm open values", "review", "review_mapping", self.page)

    @property
    def is_reviewed(self) -> bool:
        """Whether people decided on values of each lookup."""
        reviewed = self.status.evidence.facts.reviewed_columns
        return all((x.table.label, x.legacy) in reviewed for x in self.status.plan.lookups)

    def mark_button(self, missing: list[ItemStatus]) -> Button:
        label = "Mark both done" if len(missing) == 2 else "Mark done"
        return demo_button(label, "mark", "tick_checklist", self.page)

    def note_of(self, phase: PhaseStatus) -> str:
        run, facts = phase.run, self.status.evidence.facts
        if phase.number != BACKFILL or run is None or not run.active or is_stopping(phase):
            return super().note_of(phase)
        seconds, pause = seconds_left(), pause_of(run, facts)
        slow = f"The application is slow for another {seconds} s"
        if pause is not None:
            then = f"{slow}: resume after that." if seconds else "Resume: it loses nothing."
            return f"Paused by {pause.who}. {then}"
        if seconds:
            return (
                f"{slow}. Watch Health: a guardrail throttles the backfill, another may pause it."
            )
        if any(rule.acting and rule.action == "throttle" for rule in facts.rules):
            return "A guardrail throttles it, until the application has recovered: nothing to do."
        if reason := self.slowed_down_by(run):
            return f"{waiting(reason)} It recovers automatically: nothing to do."
        if not self.row_limit:
            return ""
        return (
            f"This demo limits it to {self.row_limit:,} rows per second, so that there is "
            "something to watch."
        )

    def slowed_down_by(self, run: PhaseRun) -> str:
        """What a signal says that throttles the run, or holds it; empty at full speed."""
        steps = run.steps.filter(state=StepState.RUNNING).values_list("waiting_for", flat=True)
        return next(filter(slows_down, steps), "")

    @cached_property
    def row_limit(self) -> int | None:
        """Rows per second of the backfill that runs, where nobody has lifted the limit."""
        jobs = BackfillJob.objects.filter(step_run__run=self.status.active, finished_at=None)
        limited = jobs.exclude(rows_per_second=None)
        return limited.values_list("rows_per_second", flat=True).first()

    def more_of(self, phase: PhaseStatus) -> tuple[Button, ...]:
        more = super().more_of(phase)
        if phase.number != BACKFILL or not more:
            return more
        if not seconds_left():
            label = f"Make the application slow for {SECONDS} s"
            more += (demo_button(label, "slow", "pause_rollout", self.page),)
        if self.row_limit:
            label = "Lift the row limit"
            more += (demo_button(label, "full_pace", "pause_rollout", self.page),)
        return more

    def mismatches(self) -> GuideStep:
        title = f"Plant {WRONG_ROWS} wrong rows, find them, repair them"
        why = "An audit compares every row. Rows that went around the triggers are found."
        begun = self.was_begun(ENFORCE)
        repaired = begun and self.status.evidence.facts.repair is not None
        if begun or not self.is_done(BACKFILL):
            return GuideStep(title, why, repaired, is_skipped=begun and not repaired)
        audit, active = self.newest_audit, self.status.active
        if active is not None and active.direction == Direction.REPAIR:
            watch = self.link("Watch the audits", "audits")
            return GuideStep(title, why, False, watch, "The repair is running.", optional=True)
        if audit is not None and audit.status == AuditStatus.RUNNING:
            watch = Button("Watch the audit", audit.get_absolute_url())
            return GuideStep(title, why, False, watch, "The audit is running.", optional=True)
        if audit is not None and audit.status == AuditStatus.MISMATCHED:
            return self.repair_step(title, why, audit)
        if self.status.evidence.facts.repair is not None:
            return GuideStep(title, why, True)
        plant = demo_button(
            f"Plant {WRONG_ROWS} rows and audit", "plant", "audit_rollout", self.page
        )
        return GuideStep(title, why, False, plant, optional=True)

    def repair_step(self, title: str, why: str, audit: AuditReport) -> GuideStep:
        rows = audit.mismatched - audit.waived
        note = f"Audit {audit.pk} found {rows:,} mismatched row{'' if rows == 1 else 's'}."
        url = reverse("rollout:repair", args=[audit.pk])
        repair = Button("Repair them", url, "repair_rows", {})
        if asks_people(audit):
            repair = self.review_button()
        look = Button("Look at them", audit.get_absolute_url())
        return GuideStep(title, why, False, repair, note, (look,), optional=True)

    def approval(self) -> GuideStep:
        """One press where the others have two: it decides on the open values first."""
        step = replace(super().approval(), why=self.approval_why)
        contract = self.status.phases[CONTRACT]
        approvals = self.status.evidence.sign_offs(SignOffKind.APPROVAL, phase=contract.number)
        if step.is_done and not approvals and contract.run is None:
            # Given on the page of phase 3 alone: the next step asks for that of phase 4.
            step = replace(step, title=RolloutGuide.approval_title)
        enforce = self.status.phases[ENFORCE]
        if step.button is None or not gate_asking(enforce, "review_mapping"):
            return step
        if finds_wrong_rows(enforce):
            # No approval can be requested before these are right.
            return step
        label = "Confirm values, request approval"
        button = demo_button(label, "request_approval", "review_mapping", self.page)
        why = (
            "Traffic keeps writing new spellings. This confirms them, takes the snapshot and "
            "requests approval."
        )
        return replace(step, why=why, button=button, note="")

    def approve_button(self, phase: PhaseStatus) -> Button:
        """As the other of the two leads, in the name of whom nobody has to log in."""
        if settings.DEMO_STRICT:
            return super().approve_button(phase)
        requests = self.status.evidence.sign_offs(SignOffKind.REQUEST, phase=phase.number)
        other = "lead" if requests and requests[0].actor_name == "lead2" else "lead2"
        back = self.start_page(phase.number)
        phases = "phases 3 and 4" if phase.number == ENFORCE else f"phase {phase.number}"
        label = f"Approve {phases} as {other}"
        return demo_button(label, "approve", "approve_rollout", back, name=other)

    def cutover(self) -> GuideStep:
        title = "Start phases 3 and 4: enforce and contract"
        if self.is_done(ENFORCE):
            return self.guarded(CONTRACT, "Archive the legacy text exactly, then drop it.", title)
        why = "Constraints are validated, then reads and writes cut over. Type the plan's name."
        return self.guarded(ENFORCE, why, title)

    def guarded(self, number: int, why: str, title: str) -> GuideStep:
        step = self.phase(number, why, title=title)
        if self.is_done(CONTRACT) or self.status.next_phase != number:
            return GuideStep(title, why, self.is_done(CONTRACT))
        return step

    def button_of(self, phase: PhaseStatus) -> Button:
        if gate_asking(phase, "review_mapping"):
            return self.review_button()
        if any(gate.action == "approve" for gate in phase.gates_in_the_way):
            return self.approve_button(phase)
        if phase.guarded and phase.preparation and not phase.can_start:
            label, back = f"Prepare phase {phase.number}", self.start_page(phase.number)
            prepare = self.post(label, "prepare", phase.number, permission="take_snapshot")
            return Button(label, prepare.url, prepare.permission, {"next": back})
        return super().button_of(phase)
