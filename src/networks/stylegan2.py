"""StyleGAN2's networks (Karras et al. 2020, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv:1912.04958; code: NVlabs/stylegan2-ada-pytorch, training/networks.py).

    w     = f(z / |z|)                a perceptron; each layer l of the synthesis gets its own w_l
    s_l   = A_l w_l                   a style: a factor for each input channel
    x_l+1 = a(d * (K (s_l * x_l)) + b + n u),     d_o = (sum_i,k (s_i K_oik)^2)^(-1/2)
    image = the sum over sizes of 1x1 convolutions of x, each with a style, doubled to the last

K is a 3x3 convolution, u noise N(0, 1) for each pixel, a a leaky ReLU of slope 0.2 times sqrt 2.
Demodulation by d keeps the variance of each channel near 1, as a norm would, but by the weights and
the style alone and not by the image (sec. 2.2). The paper scales K for each sample; here x is
scaled, which is the same and no grouped convolution.

D is residual and ends with the standard deviation over a few samples as a further channel. All
weights are N(0, 1) and multiplied by 1 / sqrt(fan-in) when they are used: Adam's steps are then of
one size relative to all of them (equalised learning rates; Karras et al. 2018, sec. 4.1).

Under autocast, styles, demodulation, images and D's end are float32.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.ranges import PositiveInt, Share
from src.distributed import noise, ranks
from src.errors import SettingError
from src.networks.base import Critique, Discriminator, StyleGenerator
from src.networks.layers import refuse_classes, sizes
from src.networks.resample import Blur, Resample

GAIN = 2**0.5  # of an activation, about what a leaky ReLU takes from the variance
AVERAGE = 0.995  # share of the average of w that is kept in each pass
EPSILON = 1e-8
MOST_LAYERS = 64  # of a mapping


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU, in place. Its gain is in what comes before: a(GAIN x) = GAIN a(x)."""
    return F.leaky_relu(x, 0.2, inplace=True)


def normalise(x: Tensor) -> Tensor:
    """Vectors (n, d) divided by the root mean square of their entries."""
    return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()


def exactly(x: Tensor) -> torch.autocast:
    """`with exactly(x):` compute in the inputs' own precision on x's device."""
    return torch.autocast(x.device.type, enabled=False)


class Linear(nn.Module):
    """A linear layer with an equalised learning rate.

    Args:
        fan_in: length of the input.
        fan_out: length of the output.
        gain: of the output.
        bias: the biases' first value.
        rate: factor on the learning rate; the layer itself is the same at first.
    """

    def __init__(
        self, fan_in: int, fan_out: int, gain: float = 1.0, bias: float = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / rate)
        self.bias = nn.Parameter(torch.full((fan_out,), bias / rate))
        self.scale, self.bias_scale = gain * rate / fan_in**0.5, gain * rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.bias_scale)


class Conv(nn.Module):
    """A convolution that keeps the size, with an equalised learning rate.

    Args:
        fan_in: input channels.
        fan_out: output channels.
        kernel: side of the kernel, odd.
        gain: of the output.
        bias: whether there is one.
    """

    stride = 1

    def __init__(
        self, fan_in: int, fan_out: int, kernel: int, gain: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None
        self.scale, self.gain = gain / self.weight[0].numel() ** 0.5, gain
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.scale, bias, self.stride, self.padding)


class HalvingConv(Conv):
    """A 3x3 convolution to half the size, after a blur.

    Args:
        fan_in: input channels.
        fan_out: output channels.
        size: the input's.
        gain: of the output.
    """

    stride = 2

    def __init__(self, fan_in: int, fan_out: int, size: int, gain: float) -> None:
        super().__init__(fan_in, fan_out, 3, gain)
        self.blur, self.padding = Blur(fan_in, size, up=False), 0

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.blur(x))


