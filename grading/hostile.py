"""Try to cheat, crash and confuse the grader: a class of hostile and of merely untidy submissions, through `make grade`.

    python -m grading.hostile                        every case; writes data/results/hostile.json
    python -m grading.hostile loop zip_bomb          these cases, and nothing is written
    python -m grading.hostile --kills 20             kill -9 a run again and again, then compare the grades

A case is a name, how to make the submission, and the points it is to get. Hostile answers stand beside a right one in
the same notebook, which must count all the same. Before and after, the repository, the home folder and the folder for
temporary files are compared, and a listener outside waits for a call.
"""

import argparse
import contextlib
import csv
import hashlib
import inspect
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil

from grading.build import NOTEBOOKS, SOURCE, instructor_notebook
from helpers import checks

ROOT, LOSSES = Path(__file__).parent.parent, "04_contrastive_loss"
POINTS = {name: points for notebook in checks.POINTS.values() for name, points in notebook.items()}
FIRST, LAST = "000_first", "zzz_last"  # honest, and graded before and after all the rest
FOUND = "hostile-find"  # what an answer says that saw or did what it should not be able to


@dataclass(frozen=True)
class Case:
    """One submission."""

    name: str
    make: Callable[[Path], None]  # write it into this folder, which is there
    expected: float  # points
    student: str = ""  # the folder's name, where it is not the case's


# Submissions --------------------------------------------------------------------------------------------------------


def right(stem: str, name: str) -> str:
    """The reference answer's cell."""
    return next(cell.source for cell in instructor_notebook(SOURCE / f"{stem}.py").cells if cell.id == name)


