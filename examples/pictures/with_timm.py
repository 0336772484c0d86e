"""Train a model of timm on a folder of pictures, mixed along their masks.

The pictures are birds/train/CLASS/picture, and masks/birds was built by smix masks build --data folder:birds --out masks/birds.

Run:     python examples/pictures/with_timm.py
Install: pip install . timm
"""

import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import smix
from smix.data import MaskedFolder

EPOCHS = 2
TRANSFORM = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])


def main() -> None:
    data = MaskedFolder("birds/train", smix.MaskStore("masks/birds"), TRANSFORM)
    method = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())  # FMix where a mask is not valid
    model = timm.create_model("resnet18", num_classes=len(data.classes))
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=EPOCHS)
    for epoch in range(EPOCHS):
        for x, y, masks in DataLoader(data, batch_size=64, shuffle=True):
            mixed, target = method(x, y, masks=masks)
            loss = target.loss(model(mixed), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step(epoch + 1)
    print(f"loss {loss:.2f}")


if __name__ == "__main__":
    main()
