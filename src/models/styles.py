"""The generator with styles of a model that has one: found, and truncated."""

from src.errors import SettingError
from src.models.base import GenerativeModel
from src.models.capabilities import Generates
from src.networks.base import StyleGenerator


def find_style_generator(model: GenerativeModel) -> StyleGenerator | None:
    """The network that is sampled, if it has styles."""
    generator = model.sampled if isinstance(model, Generates) else None
    return generator if isinstance(generator, StyleGenerator) else None


def truncate(model: GenerativeModel, truncation: float) -> None:
    """Move all styles towards their average, see `StyleGenerator`.

    Args:
        model: its samples change.
        truncation: the distance from the average that is left, as a share.

    Raises:
        SettingError: if there are no styles that could be moved.
    """
    if generator := find_style_generator(model):
        generator.truncation = truncation
    elif truncation != 1:
        raise SettingError(
            f"truncation={truncation}: the run's generator has no styles.\n"
            "StyleGAN2's has: model=stylegan2_narrow."
        )
