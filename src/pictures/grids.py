"""Pictures of samples and of their progress: tensors in, PIL images out.

Matplotlib takes half a second to import and is used for plots only, without its global state.
"""

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from src.data.spec import to_uint8
from src.runs.escape import plot
from src.runs.files import write_atomically
from src.transforms.views import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL, FAKE = "#1f5fa8", "#d9480f"
PALE_REAL, PALE_FAKE = "#a9cbee", "#fbcfb0"


def save(path: Path, image: Image.Image) -> None:
    """Write a PNG: the whole file or none."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    write_atomically(path, buffer.getvalue())


def grid(
    images: Tensor, columns: int | None = None, padding: int = 2, scale: int | None = None
) -> Image.Image:
    """Draw images side by side, row by row, on white.

    By hand: torchvision's `make_grid` leaves out the padding of a single image, has no enlargement
    and takes a second and a half to import.

    Args:
        images: (n, 1 or 3, h, w) in [-1, 1].
        columns: images per row; None makes a square.
        padding: pixels between images and around them.
        scale: enlargement by pixel repetition; None brings small images to about 64 pixels.
    """
    n, c, h, w = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = scale or max(1, 64 // max(h, w))
    pixels = to_uint8(images).cpu()
    pixels = pixels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    high, wide = scale * h + padding, scale * w + padding
    canvas = torch.full((c, rows * high + padding, columns * wide + padding), 255).byte()
    for i, picture in enumerate(pixels):
        top, left = i // columns * high + padding, i % columns * wide + padding
        canvas[:, top : top + scale * h, left : left + scale * w] = picture
    array = canvas.permute(1, 2, 0).numpy()
    return Image.fromarray(array if c == 3 else array[:, :, 0])


def grid_of_points(
    x: Tensor, shape: tuple[int, int], columns: int | None = None, padding: int = 12
) -> Image.Image:
    """Points that are pictures, side by side as in `grid`, but apart: light ones show no edge.

    Args:
        x: (n, h w), row by row, from 0 (light) to 1 (dark).
        shape: (h, w).
        columns: see `grid`.
        padding: see `grid`.
    """
    return grid(1 - 2 * x.unflatten(1, (1, *shape)), columns, padding)


def grid_of_voxels(x: Tensor, columns: int | None = None, side: int = 96) -> Image.Image:
    """Shaded views of voxels from one side, side by side as in `grid`.

    Args:
        x: occupancies (n, 1, d, h, w) in [0, 1].
        columns: see `grid`.
        side: side of a view in pixels.
    """
    return grid(render(x, resolution=side), columns, padding=0)


def sheet(
    x: Tensor, columns: int | None = None, picture_shape: tuple[int, int] | None = None
) -> Image.Image:
    """Samples of any kind that can stand side by side, as `grid` and its like draw them.

    Args:
        x: images, voxels, or points that are pictures.
        columns: see `grid`.
        picture_shape: height and width of such points.
    """
    if picture_shape:
        return grid_of_points(x, picture_shape, columns)
    return grid_of_voxels(x, columns) if x.ndim == 5 else grid(x, columns)


def pairs(above: Tensor, below: Tensor, columns: int | None = None) -> Image.Image:
    """A grid in which each image of `above` stands on its partner in `below`.

    Args:
        above: (n, 1 or 3, h, w) in [-1, 1].
        below: the same shape.
        columns: pairs per row; None makes a square.
    """
    columns = columns or math.ceil(math.sqrt(2 * len(above)))
    blank = above.new_ones(-len(above) % columns, *above.shape[1:])
    rows = [torch.cat([part, blank]).unflatten(0, (-1, columns)) for part in (above, below)]
    return grid(torch.stack(rows, 1).flatten(0, 2), columns)


def columns(heads: Tensor, below: Tensor, most: int = 16) -> Image.Image:
    """A row of images and, below each, others that belong to it.

    Args:
        heads: (n, 1 or 3, h, w) in [-1, 1].
        below: (k, n, 1 or 3, h, w), the others from top to bottom.
        most: in a row; the rest follows underneath.
    """
    gap = 6
    parts, places, top = [], [], 0
    for head, others in zip(heads.split(most), below.split(most, 1), strict=True):
        for images, space in ((head, gap), (others.flatten(0, 1), 4 * gap)):
            parts.append(grid(images, len(head)))
            places.append(top)
            top += parts[-1].height + space
    sheet = Image.new(parts[0].mode, (parts[0].width, top - 4 * gap), "white")
    for part, place in zip(parts, places, strict=True):
        sheet.paste(part, (0, place))
    return sheet


def scatter(
    fake: Tensor, real: Tensor, critic: Callable[[Tensor], Tensor] | None = None
) -> Image.Image:
    """Real and generated points; behind them what D takes for real.

    Points of more than two dimensions are shown by their first two, of one by histograms.

    Args:
        fake: (n, d).
        real: (m, d); they alone set the axes, so that pictures of one run compare. May be empty.
        critic: logits (k,) of points (k, d); drawn as sigmoid(D(x)) for d = 2 only.
    """
    fake, real = fake.float().cpu(), real.float().cpu()
    dim = real.shape[1]
    critic = critic if dim == 2 else None
    figure, axes = new_figure(4.5 + 0.8 * (critic is not None), 4.5 if dim > 1 else 3.2)
    framed = real if len(real) else fake
    centre = (framed.amin(0) + framed.amax(0)) / 2
    reach = 0.65 * (framed.amax(0) - framed.amin(0))[:2].max().item()
    (x0, x1), (y0, y1) = [(c - reach, c + reach) for c in centre[[0, dim > 1]].tolist()]
    if critic is not None:
        from matplotlib.colors import LinearSegmentedColormap

        side = 120
        xs, ys = torch.linspace(x0, x1, side), torch.linspace(y0, y1, side)
        surface = critic(torch.cartesian_prod(ys, xs).flip(1)).float().sigmoid().cpu()
        colours = LinearSegmentedColormap.from_list("critic", [PALE_FAKE, "white", PALE_REAL])
        shown = axes.imshow(
            surface.view(side, side), colours, vmin=0, vmax=1, extent=(x0, x1, y0, y1),
            origin="lower", interpolation="bilinear",
        )  # fmt: skip
        figure.colorbar(shown, ax=axes, shrink=0.8).set_label("sigmoid(D(x))", fontsize=8)
    for points, colour, name in ((real, REAL, "real"), (fake, FAKE, "generated")):
        if dim == 1:
            bins = torch.linspace(x0, x1, 60).numpy()
            axes.hist(points[:, 0], bins, density=True, color=colour, alpha=0.5, label=name)
        elif len(points):
            axes.scatter(*points[:, :2].T, s=4, c=colour, lw=0, alpha=0.6, label=name)
    if dim > 1:
        axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal")
    axes.tick_params(labelsize=8)
    axes.legend(loc="upper right", fontsize=8, markerscale=3)
    return rendered(figure)


def curves(rows: Sequence[Mapping[str, float]]) -> Image.Image:
    """Metrics against samples seen, one panel for all names with the same beginning.

    A headline such as `fid` is left out beside the number that it is short for, `fid10k_mnist`, and
    so are numbers with one value, such as those of the end alone, unless there are no others.

    Args:
        rows: as `src.runs.metrics_file.read_metrics` gives them.
    """
    from matplotlib.ticker import EngFormatter

    hidden = {"samples_seen", "seconds", "samples_per_second"}
    often = Counter(name for row in rows for name in row if name not in hidden)
    names = sorted(name for name, times in often.items() if times > 1) or sorted(often)
    # Only where digits begin, or many of them would be looked at from each.
    counts = {name: re.search(r"(?<!\d)\d+k?_", name) for name in names}
    protocols = {name[: count.start()] for name, count in counts.items() if count}
    names = [name for name in names if name not in protocols]
    panels = [list(group) for _, group in groupby(names, key=_panel)]
    columns = min(len(panels), 3) or 1
    rows_of_panes = math.ceil(len(panels) / columns) or 1
    figure, axes = new_figure(3.6 * columns, 2.5 * rows_of_panes, rows_of_panes, columns)
    panes = list(axes.flat) if rows_of_panes * columns > 1 else [axes]
    last = max((row["samples_seen"] for row in rows), default=1)
    for pane in panes[len(panels) :]:
        pane.set_visible(False)
    for panel, pane in zip(panels, panes, strict=False):
        for name in panel:
            there = [row for row in rows if name in row]
            x, y = [row["samples_seen"] for row in there], [row[name] for row in there]
            pane.plot(x, y, lw=1.2, label=plot(name), marker="." if len(x) < 20 else "")
        pane.set_xlim(0, 1.02 * last)
        pane.xaxis.set_major_formatter(EngFormatter(sep=""))
        pane.set_xlabel("samples seen", fontsize=7)
        pane.tick_params(labelsize=7)
        pane.grid(alpha=0.3)
        pane.legend(fontsize=7)
    return rendered(figure)


def labelled(image: Image.Image, label: str, width: int | None = None) -> Image.Image:
    """The image, not wider than `width`, with a line of text below."""
    image = image.convert("RGB")
    if width and image.width > width:
        size = (width, round(image.height * width / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    font = ImageFont.load_default(14)
    framed = Image.new("RGB", (image.width, image.height + 22), "white")
    framed.paste(image, (0, 0))
    ImageDraw.Draw(framed).text((image.width / 2, image.height + 10), label, "black", font, "mm")
    return framed


def headed(image: Image.Image, heads: Sequence[str]) -> Image.Image:
    """The image with a line of text above, one word over each of as many equal columns."""
    font = ImageFont.load_default(12)
    image = image.convert("RGB")
    framed = Image.new("RGB", (image.width, image.height + 18), "white")
    framed.paste(image, (0, 18))
    draw = ImageDraw.Draw(framed)
    wide = image.width / len(heads)
    for i, head in enumerate(heads):
        text = head
        while len(text) > 1 and draw.textlength(text, font) > wide - 4:
            text = text[:-1]
        draw.text(((i + 0.5) * wide, 10), text, "black", font, "mm")
    return framed


def animate(frames: Sequence[tuple[str, Image.Image]], path: Path, width: int = 256) -> None:
    """Write a GIF that repeats for ever and rests on its last frame.

    Args:
        frames: labels and images, in order.
        path: path of the file.
        width: the most that a frame is wide, in pixels.
    """
    shown = [labelled(image, label, width) for label, image in frames]
    # One palette for all frames, from all of them: no flicker, and a smaller file.
    sheet = Image.new("RGB", (shown[0].width, sum(frame.height for frame in shown)))
    top = 0
    for frame in shown:
        sheet.paste(frame, (0, top))
        top += frame.height
    palette = sheet.quantize(128, Image.Quantize.FASTOCTREE)
    shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in shown]
    buffer = io.BytesIO()
    times = [500] * (len(shown) - 1) + [2500]
    shown[0].save(
        buffer, "GIF", save_all=True, append_images=shown[1:], duration=times, loop=0, optimize=True
    )
    write_atomically(path, buffer.getvalue())


def strip(frames: Sequence[tuple[str, Image.Image]], width: int = 240) -> Image.Image:
    """The frames of an animation side by side.

    Args:
        frames: labels and images, in order, all of one size.
        width: the most that a frame is wide, in pixels.
    """
    return beside([labelled(image, label, width) for label, image in frames])


def beside(parts: Sequence[Image.Image], columns: int | None = None, gap: int = 6) -> Image.Image:
    """Pictures side by side on white, not enlarged.

    Args:
        parts: parts of one mode; those of a row share its upper edge.
        columns: pictures per row; None puts all into one.
        gap: pixels between pictures, and between rows.
    """
    columns = columns or len(parts)
    rows = [parts[i : i + columns] for i in range(0, len(parts), columns)]
    width = max(sum(part.width + gap for part in row) for row in rows) - gap
    heights = [max(part.height for part in row) + gap for row in rows]
    sheet, top = Image.new(parts[0].mode, (width, sum(heights) - gap), "white"), 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for part in row:
            sheet.paste(part, (left, top))
            left += part.width + gap
        top += height
    return sheet


def _panel(name: str) -> str:
    """loss/d and loss/g share a panel, and so do d_real and d_fake, fid and fid10k_mnist."""
    return re.match("[A-Za-z]*", name)[0]


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, projection: str | None = None
) -> tuple["Figure", Any]:
    """A figure of so many inches of 100 pixels, and the axes of its panels, for `rendered`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, subplot_kw={"projection": projection})


def rendered(figure: "Figure") -> Image.Image:
    """A figure's pixels."""
    figure.canvas.draw()
    pixels = torch.frombuffer(figure.canvas.buffer_rgba(), dtype=torch.uint8)
    width, height = figure.canvas.get_width_height()
    return Image.fromarray(pixels.view(height, width, 4).numpy()).convert("RGB")
