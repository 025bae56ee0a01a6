"""Published constants of the environments: reference returns and sizes."""

from __future__ import annotations

# (random, expert) returns behind D4RL's normalised score (Fu et al., arXiv 2004.07219).  D4RL measured them on the
# first MuJoCo versions; everyone reports newer versions on the same scale, and so do we.
REFERENCE_RETURNS: dict[str, tuple[float, float]] = {
    "HalfCheetah-v5": (-280.178953, 12135.0),
    "Hopper-v5": (-20.272305, 3234.3),
    "Walker2d-v5": (1.629008, 4592.3),
}

# (observation, action) dimensions, so that a file can be checked without starting MuJoCo.
DIMENSIONS: dict[str, tuple[int, int]] = {
    "HalfCheetah-v5": (17, 6),
    "Hopper-v5": (11, 3),
    "Walker2d-v5": (17, 6),
}


def reference_returns(env_id: str) -> tuple[float, float] | None:
    """(random, expert) of ``env_id`` whatever its version, or None when D4RL has none."""
    family = env_id.rsplit("-v", 1)[0]
    return REFERENCE_RETURNS.get(f"{family}-v5")
