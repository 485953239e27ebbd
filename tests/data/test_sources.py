"""Where data come from is decided without torch, and told in plain words."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.data import containers, sources
from src.data.sources import resolve
from src.errors import SettingError

TARGETS = {"mnist": "src.data.mnist.MNIST", "celeba": "src.data.celeba.CelebA"}


def config(name: str, root: object, source: str = "auto", **more: object) -> dict:
    target = TARGETS.get(name, "src.data.folder.Folder")
    root = root if root is None else str(root)
    return {
        "_target_": target,
        "name": name,
        "kind": "images",
        "labels": [],
        "source": source,
        "root": root,
    } | more


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    return lambda answer: monkeypatch.setattr(sources, "_answers", lambda *_: answer)


@pytest.mark.parametrize("module", ["src.data.sources", "src.data.cache"])
def test_torch_is_not_imported(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("inner", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist_is_found_in_its_layouts(tmp_path: Path, inner: str, ending: str) -> None:
    (tmp_path / inner).mkdir(parents=True, exist_ok=True)
    (tmp_path / inner / f"t10k-labels-idx1-ubyte{ending}").touch()
    assert resolve(config("mnist", tmp_path)) == ("real", "")


def test_mnist_falls_back_with_a_notice(tmp_path: Path, mirror: Callable) -> None:
    mirror(False)
    source, notice = resolve(config("mnist", tmp_path))
    assert source == "builtin"
    for word in ("mnist", str(tmp_path), "no mirror", "1,797", "not comparable", "data.root"):
        assert word in notice
    assert len(notice.splitlines()) <= 3
    with pytest.raises(SettingError, match=r"data\.root=.*no mnist files"):
        resolve(config("mnist", tmp_path, "real"))
    assert resolve(config("mnist", tmp_path, "builtin")) == ("builtin", "")


def test_mnist_can_be_downloaded(tmp_path: Path, mirror: Callable) -> None:
    mirror(True)
    assert resolve(config("mnist", tmp_path / "new")) == ("real", "")
    assert resolve(config("mnist", tmp_path / "new", "real")) == ("real", "")


def test_celeba_and_folder(tmp_path: Path, write_images: Callable) -> None:
    source, notice = resolve(config("celeba", tmp_path / "none"))
    assert source == "builtin"
    assert "no such folder" in notice
    with pytest.raises(SettingError, match=r"no such folder.*\n.*data\.source=builtin"):
        resolve(config("celeba", tmp_path / "none", "real"))
    with pytest.raises(SettingError, match="no images there"):
        resolve(config("celeba", tmp_path, "real"))
    for root in (tmp_path, tmp_path / "none", None):
        with pytest.raises(SettingError, match=r"data\.root="):
            resolve(config("photos", root))
    with pytest.raises(SettingError, match=r"data\.source=builtin"):
        resolve(config("photos", tmp_path, "builtin"))
    write_images(tmp_path / "img_align_celeba", ["000001.jpg"])
    assert resolve(config("celeba", tmp_path)) == ("real", "")
    assert resolve(config("photos", tmp_path)) == ("real", "")


def test_points_are_always_drawn() -> None:
    for source in ("auto", "real", "builtin"):
        toy = config("ring", None, source, kind="points", _target_="src.data.toy.Toy")
        assert resolve(toy) == ("builtin", "")


def test_file_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK, but no zip")
    with pytest.raises(SettingError, match=r"readable zip, tar or tar\.gz"):
        resolve(config("photos", tmp_path / "images.zip"))


def test_a_zip_of_too_many_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_images: Callable, zipped: Callable
) -> None:
    """The size of the directory is looked at before an object is made for each entry."""
    names = [f"{i:02}.png" for i in range(12)]
    archive = zipped(write_images(tmp_path / "images", names), tmp_path / "images.zip")
    size = len(names) * (46 + len("images/00.png"))  # bytes of the directory
    monkeypatch.setattr(containers, "MOST_DIRECTORY", 10 * size)
    assert resolve(config("photos", archive)) == ("real", "")
    monkeypatch.setattr(containers, "MOST_DIRECTORY", size // 2)
    with pytest.raises(SettingError, match="too many entries"):
        resolve(config("photos", archive))


def test_messages_are_short(tmp_path: Path, mirror: Callable) -> None:
    mirror(False)
    for name in ("mnist", "celeba", "photos"):
        with pytest.raises(SettingError) as error:
            resolve(config(name, tmp_path / "none", "real"))
        assert len(str(error.value).splitlines()) <= 3


class Server(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_mirrors_are_asked_with_patience(server: str) -> None:
    assert sources._answers([f"{server}/there"], 3)
    assert sources._answers([f"{server}/none", f"{server}/there"], 3)
    assert not sources._answers([f"{server}/none", "http://127.0.0.1:1/"], 3)
    start = time.perf_counter()
    assert not sources._answers([f"{server}/slow"], 0.2)
    assert time.perf_counter() - start < 0.9
