"""What is right passes, what is wrong is named: by composition or by the checks after it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from src.config import checks
from src.config import composition as config
from src.config.checks import check
from src.config.composition import CONF, compose, run_folder
from src.errors import SettingError
from tests.conftest import QUICK, composed

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
EXPERIMENTS = sorted(
    str(path.relative_to(CONF / "experiment").with_suffix(""))
    for path in (CONF / "experiment").rglob("*.yaml")
)
POINTS = {"gaussian", "ring", "grid", "slanted_land"}
VOXELS = {"solids"}
NO_STAND_IN = {"folder", "pairs", "voxels", "modelnet10", "cifar10", "svhn", "ffhq"}
# All slots are in one of them.
HOSTS = ("vae", "ae", "gan", "dcgan", "stacked_ae", "srgan", "vaegan")
OF_VOXELS = {"srgan": "single_view", "vaegan": "vaegan3d"}  # with the same slots


def error_of(*overrides: str, name: str = "train", check: Callable = check) -> str:
    """The message of the SettingError that these overrides cause: three lines at most."""
    with pytest.raises(SettingError) as caught:
        check(compose(name, list(overrides)))
    message = str(caught.value)
    assert len(message.splitlines()) <= 3, message
    return message


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ that a test may change."""
    shutil.copytree(CONF, tmp_path / "conf")
    for module in (config, checks):
        monkeypatch.setattr(module, "CONF", tmp_path / "conf")
    return tmp_path / "conf"


# What is right


@pytest.mark.parametrize("model", MODELS)
def test_every_model_fits_points_images_or_voxels(model: str) -> None:
    fits = []
    translates = checks.translates(compose("train", [*QUICK, f"model={model}", "data=mnist"]).model)
    for data in ("mnist", "celeba", "gaussian", "ring", "solids"):
        try:
            sources = {"mnist": "noise", "celeba": "noise", "solids": "view"} if translates else {}
            words = [f"data/degradation={sources[data]}"] if data in sources else []
            composed(f"model={model}", f"data={data}", *words)
            fits.append(data)
        except SettingError as error:
            message = str(error)
            kind = "points" if data in POINTS else "voxels" if data in VOXELS else "images"
            assert f"cannot be used with data.kind={kind}" in message
    assert fits in (
        ["mnist", "celeba", "gaussian", "ring", "solids"],
        ["mnist", "celeba", "gaussian", "ring"],
        ["mnist", "celeba"],
        ["gaussian", "ring"],
        ["solids"],
    )


@pytest.mark.parametrize("data", sorted({*DATA} - NO_STAND_IN))
def test_every_data_set_has_a_model(data: str) -> None:
    settings = composed(f"data={data}", f"model={'gan' if data in POINTS | VOXELS else 'dcgan'}")
    assert settings.data.source == "builtin"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment: str) -> None:
    check(compose("train", [f"experiment={experiment}"]))


@pytest.mark.parametrize(
    "group", sorted({str(path.parent.relative_to(CONF)) for path in CONF.glob("model/*/*.yaml")})
)
def test_every_part_composes(group: str) -> None:
    """Each choice of each slot, in a preset that has the slot."""
    slot = group.removeprefix("model/")
    host = next(
        (model for model in HOSTS if slot in _slots(model)),
        None,
    )
    assert host, f"no preset has the slot {group}"
    for path in (CONF / group).glob("*.yaml"):
        voxels = path.stem in ("voxel", "occupancy")
        model = OF_VOXELS.get(host, host) if voxels else host
        words = ["data=solids"] if voxels else []
        if model != "vaegan" and host in OF_VOXELS:
            words += [f"data/degradation={'view' if voxels else 'noise'}"]
        composed(f"model={model}", f"{_slots(host)[slot]}={path.stem}", *words)


def _slots(model: str) -> dict[str, str]:
    """From the folder of a slot's choices to how the command line names it."""
    choices = dict(compose("train", [f"model={model}"]).hydra.runtime.choices)
    keys = [key.removeprefix("model/") for key in choices if key.startswith("model/")]
    return {key.partition("@")[0]: f"model/{key}" for key in keys}


@pytest.mark.parametrize("metrics", sorted(path.stem for path in (CONF / "metrics").glob("*.yaml")))
@pytest.mark.parametrize("trainer", sorted(path.stem for path in (CONF / "trainer").glob("*.yaml")))
def test_other_groups(metrics: str, trainer: str) -> None:
    data, model = ("ring", "gan") if metrics == "toy" else ("mnist", "dcgan")
    composed(f"data={data}", f"model={model}", f"metrics={metrics}", f"trainer={trainer}")


