"""Several policies side by side in one video, synchronised in real time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from obd.errors import Cancelled, ObdError
from obd.render.captions import BAR, bar_height, caption_bar, ended, overlay
from obd.render.encoder import VideoWriter
from obd.render.renderer import Renderer, make_renderer
from obd.render.scene import Image, parse_colour
from obd.render.trajectory import Trajectory

COLUMNS = 3
GAP = 4  # pixels between panels
HOLD_SECONDS = 1.0  # the last picture stays this long: a fall at the end would not be seen


@dataclass(frozen=True)
class Panel:
    """One policy's place in a video: ``colour`` is ``#rrggbb``, ``score_text`` stands on the right of the caption."""

    title: str
    colour: str
    trajectory: Trajectory
    score_text: str = ""


def tile_video(
    path: str | Path,
    panels: Sequence[Panel],
    *,
    width_per_panel: int = 320,
    height: int = 240,
    seconds: float | None = None,
    fps: float = 25,
    schematic: bool = False,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Write one H.264 MP4 with all panels in real time, up to three in a row.

    An episode that ends before the others freezes, dimmed, with a note when it ended.

    Args:
        path: of the file; it appears when it is complete.
        panels: at least one.
        width_per_panel, height: of each picture in pixels, without the caption bar.
        seconds: show only the first seconds of the episodes.
        fps: at most this many frames per second; fewer if the episodes have fewer steps per second.
        schematic: draw schematically even if OpenGL works.
        on_progress: told the fraction done, after every frame.
        should_stop: asked before every frame.

    Returns:
        ``path``.

    Raises:
        ObdError: no panels, an environment that cannot be drawn, ffmpeg missing, or a full disk.
        Cancelled: ``should_stop()`` returned true; no file is left behind.
    """
    if not panels:
        raise ObdError("A video needs at least one policy; choose one.")
    if seconds is not None and not seconds > 0:
        raise ObdError(f"A video must last longer than {seconds:g} seconds.")
    path = Path(path)
    fps = min(fps, max(panel.trajectory.frames_per_second for panel in panels))
    duration = max(panel.trajectory.seconds for panel in panels) + HOLD_SECONDS
    frames = max(1, math.ceil(min(duration, seconds or duration) * fps - 1e-6))
    grid = Grid(len(panels), _even(width_per_panel), _even(height))
    with ExitStack() as stack:
        renderers = {
            panel.trajectory.env_id: make_renderer(
                panel.trajectory.env_id, grid.width, grid.height, schematic=schematic
            )
            for panel in panels
            if panel.trajectory.has_states
        }
        for renderer in renderers.values():
            stack.enter_context(renderer)
        painters = [PanelPainter(panel, grid, renderers.get(panel.trajectory.env_id)) for panel in panels]
        writer = stack.enter_context(VideoWriter(path, *grid.size, fps))
        canvas = grid.empty()
        for number, painter in enumerate(painters):
            grid.place(canvas, number, painter.caption, 0)
        for frame in range(frames):
            if should_stop is not None and should_stop():
                raise Cancelled
            for number, painter in enumerate(painters):
                grid.place(canvas, number, painter.paint(frame / fps), grid.bar)
            writer.write(canvas)
            if on_progress is not None:
                on_progress((frame + 1) / frames)
    return path


class Grid:
    """Where each panel lies; the last row is centred."""

    def __init__(self, count: int, width: int, height: int) -> None:
        self.count, self.width, self.height = count, width, height
        self.bar = bar_height(height)
        self.columns = min(COLUMNS, count) if count != 4 else 2
        self.rows = math.ceil(count / self.columns)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole video, both even."""
        return (
            self.columns * (self.width + GAP) - GAP,
            self.rows * (self.height + self.bar + GAP) - GAP,
        )

    def empty(self) -> Image:
        """A canvas in the background colour, ``[height, width, 3]``."""
        width, height = self.size
        return np.full((height, width, 3), BAR, dtype=np.uint8)

    def place(self, canvas: Image, number: int, picture: Image, offset: int) -> None:
        """Copy ``picture`` into panel ``number``, ``offset`` pixels below its top."""
        row, column = divmod(number, self.columns)
        in_row = min(self.columns, self.count - row * self.columns)
        left = (self.size[0] - (in_row * (self.width + GAP) - GAP)) // 2 + column * (self.width + GAP)
        top = row * (self.height + self.bar + GAP) + offset
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


class PanelPainter:
    """Draws one panel's picture at a time of the video; draws again only what has changed."""

    def __init__(self, panel: Panel, grid: Grid, renderer: Renderer | None) -> None:
        self.panel, self._grid, self._renderer = panel, grid, renderer
        parse_colour(panel.colour)
        self.caption = caption_bar(grid.width, grid.bar, panel.title, panel.colour, panel.score_text)
        self._returns = np.concatenate([[0.0], np.cumsum(panel.trajectory.rewards)])
        self._index = -1
        self._over = False
        self._picture = np.zeros((grid.height, grid.width, 3), dtype=np.uint8)
        if renderer is None and panel.trajectory.frames is None:
            raise ObdError(
                f"{panel.trajectory.env_id} cannot be drawn: it has no MuJoCo states and returned no pictures "
                "(for classic control, install pygame)."
            )

    def paint(self, seconds: float) -> Image:
        """``[height, width, 3]`` picture at ``seconds`` after the start."""
        trajectory = self.panel.trajectory
        index = trajectory.index_at(seconds)
        over = index == len(trajectory) and seconds > trajectory.seconds
        if index != self._index or over != self._over:
            clock = min(seconds, trajectory.seconds)
            picture = overlay(self._draw(index), f"return {self._returns[index]:,.0f}", f"{clock:.1f} s")
            self._picture = ended(picture, self._note()) if over else picture
            self._index, self._over = index, over
        return self._picture

    def _note(self) -> str:
        trajectory = self.panel.trajectory
        if not trajectory.terminated:
            return f"time limit, {trajectory.seconds:.1f} s"
        return f"{'fell' if trajectory.has_states else 'ended'} after {trajectory.seconds:.1f} s"

    def _draw(self, index: int) -> Image:
        trajectory = self.panel.trajectory
        if self._renderer is not None:
            return self._renderer.render(trajectory.qpos[index], trajectory.qvel[index], accent=self.panel.colour)
        assert trajectory.frames is not None
        number = min(index // trajectory.frame_stride, len(trajectory.frames) - 1)
        return fit(trajectory.frames[number], self._grid.width, self._grid.height)


def fit(picture: Image, width: int, height: int) -> Image:
    """``picture`` scaled into ``[height, width, 3]`` with its proportions kept."""
    image = PillowImage.fromarray(picture)
    scale = min(width / image.width, height / image.height)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    canvas = PillowImage.new("RGB", (width, height), (255, 255, 255))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return np.asarray(canvas)


def _even(length: int) -> int:
    if length < 16:
        raise ObdError(f"A picture needs at least 16 pixels each way, not {length}.")
    return length - length % 2
