"""What holds for every page: strict about scripts, forms that work without them."""

import re
from html.parser import HTMLParser

from django.template import Context, Template
from django.template.loader import get_template
from django.test import Client
from django.urls import reverse

from config.home import ROOT
from rollout.console.alerts import Alert
from rollout.console.formats import NO_BREAK_SPACE
from rollout.models import (
    AuditReport,
    Finding,
    Mismatch,
    PhaseRun,
    Rehearsal,
    Restore,
    Rollout,
    Snapshot,
)
from rollout.queries.data_safety import DataSafety
from rollout.queries.progress import JobReport
from rollout.queries.rehearsals import Report
from rollout.queries.status import PhaseStatus
from tests.console import journal
from tests.console.journal import PAGE, ran, reached, text_of

VOID = {"meta", "link", "input", "br", "img", "hr"}
TAG = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
ATTRIBUTE = re.compile(r"""(?<![\w."'/-])([a-z_]+)\.([a-z_]\w*)""")
# What these names mean in every template. Of an attribute that does not exist Django shows nothing.
MEANINGS: dict[str, tuple[type, ...]] = {
    "alert": (Alert,),
    "finding": (Finding,),
    "mismatch": (Mismatch,),
    "phase": (PhaseStatus,),
    "rehearsal": (Rehearsal,),
    "report": (AuditReport, JobReport, Report),
    "restore": (Restore,),
    "rollout": (Rollout,),
    "run": (PhaseRun,),
    "safety": (DataSafety,),
    "snapshot": (Snapshot,),
}


class Page(HTMLParser):
    """Counts what a page must not have, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in named:
            self.ids.append(named["id"] or "")
        self.inline += [
            name for name in named if name == "style" or name.startswith(("on", "hx-on"))
        ]
        if tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag, f"</{tag}> after {self.open[-3:]}"


def every_page(rollout: Rollout) -> list[str]:
    for phase in (0, 1):
        ran(rollout, phase)
    run = ran(rollout, 2, "running")
    step = reached(run, "backfill", "running")
    job = journal.job_of(step)
    report = journal.audited(rollout, "mismatched", mismatched=1)
    journal.mismatching(report, "1")
    journal.noted(rollout)
    return [
        "/rollout/",
        "/rollout/notifications/",
        PAGE,
        *(f"{PAGE}phases/{number}/" for number in range(5)),
        f"{PAGE}phases/4/start/",
        f"{PAGE}phases/4/roll-back/",
        f"{PAGE}audits/",
        f"/rollout/audits/{report.pk}/",
        f"/rollout/jobs/{job.pk}/",
        "/rollout/log/",
    ]


def test_pages_are_well_formed_and_have_nothing_inline(rollout: Rollout, lead: Client) -> None:
    for address in every_page(rollout):
        page = Page()
        page.feed(text_of(lead, address))
        assert page.open == [], address
        assert page.inline == [], address
        assert len(set(page.ids)) == len(page.ids), address


def test_every_icon_that_a_page_uses_is_there(rollout: Rollout, lead: Client) -> None:
    for address in every_page(rollout):
        text = text_of(lead, address)
        assert set(re.findall(r'href="#(icon-\w+)"', text)) <= set(
            re.findall(r'id="(icon-\w+)"', text)
        )


def test_every_changing_form_carries_a_token(rollout: Rollout, lead: Client) -> None:
    for address in every_page(rollout):
        for form in re.findall(r'<form[^>]*method="post".*?</form>', text_of(lead, address), re.S):
            assert "csrfmiddlewaretoken" in form


def test_a_form_that_failed_to_log_in_says_so(client: Client, db: None) -> None:
    response = client.post(reverse("login"), {"username": "ada", "password": "<x>"})
    text = response.content.decode()
    assert 'role="alert"' in text
    assert "Please enter a correct username and password" in text


def test_templates_have_nothing_inline() -> None:
    inline = re.compile(r"""<style|\sstyle=|\son[a-z]+=["']|<script>""")
    for template in (ROOT / "templates").rglob("*.html"):
        assert not inline.search(template.read_text()), template


def test_templates_have_lines_of_300_characters_at_most() -> None:
    for template in (ROOT / "templates").rglob("*.html"):
        assert max(map(len, template.read_text().splitlines()), default=0) <= 300, template


def test_no_template_lets_a_line_end_between_a_number_and_its_unit() -> None:
    apart = re.compile(r"\}\} (ms|s|min|h|kB|MB|GB|rows/s)\b")
    for template in (ROOT / "templates/rollout").rglob("*.html"):
        assert not apart.search(template.read_text()), template
    text = Template("{% load rollout_tags %}{{ time|duration }}, {{ size|byte_size }}")
    shown = text.render(Context({"time": 125, "size": 5.4e6}))
    assert shown.split(" ") == ["2 min 5 s,".replace(" ", NO_BREAK_SPACE), f"5.4{NO_BREAK_SPACE}MB"]


def test_a_pages_head_leaves_the_environment_to_the_header_above_it() -> None:
    for template in (ROOT / "templates/rollout").glob("*.html"):
        head = template.read_text().partition('<header class="page-head">')[2]
        assert "{{ rollout.environment }}</span>" not in head.partition("</header>")[0], template


def test_templates_ask_objects_for_attributes_that_they_have() -> None:
    unknown = [
        f"{path.relative_to(ROOT)}: {name}.{attribute}"
        for path in (ROOT / "templates").rglob("*.html")
        for tag in TAG.findall(path.read_text())
        for name, attribute in ATTRIBUTE.findall(tag)
        if name in MEANINGS and not any(has(kind, attribute) for kind in MEANINGS[name])
    ]
    assert not unknown


def has(kind: type, attribute: str) -> bool:
    return hasattr(kind, attribute) or attribute in getattr(kind, "__dataclass_fields__", ())


def test_every_template_compiles() -> None:
    for path in sorted((ROOT / "templates").rglob("*.html")):
        get_template(str(path.relative_to(ROOT / "templates")))