@pytest.mark.parametrize(
    "overrides",
    [
        ["model/penalty=r1", "model.penalty.gamma=3"],
        ["model/loss=non_saturating_smooth"],
        ["model.g_optimizer.betas=[0,0.99]", "model.d_optimizer.lr=1"],
        ["model.ema={_target_: src.models.parts.ema.EMA, _partial_: true, half_life: 500}"],
        ["~callbacks.progress"],
        ["max_time=10m", "budget=1_000"],
        ["model/penalty=r1", "model.penalty.every=0"],  # never
        ["model.ema.half_life=0"],  # follows at once
        ["+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: fid}"],
    ],
)
def test_what_must_work(overrides: list[str]) -> None:
    composed(*overrides)


# What is wrong


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("budgt=3", ["budgt", "Did you mean budget?"]),
        ("modl=dcgan", ["modl", "Did you mean model?"]),
        ("model=dcgn", ["model=dcgn", "Did you mean dcgan?", "vae"]),
        ("data=mnits", ["data=mnits", "Did you mean mnist?"]),
        ("model/penalty=r3", ["model/penalty=r3", "r1"]),
        ("model/penalti=r1", ["model/penalti", "Did you mean model/penalty?"]),
        ("model.g_optimizer.lrr=1", ["lrr", "Did you mean model.g_optimizer.lr?"]),
        ("d_optimizer.lr=1", ["d_optimizer.lr", "Did you mean model.d_optimizer.lr?"]),
        ("+foo=3", ["foo"]),
        ("~trainer.precision", ["trainer.precision is missing", "out ~trainer.precision"]),
        ("~wandb.mode", ["wandb.mode is missing"]),
        ("trainer.foo=1", ["trainer.foo: there is no such setting.", "there: accelerator"]),
        ("model/loss=null", ["model/loss=null", "hinge"]),
        ("plugins=mine", ["plugins=[mine]"]),
        ("hydra.searchpath=[nowhere]", ["hydra.searchpath", "nowhere"]),
        ("+model.d_step=3", ["model.d_step", "Did you mean d_steps?"]),
        ("+model.generator.widht=3", ["widht", "Did you mean width?"]),
        ("+trainer.max_epochs=3", ["trainer.max_epochs", "budget=..."]),
        ("trainer.precision=16-mixed", ["trainer.precision=16-mixed", "bf16-mixed"]),
        ("trainer.devices=3", ["trainer.devices=3", "model.batch_size=64", "multiple of 3"]),
        ("trainer.devices=0", ["trainer.devices=0", "positive"]),
        ("budget=-1", ["budget=-1", "positive"]),
        ("budget=0", ["budget=0", "positive"]),
        ("budget=many", ["budget=many", "int"]),
        ("budget=1.5", ["budget=1.5", "int"]),
        ("budget=null", ["budget", "int"]),
        ("seed=-1", ["seed=-1"]),
        ("seed=4294967296", ["seed=4294967296"]),
        ("max_time=10x", ["max_time=10x", "10m"]),
        ("callbacks.budget.max_time=10x", ["max_time=10x", "10m"]),
        ("existing=overwrite", ["existing=overwrite", "restart"]),
        ("model.batch_size=0", ["model.batch_size=0"]),
        ("model.d_steps=two", ["model.d_steps=two", "int"]),
        ("model.g_optimizer.lr=fast", ["model.g_optimizer.lr=fast", "float"]),
        ("model.g_optimizer.betas=[0.5]", ["model.g_optimizer.betas"]),
        ("model.latent.prior=cauchy", ["model.latent.prior=cauchy", "uniform"]),
        ("model.loss=hinge", ["model.loss=hinge", "model/loss=hinge"]),
        ("+model.ema.half_life=1", ["model.ema"]),
        ("~model.loss", ["model.loss", "must be given"]),
        ("model=null", ["model=null"]),
        ("wandb=off", ["wandb"]),
        ("wandb.mode=of", ["wandb.mode=of", "offline"]),
        ("data.source=fake", ["data.source=fake", "builtin"]),
        ("model/generator=voxel", ["model.generator", "data.kind=images", "voxels"]),
        ("metrics.extractor=vgg", ["metrics.extractor=vgg", "inception"]),
        ("callbacks.quality.every=often", ["callbacks.quality.every=often"]),
        ("+callbacks.mine.every=3", ["callbacks.mine"]),
        ("callbacks.progress=null", ["callbacks.progress", "~callbacks.progress"]),
        ("hydra.run.dr=x", ["hydra.run.dr"]),
        ("budget", ["budget"]),
        ("budget=(", ["budget=("]),
        ("budget=${nothing}", ["budget"]),
        # Nothing that every run needs can be removed, and nothing odd is a choice.
        ("~seed", ["seed is missing"]),
        ("~trainer", ["trainer is missing"]),
        ("~metrics", ["metrics is missing"]),
        ("model=[[[]]]", ["model=[[[]]]"]),
        ("model/loss=1", ["model/loss=1"]),
        ("=", ["="]),
        ("callbacks.signals._target_=1.5", ["callbacks.signals._target_=1.5"]),
        # Ranges stand beside the types.
        ("model.g_optimizer.lr=nan", ["lr=nan", "above 0"]),
        ("model.g_optimizer.lr=inf", ["lr=inf", "above 0"]),
        ("model.g_optimizer.lr=-1", ["lr=-1", "above 0"]),
        ("model.g_optimizer.lr=0", ["lr=0", "above 0"]),
        ("model.g_optimizer.betas=[2,2]", ["betas=[2, 2]", "below 1"]),
        ("model.g_optimizer.betas=[0.5,1]", ["betas=[0.5, 1]", "below 1"]),
        ("model.latent.dim=0", ["dim=0", "above 0"]),
        ("model.latent.dim=-3", ["dim=-3", "above 0"]),
        ("model.packing=0", ["packing=0", "above 0"]),
        ("model.d_steps=0", ["d_steps=0", "above 0"]),
        ("model.clip=-1", ["clip=-1", "above 0"]),
        ("model.loss.d_weight=-1", ["d_weight=-1", "above 0"]),
        ("model.generator.width=0", ["width=0", "above 0"]),
        ("callbacks.samples.n=-5", ["n=-5", "above 0"]),
        ("callbacks.collapse.threshold=nan", ["threshold=nan", "at least 0"]),
        ("callbacks.progress.heartbeat=nan", ["heartbeat=nan", "at least 0"]),
        ("callbacks.checkpoint.seconds=-1", ["seconds=-1", "at least 0"]),
        ("data.reading.workers=-1", ["workers=-1", "at least 0"]),
        ("metrics.n=-5", ["metrics.n=-5", "above 0"]),
        # Habits from elsewhere lead to the setting that serves here.
        ("epochs=3", ["epochs", "budget=..."]),
        ("trainer.max_epochs=3", ["trainer.max_epochs", "budget=..."]),
        ("lr=0.1", ["lr", "model.g_optimizer.lr"]),
        ("batch_size=8", ["batch_size", "model.batch_size"]),
        ("experiment=ae", ["experiment=ae", "Did you mean notes/ae?", "notes/vae"]),
        ("experiment=notes/dcgann", ["notes/dcgann", "Did you mean notes/dcgan?"]),
    ],
)
def test_a_wrong_override_is_named(override: str, named: list[str]) -> None:
    message = error_of(override)
    assert [word for word in named if word not in message] == [], message


