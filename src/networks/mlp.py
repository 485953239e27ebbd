"""Multilayer perceptrons for every role: generator, discriminator, encoder, decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from src.config.ranges import PositiveInt
from src.networks.base import Critique, Decoder, Discriminator, Encoder, Generator
from src.networks.layers import refuse_classes, spectral

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
}
Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid", "silu"]
Init = Literal["torch", "glorot", "normal_all", "unit"]
OUTPUTS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "identity": nn.Identity}
Output = Literal["auto", "tanh", "sigmoid", "identity"]
NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
Norm = Literal["none", "batch", "layer", "spectral"]


class MLP(nn.Sequential):
    """Linear layers of the given sizes with an activation between them, none at the end.

    Args:
        sizes: widths from input to output; two numbers make a linear map.
        activation: between layers.
        init: `torch` leaves torch's default, `glorot` is Glorot-uniform with zero biases (the
            default of TensorFlow 1 layers), `normal_all` draws all parameters, biases too, from
            N(0, 0.02^2) (d2l's toy recipe), `unit` from N(0, 1) (the one-neuron GAN).
        norm: before each activation; `spectral` is of every layer's weight.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation = "relu",
        init: Init = "torch",
        norm: Norm = "none",
    ) -> None:
        *hidden, outputs = sizes[1:]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([sizes[0], *hidden]):
            layers += [nn.Linear(fan_in, fan_out)]
            layers += [NORMS[norm](fan_out)] if norm in NORMS else []
            layers += [ACTIVATIONS[activation]()]
        super().__init__(*layers, nn.Linear(sizes[-2], outputs))
        if init == "glorot":
            for layer in self:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
        elif init in ("normal_all", "unit"):
            for parameter in self.parameters():
                nn.init.normal_(parameter, 0.0, 1.0 if init == "unit" else 0.02)
        spectral(self, norm)


class MLPGenerator(Generator):
    """z (n, latent_dim) to samples (n, *shape).

    Args:
        latent_dim: length of z.
        shape: shape of one sample.
        hidden: widths of the hidden layers; none makes an affine map.
        activation: between layers.
        init: see `MLP`.
        norm: before each activation.
        output: output of the last layer; `auto` is tanh for images, sigmoid for voxels and identity
            for points.
        classes: none; labels are brought in by concatenation.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        hidden: Sequence[PositiveInt] = (128, 128),
        activation: Activation = "leaky_relu",
        init: Init = "torch",
        norm: Literal["none", "batch"] = "none",
        output: Output = "auto",
        classes: int = 0,
    ) -> None:
        super().__init__()
        refuse_classes(classes, "Multilayer perceptrons")
        self.shape = tuple(shape)
        self.body = MLP([latent_dim, *hidden, math.prod(shape)], activation, init, norm)
        if output == "auto":
            output = {3: "tanh", 4: "sigmoid"}.get(len(self.shape), "identity")
        self.output = OUTPUTS[output]()

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.output(self.body(z)).unflatten(1, self.shape)


class MLPDiscriminator(Discriminator):
    """Samples (n, *shape) to a `Critique`.

    Args:
        shape: shape of one sample.
        hidden: widths of the hidden layers; with none, D is one neuron.
        activation: after each hidden layer.
        init: see `MLP`.
        norm: before each activation; `spectral` is of every layer's weight.
        classes: none; labels are brought in around it.

    Attributes:
        features: length of the critique's features: the last hidden layer's width, or the input's.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[PositiveInt] = (128, 128),
        activation: Activation = "leaky_relu",
        init: Init = "torch",
        norm: Literal["none", "layer", "spectral"] = "none",
        classes: int = 0,
    ) -> None:
        super().__init__()
        refuse_classes(classes, "Multilayer perceptrons")
        *body, head = MLP([math.prod(shape), *hidden, 1], activation, init, norm)
        self.body, self.head = nn.Sequential(*body), head
        self.features = head.in_features

    def forward(self, x: Tensor, y: Tensor | None = None) -> Critique:
        features = self.body(x.flatten(1))
        return Critique(self.head(features).squeeze(1), features)


class MLPEncoder(Encoder):
    """Samples (n, *shape) to codes (n, outputs).

    Args:
        shape: shape of one sample.
        outputs: length of the code, or what the model asks for (a VAE: mean and log-variance).
        hidden: widths of the hidden layers; none makes one layer.
        activation: between layers.
        init: see `MLP`.
        output: output of the last layer.
        unit: the first layer sees (x + 1) / 2. Where most pixels are background, at -1, its weights
            act together like one large bias, which slows Adam down.

    Attributes:
        sigmoid_layer: the only layer, if there is one, sees x itself, and its output is a
            sigmoid's; its Jacobian has a closed form.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        hidden: Sequence[PositiveInt] = (400,),
        activation: Activation = "relu",
        init: Init = "torch",
        output: Literal["identity", "sigmoid", "relu", "tanh"] = "identity",
        unit: bool = False,
    ) -> None:
        super().__init__()
        self.body = MLP([math.prod(shape), *hidden, outputs], activation, init)
        self.output, self.unit = output, unit
        self.squash = nn.Identity() if output == "identity" else ACTIVATIONS[output]()

    @property
    def sigmoid_layer(self) -> nn.Linear | None:
        alone = len(self.body) == 1 and self.output == "sigmoid" and not self.unit
        return self.body[0] if alone else None

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.squash(self.body((x + 1) / 2 if self.unit else x))


class MLPDecoder(Decoder):
    """Codes (n, latent_dim) to raw outputs (n, *shape): the model's loss says what they mean.

    Args:
        latent_dim: length of the code.
        shape: shape of one sample.
        hidden: widths of the hidden layers.
        activation: between layers.
        init: see `MLP`.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        hidden: Sequence[PositiveInt] = (400,),
        activation: Activation = "relu",
        init: Init = "torch",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.body = MLP([latent_dim, *hidden, math.prod(shape)], activation, init)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).unflatten(1, self.shape)
