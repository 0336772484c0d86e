"""Train with the Hugging Face Trainer on a folder of pictures, mixed along their masks.

The pictures are birds/train/CLASS/picture, and masks/birds was built by smix masks build --data folder:birds --out masks/birds.

Run:     python examples/pictures/with_hf_trainer.py
Install: pip install . transformers accelerate
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchvision.transforms import v2
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import smix
from smix.data import MaskedFolder

METHOD = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix())  # FMix where a mask is not valid
TRANSFORM = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])


class MixingTrainer(Trainer):
    loss_is_scaled_for_ga = False  # the loss is a mean over one batch: Trainer divides it by the accumulation steps

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        mixed, target = METHOD(inputs["pixel_values"], inputs["labels"], masks=inputs["masks"])
        outputs = model(pixel_values=mixed)
        loss = target.loss(outputs.logits)
        return (loss, outputs) if return_outputs else loss


def collate(samples: list[Any]) -> dict[str, Tensor]:
    return dict(zip(("pixel_values", "labels", "masks"), default_collate(samples), strict=True))


def main() -> None:
    data = MaskedFolder("birds/train", smix.MaskStore("masks/birds"), TRANSFORM)
    names = dict(enumerate(data.classes))
    config = ResNetConfig(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", id2label=names)
    arguments = TrainingArguments("runs/birds", num_train_epochs=2, per_device_train_batch_size=64, save_strategy="no")
    trainer = MixingTrainer(ResNetForImageClassification(config), arguments, collate, data)
    print(f"loss {trainer.train().training_loss:.2f}")


if __name__ == "__main__":
    main()