@pytest.mark.parametrize(
    "override",
    ["model.clip=0.5", "model.packing=2", "model.d_optimizer.betas=[0,0.9]", "metrics.n=2",
     "callbacks.collapse.threshold=0", "callbacks.checkpoint.seconds=0", "data.reading.workers=0",
     "model.g_optimizer.lr=1e-9", "callbacks.samples.n=null", "model.discriminator.width=1"],
)  # fmt: skip
def test_the_ends_of_ranges_are_allowed(override: str) -> None:
    check(composed(override))


@pytest.mark.parametrize(
    ("budget", "samples"), [("10k", 10_000), ("1.5M", 1_500_000), ("300", 300), ("0.25k", 250)]
)
def test_budgets_can_be_short(budget: str, samples: int) -> None:
    assert composed(f"budget={budget}").budget == samples


def test_the_guilty_one_of_several_is_named() -> None:
    message = error_of("hydra.run.dir=/tmp/x", "seed=1", "model=vae", "model.objective.betta=2")
    assert message.startswith("model.objective.betta")
    assert "Did you mean model.objective.beta?" in message


def test_a_model_for_other_data_is_refused() -> None:
    assert "data.kind=images" in error_of("model=gaussian_gan")  # which also needs ${data.dim}
    assert "data.kind=points" in error_of("model=dcgan", "data=gaussian")
    assert "data.kind=points" in error_of("model=vae", "data=ring")


