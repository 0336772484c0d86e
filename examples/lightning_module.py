"""Mixing in a LightningModule.

Shows: mixing in `training_step`, so that validation cannot be mixed by mistake; no mixing in the last epochs; and a generator
for each process: under DDP `seed_everything` seeds all processes alike, and they would all draw the same mixes.

Run:     python examples/lightning_module.py
Install: pip install . lightning
"""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import smix

EPOCHS, CLEAN_EPOCHS = 8, 2


def load(split, count):
    data = smix.load_data("digits-on-photos", split=split).take(count)
    images = torch.from_numpy(data.images).movedim(-1, 1) / 255
    return TensorDataset((images - 0.35) / 0.27, torch.from_numpy(data.labels), torch.from_numpy(data.masks))


def conv(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.method = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())
        self.model = nn.Sequential(conv(3, 32), conv(32, 64), conv(64, 128), nn.Flatten(), nn.Linear(128 * 16, 10))
        self.losses = []

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=0.05)

    def on_train_start(self):
        self.draws = torch.Generator(self.device).manual_seed(self.global_rank)

    def training_step(self, batch, batch_idx):
        x, y, masks = batch
        method = self.method if self.current_epoch < EPOCHS - CLEAN_EPOCHS else smix.Vanilla()
        mixed, target = method(x, y, masks=masks, generator=self.draws)
        loss = target.loss(self.model(mixed))
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self):
        self.losses.append(self.trainer.callback_metrics["loss"].item())

    def validation_step(self, batch, batch_idx):
        x, y, _ = batch
        self.log("accuracy", (self.model(x).argmax(1) == y).float().mean())


def main():
    torch.set_num_threads(1)  # on a CPU, so small a network is fastest with one
    lightning.seed_everything(0, verbose=False)
    module = Classifier()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    train = DataLoader(load("train", 600), batch_size=50, shuffle=True)
    trainer.fit(module, train, DataLoader(load("test", 300), batch_size=50))
    first, last_mixed, last = module.losses[0], module.losses[-CLEAN_EPOCHS - 1], module.losses[-1]
    print(f"train loss {first:.2f} -> {last_mixed:.2f} while mixing, {last:.2f} at the end, on clean images")
    print(f"accuracy {trainer.callback_metrics['accuracy']:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
