"""Multilayer perceptrons for every role: generator, discriminator, encoder, decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from src.networks.layers import Critique

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid"]
Init = Literal["torch", "glorot", "normal_all"]


class MLP(nn.Sequential):
    """Linear layers of the given sizes with an activation between them, none at the end.

    Args:
        sizes: widths from input to output; two numbers make a linear map.
        activation: between layers.
        init: `torch` leaves torch's default, `glorot` is Glorot-uniform with zero biases (the
            default of TensorFlow 1 layers), `normal_all` draws all parameters, biases too, from
            N(0, 0.02^2) (d2l's toy recipe).
    """

    def __init__(
        self, sizes: Sequence[int], activation: Activation = "relu", init: Init = "torch"
    ) -> None:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
        super().__init__(*layers[:-1])
        if init == "glorot":
            for layer in self:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
        elif init == "normal_all":
            for parameter in self.parameters():
                nn.init.normal_(parameter, 0.0, 0.02)


class MLPGenerator(nn.Module):
    """z (n, latent_dim) to samples (n, *shape); images end in tanh, points are free.

    Args:
        latent_dim: length of z.
        shape: of one sample.
        hidden: widths of the hidden layers; none makes an affine map.
        activation: between layers.
        init: see `MLP`.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (128, 128),
        activation: Activation = "leaky_relu",
        init: Init = "torch",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.body = MLP([latent_dim, *hidden, math.prod(shape)], activation, init)
        self.output = nn.Tanh() if len(self.shape) > 1 else nn.Identity()

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.body(z)).unflatten(1, self.shape)


class MLPDiscriminator(nn.Module):
    """Samples (n, *shape) to a `Critique`.

    Args:
        shape: of one sample.
        hidden: widths of the hidden layers, at least one.
        activation: after each hidden layer.
        init: see `MLP`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (128, 128),
        activation: Activation = "leaky_relu",
        init: Init = "torch",
    ) -> None:
        super().__init__()
        *body, head = MLP([math.prod(shape), *hidden, 1], activation, init)
        self.body, self.head = nn.Sequential(*body), head

    def forward(self, x: Tensor) -> Critique:
        features = self.body(x.flatten(1))
        return Critique(self.head(features).squeeze(1), features)


class MLPEncoder(nn.Module):
    """Samples (n, *shape) to codes (n, outputs).

    Args:
        shape: of one sample.
        outputs: length of the code, or what the model asks for (a VAE: mean and log-variance).
        hidden: widths of the hidden layers.
        activation: between layers.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int] = (400,),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.body = MLP([math.prod(shape), *hidden, outputs], activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1))


class MLPDecoder(nn.Module):
    """Codes (n, latent_dim) to raw outputs (n, *shape): the model's loss says what they mean.

    Args:
        latent_dim: length of the code.
        shape: of one sample.
        hidden: widths of the hidden layers.
        activation: between layers.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (400,),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.body = MLP([latent_dim, *hidden, math.prod(shape)], activation)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).unflatten(1, self.shape)
