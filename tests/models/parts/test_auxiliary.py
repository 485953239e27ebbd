"""The auxiliary heads' terms against their formulas, and who learns from them."""

from collections.abc import Callable

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal
from torch.nn import functional as F
from torch.testing import assert_close

from src.errors import SettingError
from src.models.parts.auxiliary import ClassHead, CodeHead
from src.models.parts.latents import Latent
from src.networks.base import Critique
from tests.models.conftest import TINY, built, steps


def critique(n: int = 6, features: int = 4) -> Critique:
    return Critique(torch.randn(n), torch.randn(n, features))


def test_acgan() -> None:
    torch.manual_seed(0)
    head = ClassHead(4, 3, Latent(2), weight=2.0, g_weight=0.5)
    real, fake, y = critique(), critique(), torch.tensor([0, 1, 2, 0, 1, 2])
    log_p = {c: F.log_softmax(head.head(c.features), 1)[range(6), y].mean() for c in (real, fake)}
    d = head.d(real, fake, y, None)
    assert_close(d, {"class_real": -2 * log_p[real], "class_fake": -2 * log_p[fake]})
    assert_close(head.g(fake, y, None), {"class_g": -0.5 * log_p[fake]})
    head.fakes = False
    assert head.d(real, fake, y, None).keys() == {"class_real"}


def test_infogan() -> None:
    """Minus log q of the codes, without the Gaussian's constant (OpenAI's fixed variance of 1)."""
    torch.manual_seed(0)
    latent = Latent(5, categories=[3, 2], continuous=2)
    head = CodeHead(4, 0, latent, weight=2.0, continuous_weight=0.1).eval()
    fake, z = critique(), latent.draw(6, torch.device("cpu"))
    a, b, mean = head.head(fake.features).split([3, 2, 2], 1)
    wanted_a, wanted_b, place = z[:, 5:].split([3, 2, 2], 1)
    log_q = Categorical(logits=a).log_prob(wanted_a.argmax(1))
    log_q = log_q + Categorical(logits=b).log_prob(wanted_b.argmax(1))
    normal = Independent(Normal(mean, 1.0), 1)
    constant = normal.log_prob(mean)
    expected = {
        "categories": -2 * log_q.mean(),
        "continuous": -0.1 * (normal.log_prob(place) - constant).mean(),
    }
    assert_close(head.g(fake, None, z), expected)
    assert_close(head.d(critique(), fake, None, z), expected)
    first, second, place = head.codes(fake)
    assert first.equal(a.argmax(1))
    assert second.equal(b.argmax(1))
    assert_close(place, mean.detach())


def test_codes_need_a_latent_with_codes() -> None:
    with pytest.raises(SettingError, match=r"model\.latent\.categories"):
        built(*TINY, "model/auxiliary=codes")


@pytest.mark.parametrize(
    "words",
    [
        ("model/condition=generator", "model/auxiliary=classes"),
        ("model/latent=codes", "model.latent.dim=6", "model/auxiliary=codes"),
    ],
)
def test_heads_step_with_d_and_rest_in_gs_step(
    words: tuple[str, ...], before_step: Callable
) -> None:
    model = built(*TINY, *words)
    seen = {}

    def spy(player: str) -> None:
        seen[player] = [p.grad is not None for p in model.adversary.auxiliary.parameters()]

    before_step(model, spy)
    before = [p.clone() for p in model.adversary.auxiliary.parameters()]
    steps(model)
    assert all(seen["d"])
    assert not any(seen["g"])
    after = model.adversary.auxiliary.parameters()
    assert all(not a.equal(b) for a, b in zip(after, before, strict=True))


def test_the_terms_are_recorded_beside_the_adversarial_ones() -> None:
    model = built(*TINY, "model/condition=generator", "model/auxiliary=classes")
    steps(model)
    terms = {"class_real", "class_fake", "class_g", "d", "g"}
    assert {f"loss/{term}" for term in terms} <= model.terms.fetch().keys()
