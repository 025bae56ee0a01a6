"""Still pictures of single observations, such as distilled states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.insight.pose import state_from_observation
from obd.render.captions import bar_height, caption_bar
from obd.render.renderer import make_renderer
from obd.render.scene import ACCENT, Image

Observations = NDArray[np.floating[Any]]


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


def pose_image(
    env_id: str,
    observation: Observations,
    width: int = 320,
    height: int = 240,
    *,
    accent: str = ACCENT,
    schematic: bool = False,
) -> Image:
    """One observation ``[obs_dim]`` as a ``[height, width, 3]`` picture.  See :func:`pose_images`."""
    batch = np.asarray(observation)[None]
    pictures: Image = pose_images(env_id, batch, width, height, accents=accent, schematic=schematic)[0]
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