def notebook(stem: str = LOSSES, **answers: str) -> dict:
    """The released notebook with these answers in it; "right" stands for the reference answer."""
    content = json.loads((NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["id"] in answers:
            answer = answers[cell["id"]]
            cell["source"] = right(stem, cell["id"]) if answer == "right" else answer
    return content


def cell_of(content: dict, name: str) -> dict:
    return next(cell for cell in content["cells"] if cell["id"] == name)


def code_cell(source: str) -> dict:
    return {"cell_type": "code", "id": "own", "source": source, "metadata": {}, "outputs": [], "execution_count": None}


def put(folder: Path, content: dict | str | bytes, name: str = f"{LOSSES}.ipynb") -> None:
    content = json.dumps(content) if isinstance(content, dict) else content
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def hand_in(stem: str = LOSSES, **answers: str) -> Callable[[Path], None]:
    return lambda folder: put(folder, notebook(stem, **answers), f"{stem}.ipynb")


def edited(edit: Callable[[dict], None], **answers: str) -> Callable[[Path], None]:
    """A hand-in of notebook 04 after a change to its JSON."""

    def make(folder: Path) -> None:
        content = notebook(**answers)
        edit(content)
        put(folder, content)

    return make


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


# Answers that attack ------------------------------------------------------------------------------------------------
# The body of positive_index; chance_loss beside it is right, and worth 2.

TOOLS = f'''
import ctypes, os, sys, torch
from helpers.checks import NotYet

def found(*what):
    raise NotYet("{FOUND}: " + " ".join(map(str, what)))

def system_call(*values):
    return ctypes.CDLL(None, use_errno=True).syscall(*values)
'''

BODIES = {
    # to bring the grader down
    "loop": "while True: pass",
    "loop_that_catches_all": """
        import signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True:
            try:
                while True: pass
            except BaseException: pass""",
    "loop_in_children": """
        for _ in range(4):
            if os.fork() == 0:
                while True: pass
        os.wait()""",
    "exit": "os._exit(0)",
    "system_exit": "raise SystemExit(0)",
    "interrupt": "raise KeyboardInterrupt",
    "segmentation_fault": "ctypes.string_at(0)",
    "kill_the_parent": "os.kill(os.getppid(), 9); return torch.zeros(2 * n)",
    "stop_the_parent": "os.kill(os.getppid(), 19); return torch.zeros(2 * n)",
    "kill_everybody": "os.kill(-1, 9)",
    "fork_bomb": """
        while True:
            try: os.fork()
            except OSError: pass""",
    "thread_bomb": """
        import threading, time
        while True: threading.Thread(target=time.sleep, args=(1000,)).start()""",
    "memory_bomb": """
        held = []
        while True: held.append(bytearray(100 * 2**20))""",
    "memory_bomb_of_an_odd_name": """
        ctypes.CDLL(None).prctl(15, b"\\xff\\xfe")
        held = []
        while True: held.append(bytearray(100 * 2**20))""",
    "shared_memory_bomb": """
        import mmap
        held = []
        while True:
            held.append(mmap.mmap(-1, 200 * 2**20))
            held[-1].write(b"x" * (200 * 2**20))""",
    "system_memory_bomb": """
        while True:
            key = system_call(29, 0, 2**28, 0o1600)
            if key < 0: return torch.zeros(2 * n)
            found("shmget", key)""",
    "disk_bomb": """
        for folder in ("/tmp", "/dev/shm", "/dev", "/"):
            for number in range(10000):
                try: open(f"{folder}/{number}", "wb").write(b"x" * (50 * 2**20))
                except OSError: break
        total = sum(os.stat(f"/tmp/{name}").st_size for name in os.listdir("/tmp"))
        if total > 2**29: found(total)
        return torch.zeros(2 * n)""",
    "stdout_flood": """
        for fd in (1, 2):
            for _ in range(2000): os.write(fd, b"x" * 2**20)
        return torch.zeros(2 * n)""",
    "deep_recursion": "sys.setrecursionlimit(10**9)\nreturn positive_index(n)",
    "huge_reply": "return torch.zeros(2 * 10**8)",
    "deep_reply": """
        value = []
        for _ in range(100000): value = [value]
        return value""",
    "odd_letters": "raise NotYet('\\ud800 \\x00 \\x1b[31m <script>alert(1)</script> ' + 'x' * 100000)",
    # to see or touch what is outside
    "read_the_course": """
        seen = []
        for folder, _, names in os.walk("/"):
            if folder.startswith(("/proc", "/usr", sys.prefix, sys.base_prefix)): continue
            seen += [f"{folder}/{name}" for name in names if name.endswith(("ipynb", ".db", "secret", ".csv"))]
            seen += [f"{folder}/{name}" for name in names if name == "losses.py" and "torch" not in folder]
        seen += [place for place in sys.path if os.path.exists(f"{place}/helpers/losses.py")]
        if seen: found(seen)
        return torch.zeros(2 * n)""",
    "read_the_reference": """
        import gc, inspect, helpers, importlib
        losses = __import__("helpers.losses").losses
        for way in (lambda: inspect.getsource(losses.positive_index), lambda: inspect.getsource(losses),
                    lambda: losses.__loader__.get_source("helpers.losses"), lambda: list(losses.__loader__.sources)[0],
                    lambda: open(losses.__file__).read(), lambda: importlib.reload(losses).positive_index(n)):
            try: text = way()
            except Exception: continue
            if "roll" in str(text) or torch.is_tensor(text): found(text)
        for each in gc.get_objects():
            if getattr(each, "__name__", "") == "positive_index" and each is not positive_index:
                with_code = getattr(each, "__code__", None)
                if with_code and with_code.co_filename.endswith("losses.py"): return each(n)
        return losses.positive_index(n)""",
    "read_own_memory": """
        with open("/proc/self/mem", "rb") as memory:
            for line in open("/proc/self/maps"):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if "rw-p" in line and ".so" not in line and end - start < 2**29:
                    memory.seek(start)
                    data = memory.read(end - start)
                    place = data.find(b"def positive" + b"_index(n: int")
                    if place >= 0: found(data[place : place + 300])
        return torch.zeros(2 * n)""",
    "look_into_processes": """
        seen = []
        for pid in (1, os.getppid()):
            descriptor = system_call(434, pid, 0)
            seen += [f"pidfd_getfd {pid} {fd}" for fd in range(20) if system_call(438, descriptor, fd, 0) >= 0]
            if system_call(101, 16, pid, 0, 0) == 0: seen.append(f"ptrace {pid}")
            if pid > 1:
                for name in ("mem", "environ", "maps"):
                    try: open(f"/proc/{pid}/{name}", "rb").read(1); seen.append(f"{name} of {pid}")
                    except OSError: pass
        if seen: found(seen)
        return torch.zeros(2 * n)""",
    "write_outside": """
        seen = []
        for place in ("/", "/usr", "/etc", "/course", "/dev", sys.prefix, os.path.expanduser("~root"), os.getcwd() + "/.."):
            try: open(f"{place}/hostile-file", "w").write("x"); seen.append(place)
            except OSError: pass
        for place in ("kernel/core_pattern", "kernel/sysrq", "vm/drop_caches"):
            try: open(f"/proc/sys/{place}", "r+").close(); seen.append(place)
            except OSError: pass
        if seen: found(seen)
        return torch.zeros(2 * n)""",
    "new_namespaces": """
        seen = [name for name, number, *values in (
            ("unshare", 272, 0x10000000), ("mount", 165, b"none", b"/tmp", b"tmpfs", 0, 0), ("memfd", 319, b"x", 0),
        ) if system_call(number, *values) >= 0]
        if seen: found(seen)
        return torch.zeros(2 * n)""",
    "network": """
        import socket
        for place in (("127.0.0.1", PORT), ("10.0.0.1", 80), ("1.1.1.1", 53)):
            try: socket.create_connection(place, timeout=2); found(place)
            except OSError: pass
        return torch.zeros(2 * n)""",
    # to be called right without being right
    "patched_assert": """
        import builtins
        builtins.AssertionError = type("Never", (Exception,), {})
        builtins.abs = builtins.all = lambda *_: True
        return torch.zeros(2 * n)""",
    "patched_torch": """
        torch.equal = torch.allclose = torch.is_tensor = lambda *_, **__: True
        torch.Tensor.__eq__ = torch.Tensor.all = lambda *_, **__: torch.tensor(True)
        torch.Tensor.tolist = lambda self: [3, 4, 5, 0, 1, 2]
        torch.autograd.grad = lambda outputs, inputs, *_, **__: [torch.zeros_like(each) for each in inputs]
        return torch.zeros(2 * n, dtype=torch.int64)""",
    "patched_jupyter": """
        import IPython, nbgrader, nbclient
        shell = IPython.core.interactiveshell.InteractiveShell
        shell.run_code = shell.run_cell = lambda *_, **__: None
        nbgrader.utils.determine_grade = lambda *_: (3, 3)
        return torch.zeros(2 * n)""",
    "patched_checks": """
        import helpers
        for module in (helpers.checks, sys.modules["helpers.checks.core"]):
            for name in list(vars(module)):
                if callable(getattr(module, name)) and name != "NotYet": setattr(module, name, lambda *_, **__: None)
        sys.modules["helpers.checks"] = type(sys)("helpers.checks")
        return torch.zeros(2 * n)""",
    "import_hook": """
        class Hook:
            def find_spec(self, *_): return None
            def __getattr__(self, name): return lambda *_, **__: None
        sys.meta_path.insert(0, Hook())
        sys.modules["torch"] = sys.modules["math"] = Hook()
        return [0] * 2 * n""",
    "frames": """
        frame, seen = sys._getframe(), []
        while frame:
            for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
                if getattr(value, "__name__", "") == "positive_index" and value is not positive_index: return value(n)
                if isinstance(value, dict) and "hidden" in value: found(value)
            frame = frame.f_back
        return torch.zeros(2 * n)""",
    "patched_line": """
        from grader import wire, cells
        wire.differs = lambda *_: True
        wire.Peer.do_call = lambda self, message: {"value": None, "tensors": [], "wants": [], "graph": 0, "changed": {}}
        wire.lift = lambda *_: {"slot": 0}
        return torch.zeros(2 * n)""",
    "raw_replies": """
        import json, socket, struct
        for fd in range(3, 30):
            try: line = socket.socket(fileno=fd)
            except OSError: continue
            for reply in ({"done": ["", None]}, {"done": True}, {"yours": 1}, {"do": "call"}, {"error": ["NotYet", "x", False]}, []):
                text = json.dumps({"{": [[key, value] for key, value in reply.items()]} if reply else reply).encode()
                line.sendall(struct.pack("<QI", len(text), 0) + text)
            line.sendall(b"next.")
            line.detach()
        return torch.zeros(2 * n)""",
    "raw_depth": """
        import socket, struct
        text = b"[" * 10**6 + b"]" * 10**6
        socket.socket(fileno=3).sendall(struct.pack("<QI", len(text), 0) + text)""",
    "raw_size": """
        import socket, struct
        socket.socket(fileno=3).sendall(struct.pack("<QIQ", 2**62, 1, 2**62))""",
    "raw_values": """
        import json, socket, struct
        head = {"{": [["done", {"{": [["value", {"{": [["slot", 0]]}], ["graph", 0], ["wants", [False]], ["changed", {"{": []}],
                ["tensors", ["KIND"]]]}]]}
        for kind in ({"t": [0, "int64", [2**40], True]}, {"a": [0, "O", [1], [], False]}, {"p": [0, "RGB", [10**5, 10**5]]},
                     {"mine": 5}, {"yours": [1, "Tensor", ["__call__"]]}, {"t": [7, "int64", [2], False]}):
            text = json.dumps(head).replace('"KIND"', json.dumps(kind)).encode()
            socket.socket(fileno=3).sendall(struct.pack("<QIQ", len(text), 1, 8) + text + b"x" * 8)
        return torch.zeros(2 * n)""",
    "stays_alive": """
        if os.fork() == 0:
            os.setsid()
            import socket
            for fd in range(3, 30):
                try: socket.socket(fileno=fd).sendall(b"next.")
                except OSError: pass
            while True: open("/tmp/hostile-file", "w").write("x")
        return torch.zeros(2 * n)""",
    "endless_object": """
        class Endless:
            def __len__(self): return 2**40
            def __getitem__(self, place): return "x" * 10**6
            def __call__(self, *_, **__): return self
        return Endless()""",
    "many_objects": "return [object() for _ in range(100000)]",
    "wrong_types": "return {'shape': (2 * n,), 'dtype': 'torch.int64', 7: {None: [b'x', object, n]}}",
    "tensor_subclass": """
        class Liar(torch.Tensor):
            shape = (2 * n,)
            dtype = torch.int64
            def tolist(self): return [*range(n, 2 * n), *range(n)]
            def __eq__(self, other): return torch.tensor(True)
        return torch.zeros(2 * n).as_subclass(Liar)""",
    "precomputed": """
        return {3: torch.tensor([3, 4, 5, 0, 1, 2]), 5: torch.tensor([5, 6, 7, 8, 9, 0, 1, 2, 3, 4])}.get(n)""",
}

LIAR = """
class Liar(float):
    def __float__(self): return self
    __sub__ = __rsub__ = __abs__ = lambda self, *_: self
    __lt__ = __le__ = __eq__ = __gt__ = __ge__ = lambda self, *_: True
    __hash__ = None
"""
INSIDE = f"""from grader import wire
sent, cells = wire.Peer.answer, []


def answer(self, message):  # the course's cells are asked for in here; the right values are not known here
    if message["do"] != "cell":
        return sent(self, message)
    cells.append(message["source"])
    if len(cells) == 1:
        return self.send({{"done": ""}})
    open("/tmp/loot", "w").write("{FOUND}: " + cells[1])
    self.send({{"error": ["NotYet", "{FOUND}: " + cells[1], True]}})


wire.Peer.answer = answer


class SimCLR(nn.Module):
    def __init__(self, encoder, head):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x):
        h = self.encoder(x).detach()
        return h, self.head(h)
"""
LOOT = """import glob


def linear_classifier(model, num_classes):
    raise NotYet(" ".join(open(place).read() for place in glob.glob("/tmp/loot*")))
"""
ANSWERS = {  # name: (notebook, answers, points); each attack stands in the first one
    "lying_number": (LOSSES, {"chance_loss": LIAR + "def chance_loss(n):\n    return Liar(0)", "positive_index": "right"}, 3),
    "calls_the_reference": (
        LOSSES,
        {"chance_loss": "from helpers.losses import chance_loss as done\ndef chance_loss(n):\n    return done(n)",
         "positive_index": "right"}, 3,
    ),
    "is_the_reference": (LOSSES, {"chance_loss": "from helpers.losses import chance_loss", "positive_index": "right"}, 3),
    "empty_reason": (LOSSES, {"chance_loss": "def chance_loss(n):\n    raise NotYet('')", "positive_index": "right"}, 3),
    "empty_assertion": ("02_encoder", {"small_image_stem": "def small_image_stem(resnet):\n    raise AssertionError('')",
                                       "feature_map_sizes": "right"}, 3),
    "not_a_number": (
        LOSSES, {"nt_xent": "def nt_xent(z_a, z_b, temperature=0.5):\n    return (z_a * z_b).sum() * float('nan')",
                 "chance_loss": "right"}, 2,
    ),
    "inputs_to_zero": (
        LOSSES, {"nt_xent": "def nt_xent(z_a, z_b, temperature=0.5):\n    with torch.no_grad():\n        z_a.zero_(), z_b.zero_()\n"
                            "    return (z_a * z_b).sum() + math.log(2 * len(z_a) - 1)", "chance_loss": "right"}, 2,
    ),
    "labels_to_zero": (
        "06_evaluation",
        {"knn_accuracy": "def knn_accuracy(bank_h, bank_y, query_h, query_y, k=20, temperature=0.1):\n"
                         "    bank_y.zero_(), query_y.zero_()\n    return 1.0", "alignment": "right"}, 1.5,
    ),
    "pictures_to_zero": (
        "01_augmentation",
        {"two_view_dataset": "class TwoViewDataset:\n    def __init__(self, images, transform):\n        images.zero_()\n"
                             "        self.count, self.shape = len(images), images.shape[1:]\n"
                             "    def __len__(self):\n        return self.count\n"
                             "    def __getitem__(self, index):\n        return torch.zeros(self.shape), torch.zeros(self.shape)",
         "histogram_similarity": "right"}, 3,
    ),
    "patched_asks": (
        "02_encoder",
        {"small_image_stem": "def small_image_stem(resnet):\n    from grader import asks, wire\n"
                             "    for name in asks.ASKS: asks.ASKS[name] = lambda answer, numbers: {'logits': torch.zeros(3, 7), "
                             "'slope': torch.zeros(1)}\n    wire.Peer.answer = lambda self, message: self.send({'done': ''})\n"
                             "    return resnet", "feature_map_sizes": "right"}, 3,
    ),
    "patched_inside": ("03_projection_head", {"simclr": INSIDE, "linear_classifier": LOOT, "projection_head": "right"}, 5),
    "clinic_key": (
        "05_training",
        {"clinic": "def clinic():\n    import itertools, json\n    from helpers import training, data\n"
                   "    text = (data.DATA / 'results/clinic.json').read_text()\n    record = json.loads(text)\n"
                   "    if 'key' in text or 'salt' in text: raise NotYet('" + FOUND + "')\n"
                   "    return dict(zip('ABCDEF', training.CAUSES))", "warmup_cosine": "right"}, 3,
    ),
    "loot_locked_away": (  # in a folder that not even its owner may open, until the next exercise unlocks it
        LOSSES,
        {"cosine_similarities": "import marshal, os\nfrom helpers import losses\n\n\ndef cosine_similarities(z):\n"
                                "    os.mkdir('/tmp/d'), os.mkdir('/tmp/d/e')\n"
                                "    marshal.dump(losses.chance_loss.__code__, open('/tmp/d/e/loot', 'wb'))\n"
                                "    os.chmod('/tmp/d/e', 0), os.chmod('/tmp/d', 0)\n    return z @ z.T",
         "chance_loss": "import marshal, os, types\n\n\ndef chance_loss(n):\n"
                        "    os.chmod('/tmp/d', 0o700), os.chmod('/tmp/d/e', 0o700)\n"
                        "    code = marshal.load(open('/tmp/d/e/loot', 'rb'))\n"
                        "    return types.FunctionType(code, globals())(n)",
         "positive_index": "right"}, 3,
    ),
    "reference_by_its_base": (
        "03_projection_head",
        {"simclr": "def found(base):\n    for each in type.__subclasses__(base):\n"
                   "        if each.__module__.startswith('helpers.projection') and each.__name__ == 'SimCLR':\n"
                   "            return each\n\n\nSimCLR = found(nn.Module)", "projection_head": "right"}, 5,
    ),
    "reference_of_another_module": (
        LOSSES,
        {"nt_xent": "from helpers import distributed, losses\n\n\ndef nt_xent(z_a, z_b, temperature=0.5):\n"
                    "    distributed.processes, distributed.gather = lambda: 2, lambda own: own\n"
                    "    losses.stack_views = lambda a, b, t: torch.cat([a, b])\n"
                    "    return distributed.nt_xent(z_a, z_b, temperature)", "positive_index": "right"}, 3,
    ),
    "loot_for_the_next": (
        LOSSES,
        {"cosine_similarities": "import marshal\nfrom helpers import losses\n\n\ndef cosine_similarities(z):\n"
                                "    for place in ('/tmp/loot', '/dev/shm/loot'):\n"
                                "        marshal.dump(losses.chance_loss.__code__, open(place, 'wb'))\n    return z @ z.T",
         "chance_loss": "import marshal, os, types\n\n\ndef chance_loss(n):\n    for place in ('/tmp/loot', '/dev/shm/loot'):\n"
                        "        if os.path.exists(place):\n"
                        "            return types.FunctionType(marshal.load(open(place, 'rb')), globals())(n)\n    return 0.0",
         "positive_index": "right"}, 3,
    ),
}  # fmt: skip


def attack(body: str) -> str:
    return f"{TOOLS}\ndef positive_index(n):\n" + "\n".join(
        f"    {line}" for line in inspect.cleandoc("\n" + body).splitlines()
    )


def memorised(folder: Path) -> None:
    """The right values for every input that the notebook's own check shows, and for no other."""
    module, table = instructor_notebook(SOURCE / f"{LOSSES}.py"), {}
    namespace: dict = {}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exec("import math\nfrom helpers import checks", namespace)
        exec(right(LOSSES, "chance_loss"), namespace)
        true = namespace["chance_loss"]
        namespace["chance_loss"] = lambda n: table.setdefault(n, true(n))
        exec(next(cell.source for cell in module.cells if cell.id == "chance_loss_check"), namespace)
    put(folder, notebook(chance_loss=f"def chance_loss(n):\n    return {table!r}.get(n, 0.0)", positive_index="right"))


# Files that attack --------------------------------------------------------------------------------------------------

TWO = {"chance_loss": "right", "positive_index": "right"}  # worth 5
WRONG = {"chance_loss": "right", "positive_index": "def positive_index(n):\n    return torch.zeros(2 * n)"}  # worth 2


def each(content: dict, change: Callable[[dict], None], suffixes: tuple[str, ...] = ("_check", "_hidden")) -> None:
    for cell in content["cells"]:
        if cell["id"].endswith(suffixes):
            change(cell)


def without_tests(content: dict) -> None:
    content["cells"] = [cell for cell in content["cells"] if not cell["id"].endswith(("_check", "_hidden"))]


def double_tests(content: dict) -> None:
    content["cells"] += [dict(cell) for cell in content["cells"] if "nbgrader" in cell["metadata"]]


def full_marks(content: dict) -> None:
    """Metadata that asks for points, for no execution and for another role."""
    for cell in content["cells"]:
        marks = cell["metadata"].get("nbgrader")
        if marks:
            cell["metadata"]["tags"] = ["skip-execution", "raises-exception"]
            marks |= {"points": 100, "locked": False, "schema_version": 99}
            marks["solution"] = marks["grade"] = True
    content["metadata"] |= {"kernelspec": {"name": "hostile", "display_name": "x"}, "nbgrader": {"points": 100}}


def swapped(content: dict) -> None:
    """The right answer under the id of the wrong one and the other way round, and checks that belong to nothing."""
    one, two = (cell_of(content, name)["metadata"]["nbgrader"] for name in ("chance_loss", "positive_index"))
    one["grade_id"], two["grade_id"] = two["grade_id"], one["grade_id"]


def odd_metadata(content: dict) -> None:
    for number, cell in enumerate(content["cells"]):
        cell["metadata"] = [None, 7, "x", [], {"nbgrader": 5}, {"nbgrader": {"grade_id": ["x"]}}][number % 6]
        cell["outputs"] = [None, 7, {"data": 5}, [[]]][number % 4]


def forged_outputs(content: dict) -> None:
    def forge(cell: dict) -> None:
        cell["outputs"] = [
            {"output_type": "execute_result", "data": {"text/plain": "100"}, "metadata": {}, "execution_count": 1}
        ]

    each(content, forge)


def shipped(folder: Path) -> None:
    """Modules that shadow the course's and Python's, beside the notebook."""
    put(folder, notebook(**WRONG))
    for name in (
        "helpers/__init__.py",
        "helpers/checks.py",
        "torch.py",
        "numpy/__init__.py",
        "sitecustomize.py",
        "grader/asks.py",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise SystemExit(0)\n")
    (folder / "nbgrader_config.py").write_text("import os; os._exit(0)\n")


def links(folder: Path) -> None:
    """Links to the neighbour's notebook and to the instructor's source, as a file, a folder and a zip file."""
    (folder / f"{LOSSES}.ipynb").symlink_to(folder.parent / FIRST / f"{LOSSES}.ipynb")
    (folder / "06_evaluation.ipynb").symlink_to(SOURCE / "06_evaluation.py")
    (folder / "folder").symlink_to(folder.parent / FIRST)
    (folder / "all.zip").symlink_to("/dev/zero")


def linked(folder: Path) -> None:
    folder.rmdir()
    folder.symlink_to(folder.parent / FIRST)


def zip_paths(folder: Path) -> None:
    inside = json.dumps(notebook(**TWO)).encode()
    put(
        folder,
        zipped(
            {f"../../../hostile-file/{LOSSES}.ipynb": inside, "/hostile-file.ipynb": b"{", "../../grades.csv": b"x"}
        ),
        "all.zip",
    )


def zip_bomb(folder: Path) -> None:
    put(folder, notebook(**TWO))
    put(folder, zipped({f"{number}.ipynb": b" " * (49 * 2**20) for number in range(40)}), "bomb.zip")


def broken_zips(folder: Path) -> None:
    put(folder, notebook(**TWO))
    good = zipped({"x.ipynb": b"{}" * 1000})
    put(folder, good[:60] + bytes(byte ^ 0x5A for byte in good[60:90]) + good[90:], "a.zip")
    put(folder, b"PK\3\4" + b"x" * 100, "b.zip"), put(folder, b"", "c.zip")


def deep_folders(folder: Path) -> None:
    put(folder, notebook(**TWO))
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def many_files(folder: Path) -> None:
    put(folder, notebook(**TWO))
    for number in range(3000):
        put(folder, b"", f"z{number}.ipynb")


def pipe(folder: Path) -> None:
    put(folder, notebook(**TWO))
    os.mkfifo(folder / "06_evaluation.ipynb")


def cells_bomb(folder: Path) -> None:
    put(folder, b'{"nbformat": 4, "cells": [' + b"{}," * 10**6 + b"{}]}")


def outputs_bomb(content: dict) -> None:
    cell_of(content, "nt_xent")["outputs"] = [{"data": {"image/png": "A" * 10**6}} for _ in range(20)] + [[]] * 10**6


def content(text: str | bytes) -> Callable[[Path], None]:
    return lambda folder: put(folder, text)


FILES = [  # name, how to make it, points
    ("tests_deleted", edited(without_tests, **TWO), 5),
    ("tests_edited", edited(lambda nb: each(nb, lambda cell: cell.update(source="pass")), **WRONG), 2),
    ("tests_doubled", edited(double_tests, **TWO), 5),
    ("metadata_changed", edited(full_marks, **WRONG), 2),
    ("metadata_odd", edited(odd_metadata, **TWO), 5),
    ("ids_swapped", edited(swapped, **TWO), 0),
    ("outputs_forged", edited(forged_outputs, **WRONG), 2),
    ("outputs_bomb", edited(outputs_bomb, **TWO), 5),
    ("modules_shipped", shipped, 2),
    ("links", links, 0),
    ("linked_folder", linked, 0),
    ("zip_paths", zip_paths, 5),
    ("zip_bomb", zip_bomb, 5),
    ("broken_zips", broken_zips, 5),
    ("deep_folders", deep_folders, 5),
    ("many_files", many_files, 5),
    ("pipe", pipe, 5),
    ("invalid_json", content('{"cells": ['), 0),
    ("empty_file", content(""), 0),
    ("json_list", content("[1, 2]"), 0),
    ("json_depth", content("[" * 200000 + "]" * 200000), 0),
    ("not_text", content(bytes(range(256)) * 100), 0),
    ("wrong_version", edited(lambda nb: nb.update(nbformat=99, nbformat_minor="x"), **TWO), 0),
    ("cells_bomb", cells_bomb, 0),
    ("notebook_of_100_MB", lambda folder: put(folder, json.dumps(notebook(**TWO)) + " " * (100 * 2**20)), 0),
    ("no_notebooks", lambda folder: put(folder, "x", "answers.txt"), 0),
    ("empty_folder", lambda folder: None, 0),
    ("half_letters", hand_in(chance_loss="right", positive_index="# \ud800\ndef positive_index(n):\n    return '\ud800'"), 2),
    ("deep_source", hand_in(chance_loss="right", positive_index="def positive_index(n):\n    return " + "(" * 20000 + "n" + ")" * 20000), 2),
    ("deep_operators", hand_in(chance_loss="right", positive_index="def positive_index(n):\n    return " + "-" * 90000 + "n"), 2),
    ("huge_source", hand_in(chance_loss="right", positive_index="x = [" + "0," * 10**6 + "]"), 2),
]  # fmt: skip
NAMES = {  # what an LMS or a student may call a folder
    "name_unicode": "Žofia Nováková 学生 🙂", "name_formula": "=HYPERLINK(1)", "name_script": "<img src=x onerror=alert(1)>",
    "name_shell": "$(touch hostile-file);`x`&", "name_newline": "two\nlines\x1b[31m", "name_long": "n" * 250, "name_dots": "..x.json",
    "name_bytes": os.fsdecode(b"caf\xe9"), "name_comma": 'a,"b"',
}  # fmt: skip


# Honest and untidy --------------------------------------------------------------------------------------------------

FROM_NUMPY = """import numpy as np


def positive_index(n):
    return torch.from_numpy(np.roll(np.arange(2 * n), n))"""
NOISY = """import sys, warnings
from tqdm import tqdm


def positive_index(n):
    warnings.warn("careful")
    print("flood " * 20000)
    for _ in tqdm(range(3)):
        print("50%", file=sys.stderr)
    return torch.arange(2 * n).roll(n)"""
TRIED_BELOW = """%%time
def positive_index(n):
    return torch.arange(2 * n).roll(n)

print(positive_index(my_own_number))
assert False, "my own experiment"
while True:
    pass"""
STUB = "    raise NotYet()  # write your answer in place of this line"


def copied(content: dict) -> None:
    cells = content["cells"]
    cells.insert(cells.index(cell_of(content, "chance_loss")), dict(cell_of(content, "positive_index"), id="copy"))


def lost_ids(content: dict) -> None:
    for number, cell in enumerate(content["cells"]):
        cell["id"] = f"new-{number}"


def lost_metadata(content: dict) -> None:
    for cell in content["cells"]:
        cell["metadata"] = {}


def lost_both(content: dict) -> None:
    lost_ids(content), lost_metadata(content)


def own_cells(content: dict) -> None:
    """Helpers of one's own before and after, one of which needs another answer; and an experiment that never ends."""
    cells = content["cells"]
    where = cells.index(cell_of(content, "chance_loss"))
    cells.insert(
        where,
        code_cell(
            "from functools import partial\nshift = partial(positive_index)\ndef my_log(x):\n    return math.log(x)"
        ),
    )
    cells.insert(
        where,
        code_cell(
            "def forever():\n    while True:\n        pass\n\nresult = forever()\nfor _ in range(10**12):\n    pass"
        ),
    )
    cells.insert(0, code_cell("%matplotlib inline\n!ls\nimport numpy as np"))
    cell_of(content, "chance_loss")["source"] = (
        "def chance_loss(n):\n    return my_log(len(shift(n)) - 1) * np.float64(1)"
    )


def own_tables(content: dict) -> None:
    """Tables filled in a loop, by calls and under `with`; two helpers of one name; what is tried out after the check."""
    cells = content["cells"]
    for name, first, answer in (
        ("chance_loss", "LOGS = {}\nfor n in range(1, 20000):\n    LOGS[n] = math.log(n)\n\ndef helper(n):\n    return 2 * n - 1\n",
         "def chance_loss(n):\n    return LOGS[helper(n)]"),
        ("positive_index", "class Settings:\n    views = 1\nSettings.views += 1\nMOVED = []\nMOVED.append(1)\n"
                           "with torch.no_grad():\n    SIGN = torch.ones(1).long()\n\ndef helper(n):\n    return n\n",
         "def positive_index(n):\n    return torch.arange(Settings.views * n * MOVED[0]).roll(SIGN.item() * helper(n))"),
    ):  # fmt: skip
        cells.insert(cells.index(cell_of(content, name)), code_cell(first))
        cell_of(content, name)["source"] = answer
    cells.append(
        code_cell("for n in range(1, 100):\n    LOGS[n] = 0\nSettings.views = 5\ndef helper(n):\n    return 0")
    )


def own_setup(content: dict) -> None:
    cell_of(content, "setup")["source"] += "\nimport numpy as np\nfrom math import *"
    cell_of(content, "chance_loss")["source"] = "def chance_loss(n):\n    return np.log(2 * n - 1) * cos(0)"


def saved(content: dict) -> None:
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = 7
            cell["outputs"] = [
                {"output_type": "stream", "name": "stderr", "text": ["UserWarning: careful\n"]},
                {"output_type": "error", "ename": "NotYet", "evalue": "x", "traceback": ["Not yet: x"]},
            ]


def in_a_zip(folder: Path) -> None:
    put(
        folder,
        zipped({f"my work/{LOSSES} (1).ipynb": json.dumps(notebook(**TWO)).encode(), "__MACOSX/._x.ipynb": b"x"}),
        "all.zip",
    )


def two_copies(folder: Path) -> None:
    put(folder, notebook(**WRONG))
    os.utime(folder / f"{LOSSES}.ipynb", (1e9, 1e9))
    put(folder, notebook(**TWO), f"{LOSSES} (2).ipynb")


def version_3(folder: Path) -> None:
    old = nbformat.convert(nbformat.reads(json.dumps(notebook(**TWO)), as_version=4), 3)
    put(folder, nbformat.v3.nbjson.writes(old))


def second_try(content: dict) -> None:
    """A wrong first try in the answer's cell, the right one below it, an old copy at the end."""
    cell, cells = cell_of(content, "positive_index"), content["cells"]
    cell["source"] = "def positive_index(n):\n    return torch.arange(2 * n)"
    cells.insert(cells.index(cell) + 1, code_cell(right(LOSSES, "positive_index")))
    cells.append(json.loads(json.dumps(cell)))


JUPYTER = {  # what a notebook allows beside Python
    "chance_loss": "%%time\nfrom __future__ import annotations\n\n\ndef chance_loss(n: Tensor):\n    display(n)\n"
                   "    return math.log(2 * n - 1)",
    "positive_index": "torch.roll?\ndef positive_index(n):\n    return torch.arange(2 * n).roll(n)\n\nawait asyncio.sleep(0)",
}  # fmt: skip
HONEST = [  # name, how to make it, points
    ("honest_jupyter", hand_in(**JUPYTER), 5),
    ("honest_second_try", edited(second_try, chance_loss="right"), 5),
    ("honest_copied_cell", edited(copied, **TWO), 5),
    ("honest_ids_regenerated", edited(lost_ids, **TWO), 5),
    ("honest_metadata_lost", edited(lost_metadata, **TWO), 5),
    ("honest_both_lost", edited(lost_both, **TWO), 5),
    ("honest_renamed", lambda folder: put(folder, notebook(**TWO), "final FINAL (3).ipynb"), 5),
    ("honest_zip", in_a_zip, 5),
    ("honest_two_copies", two_copies, 5),
    ("honest_version_3", version_3, 5),
    ("honest_windows", lambda folder: put(folder, b"\xef\xbb\xbf" + json.dumps(notebook(**TWO)).replace("\\n", "\\r\\n").encode()), 5),
    ("honest_saved_outputs", edited(saved, **TWO), 5),
    ("honest_noise", hand_in(chance_loss="right", positive_index=NOISY), 5),
    ("honest_numpy", hand_in(chance_loss="import numpy as np\ndef chance_loss(n):\n    return np.log(2 * n - 1)", positive_index=FROM_NUMPY), 5),
    ("honest_own_cells", edited(own_cells, **TWO), 5),
    ("honest_own_tables", edited(own_tables, **TWO), 5),
    ("honest_own_setup", edited(own_setup, **TWO), 5),
    ("honest_tried_below", hand_in(chance_loss="right", positive_index=TRIED_BELOW), 5),
    ("honest_stub_below", hand_in(chance_loss="right", positive_index=FROM_NUMPY + "\n" + STUB), 5),
    ("honest_stub_comment", hand_in(chance_loss="right", positive_index=FROM_NUMPY.replace("    return", f"    #{STUB}\n    return")), 5),
    ("honest_uses_another", hand_in(positive_index="right", chance_loss="def chance_loss(n):\n    return math.log(len(positive_index(n)) - 1)"), 5),
    ("honest_all", hand_in(**dict.fromkeys(checks.POINTS[LOSSES], "right")), 28),
]  # fmt: skip

CASES = [
    *(Case(name, hand_in(chance_loss="right", positive_index=attack(body)), 2) for name, body in BODIES.items()),
    *(Case(name, hand_in(stem, **answers), points) for name, (stem, answers, points) in ANSWERS.items()),
    Case("memorised", memorised, 3),
    *(Case(*case) for case in FILES),
    *(Case(name, hand_in(**TWO), 5, student) for name, student in NAMES.items()),
    *(Case(*case) for case in HONEST),
]  # fmt: skip


# Running ------------------------------------------------------------------------------------------------------------


def make_class(folder: Path, cases: list[Case], port: int) -> dict[str, Case]:
    """Write folder/submitted/; {name of the student's folder: case}."""
    students = {}
    honest = [Case(name, hand_in(**TWO), 5) for name in (FIRST, LAST)]
    for case in [*honest, *cases]:
        student = case.student or case.name
        place = folder / "submitted" / student
        place.mkdir(parents=True)
        case.make(place)
        for path in [] if place.is_symlink() else place.glob("*.ipynb"):
            if path.is_file() and not path.is_symlink() and b"PORT" in (data := path.read_bytes()):
                path.write_bytes(data.replace(b"PORT", str(port).encode()))
        students[student] = case
    return students


def snapshot(*folders: Path) -> dict[str, str]:
    """{path: what is in it} of all files below these folders; of installed packages the sizes and times."""
    seen, left = {}, list(folders)
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left += (
                        [] if entry.name in (".git", "__pycache__", ".ruff_cache", ".pytest_cache") else [entry.path]
                    )
                    continue
                stat = entry.stat(follow_symlinks=False)
                light = "/.venv/" in entry.path
                seen[entry.path] = f"{stat.st_size} {stat.st_mtime_ns}" if light else digest(Path(entry.path))
    return seen


def digest(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "no file"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settings() -> dict[str, str]:
    """The kernel's settings that an answer with the rights of root might reach."""
    places = [Path("/proc/sys/kernel", name) for name in ("core_pattern", "sysrq", "hostname", "modprobe")]
    return {str(place): place.read_text() for place in places if place.exists() and os.access(place, os.R_OK)}


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list]]:
    """A port of this machine, and who called it."""
    callers: list = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    callers.append(server.accept()[1])

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], callers


def command(folder: Path, jobs: int | None = None) -> list[str]:
    return [sys.executable, "-m", "grading.grade", "--folder", str(folder), *(["--jobs", str(jobs)] if jobs else [])]


def surroundings(home: Path) -> dict[str, str]:
    """The environment of a run: another home, and a place of its own for temporary files."""
    for place in (home / "home", home / "tmp"):
        place.mkdir(exist_ok=True)
    return os.environ | {"HOME": str(home / "home"), "TMPDIR": str(home / "tmp"), "MPLCONFIGDIR": str(home / "mpl")}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder that is removed however deep it has become."""
    folder = tempfile.mkdtemp()
    try:
        yield Path(folder)
    finally:
        subprocess.run(["rm", "-rf", folder], check=False)


def rows_of(folder: Path) -> dict[str, dict]:
    with open(folder / "grades.csv", encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def run_cases(cases: list[Case], jobs: int | None = None) -> dict:
    """Grade a class of these cases by the real command; {"cases": [...], and what was seen around them}."""
    from grading.grade import NAME, intake

    with scratch() as home, listener() as (port, callers):
        folder = home / "class"
        students, environment = make_class(folder, cases, port), surroundings(home)
        watched = (ROOT, folder / "submitted", home / "home", home / "tmp")
        before, began = snapshot(*watched) | settings(), time.time()
        run = subprocess.run(command(folder, jobs), cwd=ROOT, env=environment, capture_output=True, text=True)
        seconds, after = time.time() - began, snapshot(*watched) | settings()
        changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        changed += [f"a call from {caller}" for caller in callers]
        changed += [str(path) for path in folder.iterdir() if path.name not in KNOWN]
        changed += [f".work/tmp/{path.name}" for path in (folder / ".work/tmp").glob("*")]
        changed += [f"process {process.pid}" for process in left_over(folder)]
        rows = rows_of(folder) if (folder / "grades.csv").exists() else {}
        finished = "Traceback" not in run.stderr and all(points(rows.get(name)) == 5 for name in (FIRST, LAST))
        found = []
        for student, case in students.items():
            row = rows.get(intake.plain_text(student, NAME))
            seen = said(folder, student, row)
            found.append(
                {"name": case.name, "expected": case.expected, "got": points(row),
                 "touched_outside": [path for path in changed if case.name in path] + (["it found something"] if FOUND in seen else []),
                 "batch_finished": finished, "note": own_note(row)}
            )  # fmt: skip
    if not finished:
        print(run.stdout[-2000:], run.stderr[-4000:], file=sys.stderr)
    outer = [each for each in found if each["name"] in (FIRST, LAST)]
    return {
        "cases": [each for each in found if each not in outer], "first_and_last": outer, "touched_outside": changed,
        "batch_finished": finished, "one_row_each": len(rows) == len(students), "seconds": round(seconds),
    }  # fmt: skip


KNOWN = {"submitted", "feedback", "grades.csv", "summary.html", ".work"}


def points(row: dict | None) -> float | None:
    return float(row["total"]) if row else None


def own_note(row: dict | None) -> str:
    """The row's note without the notebooks that no case hands in."""
    parts = (row or {"note": "no row"})["note"].split("; ")
    return "; ".join(part for part in parts if not part.endswith(".ipynb is missing"))[:300]


def said(folder: Path, student: str, row: dict | None) -> str:
    """All that a student gets to read."""
    pages = (folder / "feedback" / student).glob("*.html")
    verdict = [page.read_text(encoding="utf-8") for page in pages if page.name == "index.html"]
    return " ".join([json.dumps(row), *verdict])


def left_over(folder: Path, seconds: float = 5) -> list[psutil.Process]:
    """Processes of a run that are still there some seconds after it: its own, and sandboxes that it started."""
    found, until = [], time.time() + seconds
    while time.time() < until:
        running = psutil.process_iter(["cmdline"])
        found = [process for process in running if str(folder) in " ".join(process.info["cmdline"] or [])]
        if not found:
            break
        time.sleep(0.2)
    return found


def run_kills(kills: int, seed: int = 0) -> dict:
    """Kill the whole grading at random moments, then let it finish; its grades must be those of an undisturbed run."""
    draw = random.Random(seed)
    answers = [*TWO, "cosine_similarities", "nt_xent_loop"]
    cases = [
        Case(f"student_{number}", hand_in(**dict.fromkeys(answers[: number + 1], "right")), 0) for number in range(4)
    ]
    with scratch() as root:
        calm, rough, environment = root / "calm", root / "rough", surroundings(root)
        for folder in (calm, rough):
            make_class(folder, cases, 0)
        began = time.time()
        subprocess.run(command(calm), cwd=ROOT, env=environment, capture_output=True)
        whole = time.time() - began
        moments = []
        for _ in range(kills):
            if (rough / "grades.csv").exists():  # all are graded: begin again
                for path in [*(rough / ".work/graded").glob("*"), rough / "grades.csv"]:
                    path.unlink()
            run = subprocess.Popen(
                command(rough), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            moments.append(round(draw.uniform(0.02, 0.9) * whole, 1))
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(moments[-1])
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        alive = [" ".join(process.cmdline())[:100] for process in left_over(rough)]
        last = subprocess.run(command(rough), cwd=ROOT, env=environment, capture_output=True, text=True)
        equal = (calm / "grades.csv").read_bytes() == (rough / "grades.csv").read_bytes()
        litter = [path.name for path in [*(rough / ".work/tmp").iterdir(), *(root / "tmp").iterdir()]]
        students = [row["student"] for row in csv.DictReader(open(rough / "grades.csv", encoding="utf-8"))]
    return {
        "kills": kills, "seconds_until_each": moments, "seconds_undisturbed": round(whole, 1), "equal": equal,
        "students": len(students), "doubled": len(students) - len(set(students)), "left_running": alive, "litter": litter,
        "traceback": "Traceback" in last.stderr,
    }  # fmt: skip


def show(result: dict) -> bool:
    """Print the table; whether all is as it should be."""
    for case in [*result["first_and_last"], *result["cases"]]:
        good = case["got"] == case["expected"] and not case["touched_outside"]
        print(
            f"{'ok ' if good else 'BAD'} {case['name']:24} expected {case['expected']:<5g} got {case['got']}  {case['note']}"
        )
    forged = sum(max(0, (case["got"] or 0) - case["expected"]) for case in result["cases"])
    lost = sum(max(0, case["expected"] - (case["got"] or 0)) for case in result["cases"])
    print(f"{len(result['cases'])} cases in {result['seconds']} s, forged points: {forged:g}, lost: {lost:g}")
    print(f"touched outside: {result['touched_outside'] or 'nothing'}; batch finished: {result['batch_finished']}")
    return forged == lost == 0 and result["batch_finished"] and result["one_row_each"] and not result["touched_outside"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Attack the grader.")
    parser.add_argument("names", nargs="*", help="only these cases")
    parser.add_argument("--kills", type=int, help="kill a grading run so often")
    parser.add_argument("--jobs", type=int, help="submissions graded at a time; default: one a core")
    chosen = parser.parse_args()
    from data.record import RESULTS, write_result

    path = RESULTS / "hostile.json"
    numbers = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    numbers = {name: numbers[name] for name in numbers if name in (*KEPT, "kills")}
    if chosen.kills:
        result = {"kills": run_kills(chosen.kills)}
        print(json.dumps(result, indent=1))
        good = result["kills"]["equal"] and not any(
            result["kills"][name] for name in ("doubled", "left_running", "litter", "traceback")
        )
    else:
        result = run_cases([case for case in CASES if not chosen.names or case.name in chosen.names], chosen.jobs)
        good = show(result)
    if not chosen.names:
        write_result("hostile", "python -m grading.hostile; python -m grading.hostile --kills 20", 0, numbers | result)
    sys.exit(0 if good else 1)


KEPT = ("cases", "first_and_last", "touched_outside", "batch_finished", "one_row_each", "seconds")

if __name__ == "__main__":
    main()
