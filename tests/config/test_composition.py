"""A run's folder, and that nothing slow is imported before a configuration is known to be right."""

import subprocess
import sys

import pytest

from src.config.checks import check
from src.config.composition import CONF, compose, plain, run_folder
from src.errors import SettingError
from tests.conftest import QUICK

# Speed


def test_no_torch_before_the_work_begins() -> None:
    """Help, composition, an error and all checks: under 2 s of CPU, and torch is not imported."""
    code = """
import sys, time
from src.cli import help_text
from src.config.composition import compose, run_folder
from src.errors import SettingError
from src.evaluate import check_evaluate
from src.sample import check_sample
from src.train import check, launch

launch("train", check, lambda config, folder: print(folder), ["data.source=builtin"])
check_sample(compose("sample", ["run=x"]))
check_evaluate(compose("evaluate", ["run=x"]))
for name in ("train", "sample", "evaluate"):
    assert "seed" in help_text(name)
try:
    compose("train", ["budgt=1"])
except SettingError:
    assert "torch" not in sys.modules and "lightning" not in sys.modules
    print(time.process_time())
"""
    taken = []
    while len(taken) < 4 and min(taken, default=2) >= 2:  # beside other tests it takes longer
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=CONF.parent,
        )
        *_, folder, seconds = done.stdout.split()
        assert folder == "outputs/mnist-builtin/dcgan/default/seed=0"
        taken.append(float(seconds))
    assert min(taken) < 2


# The run folder's name


def folder_of(*overrides: str) -> str:
    """The name for what a user says, beside which the stand-in and quick settings are said."""
    settings = compose("train", ["data.source=builtin", *overrides])
    return run_folder(settings)


def test_calls_that_mean_the_same_share_a_folder() -> None:
    expected = "mnist-builtin/dcgan/default/seed=0"
    for overrides in (
        ["model=dcgan", "data=mnist", "seed=0"],
        ["model/generator=dcgan", f"budget={compose('train', []).model.budget}"],
        ["wandb.mode=offline", "wandb.tags=[a]", "~callbacks.progress", "data.reading.workers=7"],
        ["data.root=/somewhere", "existing=restart", "trainer=cpu"],
    ):
        assert folder_of(*overrides) == expected, overrides


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("flowers", "flowers/dcgan/default/seed=0"),
        ("my flowers, 2024", "my_flowers_2024/dcgan/default/seed=0"),
        ("../../etc", "etc/dcgan/default/seed=0"),
        ("..", "folder/dcgan/default/seed=0"),
        ("folder", "folder/dcgan/default/seed=0"),
    ],
)
def test_the_name_of_the_data_names_the_folder(name: str, place: str) -> None:
    settings = compose("train", ["data=folder", "data.source=real", f"data.name='{name}'"])
    assert run_folder(settings) == place


def test_calls_that_differ_do_not() -> None:
    overrides = [
        [],
        ["seed=1"],
        ["budget=1"],
        ["model=gan"],
        ["data=kmnist"],
        ["data.source=real"],
        ["model/penalty=r1"],
        ["model/penalty=r1", "model.penalty.gamma=7"],
        ["model.generator.width=7"],
        ["model.discriminator.width=7"],
        ["metrics.n=7"],
        ["trainer.precision=32-true"],
    ]
    names = [folder_of(*entry) for entry in overrides]
    assert [name for name in names if names.count(name) > 1] == []


def test_names_say_what_is_different() -> None:
    assert folder_of("model.generator.width=7", "seed=3") == (
        "mnist-builtin/dcgan/generator.width=7/seed=3"
    )
    assert folder_of("model/penalty=r1", "budget=7") == (
        "mnist-builtin/dcgan/penalty=r1,budget=7/seed=0"
    )
    assert folder_of("data.source=real") == "mnist/dcgan/default/seed=0"
    points = compose("train", ["model=gaussian_gan", "data=gaussian"])
    assert run_folder(points) == "gaussian/gaussian_gan/default/seed=0"


def test_the_order_of_overrides_does_not_matter() -> None:
    words = ["model.generator.width=7", "budget=9", "model/penalty=r1"]
    assert folder_of(*words) == folder_of(*words[::-1])


def test_long_names_are_cut_and_hashed() -> None:
    def name(width: int) -> str:
        keys = [f"model.{g}_optimizer.{key}" for g in "gd" for key in ("weight_decay", "lr")]
        widths = [f"model.{net}.width={width}" for net in ("generator", "discriminator")]
        return folder_of(*widths, *(f"{key}=0.123" for key in keys)).split("/")[2]

    assert len(name(7)) <= 80
    assert name(7) == name(7)
    assert name(7) != name(8)


def test_names_are_safe_for_any_file_system() -> None:
    name = folder_of("data.labels=[a/b, 'c d', ../../x, 'é']")
    assert ".." not in name.split("/")
    assert len(name.split("/")) == 4
    assert not set(name) & set(" '\"\\:*?<>|[]")


def test_classes_that_are_called_by_numbers() -> None:
    """They are texts, given as numbers or not; what is neither stays for the checks to refuse."""
    for word in ("[3,5]", "['3','5']", "['3',5]"):
        config = compose("train", ["model=gan", "data=mnist", f"data.labels={word}"])
        assert plain(config)["data"]["labels"] == ["3", "5"]
    assert folder_of("data.labels=[3,5]") == folder_of("data.labels=['3','5']")
    for word in ("[true]", "[1.5]", "[[1]]", "3", "[null]"):
        with pytest.raises(SettingError, match=r"data\.labels=.* must be Sequence"):
            check(compose("train", ["model=gan", "data=mnist", f"data.labels={word}"]))
    assert plain(compose("train", ["data=folder", "data.labels=null"]))["data"]["labels"] is None


def test_plain_leaves_hydra_out() -> None:
    settings = plain(compose("train", [*QUICK]))
    assert "hydra" not in settings
    assert type(settings["budget"]) is int  # resolved
