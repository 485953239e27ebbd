"""Draw from a trained run: `python -m src.sample run=outputs/... n=64 out=grid.png`.

The run folder says everything about the model. Only weights and plain values are loaded from it.
"""

import heapq
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig

if not __package__:  # python src/sample.py: modules would be looked for in src/ itself
    sys.path[0] = str(Path(__file__).parents[1])

from src.cli import launch
from src.config.checks import check_sample
from src.errors import SettingError
from src.runs.escape import terminal
from src.runs.files import unwritable
from src.runs.run import Run

MOST_COLUMNS = 20  # of a grid with one class per column
STYLES = ("mixing", "layers", "noise")
STEPS = 10  # pictures from one end of an interpolation or traversal to the other
DRAWS = 10_000  # of a code's prior, which say where it lies
MOST_DRAWN = 10**7  # numbers of all these
MOST_NUMBERS = 2**28  # of a traversal: 1 GB of samples


def sample(config: DictConfig, _: Path) -> None:
    """Draw and write what the configuration asks for; see `src.config.settings.Sample`."""
    run = Run(Path(config.run), config.plugins)
    out = Path(config.out)
    if config.what == "progress":
        write_progress(run, out)
    elif config.what == "export":
        write_generator(config, run, out)
    elif config.what == "neighbours":
        write_neighbours(config, run, out)
    elif config.what == "worst":
        write_worst(config, run, out)
    elif config.what == "reconstructions":
        write_reconstructions(config, run, out)
    elif config.what == "projection":
        write_projection(config, run, out)
    else:
        draw_samples(config, run, out)
    print(terminal(f"Wrote {out}"))


def write_progress(run: Run, out: Path) -> None:
    """The animation (.gif) or strip (.png) of the pictures that were drawn while training."""
    from src.callbacks.samples import read_frames
    from src.pictures import grids

    frames = list(read_frames(run))
    if not frames:
        raise SettingError(f"run={run.folder} has no pictures in samples/ yet.")
    if out.suffix == ".gif":
        grids.animate(frames, out)
    elif out.suffix == ".png":
        grids.save(out, grids.strip(frames))
    else:
        raise SettingError(f"out={out}: what=progress makes a .gif or a .png.")


def write_generator(config: DictConfig, run: Run, out: Path) -> None:
    """The trained generator as ONNX, or its weights."""
    from src.training.export import export

    export(load_sampler(config, run).cpu(), out)


def write_neighbours(config: DictConfig, run: Run, out: Path) -> None:
    """Samples above the training images nearest to them."""
    from src.callbacks import neighbours
    from src.pictures import grids
    from src.training.trained import load_data

    model = load_sampler(config, run)
    if model.spec.kind != "images" or out.suffix != ".png":
        raise SettingError(
            f"what=neighbours makes a .png of images; the model of {run.folder} makes "
            f"{model.spec.kind}, and out={out}."
        )
    data = load_data(run, model.spec, config.data.root, config.data.cache)
    x = model.sample(config.n, choose_labels(config, run, model), config.seed)
    grids.save(out, neighbours.picture(x, data.reals("train").x, flip=data.flip))


def write_worst(config: DictConfig, run: Run, out: Path) -> None:
    """The held-out images that a translator translates worst."""
    from src.callbacks.samples import worst
    from src.models.capabilities import Translates
    from src.pictures import grids
    from src.training.trained import load_data, load_model
    from src.training.trainer import choose_device

    model = load_model(run).to(choose_device(config.device))
    spec = model.spec
    if not isinstance(model, Translates) or spec.kind != "images" or not spec.paired:
        raise SettingError(
            f"what=worst compares translations of images with the truth; {run.folder} has none."
        )
    if out.suffix != ".png":
        raise SettingError(f"out={out}: what=worst makes a .png.")
    data = load_data(run, spec, config.data.root, config.data.cache)
    grids.save(out, worst(model, data, config.n))


