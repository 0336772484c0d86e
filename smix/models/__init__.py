"""Networks by name: see build.py for the table."""

from smix.models.build import MODELS, build_model, head_of, model_names

__all__ = ["MODELS", "build_model", "head_of", "model_names"]
