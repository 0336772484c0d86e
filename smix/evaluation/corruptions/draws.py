"""Draw the random numbers of each image by its index, so that they depend neither on the batch size nor on other images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smix import rng
from smix.errors import DataError


def as_index(index: Sequence[int] | Tensor, count: int, purpose: str) -> tuple[int, ...]:
    """Return the index of each of `count` images as a tuple.

    Raises:
        DataError: There is not one index per image.
    """
    rows = tuple(index.tolist() if isinstance(index, Tensor) else index)
    if len(rows) != count:
        raise DataError(f"{purpose}: expected an index for each of {count} images, got {len(rows)}; pass one per image")
    return rows


@dataclass(frozen=True)
class Draws:
    """Random numbers for the images of a batch. Independent draws for an image need different names."""

    seed: int
    purpose: str
    index: tuple[int, ...]
    """Row of each image of the batch in its data set."""
    device: torch.device
    """Device of the results; numbers are drawn on the CPU, so that they are the same everywhere."""

    def normal(self, name: str, *shape: int) -> Float[Tensor, "B *shape"]:
        """Return normal draws of mean 0 and standard deviation 1."""
        return self._fill(name, shape, lambda row, generator: row.normal_(generator=generator))

    def uniform(self, name: str, *shape: int) -> Float[Tensor, "B *shape"]:
        """Return uniform draws in [0, 1)."""
        return self._fill(name, shape, lambda row, generator: row.uniform_(generator=generator))

    def poisson(self, name: str, rates: Float[Tensor, "B *shape"]) -> Float[Tensor, "B *shape"]:
        """Return a Poisson count for each rate."""
        generator, rates = torch.Generator(), rates.cpu()
        rows = [
            torch.poisson(row, generator.manual_seed(self._key(name, i)))
            for row, i in zip(rates, self.index, strict=True)
        ]
        return torch.stack(rows).to(self.device)

    def _fill(self, name: str, shape: tuple[int, ...], fill: Callable[[Tensor, torch.Generator], object]) -> Tensor:
        out, generator = torch.empty(len(self.index), *shape), torch.Generator()
        for row, i in zip(out, self.index, strict=True):
            fill(row, generator.manual_seed(self._key(name, i)))
        return out.to(self.device)

    def _key(self, name: str, image: int) -> int:
        return rng.key(self.seed, f"{self.purpose}/{name}", image)
