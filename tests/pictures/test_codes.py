import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.testing import assert_close

from src.pictures import codes as code_pictures
from src.pictures import grids as pictures


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [1, 2, 10, 11, 20, 21, 37])
def test_colours_differ(n: int) -> None:
    colours = code_pictures.class_colours(n)
    assert len(set(colours)) == n
    assert all(len(colour) == 7 and colour[0] == "#" for colour in colours)


def test_principal_components_are_scikit_learns() -> None:
    z = random(50, 6) @ random(6, 6, seed=1) + 3
    found, share = code_pictures.principal_components(z)
    reference = PCA(2).fit(z.double().numpy())
    expected = torch.from_numpy(reference.transform(z.double().numpy()))
    assert_close(found.abs(), expected.abs())
    assert share == pytest.approx(reference.explained_variance_ratio_.sum())
    # The signs: a mirrored law of codes has mirrored components.
    assert_close(code_pictures.principal_components(-z)[0], -found)


def test_codes_that_do_not_vary() -> None:
    found, share = code_pictures.principal_components(torch.ones(5, 4))
    assert_close(found, torch.zeros(5, 2).double())
    assert share == 0


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_scatter_of_any_dimension(dim: int) -> None:
    codes, labels = random(60, dim), torch.arange(60) % 3
    shown = code_pictures.scatter(codes, labels, ["a", "b", "c"])
    assert shown.mode == "RGB"
    assert min(shown.size) >= 500
    again = code_pictures.scatter(codes, labels, ["a", "b", "c"])
    assert shown.tobytes() == again.tobytes()
    plain = code_pictures.scatter(codes)
    assert plain.size == shown.size
    assert plain.tobytes() != shown.tobytes()


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_classes_have_their_colours(dim: int) -> None:
    """Class 0 is blue and to the left, class 1 orange and to the right; the legend has both."""
    labels = torch.arange(400) % 2
    codes = 0.1 * random(400, dim)
    codes[:, 0] += 4.0 * labels
    for swapped in (False, True):
        shown = code_pictures.scatter(codes, (labels + swapped) % 2, ["zero", "one"])
        pixels = np.asarray(shown).astype(int)
        redness = pixels[..., 0] - pixels[..., 2]
        mean = [np.argwhere(sign * redness[:, :580] > 60)[:, 1].mean() for sign in (-1, 1)]
        assert (mean[0] < mean[1]) != swapped
        assert all((sign * redness[:, 600:] > 60).any() for sign in (-1, 1))


@pytest.mark.parametrize(("n", "legend"), [(60, True), (61, False), (1000, False)])
def test_many_classes_have_no_legend(n: int, legend: bool) -> None:
    """Without one, the frame of the plot reaches the right edge."""
    codes, labels = random(1000, 2), torch.arange(1000) % n
    shown = np.asarray(code_pictures.scatter(codes, labels, [str(i) for i in range(n)]))
    frame = (shown[100:400] < 50).all(2).all(0)
    assert frame[650:].any() != legend


def test_the_first_weights_of_a_linear_layer() -> None:
    layer = nn.Linear(3 * 4 * 5, 7)
    found = code_pictures.first_weights(nn.Sequential(nn.Flatten(), layer, nn.ReLU()), (3, 4, 5))
    assert_close(found, layer.weight.detach().view(7, 3, 4, 5))


def test_the_first_weights_of_a_convolution() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(8, 2))
    assert_close(code_pictures.first_weights(encoder, (3, 5, 5)), encoder[0].weight.detach())


@pytest.mark.parametrize(
    ("encoder", "shape"),
    [
        (nn.Linear(4 + 10, 3), (1, 2, 2)),  # image and label
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 3)), (1, 2, 2)),  # not the first one
        (nn.Conv2d(1 + 10, 3, 3), (1, 8, 8)),
        (nn.Conv2d(3, 8, 1), (3, 8, 8)),  # points, not windows
        (nn.Linear(2 * 9, 3), (2, 3, 3)),  # two channels are no colour
        (nn.Flatten(), (1, 8, 8)),
    ],
)
def test_first_weights_that_are_no_pictures(encoder: nn.Module, shape: tuple) -> None:
    assert code_pictures.first_weights(encoder, shape) is None


