"""Cases in checkpoints/: what unpickles to more than it should, what is too large, what is torn."""

import io
import pickle
import struct
import types
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.hostile.folders import (
    CHECKPOINT,
    HERE,
    Make,
    Place,
    change,
    checkpoint,
    content,
    cut,
    damaged,
    folder,
    holding,
    hostile,
    removed,
    saved,
    several,
)

KINDS = {torch.float32: torch.FloatStorage, torch.int64: torch.LongStorage}
CALL = b"\x80\x02cos\nsystem\nX%c\x00\x00\x00%s\x85R."
HUGE = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85R."


class Stored:
    """A tensor that says of its storage what is not so."""

    def __init__(self, count: int, size: tuple, stride: tuple, offset: int = 0) -> None:
        self.count, self.size, self.stride, self.offset = count, size, stride, offset


class _Storage:
    def __init__(self, kind: type, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


class _Pickler(pickle.Pickler):
    """torch.save's, of float32 and int64, and of tensors such as there cannot be."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.storages: list[bytes] = []

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            self.storages.append(value.detach().contiguous().numpy().tobytes())
            size, stride, offset = tuple(value.shape), value.contiguous().stride(), 0
            kind, count = KINDS[value.dtype], value.numel()
        elif isinstance(value, Stored):
            self.storages.append(b"\0" * 16)
            size, stride, offset = value.size, value.stride, value.offset
            kind, count = torch.FloatStorage, value.count
        else:
            return NotImplemented
        storage = _Storage(kind, str(len(self.storages) - 1), count)
        arguments = (storage, offset, size, stride, False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, _Storage):
            return ("storage", value.kind, value.key, "cpu", value.count)
        return None


def archive(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint file of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in ({"version": b"3\n", "byteorder": b"little"} | members).items():
            file.writestr(f"archive/{name}", data)
    return out.getvalue()


def code(pickled: bytes) -> Make:
    """The step of a checkpoint that is this pickle."""

    def make(place: Place) -> None:
        command = place.fill(b"touch @PROOF@")
        # The length of what is run is not known before.
        filled = pickled % (len(command), command) if pickled is CALL else place.fill(pickled)
        content(place / CHECKPOINT, archive({"data.pkl": filled}))

    return make


def forged(function: Callable[[dict], Any]) -> Make:
    """The step of a checkpoint with tensors that cannot be; `function` puts them there."""

    def make(place: Place) -> None:
        found = torch.load(place / CHECKPOINT, weights_only=True)
        changed = function(found)
        content(place / CHECKPOINT, pack(found if changed is None else changed))

    return make


def pack(found: Any, replaced: Mapping[bytes, bytes] = types.MappingProxyType({})) -> bytes:
    """A checkpoint file; parts of its pickle can be replaced."""
    out = io.BytesIO()
    pickler = _Pickler(out)
    pickler.dump(found)
    data = out.getvalue()
    for old, new in replaced.items():
        data = data.replace(old, new)
    parts = {f"data/{i}": part for i, part in enumerate(pickler.storages)}
    return archive({"data.pkl": data} | parts)


def spelt(key: str, pickled: Callable[[], bytes]) -> Make:
    """Set a dotted key of the checkpoint to a pickle, which would take long to make of objects."""

    def make(place: Place) -> None:
        found = torch.load(place / CHECKPOINT, weights_only=True)
        change(found, key, HERE)
        content(place / CHECKPOINT, pack(found, {text(HERE): pickled()}))

    return make


def text(word: str) -> bytes:
    """A pickle of a word."""
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def keys(count: int, value: bytes) -> bytes:
    """A pickle of a dictionary with a value under each of its keys."""
    return b"}(" + b"".join(text(f"x{i}") + value for i in range(count)) + b"u"


def first(state: dict) -> str:
    """The name of the first weight."""
    return next(name for name, value in state.items() if value.ndim > 1)


def weight(value: Any) -> Callable[[dict], None]:
    """Put a value, or what a function makes of it, in the place of the first weight."""

    def function(found: dict) -> None:
        state = found["state_dict"]
        state[first(state)] = value(state[first(state)]) if callable(value) else value

    return function


def every(function: Callable[[Tensor], Any]) -> Callable[[dict], None]:
    """Change all weights."""

    def changed(found: dict) -> None:
        state = found["state_dict"]
        state.update({name: function(value) for name, value in state.items()})

    return changed


@cache
def sum_of_zeros(times: int, size: int) -> int:
    """The CRC of so many blocks of zeros."""
    block, crc = bytes(size), 0
    for _ in range(times):
        crc = zlib.crc32(block, crc)
    return crc


@cache
def zeros_zip(gigabytes: int, name: str) -> bytes:
    """An archive of zeros, a thousandth of their size: one block, compressed once and repeated."""
    block = bytes(2**26)
    times = gigabytes * 2**30 // len(block)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    crc = sum_of_zeros(times, len(block))
    data, size = packed * times + end, times * len(block)
    path = f"archive/{name}".encode()
    fields = struct.pack("<HHHIII", 8, 0, 0x21, crc, len(data), size)
    lengths = struct.pack("<HH", len(path), 0)
    local = b"PK\3\4" + struct.pack("<HH", 20, 0) + fields + lengths + path + data
    central = (
        b"PK\1\2" + struct.pack("<HHH", 20, 20, 0) + fields + lengths
        + struct.pack("<HHHII", 0, 0, 0, 0, 0) + path
    )  # fmt: skip
    tail = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + b"PK\5\6" + tail


def overlapping(count: int) -> bytes:
    """An archive whose directory names one member many times."""
    data = zipfile.ZipFile(io.BytesIO(archive({"data/0": bytes(2**24)}, zipfile.ZIP_DEFLATED)))
    raw = data.fp.getvalue()
    start = data.start_dir
    entries, tail = raw[start:-22], raw[-22:]
    last = entries[entries.rindex(b"PK\1\2") :]
    size = len(entries) + count * len(last)
    number = struct.pack("<HH", *[3 + count] * 2)
    return raw[:start] + entries + last * count + tail[:8] + number + struct.pack(
        "<IIH", size, start, 0
    )  # fmt: skip


def deep(depth: int) -> Any:
    """Lists in lists."""
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def climbing(found: dict) -> bytes:
    """An archive with members that lie above it."""
    out = io.BytesIO()
    torch.save(found, out)
    with zipfile.ZipFile(out, "a") as file:
        file.writestr("../../outside/escaped", "x")
        file.writestr("/tmp/escaped", "x")
    return out.getvalue()


def rezipped(function: Callable[[dict], bytes]) -> Make:
    """The step of a checkpoint file whose bytes are made of the old checkpoint."""

    def make(place: Place) -> None:
        found = torch.load(place / CHECKPOINT, weights_only=True)
        content(place / CHECKPOINT, function(found))

    return make


def flipped(place: Place) -> None:
    """Change a byte in the middle."""
    data = bytearray((place / CHECKPOINT).read_bytes())
    data[len(data) // 2] ^= 0xFF
    content(place / CHECKPOINT, bytes(data))


HARM: list[tuple[str, Make]] = [
    ("os-system", code(CALL)),
    ("os-system-of-old", holding(CHECKPOINT, b"cos\nsystem\n(S'touch @PROOF@'\ntR.")),
    ("os-system-of-torch-1", holding(CHECKPOINT, pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2) + b"cos\nsystem\n(S'touch @PROOF@'\ntR.")),
    ("eval", code(b"cbuiltins\neval\n(S'open(\"@PROOF@\", \"w\")'\ntR.")),
    ("numpy-load", code(b"cnumpy\nload\n(S'@OUTSIDE@/bomb.pth'\nNI01\ntR.")),
    ("bytearray-of-100-gigabytes", code(HUGE)),
    ("lists-in-lists", code(deep(200_000))),
    ("bomb-of-zeros", holding(CHECKPOINT, lambda: zeros_zip(3, "data/0"))),
    ("bomb-in-the-pickle", holding(CHECKPOINT, lambda: zeros_zip(3, "data.pkl"))),
    ("members-that-overlap", holding(CHECKPOINT, lambda: overlapping(20_000))),
    ("members-that-climb", rezipped(climbing)),
    ("storage-of-a-terabyte", forged(weight(Stored(2**38, (2**38,), (1,))))),
    ("storage-below-zero", forged(weight(Stored(-4, (4,), (1,))))),
    ("view-beyond-its-storage", forged(weight(Stored(4, (10**6, 10**6), (10**6, 1))))),
    ("view-before-its-storage", forged(weight(Stored(4, (2, 2), (2, 1), -10**6)))),
    ("view-of-one-number", forged(weight(Stored(4, (10**6, 10**6), (0, 0))))),
    ("view-of-one-number-in-the-optimiser", forged(lambda found: found["optimizer_states"][0][
        "state"][0].update(exp_avg=Stored(4, (10**6, 10**6), (0, 0))))),
    ("sparse-weight", checkpoint(weight(lambda old: old.to_sparse()))),
    ("sparse-weight-of-an-exabyte", checkpoint(weight(lambda _: torch.sparse_coo_tensor(
        torch.zeros(2, 0, dtype=torch.long), [], (10**9, 10**9))))),
    ("meta-weight", checkpoint(weight(lambda _: torch.empty(10**6, 10**6, device="meta")))),
    ("meta-weights-of-the-right-shape", checkpoint(every(lambda old: old.to("meta")))),
    ("nested-weight", checkpoint(weight(
        lambda _: torch.nested.nested_tensor([torch.zeros(2)])))),
    ("quantised-weight", checkpoint(weight(
        lambda old: torch.quantize_per_tensor(old, 0.1, 0, torch.qint8)))),
    ("complex-weights", checkpoint(every(lambda old: old.to(torch.complex64)))),
    ("nan-weights", checkpoint(every(
        lambda old: old * float("nan") if old.is_floating_point() else old))),
    ("infinite-weights", checkpoint(every(
        lambda old: old + float("inf") if old.is_floating_point() else old))),
    ("300000-keys", spelt("state_dict", lambda: keys(300_000, b"K\0"))),
    ("300000-weights-of-the-optimiser", spelt("optimizer_states.0.param_groups.0.params", lambda:
        b"](" + b"K\0" * 300_000 + b"e")),
    ("key-with-escapes", checkpoint(lambda found: found["state_dict"].update(
        {"\x1b[31m\u202ered\n\nerror: fine" * 50: torch.zeros(1)}))),
    ("seen-of-ten-to-the-thirty", saved("sparring.samples_seen", 10**30)),
    ("seen-of-5000-digits", saved("sparring.samples_seen", 10**5000)),
    ("seconds-of-5000-digits", saved("sparring.seconds", 10**5000)),
    ("spec-of-a-billion", saved("sparring.spec.shape", (1, 10**9, 10**9))),
    ("spec-below-zero", saved("sparring.spec.shape", (1, -28, -28))),
    ("spec-of-a-million-sides", spelt(
        "sparring.spec.shape", lambda: b"(" + b"K\1" * 1_000_000 + b"t")),
    ("spec-of-ten-million-classes", spelt(
        "sparring.spec.classes", lambda: b"(" + text("x") * 10**7 + b"t")),
    ("spec-with-escapes", saved("sparring.spec.classes", ("\x1b[2J", "\u202e", "<hostile>"))),
    ("spec-of-a-picture-of-a-billion", saved("sparring.spec.picture_shape", (10**9, 10**9))),
    ("a-million-records", spelt("sparring.records", lambda: keys(1_000_000, b"K\0K\1\x86"))),
]  # fmt: skip

TORN: list[tuple[str, Make]] = [
    ("missing", removed(CHECKPOINT)),
    ("folder-missing", removed("checkpoints")),
    ("empty", holding(CHECKPOINT, b"")),
    ("cut", cut(CHECKPOINT, 0.5)),
    ("cut-by-a-byte", cut(CHECKPOINT, 0.9999)),
    ("of-zeros", holding(CHECKPOINT, bytes(50_000))),
    ("of-words", holding(CHECKPOINT, "version https://git-lfs.github.com/spec/v1\n")),
    ("a-folder", folder(CHECKPOINT)),
    ("a-byte-flipped", flipped),
    ("an-empty-zip", holding(CHECKPOINT, b"PK\5\6" + bytes(18))),
    ("without-a-pickle", holding(CHECKPOINT, lambda: archive({"data/0": bytes(16)}))),
    ("a-bare-tensor", checkpoint(lambda _: torch.zeros(3))),
    ("a-list", checkpoint(lambda _: [1, 2])),
    ("a-number", checkpoint(lambda _: 3)),
    ("an-empty-dict", checkpoint(lambda _: {})),
    ("a-state-dict", checkpoint(lambda found: found["state_dict"])),
    ("state-null", saved("state_dict", None)),
    ("state-a-list", saved("state_dict", [1])),
    ("state-empty", saved("state_dict", {})),
    ("weight-a-word", checkpoint(weight("x"))),
    ("weight-null", checkpoint(weight(None))),
    ("weight-of-another-shape", checkpoint(weight(lambda _: torch.zeros(3, 5)))),
    ("weights-of-whole-numbers", checkpoint(every(lambda old: old.to(torch.int64)))),
    ("weight-called-by-a-number", checkpoint(lambda found: found["state_dict"].update(
        {7: torch.zeros(1)}))),
    ("sparring-missing", checkpoint(lambda found: found.pop("sparring") and None)),
    ("sparring-a-list", saved("sparring", [])),
    ("spec-missing", checkpoint(lambda found: found["sparring"].pop("spec") and None)),
    ("spec-of-voxels", saved("sparring.spec.kind", "voxels")),
    ("spec-of-nonsense", saved("sparring.spec.kind", "nonsense")),
    ("spec-with-a-key-more", saved("sparring.spec.depth", 3)),
    ("spec-shape-a-word", saved("sparring.spec.shape", "28")),
    ("spec-shape-of-halves", saved("sparring.spec.shape", (1.0, 28.5, 28.5))),
    ("spec-shape-null", saved("sparring.spec.shape", None)),
    ("spec-shape-of-points", saved("sparring.spec.shape", (2,))),
    ("spec-classes-of-numbers", saved("sparring.spec.classes", [0, 1])),
    ("seen-a-word", saved("sparring.samples_seen", "x")),
    ("seen-null", saved("sparring.samples_seen", None)),
    ("seen-below-zero", saved("sparring.samples_seen", -500)),
    ("seen-a-tensor", saved("sparring.samples_seen", torch.zeros(3))),
    ("iteration-a-word", saved("sparring.iteration", "x")),
    ("seconds-nan", saved("sparring.seconds", float("nan"))),
    ("updates-a-word", saved("sparring.updates", {"d": "x"})),
    ("updates-a-list", saved("sparring.updates", [[1, 2]])),
    ("rested-below-zero", saved("sparring.rested", {"d": -1})),
    ("records-null", saved("sparring.records", None)),
    ("records-of-words", saved("sparring.records", {"x": ("y", "z")})),
]  # fmt: skip

# What only `train` reads of a checkpoint, when it goes on.
RESUMED: list[tuple[str, Make]] = [
    ("optimisers-missing", checkpoint(lambda found: found.pop("optimizer_states") and None)),
    ("optimisers-a-word", saved("optimizer_states", "x")),
    ("optimisers-none", saved("optimizer_states", [])),
    ("optimiser-null", saved("optimizer_states", [None, None])),
    ("optimiser-without-groups", saved("optimizer_states.0", {"state": {}})),
    ("optimiser-rate-a-word", saved("optimizer_states.0.param_groups.0.lr", "x")),
    ("optimiser-average-a-word", checkpoint(lambda found: found["optimizer_states"][0]["state"][
        0].update(exp_avg="x"))),
    ("optimiser-average-of-another-shape", checkpoint(lambda found: found["optimizer_states"][0][
        "state"][0].update(exp_avg=torch.zeros(7)))),
    ("optimiser-average-nan", checkpoint(lambda found: found["optimizer_states"][0]["state"][
        0].update(exp_avg=found["optimizer_states"][0]["state"][0]["exp_avg"] + float("nan")))),
    ("optimiser-step-a-word", checkpoint(lambda found: found["optimizer_states"][0]["state"][
        0].update(step="x"))),
    ("callbacks-a-word", saved("callbacks", "x")),
    ("callback-states-of-words", checkpoint(lambda found: found.update(
        callbacks=dict.fromkeys(found["callbacks"], "x")))),
    ("callback-states-empty", checkpoint(lambda found: found.update(
        callbacks={name: {} for name in found["callbacks"]}))),
    ("callbacks-of-strangers", saved("callbacks", {"os.system": {"command": "x"}})),
    ("loops-a-word", saved("loops", "x")),
    ("loops-null", saved("loops.fit_loop", None)),
    ("schedulers-a-word", saved("lr_schedulers", "x")),
    ("step-a-word", saved("global_step", "x")),
    ("epoch-a-word", saved("epoch", "x")),
    ("lightning-of-old", saved("pytorch-lightning_version", "0.0.1")),
    ("lightning-of-words", saved("pytorch-lightning_version", "new")),
    ("lightning-missing", checkpoint(
        lambda found: found.pop("pytorch-lightning_version") and None)),
]  # fmt: skip

# What a reader may take: it does no harm to a sample.
MILD = (
    *("seen-of-ten-to-the-thirty", "seconds-of-5000-digits", "seconds-nan", "iteration-a-word"),
    *("spec-with-escapes", "spec-classes-of-numbers", "spec-of-voxels", "sparse-weight"),
    *("spec-of-a-picture-of-a-billion", "a-million-records", "members-that-climb"),
    *("view-of-one-number-in-the-optimiser", "300000-weights-of-the-optimiser"),
)

CASES = [
    *(
        hostile(f"ckpt-{name}", step, refused=name not in MILD)
        for name, step in HARM
    ),
    *(
        damaged(f"ckpt-{name}", step, refused=name not in MILD)
        for name, step in TORN
    ),
    *(damaged(f"resume-{name}", step) for name, step in RESUMED),
    hostile("ckpt-spec-below-zero-of-points", saved("sparring.spec.shape", (-2,)), base="toy",
            refused=True),
    hostile("ckpt-spec-of-a-billion-points", saved("sparring.spec.shape", (10**9,)), base="toy",
            refused=True),
    damaged("ckpt-of-nothing-but-the-previous", several(
        lambda place: (place / CHECKPOINT).rename(place / "checkpoints/previous.ckpt"))),
]  # fmt: skip
