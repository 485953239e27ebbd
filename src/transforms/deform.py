"""Random affine deformations: as if each picture had been drawn by another hand."""

import torch
import torch.nn.functional as F
from torch import Tensor


def deform(x: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, shear, resize and move each image on its own; at its border it is continued.

    Uniformly: by up to 15 degrees, a shear of up to 0.4, a scale of 0.8 to 1.2 for both sides and
    another one for the height, and by up to 6 % of a side.

    Args:
        x: float images (n, c, h, w).
        generator: of the draws; on the CPU.
    """

    def uniform(most: float) -> Tensor:
        return (2 * torch.rand(len(x), generator=generator) - 1) * most

    angle, width = uniform(0.26), 1 + uniform(0.2)
    height = width * (1 + uniform(0.2))
    rows = [
        [angle.cos() / width, uniform(0.4) - angle.sin() / height, uniform(0.12)],
        [angle.sin() / width, angle.cos() / height, uniform(0.12)],
    ]
    matrix = torch.stack([torch.stack(row, 1) for row in rows], 1).to(x)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
