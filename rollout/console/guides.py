"""A guide through a rollout: what to do next and why, each step with its one button.

Its steps are done by what the journal says; nobody ticks them. It leads through a project's first
rollout until phase 4 begins. A project's guide of its own is a subclass, named by
``ROLLOUT["GUIDE"]``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal
from urllib.parse import urlencode

from django.utils.module_loading import import_string

from rollout.conf import setting
from rollout.console.current_phases import rehearsal_action
from rollout.console.http.links import rollout_url
from rollout.gates import GateStatus
from rollout.gates.checklists import ItemStatus, marked_by_hand
from rollout.gates.registry import Action
from rollout.journal.audits import asks_people
from rollout.journal.environments import DEFAULT
from rollout.models import AuditMode, AuditReport, Direction, RehearsalState, Rollout, RunState
from rollout.plan.gates import Approved
from rollout.plan.plan import CONTRACT, ENFORCE, PREPARE
from rollout.queries.status import PhaseStatus, RolloutStatus

STOPPED = (RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True)
class Button:
    """A link, or with ``fields`` a form that is posted; shown to who has the permission."""

    label: str
    url: str
    permission: str = ""
    fields: dict[str, str] | None = None
    in_new_tab: bool = False


def allowed_by(button: Button, perms: Mapping[str, Mapping[str, bool]]) -> bool:
    """Whether the user of a page, whose ``perms`` these are, may press it."""
    return not button.permission or perms["rollout"][button.permission]


@dataclass(frozen=True)
class GuideStep:
    """``why`` says what it is good for, ``note`` how it stands; ``waits`` for no person.

    A step that is ``optional`` holds no later one up. One that ``is_skipped`` was not done, and
    its time is over: a phase that comes after it has begun.
    """

    title: str
    why: str
    is_done: bool
    button: Button | None = None
    note: str = ""
    more: tuple[Button, ...] = ()
    waits: bool = False
    optional: bool = False
    is_skipped: bool = False
    state: Literal["done", "skipped", "open", "later"] = "later"

    @property
    def is_to_press(self) -> bool:
        """Whether its button is the next thing to do, rather than one that stops what runs."""
        return not self.waits


@dataclass(frozen=True)
class Guide:
    title: str
    steps: list[GuideStep]
    closing: str = ""

    @property
    def done(self) -> int:
        return sum(step.is_done for step in self.steps)

    @property
    def skipped(self) -> int:
        return sum(step.is_skipped for step in self.steps)

    @property
    def is_over(self) -> bool:
        return self.done + self.skipped == len(self.steps)


@dataclass
class RolloutGuide:
    """The guide through any plan's rollout, made of where the rollout stands."""

    status: RolloutStatus
    title: ClassVar[str] = "Guide to your first rollout"
    closing: ClassVar[str] = ""
    checklist_title: ClassVar[str] = "Mark the items of the checklist"
    approval_title: ClassVar[str] = "Get phase 3 approved"
    checklist_why: ClassVar[str] = (
        "Rollout checks the others itself. For these, your name stands beside them."
    )

    def steps(self) -> Iterable[GuideStep]:
        yield self.phase(0, "Compare the live schema with the plan and run the smoke tests.")
        yield self.rehearsal()
        yield self.checklist()
        yield self.phase(1, "Add what is new, empty and beside the old: nothing reads it yet.")
        yield self.phase(2, "Keep old and new in sync, and fill in the rows that are there.")
        yield self.approval()
        yield self.phase(3, "Validate constraints, then cut reads and writes over.")
        yield self.phase(4, "Archive and drop the legacy columns.")

    @property
    def is_shown(self) -> bool:
        """Whether this is the project's first rollout, and phase 4 is still to come."""
        rollout = self.status.rollout
        if self.status.phases[CONTRACT].run is not None or self.goes_back:
            return False
        older = Rollout.objects.filter(environment=DEFAULT, pk__lt=rollout.pk)
        return not older.exists()

    def guide(self) -> Guide:
        return Guide(self.title, list(placed(self.steps())), self.closing)

    # What of the journal the steps ask for

    @property
    def page(self) -> str:
        """Where its forms lead back to."""
        return self.status.rollout.get_absolute_url()

    @cached_property
    def goes_back(self) -> bool:
        """Whether the newest run of a phase rolled back."""
        runs = self.status.evidence.runs.values()
        newest = max(runs, key=lambda run: run.pk, default=None)
        return newest is not None and newest.direction == Direction.BACKWARD

    def is_done(self, number: int) -> bool:
        """Whether a phase is done; on the way back, whether it was."""
        phase = self.status.phases[number]
        if phase.direction == Direction.BACKWARD:
            return self.goes_back
        return phase.state == RunState.DONE

    def was_begun(self, number: int) -> bool:
        phase = self.status.phases[number]
        return self.is_done(number) or (
            phase.direction == Direction.FORWARD and phase.run is not None
        )

    @property
    def newest_audit(self) -> AuditReport | None:
        """The newest full audit."""
        audits = self.status.evidence.facts.audits
        return next((audit for audit in audits if audit.mode == AuditMode.FULL), None)

    @property
    def waits_for_decisions(self) -> bool:
        """Whether no row that the newest full audit found can be repaired before people decide."""
        audit = self.status.evidence.facts.full_audit
        return audit is not None and asks_people(audit)

    @cached_property
    def items(self) -> list[ItemStatus]:
        """Items of the checklist that people mark."""
        return marked_by_hand(self.status.evidence)

    # Buttons

    def link(self, label: str, page: str, *args: object) -> Button:
        return Button(label, rollout_url(self.status.rollout, page, *args))

    def post(self, label: str, page: str, *args: object, permission: str, **fields: str) -> Button:
        url = rollout_url(self.status.rollout, page, *args)
        return Button(label, url, permission, {"next": self.page, **fields})

    def start_page(self, number: int) -> str:
        """The page of a phase's start, which leads back to the guide."""
        url = rollout_url(self.status.rollout, "start", number)
        return f"{url}?{urlencode({'next': self.page})}"

    # Steps

    def phase(self, number: int, why: str, *, title: str = "") -> GuideStep:
        phase = self.status.phases[number]
        title = title or f"Start phase {number}: {phase.role}"
        done = self.is_done(number)
        if done or self.status.next_phase != number:
            return GuideStep(title, why, done)
        button = self.button_of(phase)
        note = self.note_of(phase)
        waits = (phase.run is not None and bool(phase.run.active)) or waits_alone(phase)
        return GuideStep(title, why, done, button, note, self.more_of(phase), waits)

    def button_of(self, phase: PhaseStatus) -> Button:
        """The next thing to do about a phase that is due."""
        number, run = phase.number, phase.run
        if run is not None and run.state == RunState.PAUSED:
            return self.post("Resume", "resume", permission="pause_rollout")
        if run is not None and run.state in (RunState.RUNNING, RunState.QUEUED):
            return self.post("Pause", "pause", permission="pause_rollout")
        if run is not None and run.state in STOPPED:
            return self.link(f"Open phase {number}", "phase", number)
        if gate_asking(phase, "review_mapping"):
            return self.review_button()
        if phase.can_start:
            return self.start_button(phase)
        if phase.preparation:
            return self.post(
                f"Prepare phase {number}", "prepare", number, permission="take_snapshot"
            )
        if is_stopping(phase):
            return self.link("Watch", "phase", number)
        label = "See what it waits for" if waits_alone(phase) else f"Open phase {number}"
        return self.link(label, "phase", number)

    def review_button(self) -> Button:
        return self.link("Review open values", "mappings")

    def start_button(self, phase: PhaseStatus) -> Button:
        label = f"Start phase {phase.number}"
        return Button(f"{label}…", self.start_page(phase.number), "start_rollout")

    def note_of(self, phase: PhaseStatus) -> str:
        if is_stopping(phase):
            what = "paused" if phase.state == RunState.PAUSING else "cancelled"
            return f"It is being {what}, at the next safe point: a moment."
        if phase.run is not None and phase.run.state in STOPPED:
            return "It stopped. Its page says why, and what to do."
        gate = gate_asking(phase, "review_mapping") or gate_asking(phase, "wait")
        return gate.message if gate is not None else ""

    def more_of(self, phase: PhaseStatus) -> tuple[Button, ...]:
        if phase.run is not None and phase.run.active and not is_stopping(phase):
            return (self.link("Watch", "phase", phase.number),)
        return ()

    def rehearsal(self) -> GuideStep:
        title = "Take a snapshot and rehearse"
        why = (
            "The whole plan runs forward and back on a copy, with traffic, and reports locks, "
            "durations and whether everything came back."
        )
        rehearsals = self.status.evidence.facts.rehearsals
        passed = any(rehearsal.state == RehearsalState.PASSED for rehearsal in rehearsals)
        if passed or self.is_done(1) or not self.is_done(0):
            return GuideStep(title, why, passed, is_skipped=self.is_done(1) and not passed)
        action = rehearsal_action(self.status)
        watch = self.link("Watch the rehearsals", "rehearsals")
        if action == "wait":
            note = "In progress. The more rows, the longer it takes; its page says how far it is."
            return GuideStep(title, why, False, watch, note, waits=True)
        page = "rehearsals" if action == "rehearse" else "snapshots"
        fields = {} if action == "rehearse" else {"then_rehearse": "1"}
        label = "Rehearse" if action == "rehearse" else "Take snapshot and rehearse"
        button = self.post(label, page, permission="rehearse_rollout", **fields)
        return GuideStep(title, why, False, button)

    def checklist(self) -> GuideStep:
        missing = [item for item in self.items if item.status != "pass"]
        title = self.checklist_title
        why = self.checklist_why
        done = self.is_done(0) and not missing
        if done or self.is_done(1) or not self.is_done(0):
            return GuideStep(title, why, done, is_skipped=self.is_done(1) and not done)
        return GuideStep(title, why, done, self.mark_button(missing))

    def mark_button(self, missing: list[ItemStatus]) -> Button:
        item = missing[0].item
        return self.post(f"Mark done: {item.text}", "tick", item.id, permission="tick_checklist")

    def approval(self) -> GuideStep:
        title = self.approval_title
        why = (
            "Phase 3 refuses writes that were allowed before. A second lead reads its SQL and "
            "approves it."
        )
        phase = self.status.phases[ENFORCE]
        gate = approved_gate(phase)
        # Who approved waits for the other lead, who is to start it.
        given = gate is not None and (gate.lets_through or gate.action == "wait")
        done = self.was_begun(ENFORCE) or given
        if done or self.status.next_phase != ENFORCE or self.status.active is not None:
            return GuideStep(title, why, done)
        open_values = gate_asking(phase, "review_mapping")
        if finds_wrong_rows(phase) and not (open_values and self.waits_for_decisions):
            # A press would take no snapshot of wrong rows.
            note = "First repair the rows that an audit found mismatched."
            return GuideStep(title, why, False, self.link("Audits", "audits"), note)
        if open_values:
            return GuideStep(title, why, False, self.review_button(), open_values.message)
        if gate is not None and gate.action == "approve":
            return GuideStep(title, why, False, self.approve_button(phase), "Requested.")
        if gate is not None and gate.action == "see_rejection":
            return GuideStep(title, why, False, self.rejection_button(phase), gate.message)
        button = self.post(
            "Take snapshot, request approval", "prepare", ENFORCE, permission="take_snapshot"
        )
        return GuideStep(title, why, False, button)

    def approve_button(self, phase: PhaseStatus) -> Button:
        return self.link("Review and approve…", "approve", phase.number)

    def rejection_button(self, phase: PhaseStatus) -> Button:
        url = rollout_url(self.status.rollout, "start", phase.number)
        return Button("Open rejection", f"{url}#approvals")

    def rollback(self) -> GuideStep:
        title = "Roll everything back"
        why = (
            "The way back is part of the plan: every value returns, also those that were written "
            "meanwhile. Each rollback compares every row at its end."
        )
        is_back = self.goes_back and self.status.phase is None
        if is_back or not (self.is_done(CONTRACT) or self.goes_back):
            return GuideStep(title, why, is_back)
        if self.status.active is not None:
            watch = self.link("Watch", "phase", self.status.active.phase)
            return GuideStep(title, why, False, watch, "In progress.", waits=True)
        if self.status.phase == PREPARE:
            note = "Phase 0 is left. It has changed no schema, so that this takes a moment."
            return GuideStep(
                title, why, False, self.link("Roll back phase 0…", "roll_back", 0), note
            )
        button = self.link("Roll back all phases…", "roll_back", 0)
        return GuideStep(title, why, False, button)


