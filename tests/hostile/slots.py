"""Cases in config.yaml: what it asks to be built, and where it says that things lie."""

from collections.abc import Mapping
from typing import Any

from tests.hostile.folders import (
    PAYLOAD,
    Make,
    damaged,
    edited,
    entry,
    holding,
    hostile,
    link,
    pipe,
    setting,
    several,
)

SHELL = {"_target_": "os.system", "command": PAYLOAD}
EVAL = {"_target_": "builtins.eval", "_args_": [f"__import__('os').system({PAYLOAD!r})"]}

# What is to be built in a part of a model, and should not.
PARTS = [
    ("os-system", "model.penalty", SHELL),
    ("os-system-as-the-model", "model", {**SHELL, "batch_size": 50, "budget": 1}),
    ("os-system-as-the-data", "data", SHELL),
    ("os-system-in-a-list", "model.latent.categories", [1, [SHELL]]),
    ("os-system-in-the-betas", "model.g_optimizer.betas", [SHELL, 0.9]),
    ("os-system-in-the-schedule", "model.schedule.lr", {"x": [SHELL]}),
    ("os-system-in-the-batch-size", "model.batch_size", SHELL),
    ("os-system-in-an-empty-slot", "model.clip", SHELL),
    ("eval", "model.generator.norm", EVAL),
    ("exec", "model.loss", EVAL | {"_target_": "builtins.exec"}),
    ("getattr", "model.loss", {"_target_": "builtins.getattr", "_args_": ["", "__class__"]}),
    ("open-for-writing", "model.loss",
     {"_target_": "builtins.open", "file": "@OUTSIDE@/secret.txt", "mode": "w"}),
    ("import-module", "model.loss", {"_target_": "importlib.import_module", "name": "antigravity"}),
    ("subprocess", "model.loss", {"_target_": "subprocess.check_output", "args": PAYLOAD.split()}),
    ("rmtree", "model.loss", {"_target_": "shutil.rmtree", "path": "@OUTSIDE@/run"}),
    ("pickle-load", "model.loss", {"_target_": "pickle.loads", "_args_": ["x"]}),
    ("torch-load", "model.loss",
     {"_target_": "torch.load", "f": "@OUTSIDE@/bomb.pth", "weights_only": False}),
    ("torch-load-through-nn", "model.loss",
     {"_target_": "torch.nn.modules.module.torch.load", "f": "@OUTSIDE@/bomb.pth"}),
    ("torch-hub-load", "model.loss",
     {"_target_": "torch.hub.load", "repo_or_dir": "@OUTSIDE@/run", "model": "x"}),
    ("hub-through-nn", "model.loss",
     {"_target_": "torch.nn.modules.module.torch.hub.load_state_dict_from_url",
      "url": "file:///@OUTSIDE@/bomb.pth"}),
    ("os-through-src", "model.loss", {**SHELL, "_target_": "src.runs.run.os.system"}),
    ("shutil-through-src", "model.loss",
     {"_target_": "src.runs.run.shutil.rmtree", "path": "@OUTSIDE@/run"}),
    ("write-atomically", "model.loss",
     {"_target_": "src.runs.files.write_atomically", "path": "@OUTSIDE@/secret.txt",
      "content": "x"}),
    ("instantiate", "model.loss", {"_target_": "hydra.utils.instantiate", "config": SHELL}),
    ("a-module-of-the-folder", "model.loss", {"_target_": "evil.Payload"}),
    ("linear-of-a-trillion", "model.loss",
     {"_target_": "torch.nn.Linear", "in_features": 10**6, "out_features": 10**6}),
    ("linear-of-a-trillion-as-the-generator", "model.generator",
     {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 10**12}),
    ("embedding", "model.generator.width",
     {"_target_": "torch.nn.Embedding", "num_embeddings": 10**6, "embedding_dim": 800}),
    ("embedding-as-the-generator", "model.generator",
     {"_target_": "torch.nn.Embedding", "_partial_": True, "num_embeddings": 9,
      "embedding_dim": 9}),
    ("unfold-as-the-augmentation", "model.augment", {"_target_": "torch.nn.Fold",
     "output_size": 10**9, "kernel_size": 1}),
    ("adam-as-the-loss", "model.loss", {"_target_": "torch.optim.Adam", "_partial_": True}),
    ("loss-as-the-optimiser", "model.g_optimizer",
     {"_target_": "src.losses.adversarial.Hinge", "_partial_": True}),
    ("penalty-as-the-loss", "model.loss", {"_target_": "src.losses.penalties.NoPenalty"}),
    ("model-checkpoint", "model.loss",
     {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "@OUTSIDE@/new"}),
    ("device-stats", "model.loss", {"_target_": "lightning.pytorch.callbacks.DeviceStatsMonitor"}),
    ("ray", "model.loss",
     {"_target_": "src.sweeps.launchers.Ray", "address": "ray://192.0.2.1:10001",
      "init": {"runtime_env": {"py_executable": PAYLOAD}}}),
    ("joblib", "model.loss", {"_target_": "src.sweeps.launchers.Joblib", "n_jobs": 10**6}),
    ("submitit", "model.loss",
     {"_target_": "src.sweeps.launchers.Submitit", "cluster": "local", "folder": "@OUTSIDE@/new",
      "n_jobs": 1, "timeout_min": 1, "parameters": {"local_setup": [PAYLOAD]}}),
    ("optuna", "model.loss",
     {"_target_": "src.sweeps.search.Optuna", "storage": "@OUTSIDE@/new.db"}),
    ("wandb-logger", "model.loss",
     {"_target_": "src.training.loggers.WandbLogger", "folder": "@OUTSIDE@/new",
      "mode": "offline"}),
    ("csv-metrics", "model.loss",
     {"_target_": "src.training.loggers.CSVMetrics", "folder": "@OUTSIDE@"}),
    ("train", "model.loss",
     {"_target_": "src.training.fit.train", "config": {}, "folder": "@OUTSIDE@/x"}),
    ("run-of-elsewhere", "model.loss", {"_target_": "src.runs.run.Run", "folder": "@OUTSIDE@/run"}),
    ("inception", "model.loss",
     {"_target_": "src.networks.features.Inception", "weights": "@OUTSIDE@/bomb.pth"}),
    ("metrics-in-a-model", "model.loss", {"_target_": "src.metrics.scorers.Settings"}),
    ("mnist-in-a-model", "model.generator",
     {"_target_": "src.data.mnist.MNIST", "_partial_": True, "name": "mnist", "root": "@OUTSIDE@"}),
    ("mnist-as-the-model", "model",
     {"_target_": "src.data.mnist.MNIST", "batch_size": 50, "budget": 1}),
    ("callback-as-the-model", "model",
     {"_target_": "src.callbacks.codes.Codes", "batch_size": 50, "budget": 1, "n": 5}),
    ("convert-unknown", "model.loss._convert_", "everything"),
    ("convert-a-node", "model.loss._convert_", SHELL),
    ("recursive-off", "model._recursive_", False),
    ("recursive-on", "model.loss._recursive_", True),
    ("args", "model.loss._args_", [SHELL]),
    ("args-of-a-network", "model.generator._args_", [10**9]),
    ("partial-of-the-model", "model._partial_", True),
    ("partial-of-the-loss", "model.loss._partial_", True),
    ("partial-a-word", "model.generator._partial_", "yes"),
    ("partial-missing", "model.generator._partial_", False),
    ("dunder", "model.loss.__class__", "x"),
    ("class-of-another-package", "model.loss",
     {"_target_": "wandb.Api"}),
    ("target-in-a-target", "model.loss._target_", SHELL),
    ("target-with-spaces", "model.loss._target_", " src.losses.adversarial.Hinge"),
    ("target-with-dots", "model.loss._target_", "src..losses.adversarial.Hinge"),
    ("target-upwards", "model.loss._target_", "src./../../../../tmp/evil.Payload"),
    ("target-of-a-base", "model.loss._target_", "src.losses.adversarial.AdversarialLoss"),
    ("target-of-a-megabyte", "model.loss._target_", "src." + "x" * 1_000_000),
    ("target-with-escapes", "model.loss._target_", "src.\x1b[31m\u202e.x"),
]  # fmt: skip

