"""Options that several commands share, and how their values are read."""

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter, Token, convert
from cyclopts.config import Dict

from smix.config import MachineOptions, RunOptions, SharedConfig, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts.argument import ArgumentCollection

Shared = Annotated[SharedConfig, Parameter(name="*")]
Config = Annotated[TrainConfig, Parameter(name="*")]
Options = Annotated[RunOptions, Parameter(name="*")]
Machine = Annotated[MachineOptions, Parameter(name="*")]
Engine = Literal["local", "slurm", "ray"]


def chosen_methods(methods: str | None, recipe: str | None, data: str) -> list[str]:
    """Return the methods of --methods, or else those of the recipe."""
    from smix.mixing import split_methods
    from smix.training.recipes import methods_of

    return split_methods(methods) if methods is not None else list(methods_of(recipe or "modern", data))


def convert_value(kind: Any, tokens: "Sequence[Token]") -> Any:
    """Convert as cyclopts does, but refuse decimals for integers and empty texts, which unset shell variables leave."""
    for token in tokens:
        if not token.value.strip():
            raise ValueError("expected a value, got an empty text")
        if kind in (int, int | None, tuple[int, ...]) and not re.fullmatch(r"[+-]?[0-9]+", token.value):
            raise ValueError(f'expected a whole number, got "{token.value}"')
    return convert(kind, tokens)


def fill_from_recipe(app: App, commands: "tuple[str, ...]", arguments: "ArgumentCollection") -> None:
    """Take options that are not given from --recipe, where a command has it."""
    given = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    if "--recipe" not in given:
        return
    from smix.training.recipes import recipe

    epochs = given.get("--epochs", "")
    number = (
        int(epochs) if re.fullmatch(r"\+?[0-9]+", epochs) else None
    )  # otherwise it is refused where it is converted
    values = recipe(given["--recipe"], given.get("--data", SharedConfig.data), number)
    if "--schedule" in given:  # milestones and warm-up of the recipe belong to its own schedule
        values = dataclasses.replace(values, milestones=(), warmup_epochs=0.0)
    changed = {
        field.name: getattr(values, field.name)
        for field in dataclasses.fields(SharedConfig)
        if getattr(values, field.name) != field.default
    }
    Dict(changed, source="--recipe", allow_unknown=True, use_commands_as_keys=False)(app, commands, arguments)
