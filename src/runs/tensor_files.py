"""The one reader of tensors from outside: checkpoints, and safetensors.

Anybody may have written them. `torch.load(weights_only=True)` runs no code in a checkpoint, but it
takes its word for much else: it makes a `bytearray(10**11)`, and a storage as long as it is said to
be, whatever the file holds. So checkpoints are read here:

- The file is a regular one, and a zip whose members are stored as they are. Each that is asked for
  is read once, into memory of its own length, and compared with its checksum. (A map of the file
  would crash the process if somebody cut the file meanwhile.)
- Its pickle is run by a machine that knows the opcodes of torch.save's plain values and tensors,
  and no others. It imports nothing and calls nothing, so there is nothing that could be run.
- A tensor is a view of one member, inside of it at every index, and has no more elements than it.
- Values are dictionaries with keys of text or integers, lists, tuples, text, 64-bit integers,
  floats, booleans, None and tensors. None holds itself, and all can be written out.

For an honest file the result is torch.load's, bit for bit.
"""

import math
import os
import pickle
import pickletools
import stat
import struct
import sys
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from src.runs.stored import Limits, parse_json, read_bytes

# Of a pickle. A tensor takes about 40 opcodes and 100 bytes, so there is room for 25,000; a hostile
# file makes of as many some 100 MB in two seconds.
OPCODES, PICKLE, TEXT = 1_000_000, 16 * 2**20, 2**16
# Of a zip. A tensor has a member, and that some 60 bytes of the directory.
MEMBERS, DIRECTORY = 2**16, 16 * 2**20
DEPTH = 64  # of values inside of each other
DIMENSIONS = 32
# What nothing in the file bears on: a stride along a dimension of 1, and the product of the other
# dimensions beside one of 0.
IDLE = 2**31
HEADER = Limits(size=4 * 2**20, depth=4, nodes=100_000)  # of safetensors
CHUNK = 2**20  # bytes at a time, whose checksum is taken while they are in the processor's cache

DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexDouble": torch.complex128,
    "ComplexFloat": torch.complex64,
}


class RefusedError(ValueError):
    """A pickle asks for more than tensors and plain values."""


def read_checkpoint(source: Path | bytes, whole: bool = False) -> Any:
    """Read what `torch.save` wrote, onto the CPU.

    Args:
        source: a file, or the content of one.
        whole: refuse tensors that are a part of a storage, or repeat its numbers. Fused optimisers
            take a pointer and the number of elements, and would write past the end of such.

    Raises:
        RefusedError: if its pickle asks for more than tensors and plain values.
        ValueError: if it cannot be read, is damaged, or is not as torch.save writes it.
    """
    try:
        with _opened(source) as file:
            value = _Machine(_Archive(file), whole).run()
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from error
    except UnicodeDecodeError as error:
        raise ValueError("a name in it is no text") from error
    except (IndexError, KeyError, struct.error) as error:  # a place in it leads nowhere
        raise ValueError("it is garbled") from error
    except (RuntimeError, MemoryError) as error:
        raise ValueError("there is too little memory for it") from error
    _check_values(value)
    return value


@contextmanager
def _opened(source: Path | bytes) -> Iterator[BinaryIO]:
    """A file to read from; a pipe or a device is never waited for."""
    if isinstance(source, bytes):
        yield BytesIO(source)
        return
    handle = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no regular file")
        with os.fdopen(handle, "rb", buffering=0, closefd=False) as file:
            yield file
    finally:
        os.close(handle)


# The zip file


class _Member(NamedTuple):
    """Offset of a member's header, its size in bytes, and their CRC-32."""

    start: int
    size: int
    checksum: int


