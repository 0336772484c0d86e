"""smix in timm's training step, in place of timm.data.Mixup.

Shows: timm's model, optimizer, scheduler and SoftTargetCrossEntropy stay as they are; only the mixing call changes, and
`target.soft(num_classes)` gives the soft labels. Equivalents of the options of timm's train.py:

    --mixup 0.8 --cutmix 1.0   RandomChoice((Mixup(alpha=0.8), CutMix(alpha=1.0)))
    --mixup-switch-prob 0.5    RandomChoice(..., weights=(0.5, 0.5)), the first for Mixup
    --mixup-prob 1.0           RandomChoice(..., prob=1.0)
    --mixup-mode elem          the default; timm's default "batch" is RandomChoice(..., per_batch=True)
    --mixup-off-epoch 6        Vanilla() from that epoch on
    --smoothing 0.1            the line that computes `soft`

Run:     python examples/timm_step.py
Install: pip install . timm
"""

from typing import Literal

import timm
import torch
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.utils.data import DataLoader, TensorDataset

import smix

EPOCHS, OFF_EPOCH, CLASSES, SMOOTHING = 8, 6, 10, 0.1


def load(split: Literal["train", "test"], count: int) -> TensorDataset:
    data = smix.load_data("digits-on-photos", split=split).take(count)
    images = torch.from_numpy(data.array).movedim(-1, 1) / 255
    return TensorDataset((images - 0.35) / 0.27, torch.from_numpy(data.labels))


def main() -> None:
    torch.set_num_threads(1)  # the fastest setting for so small a network on a CPU
    torch.manual_seed(0)
    mixup_or_cutmix = smix.RandomChoice((smix.Mixup(alpha=0.8), smix.CutMix(alpha=1.0)), weights=(0.5, 0.5))
    model = timm.create_model("test_resnet", num_classes=CLASSES)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-3, weight_decay=0.05)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=EPOCHS, warmup_epochs=1, warmup_lr=1e-3)
    criterion = SoftTargetCrossEntropy()
    loader = DataLoader(load("train", 600), batch_size=50, shuffle=True)
    losses = []
    for epoch in range(EPOCHS):
        method = mixup_or_cutmix if epoch < OFF_EPOCH else smix.Vanilla()
        total = 0.0
        for x, y in loader:
            mixed, target = method(x, y)
            soft = target.soft(CLASSES) * (1 - SMOOTHING) + SMOOTHING / CLASSES
            loss = criterion(model(mixed), soft)  # or target.loss(model(mixed), label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(loader)
        scheduler.step(epoch + 1)
        losses.append(total)

    model.eval()
    x, y = load("test", 300).tensors
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean()
    print(f"train loss {losses[0]:.2f} -> {losses[OFF_EPOCH - 1]:.2f} while mixing, {losses[-1]:.2f} at the end")
    print(f"accuracy {accuracy:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
