"""Decoded images: equal however they are packed, whole or not there at all."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from src.data import cache
from src.data.image_sets import FileImages
from src.errors import SettingError

NAMES = [f"{i:03d}.jpg" for i in range(12)]


@pytest.fixture
def folder(tmp_path: Path, write_images: Callable) -> Path:
    return write_images(tmp_path / "images", NAMES)


def decode(root: Path, tmp_path: Path, **settings: object) -> cache.Entry:
    max_broken = settings.pop("max_broken", 0.001)
    name = settings.pop("name", "test")
    framing = cache.Framing(**{"resolution": 16, "channels": 3} | settings)
    files = FileImages(root)
    return cache.decode(
        files,
        files.listing.names,
        framing,
        cache=str(tmp_path / "cache"),
        name=name,
        max_broken=max_broken,
    )


def entries(tmp_path: Path) -> list[str]:
    files = [path.name for path in (tmp_path / "cache" / "images").iterdir()]
    return sorted(name for name in files if not name.endswith(".lock"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def test_pixels_are_those_of_pillow(folder: Path, tmp_path: Path) -> None:
    found = decode(folder, tmp_path, crop=20, filter="box")
    assert found.x.shape == (12, 3, 16, 16)
    assert found.x.dtype == np.uint8
    assert found.info["names"] == NAMES
    assert found.info["broken"] == {}
    image = Image.open(folder / NAMES[5]).crop((10, 5, 30, 25))
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BOX)).transpose(2, 0, 1)
    assert np.array_equal(found.x[5], expected)
    grey = decode(folder, tmp_path, channels=1)
    image = Image.open(folder / NAMES[5]).convert("L").crop((5, 0, 35, 30))
    assert np.array_equal(
        grey.x[5, 0], np.asarray(image.resize((16, 16), Image.Resampling.LANCZOS))
    )


def test_second_call_decodes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decode(folder, tmp_path)
    monkeypatch.setattr(cache, "_decoded", lambda *_: pytest.fail("decoded again"))
    second = decode(folder, tmp_path)
    assert np.array_equal(first.x, second.x)
    assert first.info == second.info


@pytest.mark.parametrize(
    "settings",
    [{"crop": 20}, {"filter": "box"}, {"resize": "stretch"}, {"resolution": 8}, {"channels": 1}],
)
def test_other_settings_make_another_entry(folder: Path, tmp_path: Path, settings: dict) -> None:
    first = decode(folder, tmp_path)
    other = decode(folder, tmp_path, **settings)
    assert other.info["hash"] != first.info["hash"]
    assert decode(folder, tmp_path).info == first.info


def test_changed_file_is_decoded_anew(folder: Path, tmp_path: Path) -> None:
    before = decode(folder, tmp_path)
    Image.new("RGB", (40, 30), "red").save(folder / NAMES[3])
    after = decode(folder, tmp_path)
    assert after.info["hash"] != before.info["hash"]
    assert np.array_equal(after.x[4:], before.x[4:])
    assert not np.array_equal(after.x[3], before.x[3])


def test_same_length_and_other_time_is_another_file(folder: Path, tmp_path: Path) -> None:
    decode(folder, tmp_path)
    os.utime(folder / NAMES[0], ns=(1, 1))
    decode(folder, tmp_path)
    assert len(entries(tmp_path)) == 4  # two entries of two files


def test_zip_equals_folder(folder: Path, tmp_path: Path, zipped: Callable) -> None:
    packed = decode(zipped(folder, tmp_path / "images.zip"), tmp_path)
    assert packed.info["hash"] == decode(folder, tmp_path).info["hash"]


def test_few_broken_files_are_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    whole = decode(folder, tmp_path)
    truncate(folder / NAMES[3])
    (folder / NAMES[7]).write_bytes(b"")
    found = decode(folder, tmp_path, max_broken=0.2)
    assert list(found.info["broken"]) == [NAMES[3], NAMES[7]]
    assert "truncated" in found.info["broken"][NAMES[3]]
    assert found.info["names"] == [name for name in NAMES if name not in (NAMES[3], NAMES[7])]
    assert np.array_equal(found.x, np.delete(whole.x, [3, 7], 0))


def test_many_broken_files_are_an_error(folder: Path, tmp_path: Path) -> None:
    truncate(folder / NAMES[3])
    with pytest.raises(SettingError) as error:
        decode(folder, tmp_path)
    for word in (": 1 of 12 images is broken", "data.max_broken=0.001", NAMES[3], "truncated"):
        assert word in str(error.value)
    assert len(str(error.value).splitlines()) <= 3
    assert entries(tmp_path) == []


def test_the_number_of_broken_files_is_exact_or_at_least(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        truncate(folder / name)
    for chunk, told in ((12, ": 12 of 12 images are"), (5, ": at least 5 of 12 images are")):
        monkeypatch.setattr(cache, "CHUNK", chunk)
        with pytest.raises(SettingError, match=told):
            decode(folder, tmp_path)


def test_what_cannot_be_an_8_bit_square_is_broken(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"40 x 30 pixels, fewer than data\.crop=32"):
        decode(folder, tmp_path, crop=32)
    deep = tmp_path / "deep"
    deep.mkdir()
    Image.fromarray(np.full((20, 20), 60000, np.uint16)).save(deep / "1.png")
    with pytest.raises(SettingError, match="more than 8 bits"):
        decode(deep, tmp_path)


def test_images_that_pillow_decodes_in_python_are_broken(tmp_path: Path) -> None:
    """A zip of a few kilobytes could hold hours of it."""
    root = tmp_path / "images"
    root.mkdir()
    pixels = bytes(range(48))
    for name, head, body in (
        ("bytes.ppm", b"P6 4 4 255\n", pixels),
        ("grey.pgm", b"P5 4 4 255\n", pixels[:16]),
        ("text.ppm", b"P3 4 4 255\n", b" ".join(b"%d" % value for value in pixels)),
        ("text.pgm", b"P2 4 4 255\n", b"7 " * 16),
        ("bits.pgm", b"P1 4 4\n", b"0 " * 16),
        ("seven.ppm", b"P6 4 4 127\n", pixels),
    ):
        (root / name).write_bytes(head + body)
    found = decode(root, tmp_path, resolution=4, max_broken=0.9)
    assert found.info["names"] == ["bytes.ppm", "grey.pgm"]
    assert found.x[0].transpose(1, 2, 0).tobytes() == pixels
    assert all("too slowly" in reason for reason in found.info["broken"].values())


def test_the_name_of_a_data_set_is_shown_as_text(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []

    bar = SimpleNamespace(update=lambda _: None, close=lambda: None)
    monkeypatch.setattr(cache, "tqdm", lambda **about: said.append(about["desc"]) or bar)
    decode(folder, tmp_path, name="my faces")
    decode(folder, tmp_path, name="n\x1b[31mRED\x1b]0;owned\x07" + "x" * 500)
    assert said[0] == "decoding my faces"
    assert said[1].startswith(r"decoding n\x1b[31mRED\x1b]0;owned\x07")
    assert said[1].isprintable()
    assert len(said[1]) < 60


def test_damaged_entry_is_made_anew(folder: Path, tmp_path: Path) -> None:
    first = decode(folder, tmp_path)
    x, info = first.x.copy(), first.info
    stored = next((tmp_path / "cache" / "images").glob("*.npy"))
    stored.write_bytes(stored.read_bytes()[:-100])
    again = decode(folder, tmp_path)
    assert np.array_equal(again.x, x)
    assert again.info == info


def test_writing_to_the_array_does_not_change_the_entry(folder: Path, tmp_path: Path) -> None:
    found = decode(folder, tmp_path)
    before = found.x.copy()
    found.x[:] = 0
    assert np.array_equal(decode(folder, tmp_path).x, before)


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(write: cache.Write) -> dict:
        write(np.zeros((3, 1, 2, 2), np.uint8))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.entry(tmp_path / "cache", "x", 0, (1, 2, 2), 3, fail)
    assert entries(tmp_path) == []


BUILDER = """
    import sys, time
    import numpy as np
    from src.data import cache

    def produce(write):
        for i in range(4):
            write(np.full((2, 1, 2, 2), i, np.uint8))
            print("wrote", flush=True)
            time.sleep({pause})
        return {{}}

    print(cache.entry("{cache}", "x", 0, (1, 2, 2), 8, produce).info["hash"])