class _Archive:
    """The zip file of torch.save: members stored as they are, and then their directory.

    Python's zipfile would make an object of each entry, of which there can be millions, before one
    can object; and it takes what torch.save never writes: a comment, data in front, compression.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.length = file.seek(0, os.SEEK_END)
        if self.length > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            raise ValueError("it is larger than this machine's memory")  # a sparse file may be
        self.members = self._directory()
        found = [name for name in self.members if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError("it is none of torch.save's files")
        self.folder = found[0].removesuffix("data.pkl")
        if "byteorder" in self and self.text("byteorder", 16) != sys.byteorder.encode():
            raise ValueError("its bytes are in the order of other machines")

    def __contains__(self, name: str) -> bool:
        return self.folder + name in self.members

    def text(self, name: str, most: int) -> bytes:
        """The bytes of a small member."""
        if self.members[self.folder + name].size > most:
            raise ValueError(f"its {name} is too large")
        return self.load(name).numpy().tobytes()

    def load(self, name: str) -> Tensor:
        """The bytes of a member, in memory of its own.

        Raises:
            KeyError: if there is none of this name.
            ValueError: if the file is not what its directory says.
        """
        start, size, checksum = self.members[self.folder + name]
        # Signature, (what the directory says too), lengths of name and extra field.
        mark, names, extras = struct.unpack("<4s22xHH", self._at(start, 30))
        start += 30 + names + extras
        if mark != b"PK\x03\x04" or start + size > self.length:
            raise ValueError("its directory is damaged")
        content = torch.empty(size, dtype=torch.uint8)
        view, found = memoryview(content.numpy()), 0
        self.file.seek(start)
        while view:
            n = self.file.readinto(view[:CHUNK])
            if not n:
                raise ValueError("it is cut off")
            found, view = zlib.crc32(view[:n], found), view[n:]
        if found != checksum:
            raise ValueError("its checksums do not agree")
        return content

    def _at(self, start: int, n: int) -> bytes:
        self.file.seek(max(start, 0))
        found = self.file.read(n)
        if start < 0 or len(found) < n:
            raise ValueError("it is cut off, or none of torch.save's files")
        return found

    def _directory(self) -> dict[str, _Member]:
        """All members by name."""
        n, start, end = self._end()
        if n > MEMBERS or end - start > DIRECTORY:
            raise ValueError("it has too many members")
        data, place = self._at(start, end - start), 0
        members: dict[str, _Member] = {}
        total = 0
        for _ in range(n):
            # Signature, (versions), flags, method, (time), checksum, packed and true size, lengths
            # of name, extra field and comment, (attributes), start.
            mark, flags, method, checksum, *numbers, names, extras, notes, start = (
                struct.unpack_from("<4s4xHH4xIIIHHH8xI", data, place)
            )
            name, place = data[place + 46 : place + 46 + names].decode(), place + 46 + names
            extra, place = data[place : place + extras], place + extras + notes
            packed, size, start = _long([*numbers, start], extra)
            total += size
            if mark != b"PK\x01\x02" or name in members or max(start, total) > self.length:
                raise ValueError("its directory is damaged")
            # The flags may say that the name is UTF-8, and that the sizes stand behind the data.
            if method or packed != size or flags & ~0x808:
                raise ValueError("a member of it is compressed or encrypted")
            members[name] = _Member(start, size, checksum)
        if place != len(data):
            raise ValueError("its directory is damaged")
        return members

    def _end(self) -> tuple[int, int, int]:
        """Number of members, and the begin and end of the directory.

        It lies between the members and the end of the file, and nothing else does.
        """
        end = self.length - 22
        # Signature, (disks), entries here and in all, size and start of the directory, comment.
        mark, here, n, size, start, note = struct.unpack("<4s4xHHIIH", self._at(end, 22))
        good = mark == b"PK\x05\x06"
        if good and end >= 76:
            # In front of it torch writes the same with 64 bits, and where that is.
            mark, place = struct.unpack("<4s4xQ4x", self._at(end - 20, 20))
            if mark == b"PK\x06\x07":
                end -= 76
                mark, here, n, size, start = struct.unpack("<4s20xQQQQ", self._at(end, 56))
                good = mark == b"PK\x06\x06" and place == end
        if not good:
            raise ValueError("it is cut off, or none of torch.save's files")
        if here != n or note or start + size != end:
            raise ValueError("its directory is damaged")
        return n, start, end


def _long(numbers: list[int], extra: bytes) -> list[int]:
    """An entry's numbers, of which those of more than 32 bits stand in its extra field."""
    largest, place = 2**32 - 1, 0
    while largest in numbers and place < len(extra):
        kind, n = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            needed = numbers.count(largest)
            longer = list(struct.unpack_from(f"<{needed}Q", extra, place + 4))
            return [longer.pop(0) if number == largest else number for number in numbers]
        place += 4 + n
    return numbers


# The pickle


class _Storage(NamedTuple):
    """Storage of which tensors are views: bytes that hold so many numbers."""

    content: Tensor
    dtype: torch.dtype
    size: int