# Nodes that no command may build from a folder: it can refuse them, or take no notice.
NODES = [
    ("requires", "model.generator.requires", {"data.kind": [SHELL], "x": SHELL}),
    ("discriminator-norm", "model.penalty.discriminator_norm", SHELL),
    ("metrics", "metrics", SHELL),
    ("metrics-weights", "metrics.weights", EVAL),
    ("callbacks", "callbacks.extra", SHELL),
    ("model-checkpoint-callback", "callbacks.extra",
     {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "@OUTSIDE@/new"}),
    ("logger", "logger.extra", SHELL),
    ("wandb-logger-elsewhere", "logger.wandb.folder", "@OUTSIDE@/new"),
    ("hydra", "hydra", {"run": {"dir": "@OUTSIDE@/new"}, "launcher": SHELL, "sweeper": EVAL}),
    ("hydra-callbacks", "hydra.callbacks.x", SHELL),
    ("hydra-searchpath", "hydra.searchpath", ["file://@OUTSIDE@"]),
    ("trainer", "trainer.plugins", [SHELL]),
    ("trainer-root", "trainer.default_root_dir", "@OUTSIDE@/new"),
    ("wandb", "wandb", {"mode": "online", "project": SHELL}),
    ("plugins", "plugins", ["@OUTSIDE@/run", "antigravity"]),
    ("plugins-by-their-names", "plugins", ["antigravity"]),
    ("plugins-of-many-names", "plugins", ["a" * 1000] * 500),
    ("metrics-of-another-package", "metrics.own", {"x": SHELL}),
    ("max-time", "max_time", "9" * 5000 + "h"),
    ("workers-of-a-million", "data.reading.workers", 10**6),
]  # fmt: skip

