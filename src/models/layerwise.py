"""Greedy learning, layer by layer, and then of all layers together (Hinton & Salakhutdinov 2006;
Bengio et al. 2007).

    for each layer k = 1 ... L:   v = output of the layers below for x; they are frozen
                                  minimise the layer's own loss of v over layer k
    copy all layers into one network
        reconstruct:              minimise  loss(decode(encode(x)), x)  over all layers
        classify:                 minimise  cross-entropy(y)  over a softmax layer on the code,
                                  then over it and all layers

Each "minimise" is a stage: a share of the budget, with an optimiser of its own. The training of a
layer is a slot: as an autoencoder (stacked autoencoders; denoising with a corruption) or as a
restricted Boltzmann machine. So is the fine-tuning. Without pretraining the same network starts
from the same random weights.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, nn

from src.config.ranges import PositiveFloat, PositiveInt, Share
from src.data.spec import DataSpec, Draw
from src.errors import SettingError
from src.losses.reconstruction import Bernoulli, Reconstruction
from src.models.base import LatentVariableModel
from src.models.parts.code_priors import CodePrior
from src.models.parts.finetuning import Classify, Finetuning, Reconstruct
from src.models.parts.schedules import Schedule
from src.models.parts.stages import Stage
from src.networks.shallow import Shallow
from src.networks.stack import Stack
from src.transforms.corruptions import Corruption

Optimizer = Callable[..., torch.optim.Optimizer]


class Layerwise(LatentVariableModel):
    """A stack of layers that are trained one by one, and the deep network made of them.

    Args:
        spec: shape and classes of the images.
        seed: seed of initialisation and noise, and of the labelled images if only some are.
        hidden: widths from the first hidden layer to the code.
        learner: `(visible, hidden, linear) -> layer`, see `src/networks/shallow.py` and `rbm.py`.
        finetune: `(stack, classes) -> network`, see `src/models/parts/finetuning.py`.
        reconstruction: reconstruction loss when all layers are trained together, see
            `src/losses/reconstruction.py`.
        corruption: corruption of a layer's input while it is trained alone, see
            `src/transforms/corruptions.py`.
        sampler: `(latent_dim) -> prior of the code`, fitted once the last layer is trained.
        learner_optimizer: `parameters -> optimiser` of a layer.
        finetune_optimizer: the same of the network at the end.
        code_optimizer: the same of the last layer; None takes `learner_optimizer`.
        code: units of the last layer; the others are sigmoid units.
        pretrain: share of the budget in which layers learn alone, each as long as the others.
        schedule: schedule of the learning rate within each stage; None keeps it.
        clip: norm to which the gradient is cut; None leaves it.
    """

    def __init__(
        self,
        spec: DataSpec,
        seed: int,
        hidden: Sequence[PositiveInt],
        learner: Callable[..., Shallow],
        finetune: Callable[..., Finetuning],
        reconstruction: Reconstruction,
        corruption: Corruption,
        sampler: Callable[..., CodePrior],
        learner_optimizer: Optimizer,
        finetune_optimizer: Optimizer,
        code_optimizer: Optimizer | None = None,
        code: Literal["sigmoid", "linear"] = "sigmoid",
        pretrain: Share = 0.5,
        schedule: Schedule | None = None,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(spec, seed)
        if not hidden or min(hidden) <= 0:
            raise SettingError(f"model.hidden={list(hidden)} must be widths, at least one.")
        if not 0 <= pretrain <= 1:
            raise SettingError(f"model.pretrain={pretrain} must be from 0 to 1: share of budget.")
        widths, last = [math.prod(spec.shape), *hidden], len(hidden) - 1
        layers = [
            learner(visible=widths[k], hidden=widths[k + 1], linear=k == last and code == "linear")
            for k in range(len(hidden))
        ]
        self.stack = Stack(layers, spec.shape, _gain(reconstruction))
        self.finetune = finetune(stack=self.stack, classes=len(spec.classes))
        self.prior = sampler(latent_dim=hidden[-1])
        self.reconstruction, self.corruption = reconstruction, corruption
        self.latent_dim, self.schedule, self.clip = hidden[-1], schedule, clip
        self._optimizer_partials = (learner_optimizer, code_optimizer, finetune_optimizer)

        # A stage whose share is 0 is left out, but keeps its place and its optimiser.
        self.stages = [
            Stage(
                f"layer {k + 1} of {len(layers)}",
                f"layer_{k + 1}",
                pretrain / len(layers),
                list(layer.parameters()),
                partial(self.learn_alone, k),
            )
            for k, layer in enumerate(layers)
        ]
        for stage in self.finetune.stages(reconstruction, self.prior.observe):
            self.stages.append(replace(stage, share=(1 - pretrain) * stage.share))
        self._starts = [0.0, *accumulate(stage.share for stage in self.stages)][:-1]
        self._at = -1  # index of the last iteration's stage; none yet

    # Stages

    @property
    def stage(self) -> Stage:
        return self.stages[self._at if self._at >= 0 else self.due]

    @property
    def due(self) -> int:
        """Index of the coming iteration's stage; it never falls, even if the budget grows."""
        done = self.progress + 1e-9  # starts are sums of rounded shares
        return max(bisect_right(self._starts, done) - 1, self._at)

    @property
    def stage_progress(self) -> float:
        start, end = [*self._starts, 1.0][self.due : self.due + 2]
        return min(max((self.progress - start) / max(end - start, 1e-9), 0.0), 1.0)

    @property
    def unrolled(self) -> bool:
        """True once the layers have been copied into the network that is fine-tuned."""
        return self._at >= len(self.stack.layers)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        learner, code, finetune = self._optimizer_partials
        n = len(self.stack.layers)
        chosen = [learner] * (n - 1) + [code or learner] + [finetune] * (len(self.stages) - n)
        return self.make_optimizers(
            **{
                stage.player: partial(make, [w for w in stage.weights if w.requires_grad])
                for stage, make in zip(self.stages, chosen, strict=True)
            }
        )

    def iterate(self, draw: Draw) -> None:
        if self._at < len(self.stack.layers) <= self.due:
            self.finetune.unroll(self.stack)
        self._at = self.due
        loss, shown, x = self.stage.loss(draw)
        self.record(**{f"loss/{self.stage.player}": shown})
        self.update(self.stage.player, loss)
        self.advance(x)

    def learn_alone(self, k: int, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the loss of layer k, from 0, on a batch that passed the layers below it.

        Returns:
            The loss, the error to be recorded, and the batch x (n, *shape).
        """
        x, layer = self.reconstruction.targets(draw().x), self.stack.layers[k]
        with torch.no_grad():
            v = self.stack.up(x, k).float()  # noise drawn in bfloat16 would be coarse, and slow
            if k == len(self.stack.layers) - 1:
                self.prior.observe(layer.hidden(v))
        return *layer.learn(v, self.corruption), x

    def on_fit_start(self) -> None:
        if isinstance(self.finetune, Classify):
            later = self.stages[len(self.stack.layers) :]
            done = sum(self.updates[stage.player] for stage in later)
            self.finetune.begin(self.trainer.datamodule, self.seed, self.device, done)

    # Use

    @property
    def encoder(self) -> nn.Module:
        """The way up as it is now, from images to codes; a copy while layers learn alone."""
        return self.finetune.encoder if self._deep else self.stack.encoder()

    @property
    def _deep(self) -> bool:
        """True once the autoencoder is the unrolled network, and no longer the stack."""
        return self.unrolled and isinstance(self.finetune, Reconstruct)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        return self.prior.draw(n, self.make_random_generator(seed))

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (n, latent_dim) of images: up all layers, learned or not."""
        with self.scoring():
            up = self.finetune.encoder if self._deep else self.stack.up
            return up(x.to(self.device))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        with self.scoring():
            down = self.finetune.decoder if self._deep else self.stack.down
            return self.reconstruction.mean(down(z))

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """decode(encode(x)): (n, *shape) in the data's range."""
        return self.decode(self.encode(x))

    @property
    def classifier(self) -> nn.Module | None:
        return self.finetune.head if isinstance(self.finetune, Classify) else None

    def classify(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images; all 0 before the softmax layer has learned."""
        with self.scoring():
            up = self.finetune.body if self.unrolled else self.stack.up
            return self.finetune.head(up(x.to(self.device)))

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["sparring"]["stage"] = self._at

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)
        stage = checkpoint["sparring"]["stage"]
        if type(stage) is not int or not -1 <= stage < len(self.stages):
            raise ValueError(f"its stage {stage} is none of {len(self.stages)}")
        self._at = stage


def _gain(reconstruction: Reconstruction) -> float:
    """From the logit a of a pixel to the raw output that means the same: tanh(a / 2) = 2 p - 1.

    So the layers' answer does not change when they are unrolled.

    Raises:
        SettingError: if outputs have no bounds, which a layer's units have.
    """
    if isinstance(reconstruction, Bernoulli):
        return 1.0
    if reconstruction.output != "tanh":
        raise SettingError(
            "model/reconstruction=unbounded does not fit layers of sigmoid units.\n"
            "Use bernoulli, squared_error or gaussian."
        )
    return 0.5
