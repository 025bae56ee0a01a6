"""Still pictures of single states, drawn in one thread that keeps its renderers, and sheets of many small ones."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from obd.errors import Cancelled, ObdError
from obd.insight.pose import state_from_observation
from obd.render.captions import bar_height, caption_bar
from obd.render.renderer import Kind, Renderer, make_renderer
from obd.render.scene import ACCENT, Image

SHEET_COLUMNS = 16
CHUNK = 16  # poses drawn before somebody else's picture may come in between
ROOM = 6  # renderers kept open
DRAWING = 2  # how robots are drawn; cached pictures of an older way are drawn again

Observations = NDArray[np.floating[Any]]
Result = TypeVar("Result")


class PosePainter:
    """Draws poses in a thread of its own: a renderer works only in the thread that made it, and opening one is slow.

    Close it, or use it as a context manager.
    """

    def __init__(self, *, schematic: bool = False) -> None:
        self._schematic = schematic
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="poses")
        self._renderers: dict[tuple[str, int, int], Renderer] = {}
        self._stack = ExitStack()
        self._closed = False

    def __enter__(self) -> PosePainter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the renderers, in their thread; pictures not drawn yet are cancelled."""
        self._closed = True
        self._thread.submit(self._stack.close)
        self._thread.shutdown(wait=False)

    def kind(self, env_id: str, width: int, height: int) -> Kind:
        """How pictures of this size are drawn: "mujoco" or "schematic"."""
        return self._submit(lambda: self._renderer(env_id, width, height).kind).result()

    def paint(
        self, env_id: str, observations: Observations, width: int = 320, height: int = 240, *, accent: str = ACCENT
    ) -> Future[NDArray[np.uint8]]:
        """Draw the pose of each raw observation ``[K, obs_dim]``; the future holds ``[K, height, width, 3]``.

        Raises:
            ObdError: the environment is unknown, or an observation has the wrong width or is not finite.
            Cancelled: the painter is closed.
        """
        qpos, qvel = state_from_observation(env_id, observations)
        return self._submit(lambda: self._paint(env_id, qpos, qvel, width, height, accent))

    def _submit(self, work: Callable[[], Result]) -> Future[Result]:
        try:
            return self._thread.submit(work)
        except RuntimeError as error:  # closed, or the process is ending
            raise Cancelled from error

    def _paint(
        self, env_id: str, qpos: Observations, qvel: Observations, width: int, height: int, accent: str
    ) -> NDArray[np.uint8]:
        if self._closed:
            raise Cancelled
        renderer = self._renderer(env_id, width, height)
        return np.stack([renderer.render(*state, accent=accent) for state in zip(qpos, qvel, strict=True)])

    def _renderer(self, env_id: str, width: int, height: int) -> Renderer:
        key = (env_id, width, height)
        if key not in self._renderers:
            if len(self._renderers) >= ROOM:
                self._renderers.clear()
                self._stack.close()
            renderer = make_renderer(env_id, width, height, schematic=self._schematic)
            self._renderers[key] = self._stack.enter_context(renderer)
        return self._renderers[key]


@dataclass(frozen=True)
class Sheet:
    """Many small pictures in one file: tile i lies in row i // columns, column i % columns."""

    path: Path
    count: int
    columns: int
    width: int
    height: int


def pose_sheet(
    painter: PosePainter,
    env_id: str,
    observations: Observations,
    folder: Path,
    *,
    accent: str = ACCENT,
    width: int = 112,
    height: int = 112,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Sheet:
    """Draw all poses ``[K, obs_dim]`` (raw units) as tiles of one WebP file in ``folder``, named by its content.

    A sheet drawn earlier is returned at once.

    Raises:
        ObdError: the environment is unknown, an observation is not finite, or the file cannot be written.
        Cancelled: ``should_stop()`` returned true.
    """
    values = np.ascontiguousarray(observations, dtype=np.float32)
    state_from_observation(env_id, values)
    kind = painter.kind(env_id, width, height)
    text = f"{env_id} {values.shape} {accent} {width}x{height} {kind} {DRAWING}"
    digest = hashlib.sha256(text.encode() + values.tobytes()).hexdigest()[:20]
    columns = min(SHEET_COLUMNS, len(values))
    sheet = Sheet(folder / f"{digest}.webp", len(values), columns, width, height)
    if sheet.path.is_file():
        return sheet
    tiles: list[Image] = []
    for start in range(0, len(values), CHUNK):
        if should_stop is not None and should_stop():
            raise Cancelled
        tiles.extend(painter.paint(env_id, values[start : start + CHUNK], width, height, accent=accent).result())
        if on_progress is not None:
            on_progress(min(1.0, (start + CHUNK) / len(values)))
    _write(sheet.path, tile(tiles, columns))
    return sheet


def tile(pictures: Sequence[Image], columns: int) -> Image:
    """Pictures of one size in rows of ``columns``; the last row is filled up with white."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    return sheet


def _write(path: Path, picture: Image) -> None:
    """Write a WebP file that appears under its name only when it is complete."""
    buffer = io.BytesIO()
    PillowImage.fromarray(picture).save(buffer, "WEBP", quality=80, method=4)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)
    except OSError as error:
        raise ObdError(
            f"The pictures cannot be kept in {path.parent} ({error.strerror or error}); free some disk space or set "
            "OBD_CACHE_DIR to another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def pose_images(
    env_id: str,
    observations: Observations,
    width: int = 160,
    height: int = 120,
    *,
    accents: Sequence[str] | str = ACCENT,
    schematic: bool = False,
) -> NDArray[np.uint8]:
    """Draw the pose of each raw observation.

    Args:
        env_id: an environment that :func:`obd.insight.pose.supports_pose` accepts.
        observations: ``[K, obs_dim]`` raw units.
        width, height: of each picture in pixels.
        accents: the robot's colour (``#rrggbb``), one for all or one each.
        schematic: draw schematically even if OpenGL works; opening OpenGL takes a third of a second.

    Returns:
        ``[K, height, width, 3]`` uint8.

    Raises:
        ObdError: the environment is unknown, or an observation has the wrong width or is not finite.
    """
    observations = np.asarray(observations)
    qpos, qvel = state_from_observation(env_id, observations)
    colours = [accents] * len(qpos) if isinstance(accents, str) else list(accents)
    pictures = np.empty((len(qpos), height, width, 3), dtype=np.uint8)
    with make_renderer(env_id, width, height, schematic=schematic) as renderer:
        for number, (position, velocity, colour) in enumerate(zip(qpos, qvel, colours, strict=True)):
            pictures[number] = renderer.render(position, velocity, accent=colour)
    return pictures


def poses_strip(
    env_id: str,
    observations: Observations,
    width: int = 160,
    height: int = 120,
    *,
    titles: Sequence[str] = (),
    accents: Sequence[str] | str = ACCENT,
    gap: int = 4,
    schematic: bool = False,
) -> Image:
    """Several observations ``[K, obs_dim]`` side by side in one picture, with a caption over each if given.

    See :func:`pose_images` for the arguments; ``width`` and ``height`` are those of one pose.
    """
    pictures = pose_images(env_id, observations, width, height, accents=accents, schematic=schematic)
    colours = [accents] * len(pictures) if isinstance(accents, str) else list(accents)
    bar = bar_height(height) if titles else 0
    strip = np.full((height + bar, len(pictures) * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        left = number * (width + gap)
        strip[bar:, left : left + width] = picture
        if titles:
            strip[:bar, left : left + width] = caption_bar(width, bar, titles[number], colours[number], "")
    return strip
