"""Mixing in a plain PyTorch loop.

Shows: the two lines that change in a training loop; a generator of its own, so that the same mixes can be drawn again; and
no mixing in the last epochs, so that the network ends on images like those that it will be asked about.

Run:     python examples/plain_loop.py
Install: pip install .
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import smix

EPOCHS, CLEAN_EPOCHS = 8, 2
METHOD = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())  # SMix where the object's mask is valid, FMix elsewhere


def load(split, count):
    data = smix.load_data("digits-on-photos", split=split).take(count)
    images = torch.from_numpy(data.images).movedim(-1, 1) / 255
    return TensorDataset((images - 0.35) / 0.27, torch.from_numpy(data.labels), torch.from_numpy(data.masks))


def conv(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def main():
    torch.set_num_threads(1)  # on a CPU, so small a network is fastest with one
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)  # weights and order
    draws = torch.Generator(device).manual_seed(0)  # mixes; it must be on the device of the images

    model = nn.Sequential(conv(3, 32), conv(32, 64), conv(64, 128), nn.Flatten(), nn.Linear(128 * 16, 10)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    loader = DataLoader(load("train", 600), batch_size=50, shuffle=True)
    losses = []
    for epoch in range(EPOCHS):
        method = METHOD if epoch < EPOCHS - CLEAN_EPOCHS else smix.Vanilla()
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
    first, last_mixed, last = losses[0], losses[-CLEAN_EPOCHS - 1], losses[-1]
    print(f"train loss {first:.2f} -> {last_mixed:.2f} while mixing, {last:.2f} at the end, on clean images")
    print(f"accuracy {accuracy:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
