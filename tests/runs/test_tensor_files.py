"""Tensors from strangers: honest files read as torch reads them, hostile ones do no harm."""

import hashlib
import io
import json
import math
import os
import pickle
import random
import resource
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from src.errors import SettingError
from src.metrics import quality
from src.networks import features
from src.networks.classifier import Classifier, load_classifier, save_classifier
from src.runs import tensor_files
from src.runs.tensor_files import RefusedError, read_checkpoint, read_safetensors
from src.training.checkpoints import load_checkpoint
from tests.conftest import UNDRAWN, Fit

# Honest files


def saved(value: Any) -> bytes:
    """The content of torch.save's file."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def content(tensor: Tensor) -> bytes:
    """All of the storage, what no index reaches too."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy().tobytes()


def assert_same(a: Any, b: Any, storages: dict[int, int]) -> None:
    """Two values are bit for bit the same, down to what is shared and what nobody sees.

    Args:
        a: a value.
        b: another.
        storages: by the address of each storage of a, that of b's.
    """
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        assert_same(list(a.values()), list(b.values()), storages)
        if isinstance(a, OrderedDict):
            assert_same(vars(a), vars(b), storages)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y, storages)
    elif isinstance(a, Tensor):
        for part in ("dtype", "shape", "requires_grad", "is_leaf", "device"):
            assert getattr(a, part) == getattr(b, part)
        assert (a.stride(), a.storage_offset()) == (b.stride(), b.storage_offset())
        assert content(a) == content(b)
        other = b.untyped_storage()._cdata
        assert storages.setdefault(a.untyped_storage()._cdata, other) == other
    else:
        assert a == b or (math.isnan(a) and math.isnan(b))


def assert_as_torch(source: Path | bytes) -> Any:
    """The value of a file, which is what torch makes of it."""
    found = read_checkpoint(source)
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    assert_same(found, torch.load(file, map_location="cpu", weights_only=True), {})
    return found


BARE = (*UNDRAWN, "~callbacks.overfitting")
RUNS = {
    "gan": (
        *("model=dcgan", "model.generator.width=2", "model.discriminator.width=2"),
        *("model.latent.dim=6", "model/augment=ada", "model.discriminator.norm=spectral"),
        "model.ema={_target_: src.models.parts.ema.EMA, _partial_: true, half_life: 64}",
        "callbacks=equilibrium",
    ),
    "vae": ("model=vae", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]"),
    "layerwise": ("model=deep_ae", "model.hidden=[8,4]", "model.pretrain=0.5"),
}


@pytest.mark.parametrize("name", RUNS)
def test_checkpoints_read_as_torch_reads_them(name: str, fit: Fit) -> None:
    run = fit(*RUNS[name], "model.batch_size=16", "budget=64", *BARE)
    path = run / "checkpoints" / "last.ckpt"
    found = assert_as_torch(path)
    assert_same(found, load_checkpoint(path), {})
    assert found["optimizer_states"][0]["state"]


def test_every_kind_of_tensor_reads_as_torch_reads_it() -> None:
    x = torch.arange(60.0).view(3, 4, 5)
    shared = torch.arange(10)
    number = torch.randn(2, 3)
    tensors = [number.to(dtype) for dtype in tensor_files.DTYPES.values()]
    tensors += [torch.tensor(3.5), torch.empty(0), torch.empty(0, 7), torch.empty(2, 0, 3)]
    tensors += [torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)]
    tensors += [x, x[1], x[:, 1:3, ::2], x.transpose(0, 2), x[2:2], x[:, :1].mT, x.unfold(2, 2, 2)]
    tensors += [shared[2:], shared[:3], shared, torch.ones(2, requires_grad=True)]
    found = assert_as_torch(saved(tensors))
    for tensor in found:
        tensor.detach().fill_(1)  # training goes on in them
    assert found[-2].tolist() == [1] * 10


