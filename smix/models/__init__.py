"""Networks by name."""

from smix.models.small import MODELS, build_model

__all__ = ["MODELS", "build_model"]