class _Machine:
    """Runs the pickle of an archive.

    It has the stack and the memo of pickle's own. `ACTIONS` names the method of each opcode, and
    what else that gets. Missing operands raise IndexError, KeyError or struct.error.
    """

    def __init__(self, archive: _Archive, whole: bool) -> None:
        self.archive, self.whole = archive, whole
        self.data, self.place = archive.text("data.pkl", PICKLE), 0
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}
        self.tensors = 0

    def run(self) -> Any:
        """The value that the pickle describes."""
        for _ in range(OPCODES):
            code = self.data[self.place]
            self.place += 1
            if code == pickle.STOP[0]:
                break
            if code not in ACTIONS:
                known = pickletools.code2op.get(chr(code))
                raise RefusedError(f"opcode {known.name if known else code}")
            action, detail = ACTIONS[code]
            action(self, detail)
        else:
            raise ValueError("its pickle is too long")
        if self.place != len(self.data) or self.marks or len(self.stack) != 1:
            raise ValueError("its pickle is garbled")
        return self.stack.pop()

    # What opcodes have in common

    def take(self, n: int) -> bytes:
        found = self.data[self.place : self.place + n]
        if len(found) < n:
            raise IndexError(n)
        self.place += n
        return found

    def number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self.take(layout.size))[0]

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise RefusedError("an entry of what is no list")
        target.extend(values)

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict):
            raise RefusedError("an entry of what is no dictionary")
        if len(items) % 2:
            raise IndexError(len(items))
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Deep or shared tuples would overflow the stack when they are hashed, or take for ever.
            if type(key) not in (str, int):
                raise RefusedError("a key that is neither text nor an integer")
            target[key] = value

    # Opcodes

    def proto(self, layout: struct.Struct) -> None:
        if (version := self.number(layout)) != 2:
            raise RefusedError(f"protocol {version}")

    def new(self, make: Callable[[], Any]) -> None:
        self.stack.append(make())

    def constant(self, value: bool | None) -> None:
        self.stack.append(value)

    def numeral(self, layout: struct.Struct) -> None:
        self.stack.append(self.number(layout))

    def long(self, layout: struct.Struct) -> None:
        if (n := self.number(layout)) > 8:
            raise RefusedError("an integer of more than 64 bits")
        self.stack.append(int.from_bytes(self.take(n), "little", signed=True))

    def unicode(self, layout: struct.Struct) -> None:
        if (n := self.number(layout)) > TEXT:
            raise ValueError("a name in it is too long")
        self.stack.append(self.take(n).decode())

    def known(self, _: None) -> None:
        names = self.data[self.place : self.place + 200].split(b"\n")[:2]
        self.place += sum(map(len, names)) + 2
        name = b".".join(names)
        if name not in GLOBALS:
            raise RefusedError(ascii(name)[2:-1])
        self.stack.append(GLOBALS[name])

    def put(self, layout: struct.Struct) -> None:
        self.memo[self.number(layout)] = self.stack[-1]

    def get(self, layout: struct.Struct) -> None:
        self.stack.append(self.memo[self.number(layout)])

    def mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def tuple_since_mark(self, _: None) -> None:
        self.stack.append(tuple(self.since_mark()))

    def make_tuple(self, n: int) -> None:
        if len(self.stack) < n:
            raise IndexError(n)
        self.stack[-n:] = [tuple(self.stack[-n:])]

    def append(self, _: None) -> None:
        self.extend([self.stack.pop()])

    def appends(self, _: None) -> None:
        self.extend(self.since_mark())

    def set_item(self, _: None) -> None:
        value = self.stack.pop()
        self.update([self.stack.pop(), value])

    def set_items(self, _: None) -> None:
        self.update(self.since_mark())

    def call(self, _: None) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is tuple and function is OrderedDict and not arguments:
            self.stack.append(OrderedDict())
        elif type(arguments) is tuple and function is _tensor and len(arguments) == 6:
            self.tensors += 1
            if self.tensors > MEMBERS:
                raise ValueError("it has too many tensors")
            tensor = _tensor(*arguments)
            if self.whole and not is_whole(tensor):
                raise ValueError("a tensor of it is a part of another, or repeats its numbers")
            self.stack.append(tensor)
        else:
            raise RefusedError("a call")

    def build(self, _: None) -> None:
        # A state dict carries the versions of its modules, which decide how they are loaded.
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is not OrderedDict or type(state) is not dict or [*state] != ["_metadata"]:
            raise RefusedError("an attribute")
        target._metadata = state["_metadata"]

    def storage(self, _: None) -> None:
        asked, kinds = self.stack.pop(), [str, torch.dtype, str, str, int]
        if type(asked) is not tuple or [type(part) for part in asked] != kinds:
            raise RefusedError("a storage of no known kind")
        kind, dtype, key, _, size = asked  # the device does not matter
        if kind != "storage":
            raise RefusedError("an object that is no storage")
        if key not in self.storages:
            if f"data/{key}" not in self.archive:
                raise ValueError("a tensor of it is missing")
            content = self.archive.load(f"data/{key}")
            # Compiled code takes for granted that a boolean is 0 or 1, and may run over otherwise.
            if dtype == torch.bool and (content > 1).any():
                raise ValueError("a boolean in it is neither true nor false")
            self.storages[key] = _Storage(content, dtype, size)
        content, first, _ = self.storages[key]
        if size * dtype.itemsize != len(content) or (dtype != first and size):
            raise ValueError("a tensor of it is not as long as it says, or of two types")
        self.stack.append(_Storage(content, dtype, size))


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any
) -> Tensor:
    """A view of a storage, as torch._utils._rebuild_tensor_v2 makes it.

    Raises:
        RefusedError: if an argument is of another type.
        ValueError: if the tensor would not lie inside of the storage.
    """
    kinds = [_Storage, int, tuple, tuple, bool, OrderedDict]
    arguments = [storage, offset, size, stride, requires_grad, hooks]
    if [type(argument) for argument in arguments] != kinds or hooks:
        raise RefusedError("a tensor of no known kind")
    numbers = [offset, *size, *stride]
    if any(type(number) is not int for number in numbers):
        raise RefusedError("a tensor of no known kind")
    if len(size) != len(stride) or len(size) > DIMENSIONS or min(numbers) < 0:
        raise ValueError("a tensor of it has no valid shape")
    numel = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True) if numel)
    spread = math.prod(max(n, 1) for n in size)
    largest = max(storage.size, IDLE)
    if numel > storage.size or last > storage.size - bool(numel):
        raise ValueError("a tensor of it is larger than its storage")
    if spread > largest or max(stride, default=0) > largest:
        raise ValueError("a tensor of it has no valid shape")
    if requires_grad and not (storage.dtype.is_floating_point or storage.dtype.is_complex):
        raise ValueError("a tensor of it cannot have a gradient")
    content, empty = storage.content.untyped_storage(), torch.empty(0, dtype=storage.dtype)
    return empty.set_(content, offset, size, stride).requires_grad_(requires_grad)


