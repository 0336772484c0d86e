"""Crop and flip images together with their masks in a torchvision pipeline, then mix with SMix.

Shows: `tv_tensors.Image` and `tv_tensors.Mask` in a `torchvision.transforms.v2` pipeline. Both are cropped and flipped with
the same random parameters, so that the mask still covers the object when the batch is mixed. A mask that is a plain tensor
would pass through unchanged, without a warning.

Run:     python examples/torchvision_v2.py
Install: pip install .
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import smix

TO_FLOAT = [v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True), v2.Normalize([0.35], [0.27])]
TRAIN = v2.Compose([v2.RandomCrop(32, padding=2), v2.RandomHorizontalFlip(), *TO_FLOAT])
TEST = v2.Compose(TO_FLOAT)


class Digits(Dataset[tuple[Tensor, int, Tensor]]):
    def __init__(self, split: Literal["train", "test"], count: int, transform: v2.Transform) -> None:
        self.data = smix.load_data("digits-on-photos", split=split).take(count)
        self.masks = torch.from_numpy(self.data.masks)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> tuple[Tensor, int, Tensor]:
        image = tv_tensors.Image(torch.from_numpy(self.data.array[row]).movedim(-1, 0))
        mask = tv_tensors.Mask(self.masks[row])
        image, mask = self.transform(image, mask)
        return image, int(self.data.labels[row]), mask


def conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def main() -> None:
    torch.set_num_threads(1)  # the fastest setting for so small a network on a CPU
    torch.manual_seed(0)
    method = smix.SMix(alpha=1.0, labels="area", prob=0.5)
    model = nn.Sequential(conv(3, 32), conv(32, 64), conv(64, 128), nn.Flatten(), nn.Linear(128 * 16, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    loader = DataLoader(Digits("train", 600, TRAIN), batch_size=25, shuffle=True)
    losses = []
    for _ in range(8):
        total = 0.0
        for x, y, masks in loader:
            mixed, target = method(x, y, masks=masks)
            loss = target.loss(model(mixed))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(loader)
        losses.append(total)

    model.eval()
    x, y, _ = next(iter(DataLoader(Digits("test", 300, TEST), batch_size=300)))
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean()
    print(f"train loss {losses[0]:.2f} -> {losses[-1]:.2f} on mixed images")
    print(f"accuracy {accuracy:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
