"""Judge labels -> photo by a segmenter: `python -m benchmarks.cityscapes RUN [RUN ...]`.

A small U-Net is trained on the real photographs of the runs' own data to tell the 19 classes of
Cityscapes (Cordts et al. 2016); its accuracy on translated label maps says whether what was asked
for is there. That alone is a weak test: painting each class in its mean colour gets nearly as much
as a photograph does, so it stands beside. Sharpness is the mean squared difference of neighbouring
pixels over that of real photographs; FID is by the segmenter's innermost features.

Of runs from photo to labels it prints the share of pixels with the right class, by nearest colour.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from src.data.pairs import Pairs
from src.data.spec import to_model, to_uint8
from src.metrics.quality import frechet_distance, moments
from src.networks.image_translation import UNet
from src.runs.run import Run
from src.training.trained import load_data, load_model
from src.training.trainer import choose_device

COLOURS = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
    (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
    (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
    (0, 80, 100), (0, 0, 230), (119, 11, 32), (0, 0, 0),
)  # fmt: skip
VOID = 19  # not counted
LOGITS = 10.0  # times the tanh of the network


def classes(x: Tensor) -> Tensor:
    """Classes (n, h, w) of label maps (n, 3, h, w) as uint8, by nearest colour: JPEG blurs it."""
    table = torch.tensor(COLOURS, device=x.device).float()
    parts = [
        torch.cdist(part.permute(0, 2, 3, 1).flatten(0, 2).float(), table).argmin(1)
        for part in x.split(100)
    ]
    return torch.cat(parts).view(len(x), *x.shape[2:])


class Segmenter(nn.Module):
    """Photographs to logits of classes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = UNet(shape, (len(COLOURS), *shape[1:]), 16, dropout=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return LOGITS * self.network(x)

    def features(self, x: Tensor) -> Tensor:
        """(n, d): the innermost stage, averaged over its pixels."""
        for stage in self.network.down:
            x = stage(x)
        return x.mean((2, 3))


def train_segmenter(x: Tensor, y: Tensor, epochs: int) -> Segmenter:
    """Train on photographs (n, 3, h, w) as uint8 and their classes (n, h, w)."""
    torch.manual_seed(0)
    model = Segmenter(tuple(x.shape[1:])).to(x.device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    steps = epochs * len(x) // 32
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in tqdm(range(steps), desc="segmenter", disable=None):
        index = torch.randint(len(x), (32,)).to(x.device)
        flip = bool(torch.rand(()) < 0.5)
        photo, label = to_model(x[index]), y[index]
        photo, label = (t.flip(-1) if flip else t for t in (photo, label))
        loss = F.cross_entropy(model(photo), label, ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def in_parts(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([function(part) for part in x.split(50)])


def accuracy(found: Tensor, wanted: Tensor) -> float:
    counted = wanted != VOID
    return float((found == wanted)[counted].double().mean())


def gradient_energy(x: Tensor) -> float:
    grey = x.mean(1)
    return float(grey.diff(dim=1).square().mean() + grey.diff(dim=2).square().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    segmenter: Segmenter | None = None
    device = choose_device("auto")
    print("| photographs | label accuracy | of real | sharpness | FID (segmenter) |")
    print("|---|---|---|---|---|")
    for folder in arguments.runs:
        run = Run(folder)
        model = load_model(run).to(device)
        data = load_data(run, model.spec, None, "~/.cache/sparring")
        assert isinstance(data, Pairs), f"{folder} was not trained on data=pairs"
        source, real = data.sources["test"].to(device), data.splits["test"].x.to(device)
        output = in_parts(model.translate, to_model(source))
        if data.direction == "b_to_a":
            share = accuracy(classes(to_uint8(output)), classes(real))
            print(f"| {folder}, photo to labels: right classes | {share:.3f} | | | |")
            continue
        labels = classes(source)
        if segmenter is None:
            known = classes(data.sources["train"].to(device))
            x = data.splits["train"].x.to(device)
            segmenter = train_segmenter(x, known, arguments.epochs)
            photos = to_model(real)
            features = moments(in_parts(segmenter.features, photos))
            energy = gradient_energy(photos)
            trained = x.permute(1, 0, 2, 3).flatten(1).float()
            flat = torch.stack([trained[:, known.flatten() == k].mean(1) for k in range(20)])
            painted = flat.nan_to_num(0)[labels].permute(0, 3, 1, 2) / 127.5 - 1
            right = accuracy(in_parts(segmenter, photos).argmax(1), labels)
            print(f"| real | {right:.3f} | 1 | 1 | 0 |")
            _row(segmenter, "each class's mean colour", painted, labels, right, energy, features)
        _row(segmenter, str(folder), output, labels, right, energy, features)


def _row(segmenter, name, x, labels, right, energy, features) -> None:
    share = accuracy(in_parts(segmenter, x).argmax(1), labels)
    fid = frechet_distance(features, moments(in_parts(segmenter.features, x)))
    sharpness = gradient_energy(x) / energy
    print(f"| {name} | {share:.3f} | {share / right:.3f} | {sharpness:.2f} | {fid:.4g} |")


if __name__ == "__main__":
    main()