def is_whole(tensor: Tensor) -> bool:
    """True if a tensor is all of its storage, each number once, in whatever order."""
    reach = 1
    sides = zip(tensor.stride(), tensor.shape, strict=True)
    for step, n in sorted(side for side in sides if side[1] > 1):
        if step != reach:
            return tensor.numel() == 0
        reach *= n
    return tensor.nbytes == tensor.untyped_storage().nbytes()


_BYTE, _SHORT, _INT, _WORD = (struct.Struct(layout) for layout in ("<B", "<H", "<i", "<I"))
ACTIONS: dict[int, tuple[Callable[[_Machine, Any], None], Any]] = {
    code[0]: (action, detail)
    for code, action, detail in (
        (pickle.PROTO, _Machine.proto, _BYTE),
        (pickle.EMPTY_DICT, _Machine.new, dict),
        (pickle.EMPTY_LIST, _Machine.new, list),
        (pickle.EMPTY_TUPLE, _Machine.new, tuple),
        (pickle.NONE, _Machine.constant, None),
        (pickle.NEWTRUE, _Machine.constant, True),
        (pickle.NEWFALSE, _Machine.constant, False),
        (pickle.BININT, _Machine.numeral, _INT),
        (pickle.BININT1, _Machine.numeral, _BYTE),
        (pickle.BININT2, _Machine.numeral, _SHORT),
        (pickle.BINFLOAT, _Machine.numeral, struct.Struct(">d")),
        (pickle.LONG1, _Machine.long, _BYTE),
        (pickle.BINUNICODE, _Machine.unicode, _WORD),
        (pickle.GLOBAL, _Machine.known, None),
        (pickle.BINPUT, _Machine.put, _BYTE),
        (pickle.LONG_BINPUT, _Machine.put, _WORD),
        (pickle.BINGET, _Machine.get, _BYTE),
        (pickle.LONG_BINGET, _Machine.get, _WORD),
        (pickle.MARK, _Machine.mark, None),
        (pickle.TUPLE, _Machine.tuple_since_mark, None),
        (pickle.TUPLE1, _Machine.make_tuple, 1),
        (pickle.TUPLE2, _Machine.make_tuple, 2),
        (pickle.TUPLE3, _Machine.make_tuple, 3),
        (pickle.APPEND, _Machine.append, None),
        (pickle.APPENDS, _Machine.appends, None),
        (pickle.SETITEM, _Machine.set_item, None),
        (pickle.SETITEMS, _Machine.set_items, None),
        (pickle.REDUCE, _Machine.call, None),
        (pickle.BUILD, _Machine.build, None),
        (pickle.BINPERSID, _Machine.storage, None),
    )
}
GLOBALS: dict[bytes, Any] = {
    b"collections.OrderedDict": OrderedDict,
    b"torch._utils._rebuild_tensor_v2": _tensor,
    **{f"torch.{name}Storage".encode(): dtype for name, dtype in DTYPES.items()},
}


