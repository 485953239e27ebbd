"""Translate photos by a trained run: `python -m src.translate run=outputs/... in=a.jpg out=b.png`.

A model of voxels makes a shape of a picture: `out=chair.glb`.

The run folder says everything about the model. Only weights and plain values are loaded from it.
"""

import sys
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from omegaconf import DictConfig

if not __package__:  # python src/translate.py: modules would be looked for in src/ itself
    sys.path[0] = str(Path(__file__).parents[1])

from src.cli import launch
from src.config.checks import check_translate
from src.errors import SettingError
from src.runs.escape import line, terminal
from src.runs.files import CURE, replacing
from src.runs.run import Run

MOST_BYTES = 2**32  # of a result


def translate(config: DictConfig, _: Path) -> None:
    """Translate one photo, or all in a folder or archive; see `src.config.settings.Translate`."""
    run = Run(Path(config.run), config.plugins)
    run.check()
    from tqdm import tqdm

    from src.data.photos import find
    from src.models.capabilities import Translates
    from src.training.trained import load_model
    from src.training.trainer import choose_device

    given, out = Path(config["in"]).expanduser(), Path(config.out)
    photos = find(given)
    model = load_model(run).to(choose_device(config.device))
    if not isinstance(model, Translates):
        raise SettingError(
            f"run={run.folder} translates nothing: its model draws samples.\n"
            "Use python -m src.sample, or a run of a translator such as model=srgan."
        )
    shapes = model.spec.kind == "voxels"
    translator = (ShapeTranslator if shapes else PhotoTranslator)(config, run, model)
    many = len(photos) > 1 or not given.is_file() or photos[0][0] != given.name
    if many and out.suffix:
        raise SettingError(f"out={out}: {len(photos):,} photos need a folder, without an ending.")
    results = name_results([name for name, _ in photos], ".glb" if shapes else ".png")
    broken = 0
    with tqdm(total=len(photos), desc="photos", delay=1, disable=None if many else True) as bar:
        for name, content in photos:
            target = out / results[name] if many or not out.suffix else out
            try:
                numbers = translator(name, content(), target)
            except (OSError, ValueError) as error:
                if not many:
                    raise SettingError(f"in={given}: {line(str(error))}") from error
                broken += 1
                tqdm.write(line(f"Left out: {name}: {error}", 400), sys.stderr)
            else:
                if numbers:
                    tqdm.write(line(f"{name}: {numbers}", 400))
            bar.update()
    if broken == len(photos):
        raise SettingError(f"in={given}: none of the {broken:,} photos could be translated.")
    print(terminal(f"Wrote {out}" + (f" without {broken:,} of the photos" if broken else "")))


def name_results(names: list[str], ending: str = ".png") -> dict[str, str]:
    """Names of the results; where `a.jpg` lies beside `a.png` both keep their endings."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    count = Counter(stems.values())
    results = {name: f"{name if count[stem] > 1 else stem}{ending}" for name, stem in stems.items()}
    if len({*results.values()}) < len(results):  # `a.jpg.png` lies there too
        return {name: f"{name}{ending}" for name in names}
    return results


def choose_label(config: DictConfig, run: Run, model: Any) -> Any:
    """The class (1,) that is asked for; None of a model that knows no classes."""
    import torch

    from src.data.spec import class_index

    if (config.label is None) == model.conditional:
        asked = "needs label=..." if model.conditional else "knows no classes"
        raise SettingError(f"label={config.label}: the model of {run.folder} {asked}.")
    if not model.conditional:
        return None
    return torch.tensor([class_index(config.label, model.spec.classes)])


def finite(result: Any) -> Any:
    """Translations as they are; raises ValueError if they are not finite."""
    if not result.isfinite().all():
        raise ValueError("the model's translation is not finite: nothing is written")
    return result


class ShapeTranslator:
    """Reads pictures of the model's size, and writes the shapes that it makes of them.

    Args:
        config: of the command.
        run: is named in errors.
        model: a translator from pictures to voxels.
    """

    def __init__(self, config: DictConfig, run: Run, model: Any) -> None:
        back = config.direction == "back"
        given = {"direction=back": back, "degrade=true": config.degrade, "mask": config.mask}
        if asked := [setting for setting, value in given.items() if value]:
            raise SettingError(
                f"{asked[0]}: the model of {run.folder} makes voxels of pictures.\nLeave it out."
            )
        self.model, self.labels = model, choose_label(config, run, model)

    def __call__(self, name: str, content: bytes, target: Path) -> str:
        """Make a shape of one picture; raises ValueError if it is none of the model's size."""
        from src.data.spec import to_model
        from src.pictures.shapes import check_ending, write_shapes

        check_ending(target)  # before the waiting
        picture = to_model(self.read(content))[None]
        shape = finite(self.model.translate(picture, self.labels)).cpu()
        write_shapes(shape, target, pictures=picture)
        return ""

    def read(self, content: bytes) -> Any:
        """A picture's pixels (c, h, w) as uint8."""
        import numpy as np
        import torch
        from PIL import ImageOps

        from src.data.image_sets import opened

        channels, *size = self.model.spec.source.shape
        mode = "RGB" if channels == 3 else "L"
        with opened(content) as file:
            image = ImageOps.exif_transpose(file)
            if [image.height, image.width] != size:
                raise ValueError(
                    f"has {image.width} x {image.height} pixels; the model takes "
                    f"{size[1]} x {size[0]}"
                )
            plain = image if image.mode == mode else as_plain(image, mode)
            if plain is None:
                raise ValueError(
                    f"has the channels {image.mode}, with colours or transparency; the model takes "
                    f"{mode} alone{' (shades of grey)' if channels == 1 else ''}"
                )
            pixels = torch.from_numpy(np.array(plain))
        return pixels.permute(2, 0, 1) if channels == 3 else pixels[None]


