"""Random numbers of each image by its own key, so that neither the batch size nor the other images change them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smix import rng


@dataclass(frozen=True)
class Draws:
    """Random numbers for images. Two draws of one image need different values of `what`."""

    seed: int
    purpose: str
    index: tuple[int, ...]
    """Row of each image of the batch in its data set."""
    device: torch.device
    """Device of the results; numbers are drawn on the CPU, so that they are the same everywhere."""

    def normal(self, what: str, *shape: int) -> Float[Tensor, "B *shape"]:
        """Return normal draws of mean 0 and standard deviation 1."""
        return self._fill(what, shape, lambda row, generator: row.normal_(generator=generator))

    def uniform(self, what: str, *shape: int) -> Float[Tensor, "B *shape"]:
        """Return uniform draws in [0, 1)."""
        return self._fill(what, shape, lambda row, generator: row.uniform_(generator=generator))

    def poisson(self, what: str, rates: Float[Tensor, "B *shape"]) -> Float[Tensor, "B *shape"]:
        """A count for each rate."""
        generator, rates = torch.Generator(), rates.cpu()
        rows = [
            torch.poisson(row, generator.manual_seed(self._key(what, i)))
            for row, i in zip(rates, self.index, strict=True)
        ]
        return torch.stack(rows).to(self.device)

    def _fill(self, what: str, shape: tuple[int, ...], fill: Callable[[Tensor, torch.Generator], object]) -> Tensor:
        out, generator = torch.empty(len(self.index), *shape), torch.Generator()
        for row, i in zip(out, self.index, strict=True):
            fill(row, generator.manual_seed(self._key(what, i)))
        return out.to(self.device)

    def _key(self, what: str, image: int) -> int:
        return rng.key(self.seed, f"{self.purpose}/{what}", image)
