"""The process inside the sandbox: it runs strangers' cells, one fork an exercise, and answers the judge's questions.

It is started with the number of a descriptor: a control socket. Over it come the sources of `helpers` (they never lie in
a file here) and then, for each exercise, a request and a fresh socket of its own. The fork that serves it keeps only that
socket, so no answer can speak for another one, or after its time; what it wrote to files goes when it ends.
"""

import ctypes
import importlib.abc
import importlib.machinery
import json
import os
import resource
import shutil
import signal
import socket
import struct
import sys
import types

COURSE = os.environ["TWO_VIEWS_COURSE"]  # where helpers seem to lie, and data/results/clinic.json does


class Memory(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules from sources that came over the line; a source is forgotten once its module has run."""

    def __init__(self):
        self.sources = {}

    def find_spec(self, name, path, target=None):
        package = f"{name.replace('.', '/')}/__init__.py"
        for place in (package, f"{name.replace('.', '/')}.py"):
            if place in self.sources:
                spec = importlib.machinery.ModuleSpec(
                    name, self, origin=f"{COURSE}/{place}", is_package=place == package
                )
                spec.has_location = True
                return spec
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        place = module.__spec__.origin.removeprefix(f"{COURSE}/")
        exec(compile(self.sources.pop(place), module.__spec__.origin, "exec"), module.__dict__)


def receive(line: socket.socket) -> tuple[dict | None, list[int]]:
    """One control message: a length, JSON, and with its first byte the sockets that belong to it; None at the end."""
    first, sockets, _, _ = socket.recv_fds(line, 8, 2)
    while 0 < len(first) < 8:
        first += line.recv(8 - len(first))
    if len(first) < 8:
        return None, []
    (size,), text = struct.unpack("<Q", first), bytearray()
    while len(text) < size:
        text += line.recv(min(1 << 20, size - len(text))) or sys.exit()
    return json.loads(text), sockets


def main(descriptor: int) -> None:
    line, memory = socket.socket(fileno=descriptor), Memory()
    line.set_inheritable(False)
    sys.meta_path.insert(0, memory)
    start, _ = receive(line)
    if start["user"]:  # from root to a user that owns nothing
        os.setgroups([]), os.setresgid(*[start["user"]] * 3), os.setresuid(*[start["user"]] * 3)
    hide()
    memory.sources = start["sources"]
    for name in start["import"]:
        __import__(name)
    memory.sources.clear()
    line.sendall(b"ready")
    while True:
        request, sockets = receive(line)
        if request is None:
            return
        child = os.fork()
        if child == 0:
            line.close()
            os.setsid()
            try:
                serve(request, sockets[0], memory, start["sandboxed"])
            finally:
                os._exit(0)
        os.close(sockets[0])
        receive(line)  # the judge has heard enough
        late = end(child, everybody=start["sandboxed"]) > 0.9 * request["limits"]["RLIMIT_CPU"]
        if start["sandboxed"]:
            clear("/tmp"), clear("/dev/shm")
        line.sendall(b"late." if late else b"next.")


def hide() -> None:
    """Let no process in here look into this one or its forks; only Linux has a call for it, and the sandbox."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE


def end(child: int, everybody: bool) -> float:
    """Kill the fork and what it left running: in the sandbox all but this process and pid 1, else its group.

    Returns the fork's seconds of processor time.
    """
    try:
        os.kill(-1, signal.SIGKILL) if everybody else os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    seconds = 0.0
    while True:
        try:
            ended, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return seconds
        seconds = usage.ru_utime + usage.ru_stime if ended == child else seconds


def clear(folder: str) -> None:
    """Remove all files below a folder: an answer leaves nothing behind for the next one."""
    for entry in os.scandir(folder):
        try:
            if entry.is_dir(follow_symlinks=False):
                open_up(entry.path)
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        except OSError:  # a file system of its own, read-only
            continue


def open_up(folder: str) -> None:
    """Give every folder below this one its owner's rights back, without which it could not be emptied."""
    left = [folder]
    while left:
        place = left.pop()
        os.chmod(place, 0o700)
        left += [entry.path for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False)]


def limit(name: str, most: int, sandboxed: bool) -> None:
    """Limit this process; macOS, which has no sandbox, does not take every limit, and goes on without it."""
    try:
        resource.setrlimit(getattr(resource, name), (most, most))
    except (ValueError, OSError):
        if sandboxed or sys.platform == "linux":
            raise