class Mapping(nn.Module):
    """f: latents z (n, d), and classes y (n,) if conditional, to w (n, w_dim).

    Args:
        latent_dim: d.
        w_dim: length of w.
        layers: linear layers; their learning rate is a hundredth of the others'.
        classes: above 0, an embedding of the class is a further input.

    Attributes:
        average: running average of w (w_dim,) over the latents of training.
    """

    average: Tensor

    def __init__(self, latent_dim: int, w_dim: int, layers: int, classes: int) -> None:
        super().__init__()
        if not 1 <= layers <= MOST_LAYERS:
            raise SettingError(
                f"model.generator.mapping_layers={layers} must be from 1 to {MOST_LAYERS}."
            )
        self.embedding = Linear(classes, w_dim) if classes else None
        first = latent_dim + (w_dim if classes else 0)
        inputs = [first, *[w_dim] * (layers - 1)]
        self.layers = nn.ModuleList(Linear(n, w_dim, GAIN, rate=0.01) for n in inputs)
        self.register_buffer("average", torch.zeros(w_dim))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        w = normalise(z)
        if self.embedding is not None:
            one_hot = F.one_hot(y, self.embedding.weight.shape[1]).to(w)
            w = torch.cat([w, normalise(self.embedding(one_hot))], 1)
        for layer in self.layers:
            w = activate(layer(w))
        return w

    @torch.no_grad()
    def follow(self, w: Tensor) -> None:
        """Move the average towards a batch (n, w_dim) and, on several ranks, the whole of it."""
        self.average.lerp_(ranks.mean(w.detach().mean(0)), 1 - AVERAGE)


class StyledConv(nn.Module):
    """x (n, i, h, w) and w (n, w_dim) to channels (n, o, h, w), or those of the double size.

    Args:
        fan_in: i.
        fan_out: o.
        w_dim: length of w.
        size: the output's.
        up: double the size.
        noise: add noise, whose strength is 0 at first.
    """

    def __init__(
        self, fan_in: int, fan_out: int, w_dim: int, size: int, up: bool, noise: bool
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, fan_in, bias=1.0)
        # As the two kinds of convolution want it: a transposed one begins with its inputs.
        ends = (fan_in, fan_out) if up else (fan_out, fan_in)
        self.weight = nn.Parameter(torch.randn(*ends, 3, 3))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.strength = nn.Parameter(torch.zeros(())) if noise else None
        self.blur = Blur(fan_out, size, up=True) if up else None

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """The layer's output.

        Args:
            x: (n, i, h, w).
            w: (n, w_dim).
            noise: (n or 1, 1, size, size), or None for a layer that takes none.
        """
        with exactly(w):
            style = self.affine(w)
            power = self.weight.square().sum((2, 3))
            power = style.square() @ (power if self.blur else power.T)
            demodulation = GAIN * (power + EPSILON).rsqrt()
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.blur:
            x = self.blur(F.conv_transpose2d(x, self.weight, stride=2))
        else:
            x = F.conv2d(x, self.weight, padding=1)
        bias = (GAIN * self.bias).to(x.dtype)[:, None, None]
        x = torch.addcmul(bias, x, demodulation.to(x.dtype)[:, :, None, None])
        if noise is not None:
            x = x + (GAIN * self.strength * noise).to(x.dtype)
        return activate(x)