FOLDER = {
    "_target_": "src.data.folder.Folder", "name": "mine", "kind": "images", "channels": 1,
    "resolution": 28, "labels": [], "source": "real", "root": "@OUTSIDE@/pictures",
    "cache": "@OUTSIDE@/cache", "crop": None, "resize": "crop", "filter": "lanczos",
    "background": "white", "max_broken": 0.0,
}  # fmt: skip


def data(**changes: Any) -> Make:
    """The step of a run that was trained on a folder of pictures; the hash is not said."""
    return several(
        setting("data", FOLDER | changes), entry("summary.json", "data_id", None),
    )  # fmt: skip


# Where the data are said to lie, and how they are called.
PLACES: list[tuple[str, Make | Mapping[str, Any]]] = [
    ("cache-elsewhere", {}),
    ("cache-in-the-system", {"cache": "/proc/self"}),
    ("name-that-climbs", {"name": "../../x", "cache": "@FOLDER@/cache"}),
    ("name-that-is-absolute", {"name": "@OUTSIDE@/x"}),
    ("name-of-5000-letters", {"name": "x" * 5000}),
    ("name-with-nul", {"name": "a\0b"}),
    ("name-with-a-newline", {"name": "a\nerror: all is lost"}),
    ("name-with-an-escape", {"name": "a\x1b[2J"}),
    ("root-of-the-system", {"root": "/"}),
    ("root-in-proc", {"root": "/proc"}),
    ("root-in-dev", {"root": "/dev"}),
    ("root-of-zeros", {"root": "/dev/zero"}),
    ("root-of-the-secret", {"root": "@OUTSIDE@/secret.txt"}),
    ("root-a-pipe", several(pipe("photos"), data(root="@FOLDER@/photos"))),
    ("root-with-a-pipe", several(pipe("photos/a.png"), data(root="@FOLDER@/photos"))),
    ("root-with-zeros", several(
        holding("photos/b.png", "x"), link("photos/a.png", "/dev/zero"),
        data(root="@FOLDER@/photos"))),
    ("root-a-loop", several(
        link("photos", "@FOLDER@/photos"), data(root="@FOLDER@/photos"))),
    ("root-with-two-loops", several(
        link("photos/a", ".."), link("photos/b", ".."), data(root="@FOLDER@/photos"))),
    ("root-of-a-remote", {"root": "https://192.0.2.1/photos.zip"}),
    ("root-with-nul", {"root": "/tmp/a\0b"}),
]  # fmt: skip


CASES = [
    *(
        hostile(
            f"build-{name}",
            setting(key, node),
            refused=True,
        )
        for name, key, node in PARTS
    ),
    *(hostile(f"node-of-{name}", setting(key, node)) for name, key, node in NODES),
    hostile(
        "build-discriminator-as-the-generator",
        edited(lambda c: c["model"].update(generator=c["model"]["discriminator"])),
        refused=True,
    ),
    hostile(
        "build-generator-as-the-discriminator",
        edited(lambda c: c["model"].update(discriminator=c["model"]["generator"])),
        refused=True,
    ),
    hostile(
        "build-gan-in-a-gan",
        edited(lambda c: c["model"].update(generator={**c["model"], "_partial_": True})),
        refused=True,
    ),
    hostile(
        "build-model-as-the-data",
        edited(lambda c: c.update(data=c["model"])),
        refused=True,
    ),
    hostile(
        "build-encoder-as-the-decoder",
        edited(lambda c: c["model"].update(decoder=c["model"]["encoder"])),
        base="vae",
        refused=True,
    ),
    *(
        hostile(f"data-{name}", data(**step) if isinstance(step, dict) else step)
        for name, step in PLACES
    ),
    hostile(
        "data-downloaded-elsewhere",  # of data that are not there a download would make the folder
        setting("data.source", "real"),
        setting("data.root", "@OUTSIDE@/new"),
    ),
    hostile("metrics-cache-elsewhere", setting("metrics.cache", "@OUTSIDE@/cache")),
    hostile("metrics-weights-elsewhere", setting("metrics.weights", "@OUTSIDE@/bomb.pth")),
    damaged("data-of-another-hash", entry("summary.json", "data_id.hash", "0" * 16)),
    damaged("data-gone", data(root="@OUTSIDE@/gone")),
]