def serve(request: dict, descriptor: int, memory: Memory, sandboxed: bool) -> None:
    """Run the cells of one exercise, then answer the judge's calls until it hangs up."""
    import torch
    from grader import asks, wire

    from helpers.checks.core import NotYet

    for name, most in request["limits"].items():
        limit(name, most, sandboxed)
    os.chdir(request["folder"])
    torch.manual_seed(request["seed"])
    peer = wire.Peer(socket.socket(fileno=descriptor), request["seconds"], catches=BaseException)
    if request["checks"]:
        read_checks(memory, request["checks"])
    forbid(request["forbidden"], request["name"], NotYet)
    namespace = run_cells(request)
    found = namespace.get(request["name"])

    def answer(*values, **named):
        if isinstance(found, BaseException):
            raise found
        if found is None:
            raise NotYet("this exercise is not written yet.")
        return found(*values, **named)

    def cell(message: dict) -> str:
        """Run one of the judge's cells in the notebook's namespace; what it says, or nothing."""
        if isinstance(found, BaseException):
            raise found
        exec(compile(message["source"], "<check>", "exec"), namespace)
        return ""

    peer.serve = {"ask": lambda message: asks.ASKS[message["name"]](answer, message["numbers"]), "cell": cell}
    peer.send({"yours": answer if found is None or isinstance(found, BaseException) else found})
    try:
        while True:
            peer.answer(peer.receive())
    except wire.Broken:
        pass


def read_checks(memory: Memory, sources: dict) -> None:
    """Load all of helpers.checks, where only its core has been so far."""
    import helpers
    from helpers import course

    memory.sources = sources
    for name in [name for name in sys.modules if name.startswith("helpers.checks") and name != "helpers.checks.core"]:
        del sys.modules[name]
    helpers.checks = __import__("helpers.checks", fromlist=["x"])
    course.checks = helpers.checks
    memory.sources.clear()


def forbid(names: dict[str, str], called: str, NotYet) -> None:
    """Put a refusal in the place of each reference answer, {name: module}, wherever helpers know it, and inside it.

    Args:
        called: what the answer is called; whatever else has that name in helpers does the same job.
    """
    known = [module for key, module in sys.modules.items() if key.split(".")[0] == "helpers"]
    originals = [(name, getattr(sys.modules[module], name, None)) for name, module in names.items()]
    for name, original in [*originals, *[(called, getattr(module, called, None)) for module in known]]:
        if not isinstance(original, types.FunctionType | type) or not original.__module__.startswith("helpers."):
            continue

        def refuse(*_, place=f"{original.__module__}.{name}", error=NotYet, **__):
            raise error(f"this calls the course's own answer, {place}; write your own.")

        stand_in = type(name, (), {"__new__": refuse}) if isinstance(original, type) else refuse
        stand_in.__name__ = name
        if isinstance(original, type):  # whoever still finds it, finds nothing in it
            for key in [key for key, value in vars(original).items() if isinstance(value, types.FunctionType)]:
                setattr(original, key, spoiled)
        elif not original.__closure__:
            original.__code__ = spoiled.__code__
        for module in known:
            for key, value in list(vars(module).items()):
                if value is original:
                    setattr(module, key, stand_in)


def spoiled(*_, **__):
    """Runs in place of a reference answer; it may use nothing but imports, for its globals are the reference's."""
    from helpers.checks.core import NotYet

    raise NotYet("this calls the course's own answer; write your own.")


class TooLong(Exception):
    """A statement outside the answers took more than its share."""


def run_cells(request: dict) -> dict:
    """A notebook's namespace after the setup, the student's own definitions and the answers that this one needs.

    Statements run one by one and may fail. Of the course's cells, bare calls and loops are left out: they show things.
    The student's own get some seconds each, as they do in the cells of answers. An answer that did not come to be is
    kept in its place as an exception.
    """
    from grader.cells import all_statements, statements

    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = module.__dict__
    namespace["display"] = lambda *_, **__: None  # a notebook has it, and nobody looks here
    signal.signal(signal.SIGALRM, late)
    left = [text for place, source in enumerate(request["around"]) for text in statements(source, f"<cell {place}>")]
    for place, source in enumerate(request["own"]):
        left += statements(source, f"<own {place}>", shown=True)
    left = [text for text in left if isinstance(run(text, namespace), NameError)]  # it may need an answer
    for place, (name, source) in enumerate(request["answers"]):
        namespace.pop(name, None)
        try:
            texts = all_statements(source, f"<answer {place}>")
        except BaseException as problem:
            namespace[name] = problem
            continue
        problems = [run(text, namespace, seconds=5 if shows else 0) for text, shows in texts]
        if name not in namespace:
            namespace[name] = next((problem for problem in problems if problem), None)
        left = [text for text in left if isinstance(run(text, namespace), NameError)]
    return namespace


def late(*_):
    raise TooLong


def run(text, namespace: dict, seconds: float = 10) -> BaseException | None:
    """Execute a statement, for some seconds at most unless 0; what it raised."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        exec(text, namespace)
    except BaseException as problem:
        return problem
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None
