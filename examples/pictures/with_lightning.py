"""Train with Lightning on a folder of pictures, mixed along their masks.

The pictures are birds/train/CLASS/picture, and masks/birds was built by smix masks build --data folder:birds --out masks/birds.

Run:     python examples/pictures/with_lightning.py
Install: pip install . lightning
"""

import lightning
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import smix
from smix.data import MaskedFolder

TRANSFORM = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])


class Classifier(lightning.LightningModule):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = torchvision.models.resnet18(num_classes=classes)
        self.method = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())  # FMix where a mask is not valid

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y, masks = batch
        mixed, target = self.method(x, y, masks=masks)
        loss = target.loss(self.model(mixed))
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    data = MaskedFolder("birds/train", smix.MaskStore("masks/birds"), TRANSFORM)
    trainer = lightning.Trainer(max_epochs=2, logger=False, enable_checkpointing=False)
    trainer.fit(Classifier(len(data.classes)), DataLoader(data, batch_size=64, shuffle=True))
    print(f"loss {trainer.callback_metrics['loss']:.2f}")


if __name__ == "__main__":
    main()
