"""Train with Composer on a folder of pictures, mixed along their masks.

The pictures are birds/train/CLASS/picture, and masks/birds was built by smix masks build --data folder:birds --out masks/birds.

Run:     python examples/pictures/with_composer.py
Install: pip install . mosaicml
"""

from typing import Any

import torch
import torchvision
from composer import Trainer
from composer.models import ComposerModel
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import smix
from smix.data import MaskedFolder

TRANSFORM = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])


class Classifier(ComposerModel):  # type: ignore[misc]
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = torchvision.models.resnet18(num_classes=classes)
        self.method = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())  # FMix where a mask is not valid

    def forward(self, batch: list[Tensor]) -> Tensor:
        x, y, masks = batch
        mixed, self.target = self.method(x, y, masks=masks)
        logits: Tensor = self.model(mixed)
        return logits

    def loss(self, outputs: Tensor, batch: Any) -> Tensor:
        self.last_loss: Tensor = self.target.loss(outputs)
        return self.last_loss


def main() -> None:
    data = MaskedFolder("birds/train", smix.MaskStore("masks/birds"), TRANSFORM)
    model = Classifier(len(data.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(data, batch_size=64, shuffle=True)
    Trainer(model=model, train_dataloader=loader, optimizers=optimizer, max_duration="2ep").fit()
    print(f"loss {model.last_loss:.2f}")


if __name__ == "__main__":
    main()
