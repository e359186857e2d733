"""What the judge and the sandbox say to each other: values travel whole, and nonsense is refused as such."""

import ast
import json
import math
import socket
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from grading.build import SOURCE, instructor_notebook
from grading.judge import as_exception
from grading.sandbox import start, wire
from grading.sandbox.wire import Broken, Peer, RemoteError
from helpers.checks.core import NotYet, call


def there_and_back(value):
    """The value after one trip through a message."""
    sender, receiver = Peer(None, 5), Peer(None, 5)
    buffers: list[bytes] = []
    head = json.loads(json.dumps(sender.plain(value, buffers)))
    return receiver.whole(head, [bytearray(each) for each in buffers])


@pytest.fixture
def called():
    """A function (function, **settings) -> the function as the judge sees it when it runs on the other side."""
    lines = []

    def serve(function, **settings):
        here, there = socket.socketpair()
        lines.extend([here, there])
        other = Peer(there, 20, catches=BaseException)

        def answer():
            other.send({"yours": function})
            try:
                while True:
                    other.answer(other.receive())
            except Broken:
                pass

        threading.Thread(target=answer, daemon=True).start()
        return Peer(here, 20, **settings).receive()["yours"]

    yield serve
    for line in lines:
        line.close()


def received(data: bytes):
    """What a Peer makes of raw bytes, after which the other side hangs up."""
    here, there = socket.socketpair()
    with here, there:
        threading.Thread(target=lambda: (there.sendall(data), there.close()), daemon=True).start()
        return Peer(here, 60).receive()  # what is wrong is told at once; a busy machine may be late


def message(head, *buffers: bytes) -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack(f"<QI{len(buffers)}Q", len(text), len(buffers), *map(len, buffers)) + text + b"".join(buffers)


@pytest.mark.parametrize("dtype", wire.DTYPES.values(), ids=wire.DTYPES)
def test_tensors_of_every_dtype_travel(dtype):
    tensor = (torch.rand(3, 4) * 2).to(dtype)
    for given in (tensor, tensor.T, tensor[:, ::2], tensor[:0], tensor[0, 0], torch.empty(2, 0, 3, dtype=dtype)):
        back = there_and_back(given)
        assert back.dtype == dtype and back.shape == given.shape and torch.equal(back, given)


def test_the_wish_for_a_gradient_travels():
    assert there_and_back(torch.zeros(2, requires_grad=True)).requires_grad
    assert not there_and_back(torch.zeros(2)).requires_grad


def test_nan_and_infinity_travel():
    back = there_and_back([torch.tensor([math.nan, math.inf, -0.0]), math.nan, -math.inf])
    assert back[0].isnan()[0] and back[0][1] == math.inf and math.copysign(1, back[0][2]) == -1
    assert math.isnan(back[1]) and back[2] == -math.inf


def test_arrays_travel_with_their_strides_turned():
    array = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    for given in (array, array[:, :, ::-1], array[::-1, ::2], array.T, np.zeros((0, 3)), np.array([True, False])):
        back = there_and_back(given)
        assert back.dtype == given.dtype and np.array_equal(back, given)
        assert [stride < 0 for stride in back.strides] == [stride < 0 for stride in given.strides]
    assert isinstance(there_and_back(np.float32(0.5)), np.float32)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1", "F"])
def test_pictures_travel(mode):
    picture = Image.fromarray(np.arange(5 * 9 * 3, dtype=np.uint8).reshape(5, 9, 3)).convert(mode)
    back = there_and_back(picture)
    assert back.mode == mode and back.size == picture.size and back.tobytes() == picture.tobytes()


def test_nested_values_travel():
    value = {"a": [1, (2.5, None)], (1, 2): {"t": "not a tensor", 3: [True, {}]}, "(": ()}
    assert there_and_back(value) == value
    assert there_and_back({"x": [torch.ones(2)]})["x"][0].tolist() == [1, 1]


def test_gradients_through_a_call_equal_local_ones(called):
    def function(a, b, power):
        return [(a.exp() * b).sum(dim=1), {"twice": 2 * a, "count": 3}], b.detach() ** power

    far = called(function)
    slopes = []
    for each in (function, far):
        a, b = (torch.linspace(-1, 1, 6).reshape(2, 3).clone().requires_grad_() for _ in range(2))
        (total, more), constant = each(a, b, power=2)
        assert not constant.requires_grad and more["count"] == 3
        slopes.append(torch.autograd.grad((total**2).sum() + more["twice"].sum(), (a, b)))
    for local, remote in zip(*slopes):
        assert torch.equal(local, remote)


def test_an_input_without_influence_gets_no_gradient(called):
    far = called(lambda a, b: a * 2)
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    slope, none = torch.autograd.grad(far(a, b).sum(), (a, b), allow_unused=True)
    assert slope.tolist() == [2, 2] and none is None


def test_changes_in_place_come_back(called):
    def function(tensor, array, other):
        tensor.mul_(2)
        array[0] = 7

    tensor, array, other = torch.ones(2), np.zeros(3), torch.ones(3)
    called(function)(tensor, array, other)
    assert tensor.tolist() == [2, 2] and array.tolist() == [7, 0, 0] and other.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "given",
    [
        torch.ones(2),
        torch.ones(2, dtype=torch.int64),
        torch.ones(2, dtype=torch.bool),
        np.ones(2),
        np.ones(2, np.uint8),
    ],
)
def test_the_judge_takes_no_values_from_a_change(called, given):
    """It spoils the input instead, so that no comparison with it can come out as the answer wishes."""

    def function(value):
        value[:] = 0

    called(function, spoils=True)(given)
    here = torch.as_tensor(given)
    assert bool((here != 1).all()) and bool(
        here.isnan().all() if here.is_floating_point() else (here != 0).all() or here.dtype == torch.bool
    )


