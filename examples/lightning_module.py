"""Mixing in a LightningModule.

Shows: mixing in `training_step`, so that validation images are never mixed; final epochs without mixing; and a generator per
process, because `seed_everything` gives all DDP processes the same seed, with which they would draw the same mixes.

Run:     python examples/lightning_module.py
Install: pip install . lightning
"""

from typing import Literal

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import smix

EPOCHS, MIX_OFF_EPOCHS = 8, 2


def load(split: Literal["train", "test"], count: int) -> TensorDataset:
    data = smix.load_data("digits-on-photos", split=split).take(count)
    images = torch.from_numpy(data.array).movedim(-1, 1) / 255
    return TensorDataset((images - 0.35) / 0.27, torch.from_numpy(data.labels), torch.from_numpy(data.masks))


def conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.method = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())
        self.model = nn.Sequential(conv(3, 32), conv(32, 64), conv(64, 128), nn.Flatten(), nn.Linear(128 * 16, 10))
        self.losses: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=0.05)

    def on_train_start(self) -> None:
        self.generator = torch.Generator(self.device).manual_seed(self.global_rank)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y, masks = batch
        method = self.method if self.current_epoch < EPOCHS - MIX_OFF_EPOCHS else smix.Vanilla()
        mixed, target = method(x, y, masks=masks, generator=self.generator)
        loss = target.loss(self.model(mixed))
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self.losses.append(self.trainer.callback_metrics["loss"].item())

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y, _ = batch
        self.log("accuracy", (self.model(x).argmax(1) == y).float().mean())


def main() -> None:
    torch.set_num_threads(1)  # the fastest setting for so small a network on a CPU
    lightning.seed_everything(0, verbose=False)
    module, train, test = Classifier(), load("train", 600), load("test", 300)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(train, batch_size=50, shuffle=True), DataLoader(test, batch_size=50))
    losses, last_mixed = module.losses, module.losses[-MIX_OFF_EPOCHS - 1]
    print(f"train loss {losses[0]:.2f} -> {last_mixed:.2f} while mixing, {losses[-1]:.2f} at the end, on clean images")
    print(f"accuracy {trainer.callback_metrics['accuracy']:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
