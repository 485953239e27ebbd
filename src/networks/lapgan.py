"""LAPGAN's networks of one level: few convolutions, at full resolution (Denton et al. 2015).

The authors' code has, for 16 -> 32 px of CIFAR-10 (github.com/facebookarchive/eyescream):

    G  7 x 7 to 64, ReLU, 7 x 7 to 64, ReLU, 5 x 5 to the residual; its input is the enlarged
       coarse image and a plane of noise
    D  5 x 5 to 64, ReLU, 5 x 5 to 64 with stride 2, ReLU, dropout 1/2, linear

D's convolutions there are without padding; here they have it, and D's ReLUs leak.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from src.config.ranges import Decay, PositiveInt
from src.errors import SettingError
from src.networks.base import Critique, Discriminator
from src.networks.image_translation import SameSize
from src.networks.layers import Dropout


class LAPGANGenerator(SameSize):
    """Images, and noise as a last channel, to images: by adding a residual.

    Args:
        source: (c', h', w').
        shape: (c, h, w).
        width: channels; 64 as published.
        kernel: side of the first two filters, odd; 7 as published. The last has two pixels less.
        residual: see `SameSize`.
        classes: the same.
    """

    def __init__(
        self,
        source: Sequence[int],
        shape: Sequence[int],
        width: PositiveInt = 64,
        kernel: PositiveInt = 7,
        residual: bool = True,
        classes: int = 0,
    ) -> None:
        super().__init__(source, shape, residual, classes)
        _refuse_even(kernel, "level_generator")
        last = max(kernel - 2, 1)
        self.body = nn.Sequential(
            nn.Conv2d(source[0] + classes, width, kernel, padding="same"), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, kernel, padding="same"), nn.ReLU(inplace=True),
            nn.Conv2d(width, shape[0], last, padding="same"),
        )  # fmt: skip
        self.margin = -(-(2 * (kernel // 2) + last // 2) // self.scale)

    def forward(self, source: Tensor, y: Tensor | None = None) -> Tensor:
        return self.finish(self.body(self.begin(source, y)), source)


class LAPGANDiscriminator(Discriminator):
    """Images (n, c, h, w) to a `Critique`.

    Args:
        shape: (c, h, w), the channels of a given image included.
        width: channels; 64 as published.
        kernel: side of the filters, odd; 5 as published.
        dropout: probability before the last layer; 0.5 as published.

    Attributes:
        features: length of the critique's features: all numbers of the last feature maps.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: PositiveInt = 64,
        kernel: PositiveInt = 5,
        dropout: Decay = 0.5,
    ) -> None:
        super().__init__()
        _refuse_even(kernel, "level_discriminator")
        channels, *size = shape
        half = kernel // 2
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, kernel, 1, half), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width, kernel, 2, half), nn.LeakyReLU(0.2, inplace=True),
            nn.Flatten(), Dropout(dropout),
        )  # fmt: skip
        self.features = width * -(-size[0] // 2) * -(-size[1] // 2)
        self.head = nn.Linear(self.features, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        features = self.body(x)
        return Critique(self.head(features).squeeze(1), features)


def _refuse_even(kernel: int, part: str) -> None:
    if kernel % 2 == 0:
        raise SettingError(f"model.{part}.kernel={kernel} must be odd: then a filter has a centre.")
