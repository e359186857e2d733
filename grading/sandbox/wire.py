"""Two processes that share no trust call each other's functions: plain data over a socket, never pickle.

Numbers, text, lists, tuples, dicts, tensors, arrays and PIL images travel by value; anything else stays where it is,
and the other side gets a Remote that can be called, indexed and measured. Gradients flow through a call: backward asks
the other side. Both the judge and the sandboxed process use this file; each may answer calls while it waits for one.
Whatever the other side sends is measured before it is believed: sizes, shapes, and how much in all.
"""

import json
import struct
import time

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LARGEST, HEAD, TOTAL = 1 << 26, 1 << 23, 1 << 30  # bytes of one message, of its JSON part, of all that comes
TIME_IS_UP, ENDED = "time ran out", "the process ended"  # why a line broke
REMOTES = 10_000  # objects of the other side that one line may name
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
)}  # fmt: skip
METHODS = ("__call__", "__len__", "__getitem__")  # all that one side may ask of the other's objects


class Broken(Exception):
    """The other side died, took too long, or sent something that is no message."""

    def __init__(self, peer: "Peer", why: str):
        super().__init__(why)
        peer.broken = peer.broken or why


class RemoteError(Exception):
    """An exception on the other side: `kind` is its class name, `notyet` whether it is a diagnosis."""

    def __init__(self, kind: str, text: str, notyet: bool):
        super().__init__(text)
        self.kind, self.notyet = kind, notyet


class Remote:
    """An object of the other side; `_methods` says which of METHODS it has."""

    def __init__(self, peer: "Peer", number: int, methods: list[str]):
        self._peer, self._number, self._methods = peer, number, methods


def remote(peer: "Peer", number: int, kind: str, methods: list[str]) -> Remote:
    """A Remote whose class has the other side's class name and, of METHODS, what the other side has."""
    ask = {
        "__call__": lambda self, *values, **named: self._peer.call(self._number, "__call__", values, named),
        "__len__": lambda self: int(self._peer.call(self._number, "__len__", (), {})),
        "__getitem__": lambda self, place: self._peer.call(self._number, "__getitem__", (place,), {}),
    }
    known = {method: ask[method] for method in METHODS if method in methods}
    return type(kind if kind.isidentifier() else "object", (Remote,), known)(peer, number, list(known))


class Call(torch.autograd.Function):
    """One call with tensors that want gradients: forward and backward both happen on the other side."""

    @staticmethod
    def forward(ctx, peer, send, *inputs):
        reply = send(inputs)
        ctx.peer, ctx.graph, ctx.wants = peer, reply["graph"], reply["wants"]
        outputs = tuple(reply["tensors"]) or (torch.zeros(()),)  # autograd wants at least one
        ctx.wants = ctx.wants or [False]
        ctx.mark_non_differentiable(*[out for out, want in zip(outputs, ctx.wants, strict=True) if not want])
        send.reply = reply
        return outputs

    @staticmethod
    def backward(ctx, *slopes):
        wanted = [slope for slope, want in zip(slopes, ctx.wants, strict=True) if want]
        given = ctx.peer.ask({"do": "backward", "graph": ctx.graph, "slopes": wanted})
        return (None, None, *given)


