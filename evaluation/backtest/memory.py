"""Peak memory of a piece of work: the kernel's high-water mark, set back before it."""

import resource
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PeakMemory"]

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_SET_BACK_PEAK = "5"


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Watches the resident memory of this process from `start` on.

    Attributes
    ----------
    before_mb
        Resident memory when it started, MiB; NaN where the system does not tell.
    own
        Whether the high-water mark could be set back: Linux only. Elsewhere the peak is that of the whole life of the
        process, and records say so.
    """

    before_mb: float
    own: bool

    @classmethod
    def start(cls) -> "PeakMemory":
        """Set the high-water mark back to what is in use now."""
        try:
            _CLEAR.write_text(_SET_BACK_PEAK, encoding="ascii")
            return cls(_status("VmRSS"), own=True)
        except OSError:
            return cls(float("nan"), own=False)

    def record(self) -> dict[str, float | str]:
        """Return ``peak_memory_mb``, ``added_memory_mb`` and ``peak_memory_of``, for a result's record.

        Examples
        --------
        >>> found = PeakMemory.start().record()
        >>> found["peak_memory_of"] in ("cell", "process"), found["peak_memory_mb"] > 0
        (True, True)
        """
        if self.own:
            peak = _status("VmHWM")
            return {"peak_memory_mb": peak, "added_memory_mb": peak - self.before_mb, "peak_memory_of": "cell"}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"peak_memory_mb": peak, "added_memory_mb": float("nan"), "peak_memory_of": "process"}


def _status(name: str) -> float:
    """A field of /proc/self/status in MiB."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) / 1024
    raise OSError(f"{_STATUS} has no {name}")
