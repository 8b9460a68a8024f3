"""The most memory that this process has held, on its own or on the GPU."""

from pathlib import Path

_RESET = Path("/proc/self/clear_refs")


def is_kept(device: str) -> bool:
    """Whether this system keeps a peak that can be set back."""
    return device != "cpu" or _RESET.exists()


def reset(device: str) -> int:
    """Bytes held now, from which the peak begins anew."""
    if device == "cpu":
        _RESET.write_text("5")
        return _status("VmRSS")
    import torch

    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def seen(device: str) -> int:
    """The peak since `reset`, in bytes."""
    if device == "cpu":
        return _status("VmHWM")
    import torch

    return torch.cuda.max_memory_allocated()


def _status(name: str) -> int:
    """An entry of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
