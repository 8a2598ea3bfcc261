"""An ordinary model with a vocabulary: as a text, by ids in code, by the lookup table."""

from typing import Any

from django.db import models

ROWS = {1: "up", 2: "down", 3: "it's 100% 'new'\\"}
TEXTS = ["up", "down", "it's 100% 'new'\\", "paused"]
CHOICES = [(text, text.title()) for text in TEXTS]
OPTIONS: dict[str, Any] = {
    "max_length": 20,
    "null": True,
    "blank": True,
    "choices": CHOICES,
    "default": "up",
}
Model = Any


def model(name: str, field: "models.Field[Any, Any]", **options: Any) -> Model:
    meta = type("Meta", (), {"app_label": "properties", **options})
    return type(
        name,
        (models.Model,),
        {
            "__module__": "properties.models",
            "Meta": meta,
            "status": field,
            "note": models.CharField(max_length=50, default="up"),
        },
    )
