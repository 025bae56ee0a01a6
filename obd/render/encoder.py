"""Writing an H.264 file with the ffmpeg that the package imageio-ffmpeg ships."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import imageio_ffmpeg

from obd.errors import ObdError
from obd.render.scene import Image


def find_ffmpeg() -> str:
    """Path of the ffmpeg program.  Raises ObdError if there is none."""
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ObdError(
            "Videos need ffmpeg, which was not found; install it with: pip install --force-reinstall imageio-ffmpeg"
        ) from error


class VideoWriter:
    """Writes frames to an MP4 that appears under its name only when it is complete.

    A context manager: leaving it without an exception finishes the file, with one removes it.  The format is what
    browsers play: H.264, yuv420p, index at the front (``+faststart``).
    """

    def __init__(self, path: Path, width: int, height: int, fps: float, threads: int = 0) -> None:
        if width % 2 or height % 2:
            raise ValueError("H.264 with yuv420p needs even sizes")
        self.path, self.width, self.height, self.fps, self.threads = path, width, height, fps, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] | None = None
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial.mp4")

    def __enter__(self) -> Self:
        program = find_ffmpeg()
        self._messages = tempfile.TemporaryFile()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._process = subprocess.Popen(
                [
                    *(program, "-y", "-v", "error", "-nostdin"),
                    *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{self.width}x{self.height}"),
                    *("-r", f"{self.fps:.6g}", "-i", "pipe:0"),
                    *("-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "22", "-pix_fmt", "yuv420p"),
                    # No B-frames, so that parts join without a gap; a key frame per second, so that seeking is quick.
                    *("-bf", "0", "-g", f"{max(1, round(self.fps))}", "-threads", f"{self.threads}"),
                    *("-movflags", "+faststart", str(self._partial)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._messages,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._messages.close()
            raise self._problem(error) from error
        return self

    def write(self, frame: Image) -> None:
        """Append one ``[height, width, 3]`` uint8 frame.  Raises ObdError if ffmpeg has given up."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(frame.tobytes())
        except OSError as error:
            self._process.wait()
            raise self._problem(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None and self._process.stdin is not None and self._messages is not None
        try:
            if error is not None:
                self._process.kill()
            try:
                self._process.stdin.close()
            except OSError as broken:
                if error is None:
                    self._process.wait()
                    raise self._problem(broken) from broken
            status = self._process.wait()
            if error is None:
                if status != 0:
                    raise self._problem(None)
                try:
                    os.replace(self._partial, self.path)
                except OSError as failed:
                    raise self._problem(failed) from failed
        finally:
            self._messages.close()
            self._partial.unlink(missing_ok=True)

    def _problem(self, error: OSError | None) -> ObdError:
        """What to tell the user, from the operating system's error and ffmpeg's messages."""
        messages = ""
        if self._messages is not None and not self._messages.closed:
            self._messages.seek(0)
            messages = self._messages.read().decode(errors="replace").strip()
        full = error is not None and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in messages or "quota exceeded" in messages:
            return ObdError(f"The disk is full: the video {self.path.name} was not written; free some space.")
        lines = messages.splitlines()
        reason = (lines[-1] if lines else "") or (str(error) if error is not None else "ffmpeg failed")
        return ObdError(f"The video {self.path.name} could not be written: {reason}")


def join(parts: Sequence[Path], path: Path) -> None:
    """Put videos of the same kind one after another into ``path``; the parts are deleted.

    Raises ObdError if ffmpeg cannot, or the disk is full.
    """
    listing = path.with_name(f".{path.name}.{os.getpid()}.txt")
    joined = path.with_name(f".{path.name}.{os.getpid()}.joined.mp4")
    try:
        listing.write_text("".join(f"file '{part.name}'\n" for part in parts), encoding="utf-8")
        command = ["-f", "concat", "-safe", "0", "-i", str(listing), "-c", "copy", "-movflags", "+faststart"]
        _ffmpeg([*command, str(joined)], path)
        os.replace(joined, path)
    except OSError as error:
        raise ObdError(f"The video {path.name} could not be written: {error.strerror or error}") from error
    finally:
        for leftover in (listing, joined, *parts):
            leftover.unlink(missing_ok=True)


def as_gif(path: Path, width: int = 640, fps: float = 12.5) -> bytes:
    """The video as an animated GIF, at most ``width`` pixels wide.  Raises ObdError if ffmpeg cannot."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "video.gif"
        steps = f"fps={fps:g},scale='min({width},iw)':-2:flags=lanczos,split[a][b];[a]palettegen=96[p];[b][p]paletteuse"
        _ffmpeg(["-i", str(path), "-filter_complex", steps, str(target)], target)
        return target.read_bytes()


def _ffmpeg(arguments: list[str], path: Path) -> None:
    finished = subprocess.run(
        [find_ffmpeg(), "-y", "-v", "error", "-nostdin", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        check=False,
    )
    if finished.returncode != 0:
        lines = finished.stderr.decode(errors="replace").strip().splitlines()
        raise ObdError(f"The video {path.name} could not be written: {lines[-1] if lines else 'ffmpeg failed'}")
