"""Constructors read from source text agree with the imported ones, and types with values."""

import ast
import importlib
import inspect

import pytest

from src.config.signatures import ALLOWED, constant, fits, signature, spell
from src.errors import SettingError

CLASSES = (
    "src.models.gan.GAN",
    "src.models.vae.VAE",
    "src.networks.dcgan.DCGANGenerator",
    "src.networks.mlp.MLPDiscriminator",
    "src.losses.penalties.R1",
    "src.losses.penalties.NoPenalty",  # has no constructor at all
    "src.data.celeba.CelebA",  # may have its base's
    "src.data.mnist.MNIST",
    "src.callbacks.signals.Signals",
    "src.config.settings.Train",  # a dataclass
    "src.metrics.scorers.Settings",
    "torch.optim.Adam",
    "torch.optim.RMSprop",
    "torch.optim.SGD",
    "torch.nn.Linear",  # re-exported by torch/nn/__init__.py
    "torch.nn.BatchNorm2d",  # its base's base has the constructor
    "torch.nn.Conv2d",
    "lightning.pytorch.callbacks.EarlyStopping",
)


@pytest.mark.parametrize("target", CLASSES)
def test_agrees_with_the_imported_class(target: str) -> None:
    module, _, name = target.rpartition(".")
    expected = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    assert {key: parameter.required for key, parameter in signature(target).items()} == {
        key: parameter.default is inspect.Parameter.empty
        for key, parameter in expected.items()
        if parameter.kind in named
    }


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "hydra.utils.instantiate",
        "numpy.load",
        "src",
        "srcx.models.gan.GAN",
        "src.losses..adversarial.Hinge",
        "src..losses.adversarial.Hinge",
        "src.losses.adversarial.Hinge.",
        "lightning.pytorch.cli.LightningCLI",  # builds whatever its own arguments say
        "lightning.fabric.utilities.cloud_io._load",  # torch.load under another name
    ],
)
def test_what_is_not_allowed(target: str) -> None:
    with pytest.raises(SettingError, match="may not be built") as caught:
        signature(target)
    assert all(prefix in str(caught.value) for prefix in ALLOWED)


@pytest.mark.parametrize(
    "target",
    [
        "src.networks.precision.CPUINFO",  # a name of a module of ours that is no class
        "src.train.DictConfig",
        "src.runs.run.shutil.rmtree",
        "src.runs.run.Nothing",
        "src.nothing.GAN",
        "src.models.gan.GAN.configure_optimizers",
        "src.",
        "src..models",
        "torch.nn.Nothing",
        "torch.optim.lr_scheduler.warnings.warn",
    ],
)
def test_what_does_not_exist_among_ours(target: str) -> None:
    with pytest.raises(SettingError, match=r"may not be built|does not exist"):
        signature(target)


@pytest.mark.parametrize(
    "target", ["src.runs.files.write_atomically", "src.cli.launch", "torch.nn.init.normal_"]
)
def test_functions_are_refused(target: str) -> None:
    with pytest.raises(SettingError, match="not a class"):
        signature(target)


def test_a_modules_own_type_aliases_are_spelt_out() -> None:
    activation = signature("src.networks.mlp.MLPGenerator")["activation"].annotation
    assert fits("relu", activation)
    assert not fits("rellu", activation)
    assert spell(activation) == "one of relu, leaky_relu, tanh, sigmoid, silu"


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [0, -3, 10**12], [1.0, True, "1", None, [1], {}]),
        ("float", [0, 1.5, -2], [float("inf"), float("nan"), True, "1", None, [1.0]]),
        ("bool", [True, False], [0, 1, "true", None]),
        ("str", ["", "x"], [1, None, ["x"], {"x": 1}]),
        ("dict", [{}, {"x": 1}], [None, "x", [1]]),
        ("None", [None], [0, "", False]),
        ("int | None", [3, None], [3.5, "x", False]),
        ("float | Tensor", [3, 0.1], ["x", None, [1]]),
        ("Optional[int]", [3, None], ["3", 0.5]),
        ("Union[float, Tensor]", [3, 0.1], ["x", None]),
        ("Literal['a', 'b']", ["a", "b"], ["c", None, ["a"], "ab"]),
        ("Literal[1]", [1], [2, "1", None]),
        ("Sequence[int]", [[], [1], [1, 2, 3]], ["12", 1, None, [1.5], ["a"], {"a": 1}]),
        ("list[str]", [["a"], []], ["a", [1]]),
        ("tuple[float, float]", [[0.5, 0.9], (0, 1)], [[0.5], [0.5, 0.9, 1.0], [0.5, "a"], 0.5]),
        ("tuple[int, ...]", [[], [1], [1, 2]], [[1.5], 1]),
        ("Callable[..., nn.Module]", [{"_target_": "src.x"}], [{}, {"lr": 1}, "x", 3, None, [1]]),
        ("Latent", [{"_target_": "src.x"}], [{"dim": 2}, "normal", None]),
        ("Callable[[nn.Module], EMA] | None", [None, {"_target_": "x"}], [{"half_life": 1}, 1]),
    ],
)
def test_fits(annotation: str, good: list, bad: list) -> None:
    tree = ast.parse(annotation, mode="eval").body
    assert [value for value in good if not fits(value, tree)] == []
    assert [value for value in bad if fits(value, tree)] == []


def test_bare_arguments_take_anything() -> None:
    assert all(fits(value, None) for value in (None, 1, "x", [1], {}))
    assert spell(None) == "anything"


def test_constants_are_read_without_an_import() -> None:
    """Of a class, or of the next base that has it; what is computed cannot be read."""
    assert constant("src.data.garments.Garments", "stands_in") == "5,500 drawn garments"
    assert constant("src.data.garments.Garments", "needed").startswith("a folder with images")
    assert constant("src.data.toy.Toy", "looks_for") == ("*",)  # with an annotation
    with pytest.raises(SettingError, match="has no nothing"):
        constant("src.data.toy.Toy", "nothing")
