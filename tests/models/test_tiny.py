"""The one-neuron GAN of the notes against the published notebook, number by number.

Serrano, "GANs in Slanted Land": D and G of one neuron per output, trained by plain gradient
descent, one image at a time, D's two halves in two separate steps. With the notebook's seed the
weights are known to eight digits.
"""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from src.config.composition import plain
from src.losses.adversarial import NonSaturating
from src.metrics.toy import picture_metrics
from src.networks.mlp import MLPDiscriminator, MLPGenerator
from src.training.instantiate import build_data
from tests.conftest import composed
from tests.models.conftest import assembled, steps

FACES = ((1, 0, 0, 1), (0.9, 0.1, 0.2, 0.8), (0.9, 0.2, 0.1, 0.8), (0.8, 0.1, 0.2, 0.9),
         (0.8, 0.2, 0.1, 0.9))  # fmt: skip
PUBLISHED = {
    "g.weight": [0.70702123, 0.03720449, -0.45703394, 0.79375751],
    "g.bias": [2.48490157, -3.36725912, -2.90139211, 2.8172726],
    "d.weight": [0.60175083, -0.29127513, -0.40093314, 0.37759987],
    "d.bias": [-0.8955103],
}


def test_the_notebooks_weights() -> None:
    random = np.random.RandomState(42)
    d = MLPDiscriminator(shape=(4,), hidden=[]).double()
    g = MLPGenerator(latent_dim=1, shape=(4,), hidden=[], output="sigmoid").double()
    with torch.no_grad():
        for network in (d.head, g.body[0]):
            weight = torch.from_numpy(random.normal(size=4)).view_as(network.weight)
            network.weight.copy_(weight)
            size = tuple(network.bias.shape)
            network.bias.copy_(torch.from_numpy(np.asarray(random.normal(size=size))))
    loss = NonSaturating()
    sure = torch.tensor([1e3], dtype=torch.float64)  # a logit that adds no loss: one half at a time
    d_descent = torch.optim.SGD(d.parameters(), 0.01)
    g_descent = torch.optim.SGD(g.parameters(), 0.01)

    def step(descent: torch.optim.Optimizer, value: Tensor) -> None:
        descent.zero_grad()
        value.backward()
        descent.step()

    for _ in range(1000):
        for face in torch.tensor(FACES, dtype=torch.float64).split(1):
            step(d_descent, loss.d(d(face).logits, -sure))
            z = torch.tensor([[random.rand()]], dtype=torch.float64)
            fake = g(z)
            step(d_descent, loss.d(sure, d(fake.detach()).logits))
            step(g_descent, loss.g(d(fake).logits))
    found = {
        "g.weight": g.body[0].weight.flatten(),
        "g.bias": g.body[0].bias,
        "d.weight": d.head.weight.flatten(),
        "d.bias": d.head.bias,
    }
    for name, weights in PUBLISHED.items():
        expected = torch.tensor(weights, dtype=torch.float64)
        assert_close(found[name].detach(), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 50, 10))
def test_fifty_seeds_learn_the_diagonal(first: int) -> None:
    """The preset: at the end of its budget every sample of every seed shows it."""
    settings = plain(composed("model=tiny", "data=slanted_land"))
    learned = []
    for seed in range(first, first + 10):
        settings["seed"] = seed
        data = build_data(settings)
        data.setup()
        model = assembled(settings)
        steps(model, settings["budget"], iter(data.train_dataloader()))
        found = picture_metrics(model.sample(1000, seed=0), data.distribution.pictures)
        learned.append(found["diagonal"])
    assert learned == [1.0] * 10