class Peer:
    """One end of the line.

    Args:
        line: a connected stream socket.
        seconds: the line is Broken when this much time has passed since the Peer was made.
        serve: {name: function(message) -> value} for what the other side may ask besides its calls.
        catches: what a called function may raise without ending the line.
        error: (kind, text, notyet) -> the exception to raise for one of the other side.
        spoils: an input that the other side changed in place is spoilt here, instead of taking the values it sends:
            what is compared with it afterwards then fails, and is never compared with numbers of the other's choice.
    """

    def __init__(
        self, line, seconds: float, serve: dict | None = None, catches=Exception, error=RemoteError, spoils=False
    ):
        self.line, self.until, self.serve = line, time.monotonic() + seconds, serve or {}
        self.catches, self.error, self.spoils = catches, error, spoils
        self.own, self.graphs = {}, {}
        self.taken, self.remotes = 0, 0  # bytes and objects of the other side so far
        self.broken = ""  # why the line broke, once it has

    # Messages

    def send(self, message: dict) -> None:
        buffers: list[bytes] = []
        head = json.dumps(self.plain(message, buffers)).encode()
        sizes = struct.pack(f"<QI{len(buffers)}Q", len(head), len(buffers), *map(len, buffers))
        try:
            self.line.settimeout(max(0.1, self.until - time.monotonic()))
            self.line.sendall(b"".join([sizes, head, *buffers]))
        except TimeoutError:
            raise Broken(self, TIME_IS_UP) from None
        except OSError:
            raise Broken(self, ENDED) from None

    def receive(self) -> dict:
        try:
            size, count = struct.unpack("<QI", self.exactly(12))
            sizes = struct.unpack(f"<{count}Q", self.exactly(8 * count)) if count < 10_000 else (LARGEST,)
            self.taken += size + sum(sizes)
            if size > HEAD or size + sum(sizes) > LARGEST or self.taken > TOTAL:
                raise Broken(self, "it sent more than any answer needs")
            head = json.loads(self.exactly(size))
            return self.whole(head, [self.exactly(each) for each in sizes])
        except Broken:
            raise
        except Exception as problem:  # whatever nonsense came
            raise Broken(self, f"no message: {type(problem).__name__}") from None

    def exactly(self, size: int) -> bytearray:
        taken, view = bytearray(size), 0
        while view < size:
            if time.monotonic() > self.until:  # also while it goes on sending
                raise Broken(self, TIME_IS_UP)
            self.line.settimeout(max(0.001, self.until - time.monotonic()))
            try:
                got = self.line.recv_into(memoryview(taken)[view:])
            except TimeoutError:
                raise Broken(self, TIME_IS_UP) from None
            except OSError:
                raise Broken(self, ENDED) from None
            if got == 0:
                raise Broken(self, ENDED)
            view += got
        return taken

    # Values

    def plain(self, value, buffers: list[bytes]):
        """The value in terms of JSON; the bytes of tensors and pictures go into buffers."""
        more = lambda part: self.plain(part, buffers)  # noqa: E731
        if value is None or isinstance(value, bool | int | float | str) and not isinstance(value, np.generic):
            return value
        if type(value) is list:
            return [more(part) for part in value]
        if isinstance(value, tuple):
            return {"(": [more(part) for part in value]}
        if isinstance(value, dict):
            return {"{": [[more(key), more(part)] for key, part in value.items()]}
        if (
            isinstance(value, Tensor)
            and str(value.dtype).removeprefix("torch.") in DTYPES
            and value.device.type != "meta"
        ):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            buffers.append(flat.numpy().tobytes())
            dtype = str(value.dtype).removeprefix("torch.")
            return {"t": [len(buffers) - 1, dtype, list(value.shape), bool(value.requires_grad)]}
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
            array = np.asarray(value)
            turned = [axis for axis, stride in enumerate(array.strides) if stride < 0]
            buffers.append(np.ascontiguousarray(np.flip(array, turned)).tobytes())
            return {"a": [len(buffers) - 1, array.dtype.str, list(array.shape), turned, isinstance(value, np.generic)]}
        if isinstance(value, Image.Image):
            buffers.append(value.tobytes())
            return {"p": [len(buffers) - 1, value.mode, list(value.size)]}
        if isinstance(value, Remote) and value._peer is self:
            return {"mine": value._number}
        self.own[id(value)] = value
        methods = [method for method in METHODS if any(method in vars(kind) for kind in type(value).__mro__)]
        return {"yours": [id(value), type(value).__name__[:40], methods]}

    def whole(self, value, buffers: list[bytearray]):
        """The inverse of `plain`; raises whatever it likes for nonsense."""
        if isinstance(value, list):
            return [self.whole(part, buffers) for part in value]
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()  # half a surrogate pair could not be written to a file
        if not isinstance(value, dict):
            return value
        ((kind, parts),) = value.items()
        if kind == "(":
            return tuple(self.whole(part, buffers) for part in parts)
        if kind == "{":
            return {self.whole(key, buffers): self.whole(part, buffers) for key, part in parts}
        if kind == "t":
            place, dtype, shape, gradient = parts
            dtype, data = DTYPES[dtype], buffers[place]
            read_as = torch.uint8 if dtype == torch.bool else dtype
            tensor = torch.frombuffer(data, dtype=read_as) if data else torch.empty(0, dtype=read_as)
            tensor = (tensor != 0 if dtype == torch.bool else tensor).reshape(shape)
            return tensor.requires_grad_() if gradient else tensor
        if kind == "a":
            place, dtype, shape, turned, scalar = parts
            dtype = np.dtype(dtype)
            if dtype.kind not in "fiub" or dtype.names:
                raise TypeError(dtype)
            array = np.frombuffer(buffers[place], dtype=np.uint8 if dtype.kind == "b" else dtype)
            array = np.flip((array != 0 if dtype.kind == "b" else array).reshape(shape), turned)
            return array[()] if scalar else array
        if kind == "p":
            place, mode, (width, height) = parts
            if not 0 < width * height <= 8 * len(buffers[place]):
                raise ValueError(width, height)
            return Image.frombytes(mode, (width, height), bytes(buffers[place]))
        if kind == "mine":
            return self.own[parts]
        self.remotes += 1
        if self.remotes > REMOTES:
            raise Broken(self, "it named more objects than any answer needs")
        return remote(self, parts[0], str(parts[1])[:40], list(parts[2]))  # kind "yours"

    # Calls

    def ask(self, message: dict):
        """Send a request and wait for its answer; requests of the other side are served meanwhile."""
        self.send(message)
        while True:
            reply = self.receive()
            if "do" in reply:
                self.answer(reply)
            elif "error" in reply:
                kind, text, notyet = reply["error"]
                raise self.error(str(kind), str(text)[:2000], bool(notyet))
            else:
                return reply["done"]

    def call(self, number: int, method: str, values: tuple, named: dict):
        """Call a method of the other side's object; tensors it changed in place change here too."""
        if not isinstance(number, int):
            raise Broken(self, "no such object")
        tensors = [part for part in (*values, *named.values()) if isinstance(part, Tensor)]
        leaves = [part for part in tensors if part.requires_grad] if torch.is_grad_enabled() else []

        def send(inputs: tuple = ()) -> dict:
            message = {"do": "call", "object": number, "method": method, "values": list(values), "named": named}
            reply = self.ask(message)
            changed = reply["changed"]
            with torch.no_grad():
                for place, now in changed.items():
                    here = (*values, *named.values())[place]
                    spoil(here) if self.spoils else put(here, now)
            return reply

        if not leaves:
            reply = send()
            return refill(reply["value"], reply["tensors"])
        sent = Sender(send)
        outputs = Call.apply(self, sent, *leaves)
        return refill(sent.reply["value"], list(outputs))

    def answer(self, message: dict) -> None:
        """Do what the other side asks, and send what came of it, or its exception."""
        try:
            do = message["do"]
            if do == "call":
                value = self.do_call(message)
            elif do == "backward":
                outputs, inputs = self.graphs[message["graph"]]
                slopes = torch.autograd.grad(outputs, inputs, message["slopes"], retain_graph=True, allow_unused=True)
                value = list(slopes)
            else:
                value = self.serve[do](message)
        except Broken:
            raise
        except self.catches as problem:
            notyet = any(kind.__name__ == "NotYet" for kind in type(problem).__mro__)
            notyet = notyet or (isinstance(problem, RemoteError) and problem.notyet)
            kind = problem.kind if isinstance(problem, RemoteError) else type(problem).__name__
            self.send({"error": [kind, str(problem)[:2000], notyet]})
            return
        self.send({"done": value})

    def do_call(self, message: dict) -> dict:
        """Call one of this side's objects."""
        if message["method"] not in METHODS:
            raise Broken(self, "no such method")
        values, named = message["values"], message["named"]
        given = (*values, *named.values())
        before = [copied(part) for part in given]
        called = self.own[message["object"]]
        value = getattr(type(called), message["method"])(called, *values, **named)
        changed = {place: now for place, now in enumerate(given) if differs(before[place], now)}
        tensors: list[Tensor] = []
        tree = lift(value, tensors)
        wants = [out.requires_grad for out in tensors]
        inputs = [part for part in given if isinstance(part, Tensor) and part.requires_grad]
        graph = len(self.graphs)
        if any(wants) and inputs:
            self.graphs[graph] = ([out for out in tensors if out.requires_grad], inputs)
        return {"value": tree, "tensors": tensors, "wants": wants, "graph": graph, "changed": changed}


