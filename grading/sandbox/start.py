"""Start the sandboxed process and talk to it from outside: bubblewrap where it works, else limits alone.

The process sees the system's and Python's own files, read-only; a small /tmp of its own in memory; the course's worker
files; nothing else: no network, no other processes, no gradebook, no notebooks, no helpers on disk. System calls that
look into other processes, or hold memory that no limit counts, are refused.
"""

import contextlib
import functools
import json
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from grading.sandbox import wire

HERE, ROOT = Path(__file__).parent, Path(__file__).parent.parent.parent
MIB = 2**20
MEMORY, PROCESSES, DISK = 2500 * MIB, 60, 200 * MIB  # all processes of one sandbox together
LIMITS = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 64 * MIB, "RLIMIT_NOFILE": 256, "RLIMIT_AS": 12_000 * MIB}
REFUSED = {  # system calls: their numbers on x86-64 and on arm64
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "move_mount": (429, 429), "fsopen": (430, 430),
    "open_tree": (428, 428), "unshare": (272, 97), "setns": (308, 268), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "bpf": (321, 280), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
}  # fmt: skip
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
CLOSED = (".git", "data", "grading", "helpers", "notebooks", "tests")  # of the course
STRANGER = 1_900_000_000  # user numbers from here belong to nobody; for where root grades
MACHINES = {
    "x86_64": (0, 0xC000003E),
    "aarch64": (1, 0xC00000B7),
}  # which of those numbers, and the kernel's name for it
LATE = "it computed for too long"
NOT_INSTALLED = "bubblewrap is not installed"
IMPORTS = (
    "torch", "torchvision", "torchvision.transforms.v2", "PIL.Image", "numpy", "matplotlib.figure", "sklearn.linear_model",
    "sklearn.preprocessing", "sklearn.pipeline", "helpers.checks.core", "helpers.course", "helpers.training",
    "helpers.plots", "helpers.widgets", "helpers.board", "grader.asks", "grader.wire",
)  # fmt: skip
PROGRAM = "import os, sys; sys.path.insert(0, os.environ['TWO_VIEWS_COURSE']); from grader import worker; worker.main(int(sys.argv[1]))"


@functools.cache
def works() -> bool:
    """Can bubblewrap make a sandbox here, in which this Python runs?"""
    return not why_not()


def why_not() -> str:
    """The last line that bubblewrap says where it makes no such sandbox; empty where it does."""
    if shutil.which("bwrap") is None:
        return NOT_INSTALLED
    with rules() as descriptor:
        command = [*bubblewrap(descriptor), sys.executable, "-c", "pass"]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", pass_fds=passed(descriptor))
    lines = run.stderr.strip().splitlines() or [f"bwrap ended with {run.returncode} and no word"]
    return lines[-1] if run.returncode else ""


@functools.cache
def as_stranger() -> bool:
    """Does root grade, and can the sandbox become another user, whom the machine's files and limits treat as one?"""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("bwrap") is None:
        return False
    become = f"import os; os.setresuid(*[{STRANGER} + os.getpid()] * 3)"  # not in a container that has few users
    whole = "--ro-bind / / --perms 0777 --tmpfs /tmp".split()
    command = [*namespaces(True), *whole, sys.executable, "-c", become]
    return subprocess.run(command, capture_output=True).returncode == 0


def namespaces(stranger: bool) -> list[str]:
    """The start of the command: what is separate, and no rights but, for root, to become another user."""
    command = [
        shutil.which("bwrap") or "bwrap",  # the one that `works` tries; the sandbox itself has a short PATH
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--hostname",
        "sandbox",
        "--cap-drop",
        "ALL",
    ]
    if not stranger:
        return [*command, "--unshare-all"]
    apart = [f"--unshare-{what}" for what in ("ipc", "pid", "net", "uts", "cgroup-try")]
    return [*command, *apart, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def most_processes() -> int:
    """The kernel's own limit, in processes and threads; before Linux 5.14 it counts all that the user runs anywhere."""
    version = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())
    return 200 if as_stranger() or sys.platform == "linux" and version >= (5, 14) else 2000


def passed(descriptor: int | None, *more: int) -> tuple[int, ...]:
    return more if descriptor is None else (descriptor, *more)


@contextlib.contextmanager
def rules() -> Iterator[int | None]:
    """A descriptor to read the system call filter from, for bubblewrap; None on a machine of another kind."""
    if platform.machine() not in MACHINES:
        yield None
        return
    place, machine = MACHINES[platform.machine()]
    numbers = [number[place] for number in REFUSED.values()]
    end = len(numbers)
    program = [(0x20, 0, 0, 4), (0x15, 1, 0, machine), (0x06, 0, 0, 0x80000000)]  # another machine's calls: kill
    program += [(0x20, 0, 0, 0), (0x35, end + 1, 0, 0x40000000)]  # x86-64 has every call a second time up there
    program += [(0x15, end - at, 0, number) for at, number in enumerate(numbers)]
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)]  # allowed; refused with EPERM
    readable, writable = os.pipe()
    try:
        with open(writable, "wb") as file:
            file.write(b"".join(struct.pack("HBBI", *each) for each in program))
        yield readable
    finally:
        os.close(readable)


