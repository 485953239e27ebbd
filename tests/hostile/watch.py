"""What a process does that the commands never should: an audit hook that writes it down.

It sees what Python itself opens, starts and imports; what C++ does behind its back shows in the
files that were hashed before.
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# `provenance` asks git, and says so in the run's summary.
GIT = ("ls-files", "rev-parse", "status")
# Nothing that a command does with a run folder starts one of these.
NEVER = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("os.kill", "os.killpg", "webbrowser.open", "urllib.Request", "http.client.connect"),
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "ensurepip.bootstrap"),
)


class Watch:
    """An audit hook.

    Args:
        writable: folders and files that may be changed.
        private: folders of which nothing may be read ...
        public: ... but what is in these.
        foreign: a folder from which no code may come.
        report: is given each complaint.
    """

    def __init__(
        self,
        writable: Sequence[Path],
        private: Sequence[Path],
        public: Sequence[Path],
        foreign: Path,
        report: Callable[[str], None],
    ) -> None:
        self.writable = [os.path.realpath(path) for path in writable]
        self.private = [os.path.realpath(path) for path in private]
        self.public = [os.path.realpath(path) for path in public]
        self.foreign = os.path.realpath(foreign)
        self.report = report
        self._state = threading.local()

    def __call__(self, event: str, arguments: tuple) -> None:
        check = CHECKS.get(event)
        if (check is None and event not in NEVER) or getattr(self._state, "busy", False):
            return
        self._state.busy = True  # what follows opens files itself
        try:
            complaint = check(self, *arguments) if check else f"{event}: {arguments!r}"[:300]
        except (ValueError, OSError, RecursionError):  # no path that anything could be opened at
            complaint = None
        finally:
            self._state.busy = False
        if complaint:
            self.report(complaint)
        if event.startswith("socket."):
            raise OSError("there is no network in this test")

    def _change(
        self, verb: str, path: Any, directory: int = -1, follow: bool = False
    ) -> str | None:
        """A complaint of what changes a path that it may not."""
        place = locate(path, directory, follow)
        return f"{verb} {place}" if place and not below(place, self.writable) else None

    def open(self, path: Any, mode: str | None, flags: int) -> str | None:
        place = locate(path, -1, not flags & os.O_NOFOLLOW)
        if place is None or place == "/dev/null":
            return None
        writes = flags & WRITES or (mode and set(mode) & set("wax+"))
        if writes:
            return self._change("wrote", place)
        secret = below(place, self.private) and not below(place, self.public)
        return f"read {place}" if secret and not os.path.isdir(place) else None

    def remove(self, path: Any, directory: int = -1) -> str | None:
        there = (place := locate(path, directory, False)) and os.path.lexists(place)
        return self._change("removed", path, directory) if there else None

    def mkdir(self, path: Any, mode: int, directory: int = -1) -> str | None:
        there = (place := locate(path, directory, True)) and os.path.exists(place)
        return None if there else self._change("made", path, directory)

    def rename(self, old: Any, new: Any, before: int = -1, after: int = -1) -> str | None:
        return self._change("moved", old, before) or self._change("replaced", new, after)

    def link(self, old: Any, new: Any, *directories: int) -> str | None:
        return self._change("linked", new, directories[-1])

    def changed(self, path: Any, *_: Any) -> str | None:
        return self._change("changed", path, follow=True)

    def copied(self, old: Any, new: Any, *_: Any) -> str | None:
        return self._change("copied to", new, follow=True)

    def started(self, program: Any, words: Any, *_: Any) -> str | None:
        words = [os.fsdecode(word) for word in words] if not isinstance(words, str) else [words]
        if len(words) > 1 and words[0] == "git" and words[1] in GIT:
            return None
        return f"started {program!r} {words!r}"[:300]

    def executed(self, code: Any) -> str | None:
        name = getattr(code, "co_filename", "")
        return f"ran code of {name}" if below(name, [self.foreign]) else None

    def imported(self, module: str, file: Any, *_: Any) -> str | None:
        return f"imported {file}" if file and below(str(file), [self.foreign]) else None

    def loaded(self, name: Any) -> str | None:
        return f"loaded {name}" if name and below(str(name), [self.foreign]) else None

    def unpickled(self, module: str, name: str) -> str | None:
        return f"unpickled {module}.{name}"


CHECKS: dict[str, Callable[..., str | None]] = {
    "open": Watch.open,
    "os.remove": Watch.remove,
    "os.rmdir": Watch.remove,
    "shutil.rmtree": Watch.remove,
    "os.mkdir": Watch.mkdir,
    "os.rename": Watch.rename,
    "os.symlink": Watch.link,
    "os.link": Watch.link,
    "os.truncate": Watch.changed,
    "os.chmod": Watch.changed,
    "os.chown": Watch.changed,
    "os.utime": Watch.changed,
    "os.setxattr": Watch.changed,
    "shutil.copyfile": Watch.copied,
    "shutil.move": Watch.copied,
    "shutil.unpack_archive": Watch.copied,
    "subprocess.Popen": Watch.started,
    "exec": Watch.executed,
    "import": Watch.imported,
    "ctypes.dlopen": Watch.loaded,
    "pickle.find_class": Watch.unpickled,
}


def locate(path: Any, directory: int, follow: bool) -> str | None:
    """Where a path leads to; None of an open file.

    Args:
        directory: an open one that it starts from, if not -1.
        follow: the link that it may be in its last part.
    """
    if path is None or isinstance(path, int):
        return None
    path = os.fsdecode(path)
    if isinstance(directory, int) and directory >= 0:
        path = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), path)
    if follow:
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder or "."), name)


def below(place: str, folders: Sequence[str]) -> bool:
    """Whether a place is one of the folders, or in one."""
    return any(place == folder or place.startswith(f"{folder}/") for folder in folders)
