"""A small classifier whose features measure what Inception cannot: grey, small, solid or offline.

Frechet distances and their kin compare features; which features is a choice. For digits and drawn
faces ImageNet's are a poor one, so a network of 60k weights is trained once on the labels of the
data set ("MNIST score", LeNet-FID of Binkowski et al. 2018, arXiv:1801.01401), frozen, hashed, and
named in every number that it yields. The penultimate layer, 64 units that see the whole image,
gives the features; the last one p(y | x), for the Inception score.

    conv 24 - pool - conv 48 - pool - conv 48 - pool - linear 64 - linear       (LeNet's plan)

Images above 32 pixels get conv 16 - pool in front. Voxels are brought to 32^3 and get

    conv 16 of 4^3, stride 2 - pool - conv 24 - pool - conv 40 - pool - linear 64 - linear

The plan was measured (docs/results/metrics.md): averages over space, or batch norm, react first of
all to texture, so that hardly visible noise of 25/255 weighs more than a missing class. And the
training samples are not deformed: a network that was taught to ignore a shift or a thicker stroke
cannot score it.

Files are safetensors: the weights, and as metadata what is needed to rebuild the network.
"""

import hashlib
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from src.data.base import DataModule
from src.data.cache import keep
from src.data.spec import Split, to_bool, to_model
from src.errors import SettingError
from src.networks.precision import bf16_gains
from src.runs.escape import line
from src.runs.stored import Limits, expect, parse_json, read_bytes
from src.runs.tensor_files import read_checkpoint, read_safetensors
from src.transforms.deform import deform
from src.transforms.degradations import luminance

SIZES = range(8, 65)  # pixels, of which one is left when they are halved three times
# Of a training: samples at most, and passes over a small data set.
SAMPLES: dict[str, int] = {"images": 240_000, "voxels": 40_000}
EPOCHS = 100
SIDE = 32  # of the cubes that a classifier of voxels gets
SAVE = 20.0  # seconds between two saves of a training
LABELS, NAME = 2**16, 255  # the most labels, and the most characters of one


