"""Options shared by several commands, and the conversion of their values."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter, Token, convert
from cyclopts.config import Dict

from smix.config import MachineOptions, RunOptions, SharedConfig, TrainConfig
from smix.lab import engines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts.argument import ArgumentCollection

Shared = Annotated[SharedConfig, Parameter(name="*")]
Config = Annotated[TrainConfig, Parameter(name="*")]
Options = Annotated[RunOptions, Parameter(name="*")]
Machine = Annotated[MachineOptions, Parameter(name="*")]
Engine = Annotated[
    engines.Engine,
    Parameter(help="Where jobs run: as processes on this machine, on SLURM, or on Ray (docs/cluster.md)."),
]
DataRoot = Annotated[Path, Parameter(help="Root folder of the data sets.")]
Quiet = Annotated[bool, Parameter(help="Do not show progress.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSelection:
    """Methods and seeds of a comparison or a sweep."""

    recipe: str | None = None
    """Recipe that sets the default methods and all options that are not given: report, report-augmented, openmixup, modern,
    finetune or small-data."""
    methods: str | None = None
    """Methods, comma-separated and in quotes, such as "vanilla,smix(alpha=0.7),smix+fmix,mixup|cutmix" (docs/methods.md).
    Default: those of the recipe, or vanilla,mixup,cutmix,fmix,smix,smix+fmix."""
    seeds: int = 5
    """Number of seeds, starting from 0."""

    def method_names(self, data: str) -> list[str]:
        """Return the methods in --methods, or else the recipe's methods for this data set."""
        from smix.mixing import split_methods
        from smix.training.recipes import methods_of

        return (
            split_methods(self.methods) if self.methods is not None else list(methods_of(self.recipe or "modern", data))
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Launch:
    """Engine that runs the jobs, and number of concurrent jobs."""

    engine: Engine = "local"
    jobs: int | None = None
    """Number of concurrent runs. Default: one per core on the CPU, one on a GPU, as many as SLURM allows."""


def convert_value(kind: Any, tokens: "Sequence[Token]") -> Any:
    """Convert as cyclopts does, but reject decimals for integers, and empty strings (from unset shell variables)."""
    for token in tokens:
        if not token.value.strip():
            raise ValueError("expected a value, got an empty string")
        if kind in (int, int | None, tuple[int, ...]) and not re.fullmatch(r"[+-]?[0-9]+", token.value):
            raise ValueError(f'expected a whole number, got "{token.value}"')
    return convert(kind, tokens)


def check_names(app: App, commands: "tuple[str, ...]", arguments: "ArgumentCollection") -> None:
    """Refuse unknown data sets and mask sources at once: the commands themselves first import torch, which takes seconds."""
    given = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    if "--data" in given:
        from smix.data.sets import check_name

        check_name(given["--data"])
    if "--source" in given:
        from smix.masks.names import check_source

        check_source(given["--source"])


def fill_from_recipe(app: App, commands: "tuple[str, ...]", arguments: "ArgumentCollection") -> None:
    """Fill in the options that are not given from --recipe, for commands that have it."""
    given = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    if "--recipe" not in given:
        return
    from smix.training.recipes import recipe

    epochs = given.get("--epochs", "")
    number = (
        int(epochs) if re.fullmatch(r"\+?[0-9]+", epochs) else None
    )  # otherwise it is rejected when it is converted
    values = recipe(given["--recipe"], given.get("--data", SharedConfig.data), number)
    if "--schedule" in given:  # milestones and warm-up of the recipe belong to its own schedule
        values = dataclasses.replace(values, milestones=(), warmup_epochs=0.0)
    changed = {
        field.name: getattr(values, field.name)
        for field in dataclasses.fields(SharedConfig)
        if getattr(values, field.name) != field.default
    }
    Dict(changed, source="--recipe", allow_unknown=True, use_commands_as_keys=False)(app, commands, arguments)
