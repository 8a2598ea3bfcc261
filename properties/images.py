"""Is this upload an image we can show? Answered before anything is stored."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.base import File
from django.core.files.storage import default_storage
from PIL import Image

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 50_000_000
EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}


class ImageRefused(Exception):
    """The upload cannot be used as an image. The message says why, in words for its sender."""


@dataclass(frozen=True)
class ImageFacts:
    """``checksum`` is SHA-256 in hexadecimal, ``width`` and ``height`` are in pixels."""

    extension: str
    width: int
    height: int
    checksum: str


def examine(upload: File[Any]) -> ImageFacts:
    """Decode the upload and say what it is. Raises ImageRefused."""
    if not upload.size:
        raise ImageRefused("The file is empty.")
    if upload.size > MAX_BYTES:
        raise ImageRefused(
            f"The file is {upload.size / 1024 / 1024:.1f} MB; the limit is "
            f"{MAX_BYTES // 1024 // 1024} MB."
        )
    extension, width, height = _decode(upload)
    return ImageFacts(extension, width, height, _checksum(upload))


def _decode(upload: File[Any]) -> tuple[str, int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            upload.seek(0)
            with Image.open(upload, formats=list(EXTENSIONS)) as image:
                width, height = image.size
                # The header alone is read so far: a bomb is refused before it is decoded.
                if width * height > MAX_PIXELS:
                    raise _too_many_pixels(f"{width:,} by {height:,} pixels")
                image.load()
                return EXTENSIONS[str(image.format)], width, height
    except ImageRefused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("too large to decode safely") from error
    except Exception as error:
        # A decoder fed with arbitrary bytes may raise anything (SyntaxError, struct.error, ...).
        raise ImageRefused(
            "The file is not a PNG, JPEG, WebP or GIF image, or it is damaged."
        ) from error


def _too_many_pixels(what: str) -> ImageRefused:
    limit = MAX_PIXELS // 1_000_000
    return ImageRefused(f"The image is {what}; the limit is {limit} million pixels.")


def _checksum(upload: File[Any]) -> str:
    digest = hashlib.sha256()
    for chunk in upload.chunks():
        digest.update(chunk)
    upload.seek(0)
    return digest.hexdigest()


def facts_of_stored(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | Exception]:
    """Storage key, checksum and size of each row's image, read through the default storage.

    The image is found by the row's ``url``. A missing or broken file is answered with the reason.
    """
    return [_facts_of(str(row["url"])) for row in rows]


def _facts_of(url: str) -> dict[str, Any] | Exception:
    key = unquote(url.removeprefix(settings.MEDIA_URL))
    try:
        with default_storage.open(key) as file:
            facts = examine(file)
    except (OSError, SuspiciousOperation, ImageRefused) as error:
        return error
    return {
        "storage_key": key,
        "checksum": facts.checksum,
        "width": facts.width,
        "height": facts.height,
    }
