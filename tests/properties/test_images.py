from __future__ import annotations

import hashlib
import zlib
from io import BytesIO
from struct import pack

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from properties import images
from properties.example_images import example_png
from properties.images import ImageFacts, ImageRefused, examine


def encoded(format: str) -> ContentFile[bytes]:
    buffer = BytesIO()
    Image.new("RGB", (20, 10), "teal").save(buffer, format=format)
    return ContentFile(buffer.getvalue(), name="whatever.exe")


def png_header(width: int, height: int) -> ContentFile[bytes]:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return ContentFile(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""), name="x.png")


@pytest.mark.parametrize(
    ("format", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "gif")]
)
def test_an_image_is_known_by_its_content_not_by_its_name(format: str, extension: str) -> None:
    upload = encoded(format)
    digest = hashlib.sha256(upload.read()).hexdigest()
    assert examine(upload) == ImageFacts(extension, 20, 10, digest)


def test_the_upload_can_be_stored_from_its_start_afterwards() -> None:
    upload = example_png()
    examine(upload)
    assert upload.tell() == 0


@pytest.mark.parametrize("content", [b"hello", b"<svg/>", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(ImageRefused, match="not a PNG, JPEG, WebP or GIF image"):
        examine(ContentFile(content, name="x.png"))


def test_other_image_formats_are_refused() -> None:
    with pytest.raises(ImageRefused, match="not a PNG"):
        examine(encoded("BMP"))


def test_an_image_cut_short_is_refused() -> None:
    whole = encoded("JPEG").read()
    with pytest.raises(ImageRefused, match="damaged"):
        examine(ContentFile(whole[: len(whole) // 2], name="x.jpg"))


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ImageRefused, match="empty"):
        examine(ContentFile(b"", name="x.png"))


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 50)
    with pytest.raises(ImageRefused, match="the limit is"):
        examine(example_png())


@pytest.mark.parametrize("side", [7_100, 10_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(ImageRefused, match="the limit is 50 million pixels"):
        examine(png_header(side, side))