class Sender:
    """Keeps the reply of a send, which autograd would not hand on."""

    def __init__(self, send):
        self.send, self.reply = send, None

    def __call__(self, inputs: tuple) -> dict:
        return self.send(inputs)


def lift(value, tensors: list[Tensor]):
    """The value with its tensors taken out, {"slot": place} in their stead."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return {"slot": len(tensors) - 1}
    if isinstance(value, list | tuple):
        return type(value)(lift(part, tensors) for part in value) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {"dict": [[key, lift(part, tensors)] for key, part in value.items()]}
    return value


def refill(value, tensors: list[Tensor]):
    """The inverse of lift."""
    if isinstance(value, list | tuple):
        return type(value)(refill(part, tensors) for part in value)
    if isinstance(value, dict):
        if "slot" in value:
            return tensors[value["slot"]]
        return {key: refill(part, tensors) for key, part in value["dict"]}
    return value


def copied(value):
    return (
        value.detach().clone() if isinstance(value, Tensor) else value.copy() if isinstance(value, np.ndarray) else None
    )


def differs(before, now) -> bool:
    if isinstance(before, Tensor):
        return before.shape != now.shape or not torch.equal(before, now.detach())
    return isinstance(before, np.ndarray) and not np.array_equal(before, now)


def put(here, now) -> None:
    """Change a tensor or array in place to what the other side made of it."""
    if isinstance(here, Tensor) and isinstance(now, Tensor) and here.shape == now.shape:
        here.copy_(now)
    elif isinstance(here, np.ndarray) and isinstance(now, np.ndarray) and here.shape == now.shape:
        here[...] = now


def spoil(here) -> None:
    """Make every entry of a tensor or array another than it was."""
    if isinstance(here, Tensor):
        here.fill_(float("nan")) if here.is_floating_point() else here.copy_(~here)
    elif isinstance(here, np.ndarray):
        here[...] = float("nan") if here.dtype.kind == "f" else ~here