"""


def builder(tmp_path: Path, pause: float) -> subprocess.Popen:
    code = textwrap.dedent(BUILDER.format(cache=tmp_path / "cache", pause=pause))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_killed_build_is_swept_away_and_done_again(tmp_path: Path) -> None:
    killed = builder(tmp_path, pause=30)
    killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert [name.rpartition(".")[2] for name in entries(tmp_path)] == ["tmp"]
    # A build of something else removes it too, since nobody holds its lock.
    cache.entry(tmp_path / "cache", "y", 1, (1, 2, 2), 0, lambda _: {})
    assert [name.rpartition(".")[2] for name in entries(tmp_path)] == ["json", "npy"]
    output, _ = builder(tmp_path, pause=0).communicate()
    assert output.count("wrote") == 4
    found = cache.entry(tmp_path / "cache", "x", 0, (1, 2, 2), 8, lambda _: pytest.fail("again"))
    assert found.x[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_two_builders_build_once(tmp_path: Path) -> None:
    outputs = [p.communicate()[0] for p in [builder(tmp_path, 0.1), builder(tmp_path, 0.1)]]
    assert sum(output.count("wrote") for output in outputs) == 4
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert [name.rpartition(".")[2] for name in entries(tmp_path)] == ["json", "npy"]


def test_cache_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(SettingError, match=r"data\.cache=.*\n.*SPARRING_CACHE"):
        decode(folder, tmp_path)


def test_full_disk_is_seen_beforehand(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(SettingError, match=r"data\.cache=.*MB"):
        decode(folder, tmp_path)
    assert entries(tmp_path) == []


def test_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    code = """
        import resource, sys
        import numpy as np
        from src.data import cache
        from src.errors import SettingError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        def produce(write):
            for _ in range(100):
                write(np.zeros((1, 3, 64, 64), np.uint8))
            return {}
        try:
            cache.entry(sys.argv[1], "x", 0, (3, 64, 64), 100, produce)
        except SettingError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "cache")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be written" in output
    assert "data.cache=" in output
    assert entries(tmp_path) == []


