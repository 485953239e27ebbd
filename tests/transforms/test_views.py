"""Views of voxels: what is seen from where, and how bright."""

import torch
from torch import Tensor
from torch.testing import assert_close

from src.transforms.views import FRAME, render


def cube(side: int = 16, *blocks: tuple[slice, slice, slice]) -> Tensor:
    x = torch.zeros(1, 1, side, side, side)
    for block in blocks:
        x[0, 0][block] = 1
    return x


def seen(picture: Tensor) -> Tensor:
    """Where a picture (1, 1, r, r) is not white."""
    return picture[0, 0] < 1


ALL, LOW, HIGH = slice(None), slice(0, 8), slice(8, 16)


def test_nothing_is_white_and_values_are_in_range() -> None:
    assert (render(cube(), resolution=32) == 1).all()
    x = (torch.rand(3, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.9).float()
    pictures = render(x, resolution=40)
    assert pictures.shape == (3, 1, 40, 40)
    assert pictures.amin() >= -1
    assert pictures.amax() <= 1
    assert (pictures.amin((1, 2, 3)) < 0.5).all()


def test_from_the_front_rows_are_heights_and_columns_widths() -> None:
    right_and_low = render(cube(16, (ALL, HIGH, HIGH)), 0.0, 0.0, resolution=52)
    edge = 26 + round(26 / FRAME)  # where the cube's face ends
    expected = torch.zeros(52, 52, dtype=torch.bool)
    expected[26:edge, 26:edge] = True
    assert torch.equal(seen(right_and_low), expected)


def test_the_viewer_walks_to_the_right_and_looks_down() -> None:
    front, back = cube(16, (LOW, ALL, LOW)), cube(16, (HIGH, ALL, LOW))

    def column(x: Tensor, azimuth: float, elevation: float = 0.0) -> float:
        return float(
            seen(render(x, azimuth, elevation, resolution=64)).nonzero()[:, 1].double().mean()
        )

    def row(x: Tensor, elevation: float) -> float:
        return float(seen(render(x, 0.0, elevation, resolution=64)).nonzero()[:, 0].double().mean())

    # From the right side, what is in front is on the left, and so is from behind what was right.
    assert column(front, 90) + 4 < column(back, 90)
    assert column(front, 0) + 4 < column(front, 180)
    # From above, what is in front is lower.
    assert row(front, 60) > row(back, 60) + 4
    assert abs(row(front, 0) - row(back, 0)) < 1e-6


def test_the_nearest_is_seen_and_the_side_of_the_light_is_bright() -> None:
    ball = torch.linspace(-1, 1, 32).square()
    ball = (ball[:, None, None] + ball[:, None] + ball < 0.5).float()[None, None]
    for beside, above, bright in ((-60.0, 0.0, "left"), (60.0, 0.0, "right"), (0.0, 60.0, "top")):
        picture = render(ball, 0.0, 0.0, (beside, above), resolution=64)[0, 0]
        left, right, top, low = picture[:, :32], picture[:, 32:], picture[:32], picture[32:]
        halves = {"left": left, "right": right, "top": top, "low": low}
        means = {name: float(half[half < 1].mean()) for name, half in halves.items()}
        assert max(means, key=means.get) == bright
    # Faces that look away are not those that are seen.
    from_viewer, from_behind = (
        render(ball, 0.0, 0.0, (beside, 0.0), resolution=64) for beside in (0.0, 180.0)
    )
    assert from_viewer[from_viewer < 1].mean() > from_behind[from_behind < 1].mean() + 0.5
    # A plate before the ball hides it: the picture is that of the plate alone.
    plate = torch.zeros_like(ball)
    plate[..., 0, :, :] = 1
    both = render(torch.maximum(ball, plate), 0.0, 0.0)
    assert_close(both, render(plate, 0.0, 0.0), rtol=0, atol=1e-6)


def test_each_sample_has_its_own_angles_and_the_batch_does_not_matter() -> None:
    x = (torch.rand(4, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.95).float()
    azimuth = torch.tensor([0.0, 40.0, 140.0, 290.0])
    elevation = torch.tensor([0.0, 20.0, 40.0, -30.0])
    together = render(x, azimuth, elevation, (azimuth / 3, elevation), resolution=32)
    for i in range(4):
        alone = render(
            x[i : i + 1], float(azimuth[i]), float(elevation[i]),
            (float(azimuth[i] / 3), float(elevation[i])), resolution=32,
        )  # fmt: skip
        assert (alone[0] - together[i]).abs().mean() < 0.01  # rounding can move an edge
    assert not torch.equal(together[0], together[1])


def test_a_thin_plate_from_above_is_lit_evenly() -> None:
    plate = cube(32, (slice(4, 28), slice(16, 17), slice(4, 28)))
    picture = render(plate, 30.0, 50.0)[0, 0]
    top = picture[picture < 0.99]
    assert top.quantile(0.75) - top.quantile(0.25) < 0.15
