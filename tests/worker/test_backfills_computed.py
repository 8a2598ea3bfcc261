"""The images of the shipped plan: their facts, computed from real files."""

from pathlib import Path
from uuid import UUID

import pytest
from django.core.files.storage import default_storage

from properties import catalog
from properties.example_images import example_png
from properties.listings import AttachedImage
from properties.models import PropertyImage
from properties.transition.models import LegacyProperty, LegacyPropertyImage
from rollout import runner
from rollout.engine import quarantine
from rollout.models import Rollout, RunState
from tests.support import rollouts
from tests.support.rollouts import ADA, the_job

Facts = tuple[str | None, str | None, int | None, int | None]
NOTHING: Facts = (None, None, None, None)


pytestmark = pytest.mark.usefixtures("media")


def attach(number: int) -> AttachedImage:
    """An image of its own size, attached as the application does."""
    listing = LegacyProperty.objects.values_list("pk", flat=True)[0]
    return catalog.attach_image(listing, example_png(width=10 + number, height=20))


def facts_of(image: UUID) -> Facts:
    row = PropertyImage.objects.get(pk=image)
    return row.storage_key, row.checksum, row.width, row.height


def test_the_facts_are_those_that_the_application_itself_would_write(expanded: Rollout) -> None:
    images = [attach(number) for number in range(5)]
    rollouts.carry_out(expanded, 2)
    computed = [facts_of(image.id) for image in images]
    # In this phase the application writes the facts itself: the same file gives the same ones.
    for number, (image, facts) in enumerate(zip(images, computed, strict=True)):
        written = facts_of(attach(number).id)
        assert facts[0] == image.storage_key
        assert facts[1:] == written[1:]
        assert facts[2:] == (10 + number, 20)
    job = the_job("compute")
    assert (job.scanned, job.updated, job.quarantined) == (5, 5, 0)


def test_an_address_that_had_to_be_quoted_leads_to_its_file(expanded: Rollout) -> None:
    key = default_storage.save("properties/a picture ü %41.png", example_png())
    row = LegacyPropertyImage.objects.create(
        property_id=LegacyProperty.objects.values_list("pk", flat=True)[0],
        url=default_storage.url(key),
        position=0,
    )
    rollouts.carry_out(expanded, 2)
    assert facts_of(row.pk)[0] == key


def test_a_missing_and_a_broken_file_are_kept_aside_with_the_reason_and_tried_again(
    expanded: Rollout, media: Path
) -> None:
    whole, missing, broken, outside = (attach(number) for number in range(4))
    kept = (media / missing.storage_key).read_bytes()
    (media / missing.storage_key).unlink()
    (media / broken.storage_key).write_bytes(b"no picture")
    LegacyPropertyImage.objects.filter(pk=outside.id).update(url="/media/../../etc/passwd")
    rollouts.carry_out(expanded, 2)
    job = the_job("compute")
    assert (job.scanned, job.updated, job.quarantined) == (4, 1, 3)
    with rollouts.target() as connection:
        errors = {row.key: row.error for row in quarantine.rows(connection, job.pk)}
    assert errors[str(missing.id),].startswith("FileNotFoundError: ")
    assert "not a PNG, JPEG, WebP or GIF" in errors[str(broken.id),]
    assert errors[str(outside.id),].startswith("SuspiciousFileOperation: ")
    assert facts_of(whole.id) != NOTHING
    assert facts_of(missing.id) == facts_of(broken.id) == NOTHING

    (media / missing.storage_key).write_bytes(kept)
    runner.retry_quarantined(job, actor=ADA)
    rollouts.work()
    job = the_job("compute")
    assert (job.scanned, job.updated, job.quarantined) == (4, 2, 2)
    assert facts_of(missing.id)[2:] == (11, 20)


def test_an_image_whose_file_is_another_now_has_no_facts_of_the_former_one(
    expanded: Rollout,
) -> None:
    image, other = attach(1), attach(2)
    run = rollouts.carry_out(expanded, 2)
    LegacyPropertyImage.objects.filter(pk=image.id).update(url=other.url)
    assert facts_of(image.id) == NOTHING
    assert run.state == RunState.DONE


def test_the_facts_are_gone_when_the_phase_is_rolled_back_and_the_files_are_not(
    expanded: Rollout,
) -> None:
    image = attach(1)
    rollouts.carry_out(expanded, 2)
    rollouts.carry_back(expanded, 2)
    assert facts_of(image.id) == NOTHING
    assert default_storage.exists(image.storage_key)
    rollouts.carry_out(expanded, 2)
    assert facts_of(image.id) != NOTHING