def write_reconstructions(config: DictConfig, run: Run, out: Path) -> None:
    """One's own pictures above what an autoencoder makes of their codes, or all of it as arrays.

    An array (.npz) has `arr_0`, the reconstructions, and `originals`, both uint8 (n, h, w, c), the
    `codes` (n, latent_dim) and the files' `names`.
    """
    import numpy as np
    import torch

    from src.data.photos import find, read_framed
    from src.data.spec import to_model, to_uint8
    from src.models.capabilities import Encodes, Reconstructs
    from src.pictures import grids

    model = load_sampler(config, run)
    if not (isinstance(model, Reconstructs) and isinstance(model, Encodes)) or (
        model.spec.kind != "images"
    ):
        raise SettingError(
            f"what=reconstructions: the model of {run.folder} has no codes of images.\n"
            "Autoencoders have, such as model=vae."
        )
    if config["in"] is None:
        raise SettingError("what=reconstructions: which pictures? in=FILE, or a folder or zip.")
    if model.conditional and config.label is None:
        raise SettingError(f"label: which class are they? {', '.join(model.spec.classes[:20])}")
    labels = choose_labels(config, run, model)
    names, read = [], []
    for name, content in find(Path(config["in"]).expanduser())[: config.n]:
        try:
            read.append(read_framed(content(), model.spec.shape))
            names.append(name)
        except Exception as error:  # of whatever reader the file chose
            print(terminal(f"Left out: {name}: {error}"))
    if not read:
        raise SettingError(f"in={config['in']}: none of the pictures can be read.")
    x = to_model(torch.stack(read)).to(model.device)
    y = None if labels is None else labels[:1].to(model.device).repeat(len(x))
    made = model.reconstruct(x, y)
    if out.suffix == ".png":
        grids.save(out, grids.pairs(x, made))
        return
    originals = to_uint8(x).permute(0, 2, 3, 1).cpu().numpy()
    codes = model.encode(x, y).float().cpu().numpy()
    more = {"originals": originals, "codes": codes, "names": np.array(names)}
    write(made.cpu(), out, 1, arrays=more)


def write_projection(config: DictConfig, run: Run, out: Path) -> None:
    """The photo beside G's image that is most like it (.png), the way there (.gif), or arrays.

    An array (.npz) has the `latent` (d,), w of styles and z of others, `image` and `photo` as uint8
    (h, w, c), and the name of the `features`.
    """
    import numpy as np
    import torch

    from src.data.containers import MOST_BYTES
    from src.data.photos import read_framed
    from src.data.spec import class_index, to_model, to_uint8
    from src.models.capabilities import Generates
    from src.models.parts.content import ClassifierContent
    from src.models.projection import project
    from src.pictures import grids
    from src.runs.stored import read_bytes

    model = load_sampler(config, run)
    if not isinstance(model, Generates) or model.spec.kind != "images":
        raise SettingError(f"what=projection: {run.folder} has no generator of images.")
    if config["in"] is None or out.suffix not in (".png", ".gif", ".npz"):
        raise SettingError("what=projection: in=PHOTO out=projection.png (or .gif, .npz).")
    if (config.label is None) == model.conditional:
        asked = "needs label=..." if model.conditional else "knows no classes"
        raise SettingError(f"label={config.label}: the model of {run.folder} {asked}.")
    path = Path(config["in"]).expanduser()
    if not path.is_file():
        raise SettingError(f"in={path}: there is no such file.")
    try:
        photo = to_model(read_framed(read_bytes(path, MOST_BYTES), model.spec.shape))
    except Exception as error:  # of whatever reader the file chose
        raise SettingError(f"in={path}: {error}") from error
    content = ClassifierContent(1.0, weights="faces" if model.spec.shape[0] == 3 else "mnist")
    label = None if config.label is None else class_index(config.label, model.spec.classes)
    found = project(model, photo, content, label, config.steps, config.seed)
    name = content.identity["name"]
    print(f"Distance in the features of {name}: {found.features:.3f} of that of the mean latent")
    print(f"PSNR: {found.psnr:.2f} dB")
    shown = [(f"step {i}", torch.stack([photo, x.cpu()])) for i, x in found.frames]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".npz":
            image, photo = (
                to_uint8(x).permute(1, 2, 0).cpu().numpy() for x in (found.image, photo)
            )
            latent = found.latent.cpu().numpy()
            np.savez(out, latent=latent, image=image, photo=photo, features=name)
        elif out.suffix == ".gif":
            grids.animate([(step, grids.grid(pair, 2)) for step, pair in shown], out)
        else:
            grids.save(out, grids.grid(shown[-1][1], 2))
    except OSError as error:
        raise unwritable(out, error) from error


