"""Draw from a trained run: `python -m src.sample run=outputs/... n=64 out=grid.png`.

The run folder says everything about the model. Only weights and plain values are loaded from it.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
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


def sample(config: DictConfig, _: Path) -> None:
    """Draw and write what the configuration asks for; see `src.config.settings.Sample`."""
    run = Run(Path(config.run), config.plugins)
    run.check()
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
    from src.pictures.files import write_samples

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
        raise SettingError(
            f"in={config['in']}: none of the pictures can be read.\n"
            "Give image files: one, or a folder, zip or tar of them; no arrays."
        )
    x = to_model(torch.stack(read)).to(model.device)
    y = None if labels is None else labels[:1].to(model.device).repeat(len(x))
    made = model.reconstruct(x, y)
    if out.suffix == ".png":
        grids.save(out, grids.pairs(x, made))
        return
    originals = to_uint8(x).permute(0, 2, 3, 1).cpu().numpy()
    codes = model.encode(x, y).float().cpu().numpy()
    more = {"originals": originals, "codes": codes, "names": np.array(names)}
    write_samples(made.cpu(), out, 1, arrays=more)


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
    from src.models.parts.content import shipped_content
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
    content = shipped_content(model.spec.shape[0])
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
    """Samples, or rows of samples in which latents, levels or styles change."""
    from src.data.spec import to_bool
    from src.models.walks import interpolation, levels, styles, traversal
    from src.pictures.files import write_samples

    model = load_sampler(config, run)
    labels = choose_labels(config, run, model)
    heads: Sequence[str] = ()
    if config.what == "samples":
        columns = math.ceil(config.n**0.5)
        classes = model.spec.classes
        if labels is None and model.conditional and 1 < len(classes) <= min(config.n, MOST_COLUMNS):
            columns, heads = len(classes), classes  # which come in turn
        x = model.sample(config.n, labels, config.seed)
    elif config.what in STYLES:
        x, columns = styles(model, config.what, config.n, config.seed, labels, config.crossover)
    else:
        walk = {"traversal": traversal, "levels": levels, "interpolation": interpolation}
        x, columns = walk[config.what](model, config.n, config.seed, labels)
    arrays = _labels(config, model, labels, x)
    write_samples(x.cpu(), out, columns, model.spec.picture_shape, heads, arrays)
    voxels = model.spec.kind == "voxels"
    if voxels and (empty := int((~to_bool(x).flatten(1).any(1)).sum())):
        print(f"{empty:,} of {len(x):,} shapes are empty.")


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
    from src.models.base import LatentVariableModel
    from src.models.styles import truncate
    from src.training.trained import load_model
    from src.training.trainer import choose_device

    model = load_model(run).to(choose_device(config.device))
    if not isinstance(model, LatentVariableModel):
        raise SettingError(
            f"run={run.folder} draws nothing: its model translates images.\n"
            "Use python -m src.translate run=... in=photo.jpg out=new.png."
        )
    truncate(model, config.truncation)
    return model


def choose_labels(config: DictConfig, run: Run, model: "GenerativeModel") -> "Tensor | None":  # noqa: F821
    """The class that is asked for, once per sample; None if there is none."""
    import torch

    from src.data.spec import class_index

    if config.label is None:
        return None
    if not model.conditional:
        raise SettingError(f"label={config.label}: the model of {run.folder} knows no classes.")
    return torch.full((config.n,), class_index(config.label, model.spec.classes))


def main() -> None:
    """Run the command of the command line."""
    launch("sample", check_sample, sample)


if __name__ == "__main__":
    main()
