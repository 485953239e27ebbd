"""Access to Weights & Biases, and the W&B run that belongs to a run folder.

It is one place for numbers among others: nothing waits long for its server, or asks for a key.
"""

import base64
import http.client
import json
import os
import re
import threading
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Literal

from src.errors import SettingError
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.stored import read_text

# Without it wandb looks up a server even offline; it reads this when it is first used.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

Mode = Literal["auto", "online", "offline", "disabled"]


def run_id(folder: Path) -> str:
    """Return the W&B id of a run folder; it is drawn at the first call and written down.

    A copy of a folder gets an id of its own, so that two runs never write into one; a folder that
    was moved keeps its id.
    """
    path, home = folder / "wandb" / "id", folder / "wandb" / "folder"
    here = str(folder.resolve())
    if not path.exists() or _is_copy(read_id(path), home, here):
        write_atomically(path, uuid.uuid4().hex[:12])
    if not home.exists() or home.read_bytes() != here.encode():
        write_atomically(home, here)
    return read_id(path)


def _is_copy(own: str, home: Path, here: str) -> bool:
    """True if the folder where an id was drawn is another one, and still there.

    Args:
        own: id of the folder at hand.
        home: file with the path of the folder where it was drawn or found last.
        here: path of the folder at hand.
    """
    try:
        there = read_text(home, 4096)
        return there != here and read_text(Path(there) / "wandb" / "id", 100) == own
    except (OSError, ValueError):
        return False


def read_id(path: Path) -> str:
    """The W&B id in a file, which becomes a part of the names of W&B's own files.

    Raises:
        SettingError: if it is no such id.
    """
    try:
        text = read_text(path, 100)
        if re.fullmatch(r"[\w-]{1,64}", text, re.ASCII):
            return text
        reason = f"{line(text, 40)} is no id"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise SettingError(f"{path} is damaged: {reason}.\nRemove it, for a new W&B run.")


def wandb_mode(mode: Mode, patience: float = 3.0) -> Literal["online", "offline", "disabled"]:
    """Choose a mode that works here. Never prompts, nor waits much longer than `patience`.

    Args:
        mode: `auto` goes online if a key is configured (environment, netrc or settings) and the
            server takes it; else it says in one line why the run is kept offline. W&B's own
            `WANDB_MODE` and `wandb offline` decide first.
        patience: seconds for the server to answer.

    Raises:
        SettingError: for `online`, if there is no key, or no server that takes it.
    """
    if mode in ("offline", "disabled"):
        return mode
    import wandb

    chosen = wandb.setup().settings.mode
    if mode == "auto" and chosen in ("offline", "dryrun", "disabled"):
        return "disabled" if chosen == "disabled" else "offline"
    obstacle = _obstacle(patience)
    if obstacle is None:
        return "online"
    if mode == "online":
        raise SettingError(
            f"wandb.mode=online: {obstacle}.\nUse wandb.mode=auto, or offline and wandb sync later."
        )
    print(f"W&B offline: {obstacle}. To upload later: wandb sync RUN/wandb/offline-run-*")
    return "offline"


def _obstacle(patience: float) -> str | None:
    """Reason why W&B cannot be online, or None.

    `wandb.init` itself, with a key and no network, tries for 100 s; `wandb.login` asks the server.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    settings = wandb.setup().settings
    try:
        auth = wbauth.authenticate_session(
            host=settings.base_url, source="sparring", prompt=False, update_session=False
        )
    except wandb.errors.AuthenticationError as error:
        return f"the key cannot be used ({str(error).rstrip('.')})"
    if auth is None:
        return "no key is configured (wandb login)"
    answers: list[str | None] = []
    # A thread, since a look-up of the host's name cannot be given a time limit.
    asking = threading.Thread(
        target=lambda: answers.append(
            _ask(settings.base_url, getattr(auth, "api_key", None), patience)
        ),
        daemon=True,
    )
    asking.start()
    asking.join(patience)
    return answers[0] if answers else f"{settings.base_url} does not answer"


def _ask(server: str, key: str | None, patience: float) -> str | None:
    """Ask the server who we are; None if it knows."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}"
    query = json.dumps({"query": "query { viewer { id } }"}).encode()
    request = urllib.request.Request(f"{server}/graphql", query, headers)
    try:
        with urllib.request.urlopen(request, timeout=patience) as response:
            viewer = json.load(response).get("data", {}).get("viewer")
    except urllib.error.HTTPError as error:
        refused = error.code in (401, 403)
        return f"{server} refuses the key" if refused else f"{server} answers error {error.code}"
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: not W&B, if no JSON
        return f"{server} does not answer"
    return None if viewer or not key else f"{server} does not know the key"
