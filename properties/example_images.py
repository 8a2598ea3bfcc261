"""Small images made on the spot, for probes and for made-up traffic."""

from __future__ import annotations

from io import BytesIO

from django.core.files.base import ContentFile
from PIL import Image


def example_png(
    *, width: int = 32, height: int = 24, colour: str = "#7a9e9f"
) -> ContentFile[bytes]:
    """A PNG of one colour, ready to be uploaded."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, format="PNG")
    return ContentFile(buffer.getvalue(), name="example.png")
