from __future__ import annotations

from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import connection, transaction

from properties import catalog, flows
from properties.listings import Filters
from properties.shapes import LOOKUP_MODELS
from properties.transition.models import LegacyProperty
from rollout.engine.target import install
from tests.properties import shapes
from tests.properties.shapes import ShapeName


@pytest.mark.parametrize("flow", [flows.create_property, flows.search, flows.upload_image])
def test_a_flow_gives_one_line_of_evidence_and_leaves_nothing(
    shape: ShapeName, media: Path, flow: flows.Flow
) -> None:
    with transaction.atomic():
        evidence = flow(using="default")
        transaction.set_rollback(True)
    assert evidence.startswith("Property ")
    assert "\n" not in evidence
    assert catalog.search(Filters()).listings == ()
    assert not [path for path in media.rglob("*") if path.is_file()]


def test_a_flow_fails_when_what_was_written_reads_otherwise(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(*arguments: object, using: str) -> None:
        LegacyProperty.objects.using(using).update(type="Shed")

    monkeypatch.setattr(catalog, "update_property", forgetful)
    with pytest.raises(AssertionError, match="reads Shed, For sale instead of House, Pending"):
        flows.create_property(using="default")


def test_an_upload_whose_file_was_lost_fails(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    attach = catalog.attach_image

    def lossy(*arguments: object, using: str) -> object:
        image = attach(*arguments, using=using)  # type: ignore[arg-type]
        default_storage.delete(image.storage_key)
        return image

    monkeypatch.setattr(catalog, "attach_image", lossy)
    with pytest.raises(FileNotFoundError):
        flows.upload_image(using="default")


@pytest.fixture
def decided(shape: ShapeName) -> ShapeName:
    """What people decided in each shape; the flows' own texts are among it."""
    install(connection.connection)
    shapes.decide("type", {"h": "House", "apartment": "Flat", "house": "Flat", "flat": "Flat"})
    shapes.decide("status", {"vb": "Sold", "for sale": "Active"})
    return shape


def test_a_text_that_people_decided_on_is_tested(decided: ShapeName) -> None:
    evidence = flows.decided_text(using="default")
    becomes = {"new": "h reads House"}.get(decided, "h reads h")
    assert f"The type {becomes}." in evidence
    assert "The status vb reads" in evidence


@pytest.mark.parametrize("flow", [flows.create_property, flows.search])
def test_a_flow_expects_what_people_decided_of_its_own_texts(
    decided: ShapeName, flow: flows.Flow
) -> None:
    assert flow(using="default").startswith("Property ")


@pytest.mark.parametrize("name", ["both", "new"])
def test_an_application_that_goes_by_names_is_found_out(
    db: None, name: ShapeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As this one did: the text got a lookup row of its own name."""

    def by_name(plan: str, column: str, text: str | None, *, using: str) -> int:
        model = LOOKUP_MODELS[column.removeprefix("properties.")]
        row, _ = model.objects.using(using).get_or_create(name=text or "Unspecified")
        return int(row.pk)

    shapes.reach(name)
    shapes.decide("type", {"h": "House"})
    monkeypatch.setattr("properties.shapes.lookup_id", by_name)
    monkeypatch.setattr("properties.transition.shapes.lookup_id", by_name)
    with pytest.raises(AssertionError, match="the type h"):
        flows.decided_text(using="default")


NOTHING_MAPPED = "No review maps a value to another name: nothing to test."


def test_values_that_people_confirmed_as_they_are_leave_nothing_to_test(db: None) -> None:
    shapes.reach("both")
    shapes.decide("type", {"house": "House"})
    assert flows.decided_text(using="default") == NOTHING_MAPPED


def test_nobody_has_decided_before_there_is_anything_to_decide_on(db: None) -> None:
    assert flows.decided_text(using="default") == NOTHING_MAPPED
