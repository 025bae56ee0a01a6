"""What was noticed about a dataset: a code for programs, a count and one sentence for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, SupportsInt


@dataclass(frozen=True)
class Finding:
    """``code`` is stable and machine-readable; ``message`` says what was found and what was done or can be done."""

    code: str
    count: int
    message: str


def counted(number: SupportsInt, noun: str) -> str:
    """``1 episode``, ``1,200 episodes``."""
    return f"{int(number):,} {noun}{'' if int(number) == 1 else 's'}"


@dataclass
class Report:
    """Repairs were made; warnings were left as they are."""

    repairs: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def repaired(self, code: str, count: SupportsInt, message: str) -> None:
        """Note a repair, unless ``count`` is zero."""
        if int(count):
            self.repairs.append(Finding(code, int(count), message))

    def warn(self, code: str, count: SupportsInt, message: str) -> None:
        """Note a warning, unless ``count`` is zero."""
        if int(count):
            self.warnings.append(Finding(code, int(count), message))

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        return {"repairs": [asdict(f) for f in self.repairs], "warnings": [asdict(f) for f in self.warnings]}
