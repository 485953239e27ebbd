"""Scorers of one's own get what their constructors ask for."""

import sys

import pytest

from src.config.composition import plain
from src.errors import SettingError
from src.training.instantiate import build_data, build_model
from src.training.scorers import build_scorers
from tests.conftest import composed

CODE = """
from src.metrics.base import ModelScorer, SampleScorer
class Samples(SampleScorer):
    def __init__(self, data, n: int, seed: int, weight: float = 1.0):
        super().__init__(data, "train", seed)
        self.n, self.weight = n, weight
    def size(self, metric): return self.n
    def score(self, sample): return self.report({})
    def protocol(self, metric): return {}
class Model(ModelScorer):
    def __init__(self, model, data):
        super().__init__(data, "test")
        self.model = model
    def size(self, metric): return 1
    def score(self): return self.report({})
    def protocol(self, metric): return {}
"""
OWN = [
    "plugins=[own_scorers]",
    "+metrics.own.a={_target_:own_scorers.Samples,weight:2}",
    "+metrics.own.b={_target_:own_scorers.Model}",
]


@pytest.mark.parametrize(
    ("model", "n", "expected"),
    [
        (["model=gaussian_gan", "data=gaussian"], "null", 10_000),
        (["model=gaussian_gan", "data=gaussian"], "70", 70),
        # The samples of a translator are translations of what is held out: 299 digits.
        (["model=l1_translator", "data/degradation=downsample"], "null", 299),
        (["model=l1_translator", "data/degradation=downsample"], "70", 70),
    ],
)
def test_what_they_get(
    model: list[str], n: str, expected: int, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_scorers.py").write_text(CODE)
    settings = plain(composed(*model, *OWN, f"metrics.n={n}", "metrics.seed=5"))
    data = build_data(settings)
    data.setup()
    network = build_model(settings, data.spec)
    a, b = build_scorers(settings["metrics"], data, network, ("own_scorers.",))
    assert (a.n, a.seed, a.weight, a.data) == (expected, 5, 2, data)
    assert (b.model, b.data) == (network, data)
    with pytest.raises(SettingError, match="may not be built"):
        build_scorers(settings["metrics"], data, network)
    del sys.modules["own_scorers"]
