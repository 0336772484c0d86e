"""Mixing in transformers.Trainer.

Shows: a Trainer whose `compute_loss` mixes during training and is unchanged in evaluation. The collator returns masks in
addition to `pixel_values` and `labels`; `compute_loss` takes them out, because the model does not accept them.

Run:     python examples/hf_trainer.py
Install: pip install . transformers accelerate
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset, default_collate
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments, set_seed

import smix

METHOD = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix(), prob=0.5)


class MixingTrainer(Trainer):
    loss_is_scaled_for_ga = False  # the loss is a mean over one batch: Trainer divides it by the accumulation steps

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        masks = inputs.pop("masks")
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        mixed, target = METHOD(inputs["pixel_values"], inputs["labels"], masks=masks)
        outputs = model(pixel_values=mixed)
        loss = target.loss(outputs.logits)
        return (loss, outputs) if return_outputs else loss


def load(split: Literal["train", "test"], count: int) -> TensorDataset:
    data = smix.load_data("digits-on-photos", split=split).take(count)
    images = torch.from_numpy(data.array).movedim(-1, 1) / 255
    return TensorDataset((images - 0.35) / 0.27, torch.from_numpy(data.labels), torch.from_numpy(data.masks))


def collate(samples: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    images, labels, masks = default_collate(samples)
    return {"pixel_values": images, "labels": labels, "masks": masks}


def main() -> None:
    torch.set_num_threads(1)  # the fastest setting for so small a network on a CPU
    set_seed(0)
    names = dict(enumerate("0123456789"))
    config = ResNetConfig(hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic", id2label=names)
    arguments = TrainingArguments(
        output_dir="runs/hf_trainer",
        num_train_epochs=8,
        per_device_train_batch_size=50,
        learning_rate=3e-3,
        logging_strategy="epoch",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = MixingTrainer(
        model=ResNetForImageClassification(config),
        args=arguments,
        train_dataset=load("train", 600),
        eval_dataset=load("test", 300),
        data_collator=collate,
        compute_metrics=lambda result: {"accuracy": np.mean(np.argmax(result.predictions, 1) == result.label_ids)},
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"train loss {losses[0]:.2f} -> {losses[-1]:.2f} on mixed images")
    print(f"accuracy {trainer.evaluate()['eval_accuracy']:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