def test_filters_pixel_by_pixel() -> None:
    """The larger first; 0 is grey, the largest weight of all black or white."""
    weights = torch.tensor([[0.1, -0.2], [-4.0, 2.0], [0.0, 0.0]]).view(3, 1, 1, 2)
    shown = np.asarray(code_pictures.filters(weights))
    # 32 times larger, 2 pixels apart, two filters in a row.
    assert shown.shape == (2 + 2 * 34, 2 + 2 * 66)
    rows = [shown[18, [18, 50, 84, 116]].tolist(), shown[52, [18, 50, 84, 116]].tolist()]
    assert rows == [[0, 191, 131, 121], [128, 128, 255, 255]]
    np.testing.assert_array_equal(shown[2:34, 2:34], np.zeros((32, 32)))
    assert code_pictures.filters(weights, most=1).size == (2 + 66, 2 + 34)


def test_filters_in_colour() -> None:
    weights = torch.tensor([1.0, 0.0, -0.5]).view(1, 3, 1, 1)
    assert code_pictures.filters(weights).getpixel((9, 9)) == (255, 128, 64)


def test_the_plane_lies_as_in_a_plot() -> None:
    """Red grows with the first number to the right, green with the second upwards."""

    def decode(z: Tensor) -> Tensor:
        return torch.cat([z, 0 * z[:, :1]], 1)[..., None, None].expand(-1, -1, 64, 64)

    across, up = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([-1.0, 1.0])
    shown = np.asarray(code_pictures.latent_grid(decode, across, up))
    assert shown.shape == (128, 192, 3)
    assert shown[::64, ::64].tolist() == [
        [[0, 255, 128], [128, 255, 128], [255, 255, 128]],
        [[0, 0, 128], [128, 0, 128], [255, 0, 128]],
    ]
    assert (shown == shown[::64, ::64].repeat(64, 0).repeat(64, 1)).all()


def test_interpolations() -> None:
    """Codes of one number that is the brightness, off by 0.2 so that ends and images differ."""
    x = torch.tensor([[-1.0, 0.8], [0.5, 0.5]]).view(2, 2, 1, 1, 1)
    codes = x.view(2, 2, 1) - 0.2
    shown = code_pictures.interpolations(x, codes, lambda z: (z + 0.2).view(-1, 1, 1, 1), steps=4)
    width, height = shown.size
    assert (width, height) == (2 * 68 + 2 + 4 * 66 + 2 * 6, 2 + 2 * 66)
    middles = [34, *(68 + 6 + 34 + 66 * k for k in range(4)), width - 34]
    expected = pictures.to_uint8(torch.tensor([[-1, -1, -0.4, 0.2, 0.8, 0.8], [0.5] * 6]))
    array = np.asarray(shown)
    assert array[np.ix_([34, 100], middles)].tolist() == expected.tolist()
    seen = []
    code_pictures.interpolations(x, codes, lambda z: seen.append(z) or z.view(-1, 1, 1, 1), steps=3)
    assert_close(seen[0].view(2, 3), torch.tensor([[-1.2, -0.3, 0.6], [0.3, 0.3, 0.3]]))


def test_divergences_are_bars_in_order_and_idle_numbers_are_grey() -> None:
    kl, active = torch.tensor([0.5, 4.0, 0.0, 2.0, 1.0]), torch.tensor([0, 1, 0, 1, 1]).bool()
    shown = np.asarray(code_pictures.divergences(kl, active)).astype(int)
    blue = (abs(shown - [0x1F, 0x77, 0xB4]).sum(2) < 6).sum(0)  # height at each column
    grey = (abs(shown - [0xBB, 0xBB, 0xBB]).sum(2) < 6).sum(0)
    heights = [int(h) for h in blue[np.flatnonzero(np.diff(blue) > 20) + 3]]
    tallest = heights[0]
    assert_close(torch.tensor(heights) / tallest, torch.tensor([1.0, 0.5, 0.25]), atol=0.02, rtol=0)
    (start,) = np.flatnonzero(np.diff(grey) > 15)
    assert start > np.flatnonzero(blue).max()  # the cheapest that are not nothing come last
    assert grey[start + 3] / tallest == pytest.approx(0.125, abs=0.02)