def draw_samples(config: DictConfig, run: Run, out: Path) -> None:
    """Samples, interpolations between pairs of codes, or numbers of a code through their range."""

    model = load_sampler(config, run)
    labels = choose_labels(config, run, model)
    heads: Sequence[str] = ()
    if config.what == "samples":
        columns = math.ceil(config.n**0.5)
        classes = model.spec.classes
        if labels is None and model.conditional and 1 < len(classes) <= min(config.n, MOST_COLUMNS):
            columns, heads = len(classes), classes  # which come in turn
        x = model.sample(config.n, labels, config.seed)
    elif config.what == "traversal":
        x, columns = traversal(config, run, model, labels)
    elif config.what == "levels":
        x, columns = levels(config, run, model, labels)
    elif config.what in STYLES:
        x, columns = styles(config, run, model, labels)
    else:
        x, columns = interpolation(config, model, labels)
    write(x.cpu(), out, columns, model.spec.picture_shape, heads, _labels(config, model, labels, x))


def _labels(
    config: DictConfig,
    model: "LatentVariableModel",  # noqa: F821
    labels: "Tensor | None",  # noqa: F821
    x: "Tensor",  # noqa: F821
) -> dict[str, Any]:
    """The classes of samples x (n, ...), as arrays: `labels` (n,), and the names by index."""
    import numpy as np

    if not model.conditional or config.what in STYLES:
        return {}
    if labels is None:
        labels = model.classes_in_turn(1 if config.what == "traversal" else config.n)
    rows = 1 if config.what == "traversal" else config.n  # of one class each
    made = labels[:rows].cpu().repeat_interleave(len(x) // rows)
    return {"labels": made.numpy(), "classes": np.array(model.spec.classes)}


def load_sampler(config: DictConfig, run: Run) -> "LatentVariableModel":  # noqa: F821
    """The trained model, on the device that is asked for.

    Raises:
        SettingError: if it draws nothing.
    """
    from src.models.capabilities import Translates
    from src.training.trained import load_model
    from src.training.trainer import choose_device

    model = load_model(run).to(choose_device(config.device))
    if isinstance(model, Translates):
        raise SettingError(
            f"run={run.folder} draws nothing: its model translates images.\n"
            "Use python -m src.translate run=... in=photo.jpg out=new.png."
        )
    if generator := style_generator(model):
        generator.truncation = config.truncation
    elif config.truncation != 1:
        raise SettingError(
            f"truncation={config.truncation}: the generator of {run.folder} has no styles.\n"
            "StyleGAN2's has: model=stylegan2_narrow."
        )
    return model


def style_generator(model: "GenerativeModel") -> "StyleGenerator | None":  # noqa: F821
    """The network that is sampled, if it has styles."""
    from src.models.capabilities import Generates
    from src.networks.base import StyleGenerator

    generator = model.sampled if isinstance(model, Generates) else None
    return generator if isinstance(generator, StyleGenerator) else None


def interpolation(
    config: DictConfig,
    model: "LatentVariableModel",  # noqa: F821
    labels: "Tensor | None",  # noqa: F821
) -> tuple["Tensor", int]:  # noqa: F821
    """Samples between two codes each, row by row, and how many make a row.

    Styles are interpolated in their place, of one class along a row: their space is straighter.
    """
    import torch

    share = torch.linspace(0, 1, STEPS, device=model.device)[:, None]
    if labels is None and model.conditional:
        labels = model.classes_in_turn(config.n)
    labels = [None] * config.n if labels is None else labels.to(model.device)[:, None]
    rows, generator = [], style_generator(model)
    pairs = model.latents(2 * config.n, config.seed).view(config.n, 2, -1)
    for ends, y in zip(pairs, labels, strict=True):
        if generator:
            with model.scoring():
                first, last = generator.styles(ends, y if y is None else y.repeat(2))
                rows.append(generator.synthesise(torch.lerp(first, last, share[:, None])))
            continue
        z = torch.lerp(*ends, share)
        # A point between two Gaussian codes is too near the middle: keep the codes' own length.
        z = z / z.norm(dim=-1, keepdim=True) * torch.lerp(*ends.norm(dim=-1, keepdim=True), share)
        rows.append(model.decode(z, y if y is None else y.repeat(STEPS)))
    return torch.cat(rows), STEPS


def styles(
    config: DictConfig,
    run: Run,
    model: "LatentVariableModel",  # noqa: F821
    labels: "Tensor | None",  # noqa: F821
) -> tuple["Tensor", int]:  # noqa: F821
    """What styles and noise change in samples, row by row, and how many make a row."""
    from src.pictures.styles import exchanged, mixed, with_noise

    generator = style_generator(model)
    if not generator:
        raise SettingError(
            f"what={config.what}: the generator of {run.folder} has no styles.\n"
            "StyleGAN2's has: model=stylegan2_narrow."
        )
    crossover = config.crossover or generator.layers // 2
    if crossover >= generator.layers:
        raise SettingError(
            f"crossover={crossover}: there are {generator.layers} layers.\n"
            f"Use 1 to {generator.layers - 1}."
        )
    others = {"mixing": STEPS, "layers": config.n, "noise": 0}[config.what]
    n = config.n + others
    if labels is not None:
        labels = labels[:1].repeat(n).to(model.device)
    elif model.conditional:
        labels = model.classes_in_turn(n)
    with model.scoring():
        own, other = generator.styles(model.latents(n, config.seed), labels).split(
            [config.n, others]
        )
        if config.what == "mixing":
            return mixed(generator, own, other, crossover), 1 + others
        if config.what == "layers":
            return exchanged(generator, own, other), generator.layers + 2
        return with_noise(generator, own, model.make_random_generator(config.seed)), 6


def traversal(
    config: DictConfig,
    run: Run,
    model: "GenerativeModel",  # noqa: F821
    labels: "Tensor | None",  # noqa: F821
) -> tuple["Tensor", int]:  # noqa: F821
    """Samples along latent dimensions, row by row, and how many make a row.

    InfoGAN has dimensions that are meant to say something. Those of an autoencoder are all
    followed; the rows whose pictures change most come first, since a VAE leaves many unused though
    all have the same prior. A conditional one shows one class, the first if none is asked for.
    """
    import torch

    from src.models.capabilities import HasLatent, Reconstructs
    from src.models.parts.latents import deviations

    if isinstance(model, HasLatent) and model.latent.size > model.latent.dim:
        latent = model.latent
        columns = max(STEPS, *latent.categories)
        rows = (len(latent.categories) + latent.continuous) * config.n
        if rows * columns * max(latent.size, math.prod(model.spec.shape)) > MOST_NUMBERS:
            raise SettingError(
                f"what=traversal: {rows:,} rows of {columns:,} samples are too many.\n"
                "Pass a smaller n: codes that are followed."
            )
        z = latent.traversals(model.latents(config.n, config.seed), STEPS)
        return torch.cat([model.decode(row) for row in z]), columns
    if not isinstance(model, Reconstructs):
        raise SettingError(
            f"what=traversal: the model of {run.folder} has no codes to follow.\n"
            "Autoencoders have, and GANs with structured codes, such as model=infogan."
        )
    if labels is None and model.conditional:
        labels = torch.zeros(1, dtype=torch.long)
    labels = None if labels is None else labels[:1].to(model.device).repeat(STEPS)
    dimensions = model.latents(1, config.seed).shape[1]
    draws = model.latents(max(100, min(DRAWS, MOST_DRAWN // dimensions)), config.seed)
    rows = (model.decode(z, labels) for z in deviations(draws, STEPS))
    # The pictures of the others are forgotten: there may be thousands.
    changes = ((float(x.flatten(1).var(0).sum()), -i, x) for i, x in enumerate(rows, 1))
    chosen = heapq.nlargest(config.n, changes, key=lambda row: row[:2])
    print(f"Latent dimensions, from the top: {', '.join(str(-i) for _, i, _ in chosen)}")
    return torch.cat([x for *_, x in chosen]), STEPS


def levels(
    config: DictConfig,
    run: Run,
    model: "GenerativeModel",  # noqa: F821
    labels: "Tensor | None",  # noqa: F821
) -> tuple["Tensor", int]:  # noqa: F821
    """Each sample in a row, from its coarsest level to itself, and how many make a row."""
    import torch
    from torch.nn.functional import interpolate

    from src.models.capabilities import HasLevels

    if not isinstance(model, HasLevels):
        raise SettingError(
            f"what=levels: the model of {run.folder} makes its images in one piece.\n"
            "Pyramids have levels: model=lapgan."
        )
    if labels is None and model.conditional:
        labels = model.classes_in_turn(config.n)
    made = model.images(model.latents(config.n, config.seed), labels)
    size = made[-1].shape[2:]
    rows = torch.stack([interpolate(x, size, mode="nearest") for x in made], 1)
    return rows.flatten(0, 1), len(made)


def choose_labels(config: DictConfig, run: Run, model: "GenerativeModel") -> "Tensor | None":  # noqa: F821
    """The class that is asked for, once per sample; None if there is none."""
    import torch

    from src.data.spec import class_index

    if config.label is None:
        return None
    if not model.conditional:
        raise SettingError(f"label={config.label}: the model of {run.folder} knows no classes.")
    return torch.full((config.n,), class_index(config.label, model.spec.classes))


def write(
    x: "torch.Tensor",  # noqa: F821
    out: Path,
    columns: int,
    picture_shape: tuple[int, int] | None = None,
    heads: Sequence[str] = (),
    arrays: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write samples (n, *shape) as a grid, an array, or images as PNGs; voxels by `write_shapes`.

    In a .png, points are a scatter plot, or images where they are pictures of `picture_shape`;
    `heads` stand over the columns. An array (.npz) has images as uint8 (n, h, w, c), points as
    float32 (n, d); it is called `arr_0`, as other tools expect, and further `arrays` are beside it.
    """
    import numpy as np
    from PIL import Image

    from src.data.spec import to_uint8
    from src.pictures import grids
    from src.pictures.shapes import write_shapes

    if not x.isfinite().all():
        raise SettingError("The model makes samples that are not finite: nothing is written.")
    if x.ndim == 5:
        write_shapes(x, out, columns)
        return
    images = x.ndim == 4
    array = (to_uint8(x).permute(0, 2, 3, 1) if images else x).numpy()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".npz":
            np.savez(out, **({"arr_0": array} | arrays))  # which is the first, as some tools expect
        elif out.suffix == ".png":
            scattered = not (images or picture_shape)
            shown = grids.scatter(x, x[:0]) if scattered else grids.sheet(x, columns, picture_shape)
            grids.save(out, grids.headed(shown, heads) if heads and not scattered else shown)
        elif out.suffix or not images:
            raise SettingError(f"out={out}: choose .png, .npz, or (for images) a folder.")
        else:
            out.mkdir(exist_ok=True)
            for i, pixels in enumerate(array):
                Image.fromarray(pixels.squeeze()).save(out / f"{i:06d}.png")
    except OSError as error:
        raise unwritable(out, error) from error


def main() -> None:
    """Run the command of the command line."""
    launch("sample", check_sample, sample)


if __name__ == "__main__":
    main()
