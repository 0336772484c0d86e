"""Networks by name; build.py has the table of names."""

from smix.models.build import MODELS, build_model, head_of, model_names

__all__ = ["MODELS", "build_model", "head_of", "model_names"]