class ToImage(nn.Module):
    """x (n, i, h, w) and w (n, w_dim) to images (n, o, h, w), without demodulation.

    Args:
        fan_in: i.
        fan_out: o.
        w_dim: length of w.
    """

    def __init__(self, fan_in: int, fan_out: int, w_dim: int) -> None:
        super().__init__()
        self.affine = Linear(w_dim, fan_in, gain=fan_in**-0.5, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        with exactly(w):
            style = self.affine(w)
        return F.conv2d(x * style.to(x.dtype)[:, :, None, None], self.weight, self.bias)


def widths(resolutions: Sequence[int], channel_base: int, channel_max: int) -> list[int]:
    """Channels at each resolution: channel_base / resolution, at most channel_max."""
    return [max(min(channel_base // size, channel_max), 1) for size in resolutions]


class StyleGAN2Generator(StyleGenerator):
    """z (n, latent_dim), and y (n,) if conditional, to images (n, c, r, r).

    They are in [-1, 1] after training: there is no tanh. Noise is drawn anew for each image in
    training mode, and is always the same in eval mode, in which a latent is one image.

    Args:
        latent_dim: length of z (the paper's 512).
        shape: (c, r, r) of one image.
        w_dim: length of w.
        mapping_layers: layers of f: 8 in the paper, 2 in the code's setting for other data.
        channel_base: channels at r px are channel_base / r; 32768 for 1024 px in the paper, half of
            it to 256 px in the code.
        channel_max: the most there are.
        mixing: in training mode, share of the images whose layers get the w of a second latent from
            some layer on, drawn for each image: so that w_l does not rely on its neighbours. It is
            from N(0, I), as z should be.
        noise: noise inputs.
        classes: above 0, the class is a further input of f.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        w_dim: PositiveInt = 512,
        mapping_layers: PositiveInt = 2,
        channel_base: PositiveInt = 16384,
        channel_max: PositiveInt = 512,
        mixing: Share = 0.9,
        noise: bool = True,
        classes: int = 0,
    ) -> None:
        super().__init__()
        chain = sizes(shape[-1])
        channels = widths(chain, channel_base, channel_max)
        self.mapping = Mapping(latent_dim, w_dim, mapping_layers, classes)
        self.constant = nn.Parameter(torch.randn(channels[0], chain[0], chain[0]))
        self.convolutions, self.to_image = nn.ModuleList(), nn.ModuleList()
        self.noise_sizes: list[int] = []
        fan_in = channels[0]
        for size, fan_out in zip(chain, channels, strict=True):
            for up in (True, False) if size > chain[0] else (False,):
                self.convolutions.append(StyledConv(fan_in, fan_out, w_dim, size, up, noise))
                self.noise_sizes += [size] if noise else []
                fan_in = fan_out
            self.to_image.append(ToImage(fan_out, shape[0], w_dim))
        self.doublings = nn.ModuleList(Resample(shape[0], size, up=True) for size in chain[1:])
        self.layers, self.mixing = len(self.convolutions) + 1, mixing
        for i, size in enumerate(self.noise_sizes):
            self.register_buffer(f"noise_{i}", torch.randn(1, 1, size, size))

    @property
    def average(self) -> Tensor:
        return self.mapping.average

    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        with exactly(z):
            w = self.mapping(z, y)
            if not self.training:
                w = torch.lerp(self.average, w, self.truncation)
            styles = w[:, None].expand(-1, self.layers, -1)
            if not self.training:
                return styles
            self.mapping.follow(w)
            if self.mixing:
                n, device = len(z), z.device
                other = self.mapping(noise.normal(*z.shape, dtype=z.dtype, device=device), y)
                mixed = noise.uniform(n, 1, device=device) < self.mixing
                start = noise.integers(1, self.layers, n, 1, device=device)
                mixed = mixed & (torch.arange(self.layers, device=device) >= start)
                styles = torch.where(mixed[:, :, None], other[:, None], styles)
            return styles

    def noises(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        options = {"device": self.constant.device, "generator": generator}
        options["dtype"] = self.constant.dtype
        return [noise.normal(n, 1, size, size, **options) for size in self.noise_sizes]

    @property
    def fixed_noises(self) -> list[Tensor]:
        return [getattr(self, f"noise_{i}") for i in range(len(self.noise_sizes))]

    def synthesise(self, styles: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        if noises is None:
            noises = self.noises(len(styles)) if self.training else self.fixed_noises
        w, noises = styles.unbind(1), noises or [None] * len(self.convolutions)
        x, image = self.constant.expand(len(styles), -1, -1, -1), None
        for i, (layer, drawn) in enumerate(zip(self.convolutions, noises, strict=True)):
            x = layer(x, w[i], drawn)
            if i % 2 == 0:  # the last of its size
                part = self.to_image[i // 2](x, w[i + 1]).to(styles.dtype)
                with exactly(x):
                    image = part if image is None else self.doublings[i // 2 - 1](image) + part
        return image

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.synthesise(self.styles(z, y))


class MinibatchDeviation(nn.Module):
    """x (n, c, h, w) with a further channel: how much a few samples differ (Karras et al. 2018).

    The standard deviation over a group of samples, averaged over channels and places. By it D sees
    that samples are too much alike. Groups are of neighbours in the batch, so that several ranks do
    what one does if each has whole groups; the last group has what is left.

    Args:
        group: samples in a group.
    """

    def __init__(self, group: PositiveInt) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        whole = len(x) // self.group * self.group
        parts = [x[:whole].unflatten(0, (-1, self.group))] if whole else []
        parts += [x[None, whole:]] if whole < len(x) else []
        return torch.cat([x, torch.cat([self.deviation(part) for part in parts])], 1)

    @staticmethod
    def deviation(groups: Tensor) -> Tensor:
        """Groups (k, m, c, h, w) to a channel (k m, 1, h, w)."""
        k, m, _, h, w = groups.shape
        deviation = (groups.var(1, correction=0) + EPSILON).sqrt().mean((1, 2, 3))
        return deviation.repeat_interleave(m).view(k * m, 1, 1, 1).expand(-1, -1, h, w)


class Residual(nn.Module):
    """D's block: x (n, i, h, w) to half the size, (n, o, h / 2, w / 2).

    Args:
        fan_in: i.
        fan_out: o.
        size: the input's.
    """

    def __init__(self, fan_in: int, fan_out: int, size: int) -> None:
        super().__init__()
        # A sum of two like them has their variance if each has the gain 1 / sqrt 2.
        self.halve = Resample(fan_in, size, up=False)
        self.skip = Conv(fan_in, fan_out, 1, 2**-0.5, bias=False)
        self.first = Conv(fan_in, fan_in, 3, GAIN)
        self.second = HalvingConv(fan_in, fan_out, size, GAIN * 2**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        # In bfloat16 the way back takes a CPU eight times as long.
        with exactly(x):
            small = self.halve(x.to(self.skip.weight.dtype))
        return self.skip(small) + activate(self.second(activate(self.first(x))))


class StyleGAN2Discriminator(Discriminator):
    """Images (n, c, r, r) to a `Critique`.

    Args:
        shape: (c, r, r) of one image.
        channel_base: see `StyleGAN2Generator`.
        channel_max: see there.
        group: samples over which the standard deviation is taken.
        classes: none; labels are brought in around it.

    Attributes:
        features: length of the critique's features: the channels at the smallest size.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channel_base: PositiveInt = 16384,
        channel_max: PositiveInt = 512,
        group: PositiveInt = 4,
        classes: int = 0,
    ) -> None:
        super().__init__()
        refuse_classes(classes, "StyleGAN2's discriminators")
        chain = sizes(shape[-1])[::-1]
        channels = widths(chain, channel_base, channel_max)
        self.features = last = channels[-1]
        self.first = Conv(shape[0], channels[0], 1, GAIN)
        self.body = nn.Sequential(*map(Residual, channels, channels[1:], chain))
        self.deviation = MinibatchDeviation(group)
        self.last = Conv(last + 1, last, 3, GAIN)
        self.hidden = Linear(chain[-1] ** 2 * last, last, GAIN)
        self.head = Linear(last, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        x = self.body(activate(self.first(x)))
        with exactly(x):
            x = activate(self.last(self.deviation(x.to(self.head.weight.dtype))))
            features = activate(self.hidden(x.flatten(1)))
            return Critique(self.head(features).squeeze(1), features)
