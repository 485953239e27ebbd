"""A trained generator for other programs: codes in, samples out.

    generator.onnx          the computation: inputs z (n, latent_dim) and, of a conditional model,
                            y (n,); output `samples` (n, *shape), in the data's range
    generator.safetensors   the weights that it uses, by their names in the LightningModule

The number of samples is free. It is the generator that is scored: the moving average, if there is
one.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from src.errors import SettingError
from src.models.base import LatentVariableModel
from src.runs.files import write_atomically

ENDINGS = (".onnx", ".safetensors")


class _Decoder(nn.Module):
    """A model as a function of codes and classes."""

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.model.decode(z, y)


def export(model: LatentVariableModel, out: Path) -> None:
    """Write the generator of a model.

    Args:
        model: trained, on the CPU.
        out: its ending is one of `ENDINGS`.

    Raises:
        SettingError: for another ending, or if what it takes is not installed.
    """
    if out.suffix not in ENDINGS:
        raise SettingError(f"out={out}: what=export makes {' or '.join(ENDINGS)}.")
    if out.suffix == ".onnx":
        try:
            import onnx  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise SettingError(
                f"out={out} needs {error.name}.\nInstall it: pip install 'sparring[onnx]'."
            ) from error
    inputs = {"z": model.latents(2, seed=0)}
    if model.conditional:
        inputs["y"] = model.classes_in_turn(2)
    n = torch.export.Dim("n", min=1)
    program = torch.export.export(
        _Decoder(model).eval(), tuple(inputs.values()), strict=False,
        dynamic_shapes=tuple({0: n} for _ in inputs),
    )  # fmt: skip
    if out.suffix == ".onnx":
        made = torch.onnx.export(
            program, input_names=list(inputs), output_names=["samples"], dynamo=True, verbose=False
        )
        write_atomically(out, made.model_proto.SerializeToString())
        return
    lifted = (
        program.graph_signature.inputs_to_parameters | program.graph_signature.inputs_to_buffers
    )
    used = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    names = [name.removeprefix("model.") for place, name in lifted.items() if place in used]
    state = model.state_dict()
    about = {"spec": json.dumps(asdict(model.spec)), "latent_dim": str(inputs["z"].shape[1])}
    weights = {name: state[name].contiguous() for name in sorted(names) if name in state}
    write_atomically(out, save(weights, about))
