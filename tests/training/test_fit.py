import pytest

from src.config.composition import compose
from src.training.fit import _say_if_the_penalty_changes_d


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=r1gan"], "model/penalty=r1 takes batch norm out of D"),
        (["model=dcgan", "model/penalty=wgan_gp"], "model/penalty=wgan_gp takes batch norm out"),
        (["model=dcgan"], None),
        (["model=wgan"], None),  # clipping leaves it
        (["model=r1gan", "data=ring"], None),  # perceptrons have none
        (["model=r1gan", "model.discriminator.norm=layer"], None),
        (["model=dcgan", "model.discriminator.norm=none"], None),  # asked for
        (["model=r3gan"], None),  # its network has none
        (["model=ae"], None),
    ],
)
def test_a_penalty_that_changes_the_norm_says_so(
    overrides: list[str], said: str | None, capsys: pytest.CaptureFixture
) -> None:
    _say_if_the_penalty_changes_d(compose("train", overrides))
    printed = capsys.readouterr().out
    assert said in printed if said else printed == ""
