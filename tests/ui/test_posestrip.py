from __future__ import annotations

from obd.ui import posestrip


def test_every_group_has_its_own_strip() -> None:
    """Poses of another run would be shown as those of this one."""
    assert posestrip.board("one") is posestrip.board("one")
    assert posestrip.board("one") is not posestrip.board("other")