def bubblewrap(filter_from: int | None) -> list[str]:
    """The command up to the program: namespaces, and the little of the machine that can be seen."""
    command = [*namespaces(as_stranger()), "--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm"):
        command += [*(["--perms", "0777"] if as_stranger() else []), "--size", str(DISK), "--tmpfs", place]
    command += ["--remount-ro", "/dev"]
    for place in sorted(Path("/proc").iterdir()):  # the kernel's settings: where root grades, root could write them
        if not place.name.isdigit() and not place.is_symlink() and (place.is_dir() or place.stat().st_mode & 0o222):
            command += ["--ro-bind", str(place), str(place)]
    command += ["--seccomp", str(filter_from)] if filter_from is not None else []
    for place in SYSTEM:
        if Path(place).is_symlink():
            command += ["--symlink", str(Path(place).readlink()), place]
        elif Path(place).exists():
            command += ["--ro-bind", place, place]
    for place in pythons():
        for parent in reversed(place.parents[:-1]) if as_stranger() else ():
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", str(place), str(place)]
    for name in CLOSED:  # a course below one of these places is not one of Python's own files
        if (ROOT / name).is_dir() and can_be_seen(ROOT / name):
            command += ["--tmpfs", str(ROOT / name)]
    return command


def pythons() -> list[Path]:
    """Where Python's own files are, besides the system's: its folders, and the program if it lies elsewhere."""
    folders = {Path(place) for place in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    program = Path(sys.executable).resolve()
    outside = [] if any(program.is_relative_to(folder.resolve()) for folder in folders) else [program]
    return sorted(place for place in [*folders, *outside] if not place.is_relative_to("/usr") and place != Path("/"))


def can_be_seen(place: Path) -> bool:
    """Does this place lie below one that the sandbox shows?"""
    shown = [Path(each).resolve() for each in (*SYSTEM, *pythons())]
    return any(place.resolve().is_relative_to(each) for each in shown)


class Sandbox:
    """A process that runs exercises one after the other, each in a fork of its own. Close it when done."""

    def __init__(self, sources: dict[str, str], clinic: dict, bare: bool = False):
        """Start it.

        Args:
            sources: of helpers, by path.
            clinic: what data/results/clinic.json shows in there.
            bare: answers run with the rights of who grades; this is never chosen for them.

        Raises:
            RuntimeError: it is not to be bare, and bubblewrap does not work, or no longer.
            OSError: the process does not start.
        """
        if not bare and not works():
            works.cache_clear()  # the next one asks again
            raise RuntimeError("bubblewrap does not work here now, and nothing runs without it")
        self.bare = bare
        self.folder = Path(tempfile.mkdtemp(prefix="two-views-course-"))
        shutil.copytree(HERE, self.folder / "grader", ignore=shutil.ignore_patterns("__pycache__", "start.py"))
        (self.folder / "data/results").mkdir(parents=True)
        (self.folder / "helpers").mkdir()
        for name in ("shapes.py", "folder.py"):  # helpers reads their text, and they hold no answer
            shutil.copy(ROOT / "helpers" / name, self.folder / "helpers")
        (self.folder / "data/results/clinic.json").write_text(json.dumps(clinic), encoding="utf-8")
        for path in (
            self.folder,
            *self.folder.rglob("*"),
        ):  # no secret is in it, and who grades may have a strict umask
            path.chmod(0o755 if path.is_dir() else 0o644)
        course = str(self.folder) if bare else "/course"
        settings = {
            "TWO_VIEWS_COURSE": course, "PATH": "/usr/bin:/bin", "HOME": "/tmp", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
            "NBGRADER_EXECUTION": "autograde", "PYTHONHASHSEED": "0", "USER": "student", "LANG": "C.UTF-8",
        }  # fmt: skip
        self.control, theirs = socket.socketpair()
        self.killed, self.allowed = "", float("inf")
        self.ended, self.lock = 0, threading.Lock()  # exercises so far; held where one ends, or the sandbox
        with rules() as descriptor, theirs:
            command = []
            if not bare:
                command = [
                    *bubblewrap(descriptor),
                    "--ro-bind",
                    str(self.folder),
                    "/course",
                    "--remount-ro",
                    "/",
                    "--chdir",
                    "/tmp",
                ]
                command += [part for name, value in settings.items() for part in ("--setenv", name, value)]
            self.process = subprocess.Popen(
                [*command, sys.executable, "-B", "-c", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,  # not the line: process 1 in there keeps its standard input
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=passed(descriptor, theirs.fileno()),
                env=settings,
                cwd=self.folder,
            )
        try:
            user = STRANGER + os.getpid() if not bare and as_stranger() else None
            self.tell({"sources": sources, "import": IMPORTS, "sandboxed": not bare, "user": user})
            self.hear(600)
        except OSError:
            self.close()
            raise
        threading.Thread(target=self.watch, daemon=True).start()

    def tell(self, message: dict, *sockets: socket.socket) -> None:
        text = json.dumps(message).encode()
        size, descriptors = struct.pack("<Q", len(text)), [each.fileno() for each in sockets]
        socket.send_fds(self.control, [size], descriptors) if descriptors else self.control.sendall(size)
        self.control.sendall(text)

    def hear(self, seconds: float) -> bytes:
        """Wait for a word of five letters on the control line."""
        self.control.settimeout(seconds)
        heard = b""
        while len(heard) < 5:
            part = self.control.recv(5 - len(heard))
            if not part:
                raise OSError("the sandbox ended")
            heard += part
        return heard

    def watch(self) -> None:
        """Kill the sandbox when all its processes together take too much, or when that cannot be told.

        What was counted before an exercise ended is not held against the next one.
        """
        while self.process.poll() is None:
            ended = self.ended
            try:
                held, count, spent = taken(self.process.pid)
            except Exception as problem:  # nothing in there goes on unwatched
                self.killed = f"it could not be watched ({type(problem).__name__})"
                self.kill()
                return
            reasons = {
                "it used too much memory": held > MEMORY,
                "it started too many processes": count > PROCESSES,
                LATE: spent > self.allowed,
            }
            with self.lock:
                if any(reasons.values()) and ended == self.ended:
                    self.killed = next(reason for reason, so in reasons.items() if so)
                    self.kill()
            time.sleep(0.1)

    def kill(self) -> None:
        """End the process and, where no sandbox does it, what it has started."""
        with contextlib.suppress(psutil.Error):
            for started in psutil.Process(self.process.pid).children(recursive=True) if self.bare else []:
                with contextlib.suppress(psutil.Error):
                    started.kill()
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.control.close()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, request: dict, seconds: float, computing: int, **settings) -> wire.Peer:
        """Start one exercise; the Peer to ask its answer with. Call `done` afterwards.

        Args:
            seconds: until the line breaks; computing: of processor time, after which the exercise is ended.

        Raises:
            OSError: the process has ended.
        """
        mine, theirs = socket.socketpair()
        folder = str(self.folder) if self.bare else "/tmp"
        self.allowed = taken(self.process.pid)[2] + 2 * computing  # for what has escaped the limit of a single process
        limits = LIMITS | {"RLIMIT_CPU": computing, "RLIMIT_NPROC": most_processes()}
        try:
            with theirs:
                self.tell(request | {"seconds": seconds, "limits": limits, "folder": folder}, theirs)
        except OSError:
            mine.close()
            raise
        return wire.Peer(mine, seconds, spoils=True, **settings)

    def done(self, peer: wire.Peer) -> bool:
        """End the exercise; False when the sandbox has to be started anew."""
        peer.line.close()
        try:
            self.tell({"stop": True})
            word = self.hear(10)
        except OSError:
            return False
        with self.lock:
            self.ended, self.allowed = self.ended + 1, float("inf")
        if word == b"late." and peer.broken:
            peer.broken = LATE
        return word in (b"next.", b"late.")


def taken(pid: int) -> tuple[int, int, float]:
    """(bytes held, processes, seconds of processor time) of all that runs below a process."""
    held, count, seconds, precise = 0, 0, 0.0, 0
    try:
        inside = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        inside = []
    for process in inside:
        try:
            held, count, seconds = held + own_memory(process), count + 1, seconds + sum(process.cpu_times()[:4])
        except (psutil.Error, OSError):  # it has ended meanwhile
            continue
    if held > MEMORY and count <= PROCESSES:  # forks share memory: count it again, each page once, which takes longer
        for process in inside:
            with contextlib.suppress(OSError, psutil.Error):
                precise += own_memory(process, "smaps_rollup", ("Pss_Anon", "Pss_Shmem"))
    return precise or held, count, seconds


def own_memory(process: psutil.Process, file: str = "status", names: tuple = ("RssAnon", "RssShmem")) -> int:
    """Bytes a process holds besides the files it has mapped; shared memory counts. It may have given itself any name."""
    path = Path(f"/proc/{process.pid}/{file}")
    if not path.exists():
        return process.memory_info().rss
    parts = dict(line.split(":", 1) for line in path.read_text(errors="replace").splitlines() if ":" in line)
    return 1024 * sum(int(parts.get(name, "0 kB").split()[0]) for name in names)
