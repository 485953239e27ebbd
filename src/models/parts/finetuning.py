"""Fine-tuning of a stack of layers that were trained one by one: a slot.

reconstruct   encoder and decoder with weights of their own (Hinton & Salakhutdinov 2006)
classify      a softmax layer on a copy of the encoder (Bengio et al. 2007; Vincent et al. 2010),
              trained alone at first and then with all layers below it
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.config.ranges import PositiveInt, Share
from src.data.base import DataModule
from src.data.loader import Stream
from src.data.spec import Batch, Draw, Split
from src.distributed import ranks
from src.errors import SettingError
from src.losses.reconstruction import Reconstruction
from src.models.parts.stages import Stage
from src.networks.stack import Stack


class Finetuning(nn.Module, ABC):
    """The deep network that a stack of layers becomes, and the stages in which it learns."""

    @abstractmethod
    def stages(
        self, reconstruction: Reconstruction, observe: Callable[[Tensor], None]
    ) -> list[Stage]:
        """Stages of the fine-tuning, whose shares have the sum 1.

        Args:
            reconstruction: loss of images, for a network that reconstructs them.
            observe: takes the codes (n, latent_dim) of a batch.
        """

    @abstractmethod
    def unroll(self, stack: Stack) -> None:
        """Copy the layers' weights."""


class Reconstruct(Finetuning):
    """The unrolled network.

    Args:
        stack: stack of the layers.
        classes: are not used.
    """

    def __init__(self, stack: Stack, classes: int) -> None:
        super().__init__()
        self.encoder, self.decoder = stack.encoder(), stack.decoder()

    def stages(
        self, reconstruction: Reconstruction, observe: Callable[[Tensor], None]
    ) -> list[Stage]:
        def loss(draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
            x = reconstruction.targets(draw().x)
            z = self.encoder(x)
            loss = reconstruction.loss(self.decoder(z), x).mean()
            observe(z)
            return loss, loss, x

        weights = [*self.parameters(), *reconstruction.parameters()]
        return [Stage("fine-tuning", "fine_tuning", 1.0, weights, loss)]

    def unroll(self, stack: Stack) -> None:
        self.encoder.load_state_dict(stack.encoder().state_dict())
        self.decoder.load_state_dict(stack.decoder().state_dict())


class Classify(Finetuning):
    """A classifier on a copy of the encoder; the autoencoder stays as it was.

    Args:
        stack: stack of the layers.
        classes: number of them.
        head: share of the fine-tuning in which only the softmax layer, which starts at 0, learns.
        labelled: number of training images whose labels may be used, as many of each class as can
            be; None is all. The layers learn from all images in any case.
    """

    def __init__(
        self, stack: Stack, classes: int, head: Share = 0.1, labelled: PositiveInt | None = None
    ) -> None:
        super().__init__()
        if not classes:
            raise SettingError(
                "model/finetune=classify needs classes and the data have none.\n"
                "Choose data with labels (data.label=... for attributes), or "
                "model/finetune=reconstruct."
            )
        if not 0 <= head <= 1:
            raise SettingError(f"model.finetune.head={head} must be from 0 to 1: a share.")
        if labelled is not None and labelled <= 0:
            raise SettingError(f"model.finetune.labelled={labelled} must be positive: images.")
        self.body = stack.encoder()
        self.head = nn.Linear(stack.layers[-1].hidden_bias.numel(), classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.share, self.labelled = head, labelled
        self._few: Stream | None = None

    def stages(
        self, reconstruction: Reconstruction, observe: Callable[[Tensor], None]
    ) -> list[Stage]:
        head, every = list(self.head.parameters()), list(self.parameters())
        of_loss = list(reconstruction.parameters())
        return [
            Stage("classifier", "classifier", self.share, head + of_loss, self._loss_of_head),
            Stage("fine-tuning", "fine_tuning", 1 - self.share, every + of_loss, self._loss),
        ]

    def unroll(self, stack: Stack) -> None:
        self.body.load_state_dict(stack.encoder().state_dict())

    def begin(self, data: DataModule, seed: int, device: torch.device, batches: int) -> None:
        """Take the labelled images out of the training split, where only some may be used.

        They come in a stream of their own. Its place follows from the number of batches that were
        taken before, so that a resumed run goes on with the next one.

        Raises:
            SettingError: if there are not so many.
        """
        if self.labelled is None:
            return
        images = data.splits["train"]
        if self.labelled > len(images.x):
            raise SettingError(
                f"model.finetune.labelled={self.labelled}: there are {len(images.x)} images.\n"
                "Use null for all of them."
            )
        few = balanced(images, self.labelled, seed)
        options = {"seed": seed, "flip": data.flip, "device": device, "part": ranks.place()}
        self._few = Stream(*few, data.batch_size, **options, in_memory=few.x.nbytes)
        self._few.load_state_dict({"position": batches * data.batch_size})

    def batch(self, draw: Draw) -> Batch:
        """Images whose labels may be used."""
        return draw() if self._few is None else next(self._few)

    def _loss(self, draw: Draw, head_alone: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy of the classes, in nats."""
        x, y, _ = self.batch(draw)
        with torch.set_grad_enabled(not head_alone):
            features = self.body(x)
        loss = F.cross_entropy(self.head(features).float(), y)
        return loss, loss, x

    def _loss_of_head(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        return self._loss(draw, head_alone=True)


def balanced(images: Split, n: int, seed: int) -> Split:
    """n images, drawn without replacement: of all classes as many, as far as there are so many."""
    order = torch.randperm(len(images.y), generator=torch.Generator().manual_seed(seed))
    y = images.y[order]
    turn = torch.empty_like(y)
    for label in y.unique():
        of_class = y == label
        turn[of_class] = torch.arange(int(of_class.sum()))
    # The first of each class, then the second of each, and so on.
    chosen = order[turn.argsort(stable=True)[:n]]
    return Split(images.x[chosen], images.y[chosen])
