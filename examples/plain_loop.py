"""Mixing in a plain PyTorch loop.

Shows: the two lines that change in a training loop; a separate generator, which makes the mixes reproducible; and final
epochs without mixing, so that training ends on images like those of the test set.

Run:     python examples/plain_loop.py
Install: pip install .
"""

from typing import Literal

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import smix

EPOCHS, MIX_OFF_EPOCHS = 8, 2
METHOD = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())  # SMix where the mask is valid, else FMix


def load(split: Literal["train", "test"], count: int) -> TensorDataset:
    data = smix.load_data("digits-on-photos", split=split).take(count)
    images = torch.from_numpy(data.array).movedim(-1, 1) / 255
    return TensorDataset((images - 0.35) / 0.27, torch.from_numpy(data.labels), torch.from_numpy(data.masks))


def conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def main() -> None:
    torch.set_num_threads(1)  # the fastest setting for so small a network on a CPU
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)  # initial weights and order of the images
    draws = torch.Generator(device).manual_seed(0)  # for the mixes; on the device of the images

    model = nn.Sequential(conv(3, 32), conv(32, 64), conv(64, 128), nn.Flatten(), nn.Linear(128 * 16, 10)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    loader = DataLoader(load("train", 600), batch_size=50, shuffle=True)
    losses = []
    for epoch in range(EPOCHS):
        method = METHOD if epoch < EPOCHS - MIX_OFF_EPOCHS else smix.Vanilla()
        total = 0.0
        for x, y, masks in loader:
            x, y, masks = x.to(device), y.to(device), masks.to(device)
            mixed, target = method(x, y, masks=masks, generator=draws)
            loss = target.loss(model(mixed))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(loader)
        losses.append(total)

    model.eval()
    x, y, _ = load("test", 300).tensors
    with torch.no_grad():
        accuracy = (model(x.to(device)).argmax(1).cpu() == y).float().mean()
    first, last_mixed, last = losses[0], losses[-MIX_OFF_EPOCHS - 1], losses[-1]
    print(f"train loss {first:.2f} -> {last_mixed:.2f} while mixing, {last:.2f} at the end, on clean images")
    print(f"accuracy {accuracy:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
