"""Base of the translators of images, with pairs or without: their content loss in checkpoints.

The network of a content loss is not in the checkpoints; which one it was is, so that a training
goes on with the same.
"""

from src.models.base import GenerativeModel
from src.models.parts.content import Content


class Translation(GenerativeModel):
    """A model of sources and targets with a content loss, which the subclass sets.

    Attributes:
        content: see `src/models/parts/content.py`.
    """

    needs_source = True
    content: Content
    _recorded: object = None  # identity of the content's network in a checkpoint

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.content.prepare(self.device, self._recorded)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        if identity := self.content.identity:
            checkpoint["sparring"]["content"] = dict(identity)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)
        self._recorded = checkpoint["sparring"].get("content")