def as_plain(image: Any, mode: str) -> Any:
    """An image in another mode, L or RGB; None if it has colours or transparency to lose."""
    whole = image.convert("RGBA")
    plain = whole.convert(mode)
    return plain if plain.convert("RGBA").tobytes() == whole.tobytes() else None


class PhotoTranslator:
    """Reads photos, translates them in tiles, and writes the results.

    Args:
        config: of the command.
        run: whose data say how a photo is degraded.
        model: a translator.
    """

    def __init__(self, config: DictConfig, run: Run, model: Any) -> None:
        from src.config.plugins import prefixes
        from src.data.spec import DataSpec
        from src.models.capabilities import TranslatesBack
        from src.training.instantiate import build
        from src.transforms.degradations import Degradation, NoDegradation

        self.config, self.translate, self.network = config, model.translate, model.used
        spec = model.spec
        if config.direction == "back":
            if not isinstance(model, TranslatesBack):
                raise SettingError(
                    f"direction=back: the model of {run.folder} translates one way only.\n"
                    "Leave it out, or use a run of model=cyclegan."
                )
            spec = DataSpec(spec.kind, spec.source.shape, source=DataSpec(spec.kind, spec.shape))
            self.translate, self.network = model.translate_back, model.used_back
        self.spec = spec
        self.degradation = NoDegradation()
        node = run.settings["data"].get("degradation")
        if node:
            self.degradation = build(node, Degradation, "data.degradation", prefixes(run.plugins))
        if config.degrade and isinstance(self.degradation, NoDegradation):
            raise SettingError(f"degrade=true: the run {run.folder} has no degradation.")
        if config.degrade and self.degradation.shape(spec.shape) != spec.source.shape:
            raise SettingError(
                f"degrade=true: the degradation in {run.folder} is not that of its checkpoint."
            )
        if spec.source.masked and not (config.degrade or config.mask):
            raise SettingError(
                f"The model of {run.folder} fills in what is lost.\n"
                "Say where: mask=FILE, white where it is lost; or degrade=true."
            )
        if config.mask and not spec.source.masked:
            raise SettingError(f"mask={config.mask}: the model of {run.folder} takes no mask.")
        self.labels = choose_label(config, run, model)
        self.scale = spec.shape[1] // spec.source.shape[1]

    def __call__(self, name: str, content: bytes, target: Path) -> str:
        """Translate one photo.

        Returns:
            How near the result comes to the photo, where that was degraded; else nothing.

        Raises:
            ValueError: if it cannot be translated; Pillow's readers raise other errors too.
        """
        from tqdm import tqdm

        from src.transforms.tiles import translate_tiles

        photo, alpha = self.read(content)
        format = self.find_format(target, alpha)  # before the waiting
        source = self.make_source(photo)
        _, h, w = source.shape
        network, scale = self.network, self.scale
        if min(h, w) < (least := max(network.multiple, network.smallest)):
            raise ValueError(f"has {w} x {h} pixels; at least {least} are needed")
        channels = self.spec.shape[0]
        if channels * scale**2 * h * w > MOST_BYTES:
            raise ValueError(f"would have {scale * w} x {scale * h} pixels, which are too many")
        about = {"desc": line(name, 30), "unit": "px", "unit_scale": True}
        with tqdm(total=h * w, delay=2, leave=False, disable=None, **about) as bar:
            result = translate_tiles(
                lambda part: finite(self.translate(part, self.labels)),
                source, channels, scale, self.config.tile, network.margin, network.multiple,
                bar.update,
            )  # fmt: skip
        self.write(result, alpha, target, format)
        if not self.config.degrade:
            return ""
        return self.compare(result, source, photo[:, : result.shape[1], : result.shape[2]])

    def read(self, content: bytes) -> tuple[Any, Any]:
        """A photo's pixels (c, h, w) as uint8, as they are to be seen, and its opacity or None."""
        import numpy as np
        import torch
        from PIL import ImageOps

        from src.data.image_sets import opened

        spec = self.spec
        channels = spec.shape[0] if self.config.degrade else spec.source.shape[0]
        channels -= int(spec.source.masked and not self.config.degrade)
        with opened(content) as file:
            image = ImageOps.exif_transpose(file)
            alpha = None
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                alpha = image.getchannel("A")
            pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
        pixels = torch.from_numpy(np.array(pixels))
        return (pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels[None]), alpha

    def make_source(self, photo: Any) -> Any:
        """The source (c', h', w') as uint8: the photo, degraded or masked if it is asked for."""

        from src.data.loader import degrade
        from src.data.spec import to_model, to_uint8
        from src.distributed.noise import SampleDraws
        from src.transforms.degradations import cover

        if self.config.degrade:
            side = self.scale
            h, w = (n // side * side for n in photo.shape[1:])
            if not h or not w:
                raise ValueError(f"has fewer than {side} pixels on a side")
            draws = SampleDraws([self.config.seed])
            return to_uint8(degrade(self.degradation, to_model(photo[None, :, :h, :w]), draws))[0]
        if not self.config.mask:
            return photo
        lost = self.read_mask()
        if lost.shape[-2:] != photo.shape[-2:]:
            shapes = [" x ".join(map(str, reversed(x.shape[-2:]))) for x in (lost, photo)]
            raise ValueError(
                f"mask={self.config.mask} has {shapes[0]} pixels, the photo {shapes[1]}"
            )
        return to_uint8(cover(to_model(photo[None]), lost))[0]

    def read_mask(self) -> Any:
        """True where the photo is lost, (1, 1, h, w)."""
        import numpy as np
        import torch
        from PIL import ImageOps

        from src.data.containers import MOST_BYTES
        from src.data.image_sets import opened
        from src.runs.stored import read_bytes

        try:
            with opened(read_bytes(Path(self.config.mask).expanduser(), MOST_BYTES)) as image:
                pixels = np.array(ImageOps.exif_transpose(image).convert("L"))
        except (OSError, ValueError) as error:
            raise SettingError(f"mask={self.config.mask}: {line(str(error))}") from error
        return torch.from_numpy(pixels)[None, None] >= 128

    def find_format(self, target: Path, alpha: Any) -> str:
        """Pillow's name of a result's format, by its ending."""
        from PIL import Image

        format = Image.registered_extensions().get(target.suffix.lower())
        if format not in Image.SAVE:  # of some Pillow can only read
            raise SettingError(f"out={target}: {target.suffix} is no format; .png keeps all.")
        if alpha is not None and format == "JPEG":
            raise SettingError(f"out={target}: a JPEG has no transparency; use .png.")
        return format

    def write(self, result: Any, alpha: Any, target: Path, format: str) -> None:
        """Write a result (c, h, w), with the photo's opacity brought to its size."""
        from PIL import Image

        pixels = result.permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        if alpha is not None:
            image.putalpha(alpha.resize(image.size, Image.Resampling.BICUBIC))
        with replacing(target, CURE.partition("Free")[0] + "Choose another out=...") as file:
            image.save(file, format)

    def compare(self, result: Any, source: Any, photo: Any) -> str:
        """PSNR and SSIM of a result beside the photo that its source was made of."""
        from src.data.spec import to_model
        from src.metrics.translation import compare
        from src.transforms.degradations import as_target

        target = to_model(photo[None])
        numbers = compare(to_model(result[None]), target)
        text = f"psnr {float(numbers['psnr']):.2f} dB, ssim {float(numbers['ssim']):.3f}"
        untouched = as_target(to_model(source[None]), target.shape[1:])
        if untouched is None:
            return text
        before = compare(untouched, target)
        return f"{text}   (input: {float(before['psnr']):.2f} dB, {float(before['ssim']):.3f})"


def main() -> None:
    """Run the command of the command line."""
    launch("translate", check_translate, translate)


if __name__ == "__main__":
    main()
