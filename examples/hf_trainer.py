"""Mixing in transformers.Trainer.

Shows: a Trainer whose `compute_loss` mixes while the model trains, and leaves evaluation to transformers. The data set hands
over masks beside `pixel_values` and `labels`; for evaluation it has none.

Run:     python examples/hf_trainer.py
Install: pip install . transformers accelerate
"""

import torch
from torch.utils.data import Dataset
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments, set_seed

import smix

METHOD = smix.Fallback(smix.SMix(alpha=0.4), smix.FMix(), prob=0.5)


class MixingTrainer(Trainer):
    # The loss below is the mean over one batch: the Trainer is to divide it by the number of batches that it accumulates.
    loss_is_scaled_for_ga = False

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        mixed, target = METHOD(inputs["pixel_values"], inputs["labels"], masks=inputs["masks"])
        outputs = model(pixel_values=mixed)
        loss = target.loss(outputs.logits)
        return (loss, outputs) if return_outputs else loss


class Digits(Dataset):
    def __init__(self, split, count, with_masks):
        data = smix.load_data("digits-on-photos", split=split).take(count)
        images = torch.from_numpy(data.images).movedim(-1, 1) / 255
        self.columns = {"pixel_values": (images - 0.35) / 0.27, "labels": torch.from_numpy(data.labels)}
        if with_masks:
            self.columns["masks"] = torch.from_numpy(data.masks)

    def __len__(self):
        return len(self.columns["labels"])

    def __getitem__(self, row):
        return {name: values[row] for name, values in self.columns.items()}


def main():
    torch.set_num_threads(1)  # on a CPU, so small a network is fastest with one
    set_seed(0)
    config = ResNetConfig(hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic", num_labels=10)
    arguments = TrainingArguments(
        output_dir="runs/hf_trainer",
        num_train_epochs=8,
        per_device_train_batch_size=50,
        learning_rate=3e-3,
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,  # else the masks, which the model does not know, would be dropped
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = MixingTrainer(
        model=ResNetForImageClassification(config),
        args=arguments,
        train_dataset=Digits("train", 600, with_masks=True),
        eval_dataset=Digits("test", 300, with_masks=False),
        compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(1) == found.label_ids).mean()},
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    accuracy = trainer.evaluate()["eval_accuracy"]
    print(f"train loss {losses[0]:.2f} -> {losses[-1]:.2f} on mixed images")
    print(f"accuracy {accuracy:.2f} on 300 held-out images (chance 0.10)")


if __name__ == "__main__":
    main()