@pytest.mark.parametrize("target", ["torch.load", "os.system", "builtins.eval"])
@pytest.mark.parametrize("place", ["model", "model.loss", "model.generator", "data", "metrics"])
def test_a_target_that_is_not_allowed(target: str, place: str) -> None:
    assert "may not be built" in error_of(f"{place}._target_={target}")


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_misspelt_key_in_a_preset(own_conf: Path) -> None:
    _replace(own_conf / "model" / "gan.yaml", "d_steps: 1", "d_stepps: 1")
    assert "model.d_stepps: there is no such setting. Did you mean d_steps?" in error_of()


def test_a_misspelt_key_in_a_part(own_conf: Path) -> None:
    _replace(own_conf / "model" / "generator" / "dcgan.yaml", "width: 64", "widht: 64")
    assert "model.generator.widht: there is no such setting. Did you mean width?" in error_of()


def test_a_misspelt_key_at_the_top(own_conf: Path) -> None:
    _replace(own_conf / "train.yaml", "max_time: null", "max_tme: null")
    assert "Did you mean max_time?" in error_of()


def test_a_misspelt_key_of_the_trainer(own_conf: Path) -> None:
    _replace(own_conf / "trainer" / "default.yaml", "precision: auto", "precison: auto")
    assert "trainer.precison" in error_of()


def test_a_missing_setting_of_a_part(own_conf: Path) -> None:
    (own_conf / "model" / "penalty" / "mine.yaml").write_text("_target_: src.losses.penalties.R1\n")
    message = error_of("model/penalty=mine")
    assert "model.penalty.gamma must be given" in message


def test_a_wrong_type_in_a_preset(own_conf: Path) -> None:
    path = own_conf / "model" / "penalty" / "mine.yaml"
    path.write_text("_target_: src.losses.penalties.R1\ngamma: strong\n")
    assert "model.penalty.gamma=strong must be float" in error_of("model/penalty=mine")


def test_a_preset_that_is_no_yaml(own_conf: Path) -> None:
    (own_conf / "model" / "mine.yaml").write_text("defaults: [gan\nbudget: 3\n")
    message = error_of("model=mine")
    assert "mine.yaml" in message
    assert "line 2" in message


def test_a_part_that_a_preset_asks_for_in_vain(own_conf: Path) -> None:
    _replace(own_conf / "model" / "dcgan.yaml", "override loss: non_saturating", "override loss: x")
    assert "model/loss=x" in error_of()


def test_a_new_experiment(own_conf: Path) -> None:
    (own_conf / "experiment").mkdir(exist_ok=True)
    (own_conf / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [override /model: gan, override /data: ring]\n"
        "model: {d_steps: 2}\n"
    )
    settings = composed("experiment=mine")
    assert (settings.data.name, settings.model.d_steps) == ("ring", 2)
    assert run_folder(settings) == "ring/gan/mine,metrics=none/seed=0"
    assert "Did you mean mine?" in error_of("experiment=mime")


# The other commands


def test_sample_settings() -> None:
    def message(*overrides: str) -> str:
        return error_of(*overrides, name="sample", check=checks.check_sample)

    checks.check_sample(compose("sample", ["run=x", "n=4", "label=3", "out=x.npz"]))
    assert "python -m src.sample run=" in message()
    assert "n=0" in message("run=x", "n=0")
    assert "interpolation" in message("run=x", "what=dreams")
    assert "Did you mean label?" in message("run=x", "lable=1")


def test_evaluate_settings() -> None:
    def message(*overrides: str) -> str:
        return error_of(*overrides, name="evaluate", check=checks.check_evaluate)

    checks.check_evaluate(compose("evaluate", ["run=x", "metrics.n=50"]))
    assert "python -m src.evaluate run=" in message()
    assert "Did you mean metrics.n?" in message("run=x", "metrics.nn=3")
    assert "metrics.n=few" in message("run=x", "metrics.n=few")
    assert "may not be built" in message("run=x", "metrics._target_=os.system")


def test_a_stored_configuration_of_an_earlier_version() -> None:
    """`data.resize` was the filter, and there were no plug-ins."""
    stored = {"data": {"resize": "box", "crop": None}}
    checks.rename_old(stored)
    new = {"resize": "crop", "filter": "box", "background": "white", "crop": None}
    assert stored == {"data": new, "plugins": []}
    checks.rename_old(stored)  # changes nothing more
    assert stored == {"data": new, "plugins": []}
    model = {"_target_": "src.models.unpaired.UnpairedTranslation"}
    checks.rename_old(translator := {"model": dict(model)})
    assert translator["model"]["content"] == {"_target_": "src.models.parts.content.NoContent"}
    for other in ({"data": {"root": None}, "plugins": []}, {"data": None, "plugins": []}, [], None):
        before = repr(other)
        checks.rename_old(other)
        assert repr(other) == before