def approved_gate(phase: PhaseStatus) -> GateStatus | None:
    """The answer of the gate about another lead's approval, where the phase is due and has one."""
    return next((gate for gate in phase.gates if gate.name == Approved.name), None)


def gate_asking(phase: PhaseStatus, action: Action) -> GateStatus | None:
    """The first gate that blocks a phase and has this next thing to do; None while it runs."""
    if phase.run is not None and phase.run.active:
        return None
    return next((gate for gate in phase.gates_in_the_way if gate.action == action), None)


def finds_wrong_rows(phase: PhaseStatus) -> bool:
    """Whether the newest full audit found rows that block the phase."""
    return any(status.finds_wrong_rows for status in phase.gates_in_the_way)


def is_stopping(phase: PhaseStatus) -> bool:
    """Whether somebody has paused or cancelled it, and it has not come to a stand yet."""
    return phase.state in (RunState.PAUSING, RunState.CANCELLING)


def waits_alone(phase: PhaseStatus) -> bool:
    """Whether all that blocks a phase is a clock, or work that runs."""
    gates = phase.gates_in_the_way
    is_stopped = phase.state in STOPPED
    return bool(gates) and not is_stopped and all(gate.action == "wait" for gate in gates)


def placed(steps: Iterable[GuideStep]) -> Iterable[GuideStep]:
    """The steps with their state: the first that is not done is open, and who need not wait."""
    is_open = True
    for step in steps:
        if step.is_done or step.is_skipped:
            state: Literal["done", "skipped", "open", "later"]
            state = "done" if step.is_done else "skipped"
        elif is_open and step.button is not None:
            state = "open"
            # While machines work, people do the next step; one only looks at an optional.
            is_open = step.waits or step.optional
        else:
            state = "later"
            is_open = False
        yield replace(step, state=state)


def guide_of(status: RolloutStatus) -> Guide | None:
    """The project's guide through a rollout of production; None where it shows none."""
    path = setting("GUIDE", f"{__name__}.RolloutGuide")
    if not path or status.rollout.environment != DEFAULT:
        return None
    maker: type[RolloutGuide] = import_string(path)
    guide = maker(status)
    return guide.guide() if guide.is_shown else None