# The values

LEAVES = frozenset((str, int, float, bool, type(None), Tensor))
DICTIONARIES = (dict, OrderedDict)


def _check_values(value: Any) -> None:
    """Look through all values, each once.

    Raises:
        RefusedError: for anything but plain values and tensors.
        ValueError: for values that hold themselves, or are too deep, or too many if one in several
            places counts as several.
    """
    _measure([value], set(), {})


def _measure(value: Any, above: set[int], known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Number of values in a container, and their depth.

    Args:
        value: the container.
        above: the identities of those that it is in.
        known: by identity, what was measured already.
    """
    if id(value) in above:
        raise ValueError("a value in it holds itself")
    count, depth = known.get(id(value), (0, 0))
    if len(above) + depth > DEPTH:
        raise ValueError("its values are too deep")
    if not depth:
        above.add(id(value))
        depth = 1
        for entry in _entries(value):
            count += 1
            if type(entry) not in LEAVES:
                inner = _measure(entry, above, known)
                count, depth = count + inner[0], max(depth, inner[1] + 1)
        above.remove(id(value))
        known[id(value)] = count, depth
        if count > OPCODES or len(known) > MEMBERS:
            raise ValueError("its values are too many")
    return count, depth


def _entries(value: Any) -> list[Any]:
    """Items of a container."""
    if type(value) in (list, tuple):
        return value
    if type(value) not in DICTIONARIES:
        raise RefusedError("a value that is not plain")
    if not hasattr(value, "_metadata"):
        return list(value.values())
    versions = value._metadata
    if type(versions) not in DICTIONARIES or not {*map(type, versions.values())} <= {*DICTIONARIES}:
        raise ValueError("the versions in it are damaged")
    return [*value.values(), versions]


# safetensors


def read_safetensors(
    source: Path | bytes, most: int = 2**30
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Args:
        source: a file, or the content of one.
        most: bytes that a file may have.

    Raises:
        ValueError: if it cannot be read, or is damaged.
    """
    try:
        content = source if isinstance(source, bytes) else read_bytes(source, most)
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from error
    size = int.from_bytes(content[:8], "little")
    if not 0 < size <= min(HEADER.size, len(content) - 8):
        raise ValueError("its header is cut off, or too large")
    header = parse_json(content[8 : 8 + size], HEADER)
    about = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(about, dict) or any(type(text) is not str for text in about.values()):
        raise ValueError("its header is damaged")
    try:
        # The library compares places, types and shapes with the length before it makes a tensor.
        tensors = safetensors.torch.load(content)
    except (SafetensorError, KeyError, ValueError, AssertionError, RuntimeError) as error:
        raise ValueError("its tensors are damaged") from error
    for tensor in tensors.values():
        spread = math.prod(max(n, 1) for n in tensor.shape)
        if tensor.dtype not in DTYPES.values() or tensor.ndim > DIMENSIONS:
            raise ValueError("a tensor of it is of no known kind")
        if spread > max(tensor.numel(), IDLE):
            raise ValueError("a tensor of it has no valid shape")
        if tensor.dtype == torch.bool and (tensor.view(torch.uint8) > 1).any():
            raise ValueError("a boolean in it is neither true nor false")
    return tensors, about
