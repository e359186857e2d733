"""What this machine offers a training run: its cores, a GPU, arithmetic in bfloat16. No network is trained here."""

import ctypes
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MethodType

import torch
import torchvision
from torch import Tensor, nn


@contextmanager
def fast(model: nn.Module) -> Iterator[None]:
    """While this lasts, the model computes in bfloat16 where the hardware does so natively. It stays channels last.

    Weights and the loss are float32. Convolutions and linear layers are rounded, and what follows them: h and z are float32
    again, with the 8 bits of bfloat16.

    Raises:
        ValueError: something else replaced model.forward.
    """
    device, before = next(model.parameters()).device, vars(model).get("forward")
    half = has_bfloat16(device)

    def faster(self: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            h, z = type(self).forward(self, x.contiguous(memory_format=torch.channels_last))
        return h.float(), z.float()

    if before is not None and getattr(before, "__code__", None) is not faster.__code__:
        raise ValueError(
            "The model's forward was replaced, as torch.compile(model) does: call model.compile() instead."
        )
    keep_memory()
    model.to(memory_format=torch.channels_last)
    model.forward = MethodType(faster, model)  # bound, so that a copy of the model computes with the copy's weights
    try:
        yield
    finally:
        del model.forward
        if before is not None:  # fast within fast
            model.forward = before
        return_memory()


def keep_memory() -> bool:
    """Let this process keep the memory that tensors give back, for the next step's; whether that could be arranged.

    GNU's C library returns large blocks to the system, which clears every page anew when the next step asks for them.
    Blocks of more than 32 MB go back all the same. Other C libraries, and GPUs, have rules of their own.
    """
    library = gnu_library()
    if library is None:
        return False
    map_threshold, trim_threshold = -3, -1  # malloc.h
    return bool(library.mallopt(map_threshold, 32 << 20) and library.mallopt(trim_threshold, (1 << 31) - 1))


def return_memory() -> None:
    """Give back to the system what keep_memory made this process keep, and does not need now."""
    if library := gnu_library():
        library.malloc_trim(0)


def gnu_library() -> ctypes.CDLL | None:
    """GNU's C library, where this process runs on it."""
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def has_bfloat16(device: torch.device) -> bool:
    """Does this device multiply bfloat16 matrices in hardware? Elsewhere bfloat16 is emulated, and slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return device.type == "cpu" and any(probe() for probe in probes if probe is not None)


GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # where Linux keeps a container's limits


def usable_cores(own: Path = OWN_GROUPS, tree: Path = GROUPS) -> int:
    """Cores this process may really use: its CPU affinity, or less where its container has a quota (cgroup 1 or 2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in control_groups("cpu", own, tree):
        cores = min(cores, quota(group))
    return max(1, int(cores))  # 1.5 cores carry one thread: two would wait for each other


def usable_memory(free: int, own: Path = OWN_GROUPS, tree: Path = GROUPS) -> int:
    """Bytes that this process may still take: what the machine has free, or less where its container has a limit."""
    for group in control_groups("memory", own, tree):
        free = min(free, room(group))
    return max(0, int(free))


def control_groups(what: str, own: Path, tree: Path) -> Iterator[Path]:
    """The groups of processes that this one belongs to, as far as they may limit its "cpu" or "memory"."""
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, place = line.split(":", 2)
        if controllers and what not in controllers.split(","):
            continue
        top = tree / what if controllers else tree  # cgroup 1 has a tree for each, cgroup 2 one for all
        inside = Path(place.lstrip("/"))
        yield from (top, *(top / part for part in (inside, *inside.parents)))


def quota(group: Path) -> float:
    """Cores a control group may use at most; infinity where it says nothing."""
    try:
        if (group / "cpu.max").is_file():
            limit, period = (group / "cpu.max").read_text().split()
        else:
            limit, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(limit) / float(period) if float(limit) > 0 else math.inf  # -1 means none
    except (OSError, ValueError):  # no such file, or the word "max"
        return math.inf


def room(group: Path) -> float:
    """Bytes a control group may still take, those that only keep files at hand included; infinity where it says nothing."""
    version_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
    for limit, used, prefix in (("memory.max", "memory.current", ""), version_1):
        try:
            free = float((group / limit).read_text()) - float((group / used).read_text())
        except (OSError, ValueError):
            continue
        with suppress(OSError, ValueError):  # the kernel gives these pages back when they are needed
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            free += sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
        return free
    return math.inf


def cap_threads() -> int:
    """Let torch use no more threads than there are usable cores, and return how many it uses.

    Threads beyond the quota of a container wait for each other: a step can become 20 times slower.
    """
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    return torch.get_num_threads()


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def near(images: Tensor, device: torch.device) -> Tensor:
    """The images on the GPU, where they take at most a quarter of what it has free: no step then waits for them."""
    fits = device.type == "cuda" and images.nbytes < torch.cuda.mem_get_info(device)[0] / 4
    return images.to(device) if fits else images


def versions() -> dict[str, str]:
    """What a result depends on besides its settings."""
    return {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__}
