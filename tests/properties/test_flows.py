from __future__ import annotations

from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import transaction

from properties import catalog, flows
from properties.listings import Filters
from properties.models import LegacyProperty
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