def test_exceptions_come_with_their_kind_and_text(called):
    def function(text):
        raise KeyError(text)

    with pytest.raises(RemoteError, match="half .* pair") as caught:
        called(function)("half \ud800 pair")
    assert caught.value.kind == "KeyError" and not caught.value.notyet
    str(caught.value).encode()  # could be written to a file


def test_objects_stay_where_they_are(called):
    class Three:
        def __len__(self):
            return 3

        def __getitem__(self, place):
            return place * 10

    far = called(lambda: Three())()
    assert len(far) == 3 and far[2] == 20 and not callable(far)


NONSENSE = {
    "nothing": b"",
    "half a number": b"\0\0\0",
    "no JSON": message(b"{]"),
    "not UTF-8": message(b'"\xff"'),
    "deep": message(b"[" * 100000),
    "a long number": message(b"9" * 10000),
    "fewer bytes than told": message({"{": []})[:-1],
    "no such buffer": message({"t": [3, "float32", [1], False]}),
    "no such dtype": message({"t": [0, "object", [1], False]}, b"x" * 8),
    "a shape too large": message({"t": [0, "float32", [2**40], False]}, b"x" * 8),
    "a large shape of nothing": message({"t": [0, "float32", [2**33], False]}, b""),
    "a gradient of numbers": message({"t": [0, "int64", [1], True]}, b"x" * 8),
    "an array of objects": message({"a": [0, "O", [1], [], False]}, b"x" * 8),
    "an array of records": message({"a": [0, "i4,O", [1], [], False]}, b"x" * 16),
    "a picture too large": message({"p": [0, "RGB", [10**6, 10**6]]}, b"x" * 8),
    "a picture of no kind": message({"p": [0, "XYZ", [1, 1]]}, b"x" * 8),
    "another's object": message({"mine": 12345}),
    "no kind": message({"?": 1}),
    "two kinds": message({"(": [], "{": []}),
    "an unhashable key": message({"{": [[[1], 2]]}),
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_broken_and_nothing_else(data):
    with pytest.raises(Broken):
        received(data)


@pytest.mark.parametrize("sizes", [(2**62, 0), (wire.HEAD + 1, 0), (10, wire.LARGEST), (10, 2**62)])
def test_what_is_too_large_is_refused_before_it_is_read(sizes):
    with pytest.raises(Broken, match="more than any answer needs"):
        received(struct.pack("<QIQ", sizes[0], 1, sizes[1]))


def test_too_much_in_all_is_refused(monkeypatch):
    monkeypatch.setattr(wire, "TOTAL", 1000)
    here, there = socket.socketpair()
    with here, there:
        peer = Peer(here, 60)
        there.sendall(message(b'"' + b"x" * 600 + b'"') * 2)
        assert len(peer.receive()) == 600
        with pytest.raises(Broken, match="more than any answer needs"):
            peer.receive()


def test_what_an_answer_raised_is_told_without_a_line_of_the_graders_own(called):
    def stumbles(n):
        raise ValueError("odd")

    with pytest.raises(NotYet) as told:
        call("f(2)", called(stumbles, error=as_exception), 2)
    assert str(told.value) == "f(2) stopped with ValueError: odd."


def test_objects_without_end_are_refused():
    with pytest.raises(Broken, match="more objects"):
        received(message([{"yours": [1, "object", []]}] * (wire.REMOTES + 1)))


def test_a_line_has_its_time():
    here, there = socket.socketpair()
    with here, there, pytest.raises(Broken, match=wire.TIME_IS_UP):
        Peer(here, 0.1).receive()


@pytest.mark.parametrize(
    "reply",
    [{"done": {}}, {"done": None}, {"done": {"value": None, "tensors": [], "wants": [], "graph": 0, "changed": {"x": 1}}},
     {"done": {"value": {"slot": 4}, "tensors": [], "wants": [], "graph": 0, "changed": {}}}, {}, {"error": []}],
)  # fmt: skip
def test_a_reply_of_another_form_is_an_exception_of_the_call(reply):
    here, there = socket.socketpair()
    with here, there:
        peer, other = Peer(here, 60), Peer(there, 60)
        other.send(reply)
        with pytest.raises(Exception):  # noqa: B017 any will do: checks take it for a wrong answer
            peer.call(1, "__call__", (torch.ones(2, requires_grad=True),), {})


def test_the_other_side_may_call_no_method_but_three():
    here, there = socket.socketpair()
    with here, there:
        peer = Peer(here, 60)
        peer.own[1] = "text"
        with pytest.raises(Broken):
            peer.answer({"do": "call", "object": 1, "method": "__reduce__", "values": (), "named": {}})
        peer.answer({"do": "call", "object": 2, "method": "__len__", "values": (), "named": {}})  # no such object
        assert Peer(there, 60).receive()["error"][0] == "KeyError"


def test_the_sandbox_has_every_part_of_helpers_that_a_notebook_imports_at_its_start():
    names = [name for name in start.IMPORTS if not name.startswith("grader.")]
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    there = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=True).stdout
    for path in sorted(SOURCE.glob("0*.py")):
        setup = next(cell.source for cell in instructor_notebook(path).cells if cell.id == "setup")
        imports = [node for node in ast.parse(setup).body if isinstance(node, ast.ImportFrom)]
        wanted = {f"helpers.{alias.name}" for node in imports if node.module == "helpers" for alias in node.names}
        assert wanted and wanted <= set(there.split()), path.stem