class Classifier(nn.Module):
    """Samples to 64 features and `outputs` logits.

    Args:
        channels: channels of the input; 1 of voxels.
        size: side of the input. Above 32 images have a fourth block in front; voxels have 32.
        outputs: classes (softmax) or attributes (sigmoid).
        kind: images or voxels.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        outputs: int,
        kind: Literal["images", "voxels"] = "images",
    ) -> None:
        super().__init__()
        self.channels, self.size, self.kind = channels, size, kind
        solid = kind == "voxels"
        self.layout = torch.channels_last_3d if solid else torch.channels_last
        conv, pool = (nn.Conv3d, nn.MaxPool3d) if solid else (nn.Conv2d, nn.MaxPool2d)

        def block(wide_in: int, wide_out: int, *size: int) -> list[nn.Module]:
            layer = conv(wide_in, wide_out, *(size or (3, 1, 1)))
            return [layer, nn.ReLU(inplace=True), pool(2)]

        if solid:
            blocks = *block(1, 16, 4, 2, 1), *block(16, 24), *block(24, 40)
            gather, places = nn.Identity(), 8 * 40
        else:
            # A mouth of 64-pixel faces is lost by a stride in the first layer: they get one more.
            first, wide = ([], channels) if size <= 32 else (block(channels, 16), 16)
            blocks = *first, *block(wide, 24), *block(24, 48), *block(48, 48)
            gather, places = nn.AdaptiveAvgPool2d(3), 9 * 48  # 28 px arrive as 3 x 3, 64 as 4 x 4
        self.body = nn.Sequential(*blocks)
        self.features = nn.Sequential(
            gather, nn.Flatten(), nn.Linear(places, 64), nn.ReLU(inplace=True)
        )
        self.head = nn.Linear(64, outputs)

    def adapt(self, x: Tensor) -> Tensor:
        """Samples of any size, as stored or in the models' form, to what `forward` expects."""
        if self.kind == "voxels":
            return fit_voxels(to_bool(x), self.size)
        return fit_to(to_model(x), self.channels, self.size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (n, channels, size, ...) to features (n, 64) and logits (n, outputs).

        Images are in [-1, 1], voxels 0 or 1.
        """
        features = self.features(self.body(x.contiguous(memory_format=self.layout)))
        return features, self.head(features)


def fit_to(x: Tensor, channels: int, size: int) -> Tensor:
    """Bring images to a network's input.

    Colour becomes grey by ITU-R 601 luma (as PIL's "L"), grey becomes colour by repetition, and
    other sizes are resampled bilinearly with antialiasing.

    Args:
        x: float (n, 1 or 3, h, w).
        channels: 1 or 3.
        size: height and width wanted.

    Returns:
        (n, channels, size, size).
    """
    if x.shape[1] == 3 and channels == 1:
        x = luminance(x)
    elif x.shape[1] == 1:
        x = x.expand(-1, channels, -1, -1)
    if x.shape[2:] != (size, size):
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return x


def fit_voxels(x: Tensor, side: int) -> Tensor:
    """Bring cubes (n, 1, r, r, r) of bool to another side, as floats of 0 and 1.

    A finer cube is reduced as the files of voxels are: occupied where any of its voxels is.
    """
    if x.shape[-1] > side:
        return F.adaptive_max_pool3d(x.float(), side)
    return F.interpolate(x.float(), (side,) * 3, mode="nearest")


def train_classifier(
    data: DataModule,
    path: Path,
    samples: int | None = None,
    seed: int = 0,
    deformed: bool = False,
) -> float:
    """Train on all attributes of a data set, or else on its classes, and save the network.

    What is done is saved beside `path` every 20 seconds; the same call goes on from there.

    Args:
        data: set up. Accuracy is measured on its test split, or on "train" if it has none.
        path: path of the safetensors file to write.
        samples: samples shown, counted with repetition; None is 240,000 images or 40,000 voxels,
            or 100 epochs if that is less.
        seed: seed of the training.
        deformed: see `fit`.

    Returns:
        The accuracy in [0, 1]: of classes, or the mean of the attributes'.

    Raises:
        SettingError: if the data are unlabelled.
    """
    names = data.attribute_names or data.spec.classes
    held_out = "test" if "test" in data.splits else "train"
    train, test = (
        Split(split.x, data.attributes[key]) if data.attribute_names else split
        for key, split in (("train", data.splits["train"]), (held_out, data.splits[held_out]))
    )
    if train.y is None:
        raise SettingError(
            f"metrics.extractor=classifier: data={data.data_id['name']} has no labels to learn.\n"
            "Use metrics=auto, or give a trained classifier by metrics.weights=PATH."
        )
    if samples is None:
        samples = min(SAMPLES[data.spec.kind], EPOCHS * len(train.x))
    unfinished = path.with_suffix(".unfinished")
    model = fit(train, len(names), samples, seed, unfinished=unfinished, deformed=deformed)
    score = accuracy(model, test)
    save_classifier(
        model,
        path,
        name=data.data_id["name"],
        labels=list(names),
        outputs="attributes" if data.attribute_names else "classes",
        accuracy=round(score, 4),
        accuracy_on=held_out,
        samples=samples,
        seed=seed,
        deformed=deformed,
        data_id=data.data_id,
    )
    unfinished.unlink(missing_ok=True)
    return score


def fit(
    train: Split,
    outputs: int,
    samples: int,
    seed: int,
    batch_size: int = 128,
    unfinished: Path | None = None,
    deformed: bool = False,
) -> Classifier:
    """Train by Adam, its rate falling linearly to 0; the global random state is left alone.

    Args:
        train: uint8 images (n, c, h, w) or bool voxels (n, 1, d, h, w), and y: class indices (n,),
            learned by cross-entropy, or 0/1 attributes (n, k), each learned by binary
            cross-entropy.
        outputs: classes or attributes.
        samples: samples shown, counted with repetition.
        seed: seed of weights and order.
        batch_size: samples per step.
        unfinished: file of an unfinished training, which is written and gone on from; it ends in
            the same weights. None keeps nothing.
        deformed: show each image turned, sheared, resized and moved at random, see
            `src/transforms/deform.py`. The classifier then reads other hands better, and is no
            measure of quality: it overlooks what it was taught to.

    Returns:
        The network in eval mode.
    """
    attributes = train.y.ndim == 2
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if train.x.dtype == torch.bool:
            model = Classifier(1, SIDE, outputs, "voxels")
        else:
            model = Classifier(train.x.shape[1], min(train.x.shape[2], 64), outputs)
    model.to(memory_format=model.layout)
    steps = max(1, samples // batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    order = torch.empty(0, dtype=torch.long)
    model.train()
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    begun, saved = 0, time.monotonic()
    # Images twice as fast where it gains; a step on voxels takes as long in either (measured).
    bf16 = model.kind == "images" and bf16_gains(torch.device("cpu"))
    key = [steps, seed, int(bf16)]
    if unfinished and (kept := _read_unfinished(unfinished, key)):
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        generator.set_state(kept["generator"])
        order, begun = kept["order"], kept["step"]
    about = "training the classifier of the metrics"
    for step in tqdm(range(begun, steps), about, steps, initial=begun, unit="step", mininterval=5):
        if unfinished and time.monotonic() - saved > SAVE:
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"generator": generator.get_state(), "order": order.clone()}
            file = io.BytesIO()
            torch.save(state | {"step": step, "of": key}, file)
            keep(unfinished, file.getvalue())
            saved = time.monotonic()
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(train.x), generator=generator)])
        index, order = order[:batch_size], order[batch_size:]
        x, y = model.adapt(train.x[index]), train.y[index]
        x = deform(x, generator) if deformed else x
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(x)[1].float()
        if attributes:
            loss = F.binary_cross_entropy_with_logits(logits, y.float())
        else:
            loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _read_unfinished(path: Path, key: Sequence[int]) -> dict[str, Any] | None:
    """Read an unfinished training; None if there is none, or it is damaged or of another kind.

    Args:
        path: of the file.
        key: steps in all, seed, and whether it is in bfloat16.
    """
    try:
        kept = read_checkpoint(path, whole=True)
        return kept if kept["of"] == key and 0 <= kept["step"] <= key[0] else None
    except (ValueError, KeyError, TypeError):
        return None


def save_classifier(model: Classifier, path: Path, **about: object) -> None:
    """Write weights and description.

    Args:
        model: to save.
        path: path of the safetensors file.
        about: at least `name`, `labels` and `outputs` ("classes" or "attributes"), and what else
            is known: accuracy, data ...

    Raises:
        SettingError: if it cannot be written.
    """
    about = {"channels": model.channels, "size": model.size, "kind": model.kind, **about}
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    keep(path, save(state, {key: json.dumps(value) for key, value in about.items()}))


def load_classifier(path: Path) -> tuple[Classifier, dict, str]:
    """Read a file of `save_classifier`; nothing in it can be run.

    Returns:
        The network in eval mode, its description, and the file's sha256.

    Raises:
        SettingError: if there is no such file or it is none of `save_classifier`'s.
    """
    cure = "Give a .safetensors file that this project trained."
    try:
        content = read_bytes(path, most=2**26)
        state, metadata = read_safetensors(content)
        about = {key: parse_json(text, Limits(nodes=2 * LABELS)) for key, text in metadata.items()}
        _check_about(about)
        kind = about.get("kind", "images")
        model = Classifier(about["channels"], about["size"], len(about["labels"]), kind)
        model.load_state_dict(state)
    except OSError as error:
        raise SettingError(f"metrics.weights={path} cannot be read: {error}.\n{cure}") from error
    except (ValueError, RuntimeError) as error:  # of a tensor that is missing, or of another shape
        raise SettingError(
            f"metrics.weights={path} is no classifier of ours: {line(str(error))}\n{cure}"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    return model.eval().to(memory_format=model.layout), about, sha256


def _check_about(about: dict[str, Any]) -> None:
    """Check a stranger's description before a network is made of it.

    Raises:
        ValueError: if something is missing, or is no description of a classifier.
    """
    shape = {"channels": int, "size": int, "name": str, "labels": [str], "outputs": str}
    expect(about, shape | {"kind?": str}, "its description")
    kind, channels, size = about.get("kind", "images"), about["channels"], about["size"]
    if kind not in SAMPLES or (kind == "voxels" and (channels, size) != (1, SIDE)):
        raise ValueError(f"it is for neither images nor voxels of {SIDE}^3.")
    if channels not in (1, 3) or size not in SIZES:
        raise ValueError(f"it is for {channels} channels of {size} pixels.")
    if about["outputs"] not in ("classes", "attributes"):
        raise ValueError("it has neither classes nor attributes.")
    labels = about["labels"]
    if not 1 <= len(labels) <= LABELS or max(map(len, [about["name"], *labels])) > NAME:
        raise ValueError("its labels are too many, or too long.")


@torch.no_grad()
def accuracy(model: Classifier, split: Split, batch_size: int = 500) -> float:
    """Share of right answers in [0, 1]: of classes (n,), or over all attributes (n, k).

    Args:
        model: in eval mode.
        split: samples as stored, and their labels.
        batch_size: samples at once.
    """
    right = 0.0
    for x, y in zip(split.x.split(batch_size), split.y.split(batch_size), strict=True):
        logits = model(model.adapt(x))[1]
        answers = logits > 0 if y.ndim == 2 else logits.argmax(1)
        right += (answers == y).sum().item()
    return right / split.y.numel()
