"""Downloads into `data.root`: whole or not there at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from filelock import FileLock

from src.data.sources import DOWNLOADS
from src.errors import SettingError


@contextmanager
def downloading(root: Path, name: str, cure: str = "") -> Iterator[Path]:
    """A folder for a download of one process at a time, removed with what is still in it.

    Args:
        root: where that folder is made.
        name: of the data, for messages.
        cure: what else could be done, for messages.

    Raises:
        SettingError: in the place of what a download raises.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"), tempfile.TemporaryDirectory(dir=root) as temporary:
            yield Path(temporary)
    except (OSError, URLError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise SettingError(
            f"data.root={root}: the download of {name} failed: {reason}\n"
            f"Put the files there by hand{cure}."
        ) from error


def fetch(root: Path, name: str) -> None:
    """Download the files of a set that are not there yet.

    Args:
        root: their folder.
        name: a key of `DOWNLOADS`.

    Raises:
        SettingError: if it does not succeed.
    """
    from torchvision.datasets.utils import download_url

    with downloading(root, name) as temporary:
        for file, (url, md5) in DOWNLOADS[name].items():
            if not (root / file).exists():
                download_url(url, str(temporary), file, md5)
                os.replace(temporary / file, root / file)
