from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from src.callbacks.overfitting import Overfitting, imitate, judge, some_reals
from src.data.spec import Batch
from src.errors import SettingError
from src.losses.adversarial import NonSaturating
from src.runs.metrics_file import read_metrics
from src.training.loggers import CSVMetrics
from tests.callbacks.tiny import IMAGES, POINTS, Tiny, TinyData


class Judging(Tiny):
    """D is sum_i x_i, or batch norm before a sum where `norm` is set."""

    def __init__(self, spec: object = POINTS, norm: bool = False) -> None:
        super().__init__(spec)
        self.discriminator = nn.BatchNorm1d(2) if norm else nn.Identity()
        self.loss, self.packing = NonSaturating(), 1

    @property
    def judge(self) -> "Judging":
        return self

    def critic_logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        self.seen = labels
        with self.scoring():
            return self.discriminator(x).flatten(1).sum(1)


def logged(folder: Path) -> list[dict[str, float]]:
    return [row for row in read_metrics(folder / "metrics.csv") if "d_prob/train" in row]


def test_the_three_means(fit: Callable, tmp_path: Path) -> None:
    trainer, model = fit(Overfitting(n=1000), model=Judging(), loggers=[CSVMetrics(str(tmp_path))])
    rows = logged(tmp_path)
    assert [row["samples_seen"] for row in rows] == [14, 28, 42, 56, 63, 77, 91, 105]
    splits = trainer.datamodule.splits
    fake = model.sample(50, seed=0)
    for name, x in (
        ("train", splits["train"].x),
        ("held_out", splits["test"].x),
        ("generated", fake),
    ):
        assert rows[-1][f"d_prob/{name}"] == pytest.approx(float(x.sum(1).sigmoid().mean()), 1e-5)


def test_every(fit: Callable, tmp_path: Path) -> None:
    fit(Overfitting(every=50), model=Judging(), loggers=[CSVMetrics(str(tmp_path))])
    assert [row["samples_seen"] for row in logged(tmp_path)] == [56, 105]


def test_outputs_of_a_loss_without_probabilities(fit: Callable, tmp_path: Path) -> None:
    model = Judging()
    model.loss.output = lambda logits: 3 * logits
    trainer, _ = fit(Overfitting(n=50), model=model, loggers=[CSVMetrics(str(tmp_path))])
    expected = 3 * trainer.datamodule.splits["train"].x.sum(1).mean()
    assert logged(tmp_path)[-1]["d_prob/train"] == pytest.approx(float(expected), abs=1e-5)


def test_without_held_out_data(fit: Callable, tmp_path: Path, monkeypatch: object) -> None:
    load = TinyData.load
    monkeypatch.setattr(TinyData, "load", lambda self: ({"train": load(self)[0]["train"]}, {}))
    fit(Overfitting(), model=Judging(), loggers=[CSVMetrics(str(tmp_path))])
    assert {"d_prob/train", "d_prob/generated"} <= logged(tmp_path)[-1].keys()
    assert "d_prob/held_out" not in logged(tmp_path)[-1]


def test_a_model_without_a_discriminator_is_passed_over(
    fit: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Tiny, "critic_logits")
    fit(Overfitting(), loggers=[CSVMetrics(str(tmp_path))])
    assert not (tmp_path / "metrics.csv").exists()


def test_batch_norm_takes_the_batch_and_keeps_its_averages() -> None:
    """As in training, where reals and fakes pass apart; the averages are those of both."""
    torch.manual_seed(0)
    model = Judging(norm=True)
    norm = model.discriminator
    norm.running_mean.fill_(5.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = 3 + 2 * torch.randn(20, 2)
    told = judge(model, Batch(x))
    expected = ((x - x.mean(0)) / (x.var(0, correction=0) + norm.eps).sqrt()).sum(1).sigmoid()
    assert_close(told, expected)
    assert norm.training
    after = model.state_dict()
    assert list(after) == list(before)
    for name, value in before.items():
        assert torch.equal(after[name], value)


def test_a_conditional_discriminator_sees_the_labels() -> None:
    model = Judging()
    batch = Batch(torch.randn(6, 2), torch.arange(6) % 2)
    judge(model, batch)
    assert model.seen is None
    model.conditional = True
    judge(model, batch)
    assert torch.equal(model.seen, batch.y)
    assert torch.equal(imitate(model, batch).y, batch.y)


def test_what_does_not_fill_a_pack_is_left_out() -> None:
    model = Judging()
    model.packing = 3
    assert len(judge(model, Batch(torch.randn(11, 2)))) == 9


def test_reals_are_the_same_each_time_and_from_all_over(fit: Callable) -> None:
    trainer, _ = fit(spec=IMAGES)
    first, again = (some_reals(trainer, "train", 20) for _ in range(2))
    assert torch.equal(first.x, again.x)
    assert first.x.shape == (20, 1, 8, 8)
    assert -1 <= first.x.min() < -0.9
    stored = trainer.datamodule.reals("train")
    places = [(stored.x / 127.5 - 1 - x).abs().amax((1, 2, 3)).argmin().item() for x in first.x]
    assert len(set(places)) == 20
    assert min(places) < 10
    assert max(places) > 40
    assert torch.equal(stored.y[places], first.y)


def test_training_is_left_alone(fit: Callable, tmp_path: Path) -> None:
    models = [
        fit(*callbacks, model=Judging(norm=True), folder=tmp_path / str(i))[1]
        for i, callbacks in enumerate([(), (Overfitting(every=10),)])
    ]
    assert torch.equal(models[0].mean, models[1].mean)


def test_n_must_be_positive() -> None:
    with pytest.raises(SettingError, match=r"callbacks\.overfitting\.n=0"):
        Overfitting(n=0)
