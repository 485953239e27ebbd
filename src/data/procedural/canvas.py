"""Tools of all drawn scenes: a check of the resolution, batches, and a canvas to paint on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from src.data.procedural.sdf import Number, Window
from src.errors import SettingError

RESOLUTIONS = (32, 128)


def check_resolution(resolution: int, things: str) -> None:
    """Refuse what the things named cannot be drawn at.

    Raises:
        SettingError: for a resolution out of range.
    """
    low, high = RESOLUTIONS
    if not (isinstance(resolution, int) and low <= resolution <= high):
        raise SettingError(
            f"data.resolution={resolution}: the built-in {things} have {low} to {high} pixels.\n"
            f"Set data.resolution to a whole number from {low} to {high}, say 64."
        )


def draw_batches(
    draw: Callable[[slice], object],
    n: int,
    batch_size: int,
    progress: Callable[[int], object] | None = None,
    on_cpu: bool = True,
) -> None:
    """Draw n images in batches, several at once on the CPU.

    Each batch has one thread: thousands of small operations that all wait for their slowest thread
    would be 10 to 20 times slower on a machine that does something else too.

    Args:
        draw: draws the images of a slice.
        n: number of images.
        batch_size: images per slice.
        progress: is told how many more are done.
        on_cpu: whether the images are drawn on the CPU.
    """
    threads = torch.get_num_threads()
    parts = [slice(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    try:
        with ThreadPoolExecutor(
            threads if on_cpu else 1, "draw", torch.set_num_threads, (1,)
        ) as pool:
            for part, _ in zip(parts, pool.map(draw, parts), strict=True):
                if progress:
                    progress(part.stop - part.start)
    finally:
        torch.set_num_threads(threads)


class Canvas:
    """A batch of images to be painted back to front.

    Attributes:
        image: (3, r, r, n) in [0, 1].
        x: horizontal coordinates of the pixels, (1, r, 1).
        y: vertical ones, downwards, (r, 1, 1).
        pixel: (1,), width of a pixel.
    """

    def __init__(self, n: int, resolution: int) -> None:
        axis = (torch.arange(resolution) * 2 + 1) * (1 / resolution) - 1
        self.x, self.y = axis[None, :, None], axis[:, None, None]
        self.pixel = torch.tensor([2 / resolution])
        self.image = torch.zeros((3, resolution, resolution, n))

    def window(self, left: Number, right: Number, top: Number, bottom: Number) -> Window:
        """The smallest rectangle that holds the box of every image, given by numbers or (n,).

        The box must hold all of a shape, also what is covered later: what lies beneath a colour
        can change its last bit, and the rectangle depends on the other images of the batch.
        """
        size = len(self.y)

        def place(edge: Number, upper: bool) -> int:
            edge = torch.as_tensor(edge)
            at = ((edge.amax() if upper else edge.amin()).item() + 1) * size / 2
            return min(max(int(at) + (2 if upper else -1), 0), size)

        rows = slice(place(top, False), place(bottom, True))
        columns = slice(place(left, False), place(right, True))
        x, y = self.x[:, columns], self.y[rows]
        return Window(self.image[:, rows, columns], x, y, torch.ones(1), self.pixel)

    def levels(self) -> Tensor:
        """The images as uint8 (n, 3, r, r)."""
        return self.image.clamp_(0, 1).mul_(255).add_(0.5).byte().permute(3, 0, 1, 2)
