"""Arrays in an HDF5 or NPZ file, read in blocks of rows.  Nothing is ever unpickled, no link is followed."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from obd.errors import ObdError

BLOCK_BYTES = 16 * 2**20  # read at once
GROUPS = ("infos",)  # of an HDF5 file, looked into beside its root
LINK = "is a link to data elsewhere, which is never followed; save the values themselves"
READ_ERRORS = (
    OSError, ValueError, KeyError, RuntimeError, EOFError, SyntaxError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip

# How a file begins that people mistake for one of ours, and what to tell them.
OTHER_KINDS = (
    (b"\x93NUMPY", "holds a single array; put all arrays into one file with numpy.savez"),
    (b"\x80", "is a Python pickle, which is never opened because it can run code; save it with numpy.savez instead"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it first"),
)


@dataclass(frozen=True)
class StoredArray:
    """One array of a file; ``blocks(rows)`` yields consecutive blocks of about ``rows`` rows.

    ``problem`` says why it cannot be read, such as "is a link ..."; then it has no content.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[int], Iterator[NDArray[Any]]]
    problem: str = ""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Blocks of about ``BLOCK_BYTES`` bytes."""
        width = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        return self.blocks(max(1, BLOCK_BYTES // max(width, 1)))


@contextmanager
def open_arrays(path: Path, name: str = "") -> Iterator[dict[str, StoredArray]]:
    """The arrays of a file by name (``infos/qpos`` for those in the group ``infos``).

    ``name`` is what messages call the file, if ``path`` is a temporary one.

    Raises:
        ObdError: the file is missing, of another kind, damaged (also while reading a block), or holds Python objects.
    """
    name = name or path.name
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
        if not head:
            raise ObdError(f"The file {name} is empty; choose another one.")
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                yield _hdf5_arrays(name, file)
        elif zipfile.is_zipfile(path) or head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                yield _npz_arrays(name, archive)
        else:
            for signature, problem in OTHER_KINDS:
                if head.startswith(signature):
                    raise ObdError(f"The file {name} {problem}.")
            raise ObdError(f"The file {name} is neither HDF5 nor NPZ; choose a file of one of these kinds.")
    except FileNotFoundError:
        raise ObdError(f"There is no file {path}; check the name.") from None
    except IsADirectoryError:
        raise ObdError(f"{name} is a folder; choose a file in it.") from None
    except PermissionError:
        raise ObdError(f"The file {name} may not be read by you; change its permissions.") from None
    except READ_ERRORS as error:
        raise ObdError(f"The file {name} is damaged or incomplete ({_brief(error)}); get it again.") from error


def take(array: StoredArray, rows: NDArray[np.int64]) -> NDArray[Any]:
    """The given rows, in ascending order, with one pass over the array."""
    taken, start = [], 0
    for block in array:
        first, last = np.searchsorted(rows, [start, start + len(block)])
        taken.append(block[rows[first:last] - start])
        start += len(block)
    return np.concatenate(taken)


def _brief(error: BaseException) -> str:
    if isinstance(error, SyntaxError | tokenize.TokenError):  # of NumPy's reader of headers
        return "the description of an array cannot be read"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:119] + "…"


def _hdf5_arrays(file_name: str, file: h5py.File) -> dict[str, StoredArray]:
    if "episode_0" in file or "episodes" in file:
        raise ObdError(
            f"The file {file_name} is one of Minari's; copy its dataset's folder to the local datasets instead."
        )
    found: dict[str, StoredArray] = {}
    for prefix, group in [("", file), *((f"{name}/", file[name]) for name in GROUPS if _is_group(file, name))]:
        for name in group:
            if prefix + name not in GROUPS:
                found[prefix + name] = _hdf5_array(prefix + name, group, name)
    return found


def _hdf5_array(full_name: str, group: h5py.Group, name: str) -> StoredArray:
    # A link could lead to any other file of this machine.
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return _unusable(full_name, LINK)
    item = group[name]
    if not isinstance(item, h5py.Dataset):
        return _unusable(full_name, "is a group of arrays (dictionaries?); save one array of flat vectors")
    if item.external or item.is_virtual:
        return _unusable(full_name, LINK)
    if item.shape is None:
        return _unusable(full_name, "is empty; save its values, or leave it out")
    return StoredArray(full_name, item.shape, item.dtype, _hdf5_blocks(item))


def _unusable(name: str, problem: str) -> StoredArray:
    return StoredArray(name, (), np.dtype(np.void), lambda _rows: iter(()), problem)


def _is_group(file: h5py.File, name: str) -> bool:
    return isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Group)


def _hdf5_blocks(item: h5py.Dataset) -> Callable[[int], Iterator[NDArray[Any]]]:
    def blocks(rows: int) -> Iterator[NDArray[Any]]:
        if item.chunks:  # whole chunks, or each would be unpacked several times
            rows = max(rows // item.chunks[0], 1) * item.chunks[0]
        for start in range(0, item.shape[0], rows):
            yield np.asarray(item[start : start + rows])

    return blocks


def _npz_arrays(file_name: str, archive: zipfile.ZipFile) -> dict[str, StoredArray]:
    found: dict[str, StoredArray] = {}
    for member in archive.namelist():
        if not member.endswith(".npy"):
            continue
        with archive.open(member) as stream:
            shape, fortran, dtype = _header(stream)
        name = member.removesuffix(".npy")
        if dtype.hasobject:
            raise ObdError(
                f"The array {name} in {file_name} holds Python objects, which are never opened because they can run "
                "code; save plain numbers."
            )
        found[name] = StoredArray(name, shape, dtype, _npz_blocks(archive, member, shape, fortran, dtype))
    return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype


def _npz_blocks(
    archive: zipfile.ZipFile, member: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]
) -> Callable[[int], Iterator[NDArray[Any]]]:
    def blocks(rows: int) -> Iterator[NDArray[Any]]:
        if fortran and len(shape) > 1:
            raise ObdError(f"The array {member} is stored by columns; save numpy.ascontiguousarray of it.")
        width = int(np.prod(shape[1:], dtype=np.int64))
        with archive.open(member) as stream:
            _header(stream)
            for start in range(0, shape[0], rows):
                count = min(rows, shape[0] - start)
                data = stream.read(count * width * dtype.itemsize)
                if len(data) < count * width * dtype.itemsize:
                    raise EOFError(f"{member} ends after {start} of {shape[0]} rows")
                yield np.frombuffer(data, dtype).reshape(count, *shape[1:])

    return blocks