def test_plain_values_read_as_torch_reads_them() -> None:
    values = [None, True, False, 0, 255, 256, 65536, -1, 2**31, -(2**31), 2**63 - 1, -(2**63)]
    values += [0.1, float("inf"), float("nan"), "", "zürich \N{PILE OF POO}", (), (1,), (1, 2)]
    values += [(1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {1: {"a": 2}, "b": [3]}, OrderedDict(c=4)]
    values += [list(range(3000)), {str(i): i for i in range(3000)}]  # in portions of a thousand
    values += [values[-1], values[-1]]
    assert_as_torch(saved(values))


def test_a_state_dict_keeps_the_versions_of_its_modules(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save(module.state_dict(), tmp_path / "weights.pt")  # under a folder of that name
    found = assert_as_torch(tmp_path / "weights.pt")
    assert found._metadata["1"] == {"version": 2}
    module.load_state_dict(found)


def test_large_files_have_numbers_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", -1)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", -1)
    whole = forged(b"]" + TENSOR + b"Ra")
    assert whole.count(b"PK\x06\x07") == 1
    assert b"\xff\xff\xff\xff\xff\xff\xff\xff" in whole
    assert read_checkpoint(whole)[0].tolist() == [0, 0, 0, 0]


# Hostile files


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def forged(
    operations: bytes,
    members: dict[str, bytes] | None = None,
    head: bytes = b"\x80\x02",
    **settings: Any,
) -> bytes:
    """A zip in torch.save's layout around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **settings) as archive:
        archive.writestr("archive/data.pkl", head + operations + b".")
        for name, data in {"byteorder": b"little", "data/0": bytes(16), **(members or {})}.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


def stored(
    dtype: bytes = b"ctorch\nFloatStorage\n",
    key: bytes = text("0"),
    size: bytes = b"K\x04",
    kind: bytes = text("storage"),
) -> bytes:
    """Opcodes for a storage; it has four floats, unless something else is said."""
    return b"(" + kind + dtype + key + text("cpu") + size + b"tQ"


def tensor(
    storage: bytes = stored(),
    offset: bytes = b"K\x00",
    size: bytes = b"K\x04\x85",
    stride: bytes = b"K\x01\x85",
    gradient: bytes = b"\x89",
    hooks: bytes = b"ccollections\nOrderedDict\n)R",
) -> bytes:
    """Opcodes for the function that makes tensors, and its arguments."""
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return function + b"(" + storage + offset + size + stride + gradient + hooks + b"t"


def integer(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


TENSOR = tensor()
LONG = b"\x8a\xff" + bytes(254) + b"\x01"  # 256^254

# Pickles that ask for code, or for objects.
REFUSED = {
    "bytearray": b"c__builtin__\nbytearray\n" + integer(10**11) + b"\x85R",
    "builtins": b"cbuiltins\nbytearray\n" + integer(10**11) + b"\x85R",
    "encode": b"c_codecs\nencode\n" + text("a") + text("latin1") + b"\x86R",
    "system": b"cos\nsystem\n" + text("true") + b"\x85R",
    "posix": b"cposix\nsystem\n" + text("true") + b"\x85R",
    "torch.load": b"ctorch\nload\n" + text("/dev/zero") + b"\x85R",
    "hub": b"ctorch.hub\nload\n" + text("a/b") + text("c") + b"\x86R",
    "parameter": b"ctorch._utils\n_rebuild_parameter\n" + TENSOR + b"R\x88\x87R",
    "dotted": b"ctorch\n_utils._rebuild_tensor\n)R",
    "a name without end": b"c" + b"a" * 10_000,
    "a name of the terminal": b"c\x1b[31mos\nsystem\n)R",
    "untyped": tensor(stored(b"ctorch.storage\nUntypedStorage\n")) + b"R",
    "unknown dtype": tensor(stored(b"ctorch\nQUInt8Storage\n")) + b"R",
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 10**11),
    "BINBYTES8": b"\x8e" + struct.pack("<Q", 10**11),
    "BINUNICODE8": b"\x8d" + struct.pack("<Q", 10**11),
    "LONG4": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "FRAME": b"\x95" + struct.pack("<Q", 10**11),
    "EXT1": b"\x82\x01",
    "INST": b"(ios\nsystem\n",
    "OBJ": b"(cos\nsystem\no",
    "NEWOBJ": b"ccollections\nOrderedDict\n)\x81",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93)R",
    "PERSID": b"P0\n",
    "POP": b"NN0",
    "an unknown opcode": b"\xff",
    "an integer of 2032 bits": LONG,
    "dictionary with an argument": b"ccollections\nOrderedDict\n]\x85R",
    "a call of text": text("a") + b")R",
    "a call of a tensor": TENSOR + b"R)R",
    "a call without a tuple": b"ccollections\nOrderedDict\n]R",
    "a type called": b"ctorch\nFloatStorage\n)R",
    "an attribute": b"ccollections\nOrderedDict\n)R}" + text("items") + b"Nsb",
    "an attribute of a tensor": TENSOR + b"R}" + text("_metadata") + b"}sb",
    "a state of a tensor": tensor() + b"R(" + stored() + b"K\x00))tb",
    "a key that is a tuple": b"})Ns",
    "a key that is a float": b"}G" + bytes(8) + b"Ns",
    "a key that is a tensor": b"}" + TENSOR + b"RNs",
    "an entry of a tensor": TENSOR + b"RK\x00K\x00s",
    "an entry of a tuple": b")Na",
    "an entry of text": text("a") + b"(NNu",
    "a bare name": b"ccollections\nOrderedDict\n",
    "a bare storage": stored(),
    "a bare dtype in a list": b"]ctorch\nFloatStorage\na",
    "a storage by number": b"K\x00Q",
    "a storage by text": text("0") + b"Q",
    "a module": stored(kind=text("module")),
    "a storage of 4.0": stored(size=b"G@\x10" + bytes(6)),
    "a storage of text": stored(size=text("4")),
    "a storage of truth": stored(size=b"\x88"),
    "a key of a storage that is a number": stored(key=b"K\x00"),
    "a storage that is a tensor": tensor(TENSOR + b"R") + b"R",
    "a tensor of true": tensor(size=b"\x88\x85") + b"R",
    "a tensor of None": tensor(size=b"N") + b"R",
    "a tensor at text": tensor(offset=text("0")) + b"R",
    "a tensor with hooks": tensor(hooks=b"ccollections\nOrderedDict\n)RK\x00Ns") + b"R",
}


@contextmanager
def little_memory() -> Iterator[None]:
    """What a file cannot have is an error here, and not the end of the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(
    source: Path | bytes, read: Callable[[Path | bytes], Any] = read_checkpoint
) -> ValueError:
    """The error for a hostile file: soon there, for little memory, and one plain line."""
    start = time.process_time()
    with pytest.raises(ValueError) as caught, little_memory():
        read(source)
    assert time.process_time() - start < 2
    reason = str(caught.value)
    assert len(reason) < 240
    assert reason.isprintable()
    assert "memory" not in reason
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_more_than_plain_is_refused(name: str) -> None:
    assert isinstance(refused(forged(REFUSED[name])), RefusedError)


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_other_protocols_are_refused(protocol: int, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "last.ckpt", pickle_protocol=protocol)
    refused(tmp_path / "last.ckpt")


META = text("_metadata")
ORDERED = b"ccollections\nOrderedDict\n)R"
# Pickles whose parts do not fit together.
DAMAGED = {
    "nothing": b"",
    "two values": b"NN",
    "an open mark": b"N(",
    "no mark": b"t",
    "no operands": b"R",
    "a list without an entry": b"a",
    "half of a number": b"J\x00",
    "half of a text": b"X\x05\x00\x00\x00a",
    "an odd number of entries": b"}(Nu",
    "an empty memo": b"h\x00",
    "an empty memo by four bytes": b"j\x00\x00\x00\x80",
    "text of 4 GB": b"X\xff\xff\xff\xff",
    "long text": text("a" * (2**16 + 1)),
    "half of a character": b"X\x03\x00\x00\x00\xed\xa0\x80",
    "a pickle behind": b"N." + b"cos\nsystem\n",
    "marks": b"(" * 100_000,
    "deep tuples": b")" + b"\x85" * 100_000,
    "deep lists": b"]" * 20_000 + b"a" * 19_999,
    "deep dictionaries": (b"}" + text("a")) * 20_000 + b"N" + b"s" * 20_000,
    "deep versions": (ORDERED + b"}" + META + b"}" + text("")) * 2000 + b"}" + b"ssb" * 2000,
    "a list in itself": b"]q\x00h\x00a",
    "a dictionary in its list": b"}q\x00" + text("a") + b"]h\x00as",
    "a tuple in its list": b"]q\x00h\x00\x85a",
    "tuples of the same twice": b")" + b"q\x00h\x00\x86" * 60,
    "versions that are a list": ORDERED + b"}" + META + b"]sb",
    "versions that are None": ORDERED + b"}" + META + b"Nsb",
    "versions that are text": ORDERED + b"}" + META + b"}" + text("") + text("a") + b"ssb",
    "versions that hold themselves": ORDERED + b"q\x00}" + META + b"}" + text("") + b"h\x00ssb",
    "many values": b"](" + b"}" * 70_000 + b"e",
    "no such storage": tensor(stored(key=text("1"))) + b"R",
    "a storage elsewhere": tensor(stored(key=text("../data/0"))) + b"R",
    "a storage with a path": tensor(stored(key=text("/etc/passwd"))) + b"R",
    "a storage that is too small": tensor(stored(size=b"K\x05")) + b"R",
    "a storage that is too large": tensor(stored(size=b"K\x03")) + b"R",
    "a storage of 2^62": tensor(stored(size=integer(2**62))) + b"R",
    "a storage of -4": tensor(stored(size=integer(-4))) + b"R",
    "two types": b"]" + TENSOR + b"Ra" + tensor(stored(b"ctorch\nIntStorage\n")) + b"Ra",
    "booleans by another type": b"]"
    + tensor(stored(b"ctorch\nByteStorage\n", size=b"K\x10"))
    + b"Ra"
    + tensor(stored(b"ctorch\nBoolStorage\n", size=b"K\x10"))
    + b"Ra",
    "a wider dtype": tensor(stored(b"ctorch\nDoubleStorage\n")) + b"R",
    "beyond the end": tensor(size=b"K\x05\x85") + b"R",
    "beyond the end by offset": tensor(offset=b"K\x01") + b"R",
    "a negative offset": tensor(offset=integer(-1)) + b"R",
    "an offset of 2^62": tensor(offset=integer(2**62), size=b"K\x01\x85") + b"R",
    "an empty tensor far away": tensor(offset=integer(2**62), size=b"K\x00\x85") + b"R",
    "a negative size": tensor(size=integer(-4) + b"\x85") + b"R",
    "a negative stride": tensor(stride=integer(-1) + b"\x85") + b"R",
    "a stride of 0": tensor(size=integer(10**12) + b"\x85", stride=b"K\x00\x85") + b"R",
    "a stride of 2": tensor(stride=b"K\x02\x85") + b"R",
    "a stride of 2^62": tensor(size=b"K\x02\x85", stride=integer(2**62) + b"\x85") + b"R",
    "an idle stride of 2^62": tensor(size=b"K\x01\x85", stride=integer(2**62) + b"\x85") + b"R",
    "sizes that overflow": tensor(size=integer(2**32) * 2 + b"\x86", stride=b"K\x00K\x00\x86")
    + b"R",
    "an empty giant": tensor(size=b"K\x00" + integer(2**40) + b"\x86", stride=b"K\x01K\x01\x86")
    + b"R",
    "fewer strides": tensor(size=b"K\x02K\x02\x86") + b"R",
    "many dimensions": tensor(size=b"(" + b"K\x01" * 70 + b"t", stride=b"(" + b"K\x01" * 70 + b"t")
    + b"R",
    "integers with a gradient": tensor(stored(b"ctorch\nIntStorage\n"), gradient=b"\x88") + b"R",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_does_not_fit_is_told(name: str) -> None:
    refused(forged(DAMAGED[name]))


def test_a_boolean_that_is_none_is_told() -> None:
    booleans = tensor(stored(b"ctorch\nBoolStorage\n")) + b"R"
    assert read_checkpoint(forged(booleans, {"data/0": b"\0\1\1\0"})).tolist() == [0, 1, 1, 0]
    refused(forged(booleans, {"data/0": b"\0\1\2\0"}))


def test_a_storage_is_looked_at_once() -> None:
    """However often the pickle asks for it."""
    once = stored(b"ctorch\nBoolStorage\n", size=integer(10**7))
    often = b"](" + once[:-1] + b"q\x00Q" + b"h\x00Q" * 50_000 + b"e"
    assert isinstance(refused(forged(often, {"data/0": bytes(10**7)})), RefusedError)


def test_a_checkpoint_that_asks_for_code_is_told_with_a_cure(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(forged(REFUSED["bytearray"]))
    with pytest.raises(SettingError) as caught:
        load_checkpoint(path)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 3
    assert "is refused" in lines[0]
    assert "__builtin__.bytearray" in lines[1]
    assert "existing=restart" in lines[1]


def test_there_are_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    many = forged(b"](" + TENSOR + b"R" + b"N" * 900 + b"e", {f"{i}": b"" for i in range(90)})
    assert len(read_checkpoint(many)) == 901
    for name, most in (("OPCODES", 900), ("PICKLE", 900), ("MEMBERS", 90), ("DIRECTORY", 4000)):
        with monkeypatch.context() as patch:
            patch.setattr(tensor_files, name, most)
            refused(many)
    tensors = b"](" + b"".join([TENSOR, b"R"]) * 50 + b"e"
    monkeypatch.setattr(tensor_files, "MEMBERS", 40)
    assert "too many tensors" in str(refused(forged(tensors)))


# Hostile zips

GOOD = forged(TENSOR + b"R")


def patched(mark: bytes, place: int, value: bytes, whole: bytes = GOOD) -> bytes:
    """A good file with other bytes at a place after the last of a mark."""
    start = whole.rindex(mark) + place
    return whole[:start] + value + whole[start + len(value) :]


def several(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(f"{i}{name[1:]}", b"\x80\x02N.")
    return file.getvalue().replace(b"1/", b"0/")


ENTRY, END = b"PK\x01\x02", b"PK\x05\x06"
ZIPS = {
    "nothing": b"",
    "one byte": b"P",
    "text": b"not a checkpoint, but a text that is long enough for the end of a zip",
    "a bare pickle": pickle.dumps({"a": [1, 2, 3]}),
    "no pickle": several("0/data.pk"),
    "a pickle in no folder": several("data.pkl"),
    "two folders with a pickle": several("0/data.pkl", "2/data.pkl"),
    "two of a name": several("0/data.pkl", "1/data.pkl"),
    "data in front": b"#!/bin/sh\n" + GOOD,
    "data behind": GOOD + b"\n",
    "two zips": GOOD + GOOD,
    "a comment": patched(END, 20, b"\x04\x00") + b"note",
    "only the end": GOOD[-22:],
    "compressed": forged(TENSOR + b"R", {"data/0": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED),
    "encrypted": patched(ENTRY, 8, b"\x01\x00"),
    "another method": patched(ENTRY, 10, b"\x08\x00"),
    "another checksum": patched(ENTRY, 16, b"\x00"),
    "a packed size": patched(ENTRY, 20, b"\x11"),
    "larger than the file": patched(ENTRY, 20, b"\x00\x00\x00\x7f" * 2),
    "larger than 4 GB": patched(ENTRY, 20, b"\xff\xff\xff\xff" * 2),
    "another folder": patched(ENTRY, 42, b"\x01"),
    "a place beyond the end": patched(ENTRY, 42, b"\xff\xff\xff\x7f"),
    "a name beyond the end": patched(ENTRY, 28, b"\xff\xff"),
    "a name that is no text": patched(ENTRY, 46, b"\xff"),
    "more disks": patched(END, 8, b"\x01\x00"),
    "more members": patched(END, 8, b"\x09\x00" * 2),
    "fewer members": patched(END, 8, b"\x02\x00" * 2),
    "a directory in front of the file": patched(END, 12, b"\xff\xff\xff\x7f\x00\x00\x00\x80"),
    "a directory behind the file": patched(END, 16, b"\xff\xff\xff\x7f"),
    "big-endian": forged(TENSOR + b"R", {"byteorder": b"big"}),
    "a long order": forged(TENSOR + b"R", {"byteorder": b"little" * 100}),
    "a header of 64 KB": patched(b"PK\x03\x04", 26, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_zips_that_torch_does_not_write_are_told(name: str) -> None:
    refused(ZIPS[name])


@pytest.mark.parametrize("place", range(0, 76, 4))
def test_an_end_of_64_bits_is_checked(place: int) -> None:
    whole = saved({"a": torch.arange(3.0)})
    start = whole.rindex(b"PK\x06\x06")
    for value in (b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"):
        try:
            found = read_checkpoint(whole[: start + place] + value + whole[start + place + 4 :])
        except ValueError:
            continue
        assert found["a"].tolist() == [0, 1, 2]


def test_old_files_of_torch_are_told(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "a.pt")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").write_bytes(GOOD)
    (tmp_path / "closed").chmod(0)
    for path in (*tmp_path.iterdir(), tmp_path / "none", Path("/dev/zero"), Path("/dev/null")):
        if path.name == "closed" and os.access(path, os.R_OK):  # root reads everything
            continue
        for read in (read_checkpoint, read_safetensors):
            refused(path, read)
        with pytest.raises(SettingError, match="is damaged"):
            load_checkpoint(path)


def test_a_sparse_file_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "last.ckpt").open("wb") as file:
        file.truncate(2**43)
    with pytest.raises(ValueError, match="larger than this machine's memory"), little_memory():
        read_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="larger than 1 MB"), little_memory():
        read_safetensors(tmp_path / "last.ckpt", most=2**20)


def damaged(whole: bytes, n: int) -> Iterator[tuple[int, bytes]]:
    """n files with one other byte, and where; then all that are cut off at every 13th place."""
    generator = random.Random(0)
    for _ in range(n):
        place, other = generator.randrange(len(whole)), generator.randrange(1, 256)
        yield place, whole[:place] + bytes([whole[place] ^ other]) + whole[place + 1 :]
    for place in range(0, len(whole), 13):
        yield place, whole[:place]


def outcome(data: bytes, read: Callable[[bytes], Any] = read_checkpoint) -> Any:
    """What is read, or the error."""
    try:
        return read(data)
    except ValueError as error:
        return error


def test_no_byte_of_a_checkpoint_can_be_wrong_unnoticed() -> None:
    state = {"state_dict": OrderedDict(a=torch.arange(50.0)), "sparring": {"n": 12345, "s": "a"}}
    whole, reasons = saved(state), set()
    start = whole.index(content(state["state_dict"]["a"]))
    for place, data in damaged(whole, 400):
        found = outcome(data)
        if isinstance(found, ValueError):
            reasons.add(str(found))
        else:  # a date, or what is between the members
            assert_same(found, state, {})
            assert len(data) == len(whole)
            assert place not in range(start, start + 200)
    assert len(reasons) > 5


def test_pickles_of_random_opcodes_do_no_harm() -> None:
    """Whatever a pickle says, and its checksum is right: an error in words, or plain values."""
    generator = random.Random(0)
    parts = [bytes([code]) for code in tensor_files.ACTIONS] * 2 + [TENSOR + b"R", stored()]
    parts += [b"K\x01", b"q\x01", b"h\x01", text("a"), ORDERED, b"}" + META + b"}sb", b")", b"]"]
    whole = saved([1, "a", (2.5, None), {"a": torch.ones(2)}, OrderedDict(b=True)])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        honest = archive.read("archive/data.pkl")[2:-1]
    values = 0
    for turn in range(500):
        if turn % 2:
            data = forged(b"".join(generator.choices(parts, k=generator.randrange(1, 12))))
        else:
            place = generator.randrange(len(honest))
            operations = honest[:place] + generator.choice(parts) + honest[place + 1 :]
            data = forged(operations, {"data/0": bytes(8)})
        found = outcome(data)
        if isinstance(found, ValueError):
            assert str(found).isprintable()
        else:
            values += 1
    assert values > 5


# safetensors


def described(header: Any, data: bytes = b"", size: int | None = None) -> bytes:
    """A safetensors file."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if size is None else size) + head + data


def entry(shape: list, end: int, start: int = 0, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_safetensors_read_as_the_library_reads_them(tmp_path: Path) -> None:
    tensors = {str(dtype): torch.randn(2, 3).to(dtype) for dtype in tensor_files.DTYPES.values()}
    del tensors["torch.complex128"]
    tensors |= {"number": torch.tensor(2.5), "none": torch.empty(0, 4)}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path, {"name": "zürich", "n": "3"})
    for source in (path, path.read_bytes()):
        found, about = read_safetensors(source)
        assert about == {"name": "zürich", "n": "3"}
        for name, value in safetensors.torch.load_file(path).items():
            assert_same(found[name], value, {})
            found[name].fill_(1)
    safetensors.torch.save_file(tensors, path)
    assert read_safetensors(path)[1] == {}


TENSORS = {
    "nothing": b"",
    "no header": struct.pack("<Q", 0),
    "a header of 10^9": described({"a": entry([1], 4)}, bytes(4), size=10**9),
    "a header of 2^64": described({}, size=2**64 - 1),
    "a header of 10 MB": described(b"[" * 10**7),
    "a deep header": described(b"[" * 10**5 + b"]" * 10**5),
    "no JSON": described(b"{"),
    "a list": described([]),
    "no text": described(b'{"\xff": 1}'),
    "too little data": described({"a": entry([2], 8)}, bytes(4)),
    "too much data": described({"a": entry([1], 4)}, bytes(8)),
    "a hole": described({"a": entry([1], 4), "b": entry([1], 12, 8)}, bytes(12)),
    "overlapping": described({"a": entry([1], 4), "b": entry([1], 4)}, bytes(4)),
    "twice": described(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "a giant": described({"a": entry([10**12], 4)}, bytes(4)),
    "sizes that overflow": described({"a": entry([2**62, 2**62], 0)}),
    "an empty giant": described({"a": entry([0, 2**40], 0)}),
    "an empty giant that overflows": described({"a": entry([0, 2**62, 2**62], 0)}),
    "a negative size": described({"a": entry([-1], 4)}, bytes(4)),
    "a size of 1.0": described({"a": entry([1.0], 4)}, bytes(4)),
    "a size of 2^70": described({"a": entry([2**70], 4)}, bytes(4)),
    "many dimensions": described({"a": entry([1] * 70, 4)}, bytes(4)),
    "backwards": described({"a": entry([1], 0, 4)}, bytes(4)),
    "no type": described({"a": entry([1], 4, dtype="F1")}, bytes(4)),
    "an odd type": described({"a": entry([4], 4, dtype="F8_E4M3")}, bytes(4)),
    "another type": described({"a": entry([1], 4, dtype="F64")}, bytes(4)),
    "a boolean of 2": described({"a": entry([4], 4, dtype="BOOL")}, b"\0\1\2\0"),
    "metadata of a number": described({"__metadata__": {"a": 1}}),
    "metadata that is a list": described({"__metadata__": []}),
    "no tensor": described({"a": 1}),
    "a missing part": described({"a": {"dtype": "F32"}}),
}


@pytest.mark.parametrize("name", TENSORS)
def test_hostile_safetensors_are_told(name: str) -> None:
    refused(TENSORS[name], read_safetensors)


def test_damaged_safetensors_do_no_harm() -> None:
    whole = safetensors.torch.save({"a": torch.arange(9.0), "b": torch.ones(2, 2)}, {"c": "d"})
    for _, data in damaged(whole, 300):
        found = outcome(data, read_safetensors)
        if isinstance(found, ValueError):
            assert str(found).isprintable()
        else:
            tensors, about = found
            assert sum(tensor.nbytes for tensor in tensors.values()) <= len(data)
            assert len(about) <= 1


# Who reads them


ABOUT = {"name": "set", "labels": ["a", "b"], "outputs": "classes"}


def classifier_file(path: Path, **about: Any) -> Path:
    save_classifier(Classifier(1, 28, 2), path, **{**ABOUT, **about})
    return path


STRANGE = {
    "two channels": {"channels": 2},
    "true channels": {"channels": True},
    "many channels": {"channels": 10**9},
    "a list of channels": {"channels": [1]},
    "a giant": {"size": 10**9},
    "no pixels": {"size": 0},
    "a size of text": {"size": "28"},
    "no labels": {"labels": []},
    "labels in one": {"labels": "ab"},
    "a label that is a number": {"labels": ["a", 1]},
    "another number of labels": {"labels": ["a", "b", "c"]},
    "many labels": {"labels": ["a"] * 70_000},
    "a long label": {"labels": ["a", "b" * 300]},
    "null": {"labels": None},
    "other outputs": {"outputs": "both"},
    "null outputs": {"outputs": None},
    "another kind": {"kind": "points"},
    "a kind that is a list": {"kind": ["voxels"]},
    "voxels of images": {"kind": "voxels"},
    "no name": {"name": None},
    "a long name": {"name": "a" * 300},
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_classifier_of_strangers_is_checked(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert load_classifier(classifier_file(path))[1]["labels"] == ["a", "b"]
    with pytest.raises(SettingError, match="is no classifier of ours") as caught, little_memory():
        load_classifier(classifier_file(path, **STRANGE[name]))
    assert len(str(caught.value).splitlines()) == 2


def test_features_that_do_not_fit_are_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    good = {"mean": torch.zeros(3).double(), "factor": torch.eye(3).double()}
    good |= {"features": torch.zeros(5, 3), "logits": torch.zeros(5, 2)}
    wrong = {
        "none": {},
        "no factor": {key: good[key] for key in ("mean", "features")},
        "number": good | {"mean": torch.tensor(0.0).double(), "factor": torch.tensor(0.0).double()},
        "wide factor": good | {"factor": torch.eye(4).double()},
        "single": good | {"factor": torch.eye(3)},
        "few features": good | {"features": torch.zeros(4, 3)},
        "integers": good | {"features": torch.zeros(5, 3, dtype=torch.int32)},
        "few logits": good | {"logits": torch.zeros(4, 2)},
        "logits of no dimension": good | {"logits": torch.tensor(0.0)},
    }
    for name, tensors in wrong.items():
        safetensors.torch.save_file(tensors, path, {"size": "5"})
        assert quality._read(path) is None, name
    for about in (None, {"size": "five"}, {"size": "6"}, {"size": "9" * 5000}):
        safetensors.torch.save_file(good, path, about)
        assert quality._read(path) is None, about
    safetensors.torch.save_file(good, path, {"size": "5"})
    assert quality._read(path).features.shape == (5, 3)
    del good["logits"]
    safetensors.torch.save_file(good, path, {"size": "5"})
    assert quality._read(path).logits is None


def test_weights_of_inception_are_read_in_both_layouts_of_torch(tmp_path: Path) -> None:
    path, state = tmp_path / "a.pth", OrderedDict(a=torch.arange(3.0))
    for zipped in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        found, sha256 = features.read_state(path, "metrics.weights", "")
        assert_same(found, state, {})
        assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for value in ([1], {1: torch.ones(1)}, {"a": 1}, torch.ones(1)):
        torch.save(value, path)
        with pytest.raises(SettingError, match="is not a state dict"):
            features.read_state(path, "metrics.weights", "")
    for data in (
        forged(REFUSED["bytearray"]),
        forged(DAMAGED["a stride of 0"]),
        b"PK",
        b"\x80\x02.",
    ):
        path.write_bytes(data)
        with pytest.raises(SettingError, match="refused"):
            features.read_state(path, "metrics.weights", "")
