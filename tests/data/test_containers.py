"""Files of folders and archives by name, and what strangers can put into archives."""

import gzip
import io
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from src.data import containers
from src.data.containers import open_container
from src.data.listing import image_root, list_images
from src.data.sources import no_set
from src.errors import SettingError
from tests.data.examples import by_class, content, put


def tarred(path: Path, mode: str = "w", **files: bytes) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_of_a_tar(mode: str, tmp_path: Path) -> None:
    path = tarred(tmp_path / "x", mode, one=b"1" * 700, two=b"22")
    with open_container(path) as container:
        assert sorted(container.names) == ["one", "two"]
        assert container.read("two") == b"22"
        assert container.read("one") == b"1" * 700
        assert container.head("one", 3) == b"111"
        with pytest.raises(ValueError, match="more than"):
            container.read("one", most=699)
    assert sorted(os.listdir(tmp_path)) == ["x"]


def test_nothing_in_a_tar_leads_out_of_it(tmp_path: Path) -> None:
    """Links, devices and holes are no members; `..` is a part of a hidden name."""
    (tmp_path / "secret.png").write_bytes(content(0))
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("a.png", tarfile.SYMTYPE),
            ("b.png", tarfile.LNKTYPE),
            ("c.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../secret.png"
            archive.addfile(info)
        for i, name in enumerate(("../secret.png", "good.png")):
            info = tarfile.TarInfo(name)
            info.size = len(content(i))
            archive.addfile(info, io.BytesIO(content(i)))
    assert list_images(open_container(path)).names == ["good.png"]


def test_tars_of_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tarred(tmp_path / "x.tar", a=b"1" * 2000, b=b"2" * 2000).read_bytes()
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(SettingError, match=r"neither a folder nor a readable zip, tar or tar\.gz"):
        open_container(tmp_path / "x.tar.gz")
    (tmp_path / "x.tar").write_bytes(b"/absolute".ljust(257, b"\0") + whole[257:])
    with pytest.raises(SettingError, match="neither a folder"):  # its checksum is wrong
        open_container(tmp_path / "x.tar")
    tarred(tmp_path / "y.tar", **{"/absolute.png": b""})
    with pytest.raises(SettingError, match="not named relative"):
        open_container(tmp_path / "y.tar")
    tarred(tmp_path / "z.tar", **{"n" * 5000: b""})  # in a header of its own
    monkeypatch.setattr(containers, "MOST_HEADER", 4000)
    with pytest.raises(SettingError, match="too long"):
        open_container(tmp_path / "z.tar")
    tarred(tmp_path / "w.tar", **{str(i): b"" for i in range(9)})
    monkeypatch.setattr(containers, "MOST_MEMBERS", 8)
    with pytest.raises(SettingError, match="too many members"):
        open_container(tmp_path / "w.tar")
    bomb = gzip.compress(tarred(tmp_path / "v.tar", zeros=bytes(2**20), end=b"").read_bytes())
    (tmp_path / "v.tar.gz").write_bytes(bomb)
    monkeypatch.setattr(containers, "MOST_UNPACKED", 2**19)
    with pytest.raises(SettingError, match="more than"):
        open_container(tmp_path / "v.tar.gz")


def test_a_zip_with_absolute_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("0.png", "../1.png", "/2.png"):
            archive.writestr(name, b"")
    with pytest.raises(SettingError, match=r"its member /2.png is not named relative"):
        open_container(tmp_path / "images.zip")


def test_an_archive_in_an_archive_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as within:
            within.writestr("1.png", content(1))
        archive.writestr("inner.zip", inner.getvalue())
    told = "no images there; an archive inside is not opened (inner.zip)"
    with pytest.raises(SettingError, match=re.escape(told)):
        list_images(open_container(tmp_path / "outer.zip"))
    assert no_set(tmp_path / "outer.zip", {}) == told


@pytest.mark.parametrize("mode", ["w:bz2", "w:xz"])
def test_packings_that_are_not_read(mode: str, tmp_path: Path) -> None:
    path = tarred(tmp_path / f"x.tar.{mode[2:]}", mode, **{"1.png": content(1)})
    with pytest.raises(SettingError) as error:
        open_container(path)
    assert "neither a folder nor a readable zip, tar or tar.gz.\n" in str(error.value)
    with pytest.raises(SettingError, match=rf"not opened \({path.name}\)"):
        list_images(open_container(tmp_path))


def test_links_that_lead_nowhere_are_no_images(tmp_path: Path) -> None:
    put(tmp_path, by_class("a", 2))
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    (tmp_path / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "a" / "good.png").symlink_to("00.png")
    names, left_out = list_images(open_container(tmp_path))
    assert names == ["a/00.png", "a/01.png", "a/good.png"]
    assert left_out == {"behind broken links": 2}
    for name in ("00.png", "01.png"):
        (tmp_path / "a" / name).unlink()
    with pytest.raises(SettingError, match="no images there, but links that lead nowhere"):
        list_images(open_container(tmp_path))


def test_the_only_archive_in_a_folder(tmp_path: Path) -> None:
    tarred(tmp_path / "a.tar", **{"1.png": content(1)})
    assert image_root(tmp_path) == tmp_path / "a.tar"
    tarred(tmp_path / "b.tar", **{"1.png": content(1)})
    assert image_root(tmp_path) == tmp_path


def test_small_copies_alone_are_the_data(tmp_path: Path) -> None:
    put(tmp_path, ["thumbs/1.png", "thumbs/2.png"])
    assert list_images(open_container(tmp_path)) == (["thumbs/1.png", "thumbs/2.png"], {})
    put(tmp_path, ["thumbnails128x128/1.png"])  # FFHQ's
    assert list_images(open_container(tmp_path)).names == ["thumbnails128x128/1.png"]


def test_files_without_an_ending_are_looked_into(tmp_path: Path) -> None:
    put(tmp_path, by_class("ab", 1))
    (tmp_path / "README").write_text("words")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "picture").write_bytes(content(3, "webp"))
    assert list_images(open_container(tmp_path)).names == ["a/00.png", "b/00.png", "picture"]
