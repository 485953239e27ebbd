"""A trained run: its model and its data, for commands that use them."""

import torch

from src.config.plugins import prefixes
from src.data.base import DataModule
from src.data.listing import HUB
from src.data.sources import missing
from src.data.spec import DataSpec
from src.errors import SettingError
from src.models.base import GenerativeModel
from src.runs.escape import line
from src.runs.run import Run
from src.runs.stored import expect
from src.training.checkpoints import SAVED, afford, compare, fitting, load_checkpoint, restore
from src.training.instantiate import build_data, build_model


def load_model(run: Run) -> GenerativeModel:
    """The trained model of a run folder, on the CPU. Its data need not be there.

    Anybody may have written the folder: what its checkpoint holds is compared with what its
    configuration describes before any memory is taken for it.

    Of a run that has not reached its end it is the last that was saved, which is said.

    Raises:
        SettingError: if there is no checkpoint, or it does not fit the configuration.
    """
    settings, path = run.settings, run.checkpoint
    if path is None:
        ended = run.summary.get("status") == "finished"
        cure = "it was deleted, or callbacks.checkpoint left out" if ended else "let it train first"
        raise SettingError(f"run={run.folder} has no checkpoint: {cure}.")
    checkpoint = load_checkpoint(path)
    with fitting(path):
        expect(checkpoint, SAVED, "its content")
        spec = DataSpec.read(checkpoint["sparring"]["spec"])
        with torch.device("meta"):  # shapes without memory
            sketch = build_model(settings, spec)
        compare(sketch, checkpoint["state_dict"])
        afford(sketch, checkpoint["state_dict"])
    model = build_model(settings, spec)
    restore(model, path, checkpoint)
    status = run.status
    if status != "finished":
        how = f"has failed ({run.summary.get('error')})" if status == "failed" else f"is {status}"
        print(line(f"Note: the run {how}; its model is of {model.samples_seen:,} samples.", 400))
    return model.eval()


def load_data(run: Run, spec: DataSpec, root: str | None, cache: str) -> DataModule:
    """The data that a run was trained on, set up.

    Args:
        run: its configuration names the data.
        spec: data that its model was made for.
        root: where they lie now; None is where the run had them, from where they are read, but only
            if their content is the recorded one.
        cache: cache folder of the caller.

    Raises:
        SettingError: if they are not there, or these are others.
    """
    settings = run.settings
    trained_on = run.summary.get("data_id")
    cure = "Pass data.root=PATH to the original data."
    data = settings["data"] = settings["data"] | {"cache": cache}
    if root is not None:
        data["root"] = root
    if root is None and str(data["root"]).startswith(HUB):
        raise SettingError(
            f"run={run.folder}: its data are those of {line(str(data['root']), 100)}.\n"
            "Pass data.root=... to read them: nothing is downloaded because a folder says so."
        )
    if data.get("source") == "real":
        if root is None and not trained_on:
            raise SettingError(f"run={run.folder} does not say which its data were.\n{cure}")
        # Nothing is downloaded because a folder says so.
        if reason := missing(data, prefixes(settings["plugins"])):
            raise SettingError(f"data.root={line(str(data['root']))}: {reason}.\n{cure}")
        if root is None:
            print(line(f"Reading the run's data at {data['root']}", 400))
    module = build_data(settings)
    if module.spec != spec:
        raise SettingError(
            f"run={run.folder}: the model makes {spec.kind} {list(spec.shape)}, and the data are "
            f"{module.spec.kind} {list(module.spec.shape)}, or of other classes.\n{cure}"
        )
    module.setup()
    if trained_on and trained_on != module.data_id:
        raise SettingError(
            f"These are not the data of the run: hash {module.data_id['hash']}, but the run was "
            f"trained on {line(str(trained_on.get('hash')), 20)}.\n{cure}"
        )
    return module