def test_fingerprints_tell_apart() -> None:
    a = np.arange(6, dtype=np.uint8)
    prints = [cache.fingerprint(x) for x in (a, a.reshape(2, 3), a.astype(np.int64), a + 1, [1])]
    assert len(set(prints)) == 5
    assert cache.fingerprint(a) == cache.fingerprint(a.copy())
    assert cache.fingerprint(a[::2]) == cache.fingerprint(a[::2].copy())


def test_no_other_program_reads_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
    root = tmp_path / "images"
    root.mkdir()
    (root / "1.jpg").write_bytes(page)
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program ran"))
    with pytest.raises(SettingError, match="is no image"):
        decode(root, tmp_path)


def _zeros(path: Path) -> None:
    """Write zeros over a few pixels, and put the file's time back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-500, os.SEEK_END)
        file.write(bytes(100))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _foreign(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


@pytest.mark.parametrize(
    "spoil",
    [
        _zeros,
        _foreign,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x" * 99),
    ],
    ids=["altered", "foreign", "empty", "no array"],
)
def test_an_altered_array_is_made_anew(spoil: Callable, folder: Path, tmp_path: Path) -> None:
    """Otherwise a run would train on other pixels under the old identity."""
    first = decode(folder, tmp_path)
    whole = first.x.copy()
    (array,) = (tmp_path / "cache" / "images").glob("*.npy")
    spoil(array)
    second = decode(folder, tmp_path)
    assert np.array_equal(second.x, whole)
    assert second.info == first.info


def test_an_entry_with_one_checksum_is_read(folder: Path, tmp_path: Path) -> None:
    """So were entries before blocks had their own."""
    x, info = decode(folder, tmp_path)
    (record,) = (tmp_path / "cache" / "images").glob("*.json")
    record.write_text(
        json.dumps(info | {"crc32": zlib.crc32(x), "names": ["not made anew"] * len(x)})
    )
    assert decode(folder, tmp_path).info["names"][0] == "not made anew"
    record.write_text(json.dumps(info | {"crc32": zlib.crc32(x) ^ 1, "names": ["wrong"] * len(x)}))
    assert decode(folder, tmp_path).info == info


def test_decoding_does_not_run_ahead_of_a_slow_disk() -> None:
    """Or all images of a set would wait in memory."""
    begun: list[int] = []

    def work(i: int) -> int:
        begun.append(i)
        return i

    with ThreadPoolExecutor(2) as pool:
        results = cache._in_order(pool, work, range(10 * cache.AHEAD))
        assert next(results) == 0
        time.sleep(0.05)
        assert len(begun) <= cache.AHEAD
        assert list(results) == list(range(1, 10 * cache.AHEAD))


def test_the_checksum_is_of_all_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BLOCK", 7)
    x = np.arange(60, dtype=np.uint8).reshape(5, 3, 2, 2)
    blocks = cache.Blocks()
    for part in np.split(x, [1, 3]):
        blocks.add(part)
    content = x.tobytes()
    expected = [
        zlib.crc32(content[i : i + cache.BLOCK]) for i in range(0, len(content), cache.BLOCK)
    ]
    assert len(expected) > 1
    assert blocks.crc32 == cache._checksums(x) == expected
