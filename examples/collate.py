"""Mixing in the workers of a DataLoader.

Shows: a `collate_fn` that mixes, so that the training process receives mixed batches and a Target, which workers and
`pin_memory=True` handle like a tensor. No seeding by hand: each worker draws from torch's global generator, which the
DataLoader seeds for every worker and epoch from its own generator.

Run:     python examples/collate.py
Install: pip install .
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

import smix

METHOD = smix.SMix(alpha=(2.0, 2.0), labels="area", prob=0.8)  # alpha is drawn from Beta(2, 2) for each sample


def mix_and_collate(samples: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, smix.Target]:
    x, y, masks = default_collate(samples)
    return METHOD(x, y, masks=masks)


def load(split: Literal["train", "test"], count: int) -> TensorDataset:
    data = smix.load_data("digits-on-photos", split=split).take(count)
    images = torch.from_numpy(data.array).movedim(-1, 1) / 255
    return TensorDataset((images - 0.35) / 0.27, torch.from_numpy(data.labels), torch.from_numpy(data.masks))


def conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def main() -> None:
    torch.set_num_threads(1)  # the fastest setting for so small a network on a CPU
    torch.manual_seed(0)
    loader = DataLoader(
        load("train", 600),
        batch_size=50,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        collate_fn=mix_and_collate,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),  # determines the order and all mixes
    )
    model = nn.Sequential(conv(3, 32), conv(32, 64), conv(64, 128), nn.Flatten(), nn.Linear(128 * 16, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    losses = []
    for _ in range(8):
        total = 0.0
        for mixed, target in loader:
            loss = target.loss(model(mixed))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(loader)
        losses.append(total)

    model.eval()
    x, y, _ = load("test", 300).tensors  # held-out images are not mixed
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean()
    print(f"train loss {losses[0]:.2f} -> {losses[-1]:.2f} on mixed images")
    print(f"accuracy {accuracy:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
