"""Tiles against the whole image."""

import pytest
import torch
from torch import Tensor, nn

from src.networks.image_translation import ResNetTranslator, UNet
from src.networks.super_resolution import RRDB, SRResNet
from src.transforms.tiles import translate_tiles


def bytes_of(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round().clamp(0, 255).byte()


def photo(h: int, w: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, h // 4, w // 4, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear")[0].byte()


BOUNDED = {
    "srresnet": lambda: SRResNet((3, 16, 16), (3, 64, 64), 8, 2),
    "rrdb": lambda: RRDB((3, 16, 16), (3, 32, 32), 8, 1, 4),
    "shuffled once": lambda: SRResNet((3, 16, 16), (3, 64, 64), 8, 2, upsampling="shuffle_once"),
    "resnet": lambda: ResNetTranslator((3, 64, 64), (3, 64, 64), 4, 1, "none"),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_tiles_are_the_whole(name: str) -> None:
    """To one level of 255, as sums of another order round; and a smaller margin would be seen."""
    torch.manual_seed(0)
    network = BOUNDED[name]().eval()
    for weight in network.parameters():  # so that far pixels matter
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight)
            weight.data *= 1.5
    source = photo(144, 120)
    scale = getattr(network, "scale", 1)

    @torch.no_grad()
    def translate(x: Tensor) -> Tensor:
        return network(x)

    whole = bytes_of(translate(source[None].float() / 127.5 - 1)[0])
    common = (source, 3, scale, 48)
    pixels: list[int] = []
    tiled = translate_tiles(
        translate, *common, network.margin, network.multiple, done=pixels.append
    )
    assert (tiled.int() - whole.int()).abs().max() <= 1
    assert sum(pixels) == 144 * 120
    assert len(pixels) == 9
    careless = translate_tiles(translate, *common, 0 if network.multiple == 1 else 4, 4)
    assert (careless.int() - whole.int()).abs().max() > 1


def test_tiles_without_a_bound_fade_into_each_other() -> None:
    """A translator whose result depends on the tile: no step between neighbours is seen."""
    shades = iter(torch.linspace(-0.5, 0.5, 9))

    def translate(x: Tensor) -> Tensor:
        return torch.full_like(x, float(next(shades)))

    out = translate_tiles(translate, photo(144, 144), 3, 1, 48, None).int()
    steps = max(int(out.diff(dim=d).abs().max()) for d in (1, 2))
    assert steps <= 6  # of 48 between two tiles in a column, over 12 pixels; a mean has two of 24
    assert int(out.max() - out.min()) > 100


def test_a_unet_in_tiles() -> None:
    torch.manual_seed(0)
    network = UNet((3, 32, 32), (3, 32, 32), 4).eval()
    assert network.margin is None
    with torch.no_grad():
        out = translate_tiles(network, photo(100, 84), 3, 1, 64, None, network.multiple)
    assert out.shape == (3, 100, 84)


@pytest.mark.parametrize(("h", "w"), [(33, 47), (4, 4), (9, 64)])
def test_any_size(h: int, w: int) -> None:
    """What is filled up to a multiple is cut off again, even of an image below the multiple."""
    source = torch.randint(0, 256, (3, h, w), generator=torch.Generator().manual_seed(0)).byte()
    for margin in (8, None):
        sizes: list[tuple[int, ...]] = []

        def translate(x: Tensor, sizes: list = sizes) -> Tensor:
            sizes.append(x.shape[2:])
            return nn.functional.interpolate(x, scale_factor=2)

        out = translate_tiles(translate, source, 3, 2, 16, margin, 8)
        assert out.equal(source.repeat_interleave(2, 1).repeat_interleave(2, 2))
        assert all(side % 8 == 0 for size in sizes for side in size)
