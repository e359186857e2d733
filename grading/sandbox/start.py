"""Start the sandboxed process and talk to it from outside: bubblewrap where it works, else limits alone.

The process sees the system's and Python's own files, read-only; a /tmp of its own in memory; the course's worker files;
nothing else: no network, no other processes, no gradebook, no notebooks, no helpers on disk.
"""

import functools
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from grading.sandbox import wire

HERE, ROOT = Path(__file__).parent, Path(__file__).parent.parent.parent
MIB = 2**20
MEMORY, PROCESSES, DISK = 2500 * MIB, 60, 200 * MIB  # all processes of one sandbox together
LIMITS = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 64 * MIB, "RLIMIT_NOFILE": 512, "RLIMIT_AS": 12_000 * MIB, "RLIMIT_NPROC": 2000}
IMPORTS = (
    "torch", "torchvision", "torchvision.transforms.v2", "PIL.Image", "numpy", "matplotlib.figure", "sklearn.linear_model",
    "sklearn.preprocessing", "sklearn.pipeline", "helpers.checks.core", "helpers.course", "helpers.training",
    "helpers.plots", "helpers.widgets", "grader.asks", "grader.wire",
)  # fmt: skip
PROGRAM = "import os, sys; sys.path.insert(0, os.environ['TWO_VIEWS_COURSE']); from grader import worker; worker.main()"


@functools.cache
def works() -> bool:
    """Can bubblewrap make a sandbox here?"""
    command = [*bubblewrap(), "true"]
    return shutil.which("bwrap") is not None and subprocess.run(command, capture_output=True).returncode == 0


def bubblewrap() -> list[str]:
    """The command up to the program: namespaces, and the little of the machine that can be seen."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    command += ["--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"]
    for place in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives"):
        if Path(place).is_symlink():
            command += ["--symlink", str(Path(place).readlink()), place]
        elif Path(place).exists():
            command += ["--ro-bind", place, place]
    for place in sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).resolve().parent.parent)}):
        if not place.startswith("/usr"):
            command += ["--ro-bind", place, place]
    return [*command, "--size", str(DISK), "--tmpfs", "/tmp"]


class Sandbox:
    """A process that runs exercises one after the other, each in a fork of its own. Close it when done."""

    def __init__(self, sources: dict[str, str], clinic: dict):
        """sources: of helpers, by path; clinic: what data/results/clinic.json shows in there."""
        self.folder = Path(tempfile.mkdtemp(prefix="two-views-course-"))
        shutil.copytree(HERE, self.folder / "grader", ignore=shutil.ignore_patterns("__pycache__", "start.py"))
        (self.folder / "data/results").mkdir(parents=True)
        (self.folder / "helpers").mkdir()
        for name in ("shapes.py", "data.py"):  # helpers.data reads them, and they hold no answer
            shutil.copy(ROOT / "helpers" / name, self.folder / "helpers")
        (self.folder / "data/results/clinic.json").write_text(json.dumps(clinic), encoding="utf-8")
        course, command = (str(self.folder), []) if not works() else ("/course", bubblewrap())
        settings = {
            "TWO_VIEWS_COURSE": course, "PATH": "/usr/bin:/bin", "HOME": "/tmp", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
            "NBGRADER_EXECUTION": "autograde", "PYTHONHASHSEED": "0", "USER": "student", "LANG": "C.UTF-8",
        }  # fmt: skip
        if works():
            command += ["--ro-bind", str(self.folder), "/course", "--chdir", "/tmp"]
            command += [part for name, value in settings.items() for part in ("--setenv", name, value)]
        self.control, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [*command, sys.executable, "-B", "-c", PROGRAM],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=settings,
            cwd=self.folder,
        )
        theirs.close()
        self.killed = ""
        self.tell({"sources": sources, "import": IMPORTS, "sandboxed": works()})
        self.hear(b"ready", 120)
        threading.Thread(target=self.watch, daemon=True).start()

    def tell(self, message: dict, *sockets: socket.socket) -> None:
        text = json.dumps(message).encode()
        size, descriptors = struct.pack("<Q", len(text)), [each.fileno() for each in sockets]
        socket.send_fds(self.control, [size], descriptors) if descriptors else self.control.sendall(size)
        self.control.sendall(text)

    def hear(self, word: bytes, seconds: float) -> None:
        """Wait for a word of five letters on the control line."""
        self.control.settimeout(seconds)
        heard = b""
        while len(heard) < len(word):
            part = self.control.recv(len(word) - len(heard))
            if not part:
                raise OSError("the sandbox ended")
            heard += part
        if heard != word:
            raise OSError("the sandbox said something else")

    def watch(self) -> None:
        """Kill the sandbox when all its processes together take too much."""
        while self.process.poll() is None:
            try:
                inside = psutil.Process(self.process.pid).children(recursive=True)
                held = sum(own_memory(process) for process in inside)
            except psutil.Error:
                inside, held = [], 0
            if held > MEMORY or len(inside) > PROCESSES:
                self.killed = "it used too much memory" if held > MEMORY else "it started too many processes"
                self.kill()
            time.sleep(0.2)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.control.close()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, request: dict, seconds: float, **settings) -> wire.Peer:
        """Start one exercise; the Peer to ask its answer with. Call `done` afterwards."""
        mine, theirs = socket.socketpair()
        folder = "/tmp" if works() else str(self.folder)
        self.tell(request | {"seconds": seconds, "limits": LIMITS, "folder": folder}, theirs)
        theirs.close()
        return wire.Peer(mine, seconds, **settings)

    def done(self, peer: wire.Peer) -> bool:
        """End the exercise; False when the sandbox has to be started anew."""
        peer.line.close()
        try:
            self.tell({"stop": True})
            self.hear(b"next.", 10)
            return True
        except OSError:
            return False


def own_memory(process: psutil.Process) -> int:
    """Bytes a process holds and does not share; a fork shares most of torch with the process it came from."""
    held = process.memory_info()
    return max(0, held.rss - held.shared)
