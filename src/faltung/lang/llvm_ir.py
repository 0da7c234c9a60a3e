"""A routine as LLVM assembly text: one small function per kind of operation.

    void @body(i64 %first, i64 %last, ptr noalias %b0, …)      the items first … last − 1

What shares the items out among threads is in `launch.py`. Text, because building the same through
`llvmlite.ir` costs several times as long.
"""

import struct
from collections.abc import Sequence

from .interpret import known
from .launch import launching
from .ops import BOOL, F32, F64, INDEX, Buffer, Op, Type
from .routine import Routine

# LLVM would otherwise cut 512-bit vectors in halves where it fears for the clock
_ATTRIBUTES = 'attributes #0 = { nounwind "min-legal-vector-width"="512" }'
_SCALAR = {INDEX: "i64", F32: "float", F64: "double", BOOL: "i1"}
_STORED = {"float32": "float", "float64": "double", "float16": "half", "bfloat16": "i16"}
_INTRINSIC = {
    "fma": "llvm.fma", "abs": "llvm.fabs", "sqrt": "llvm.sqrt", "round": "llvm.roundeven",
}  # fmt: skip
_FLOAT_OP = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "neg": "fneg"}
_INDEX_OP = {"add": "add nsw", "sub": "sub nsw", "mul": "mul nsw", "quot": "udiv", "rem": "urem"}
_CAST = {"widen": "fpext", "narrow": "fptrunc"}
_COMPARE = {"lt": ("slt", "olt"), "le": ("sle", "ole"), "eq": ("eq", "oeq")}


def llvm_ir(routine: Routine) -> str:
    """The module's text, without a target."""
    writer = _Writer(routine)
    buffers = [f"ptr noalias noundef %b{n}" for n in range(len(routine.buffers))]
    signature = ", ".join(["i64 %first", "i64 %last", *buffers])
    writer.body(routine.body)
    body = [f"define internal void @body({signature}) #0 {{", "entry:", *writer.lines]
    calls = launching(routine.items, [b.own_size for b in routine.buffers])
    declared = [f"declare {signature}" for signature in sorted(writer.declared)]
    return "\n".join([*body, "  ret void", "}", *calls, *declared, _ATTRIBUTES, ""])


def llvm_type(kind: Type) -> str:
    """`<8 x float>` for f32×8."""
    scalar = _SCALAR[kind.kind]
    return scalar if kind.lanes == 1 else f"<{kind.lanes} x {scalar}>"


class _Writer:
    """The lines so far, and the name of each operation's value."""

    def __init__(self, routine: Routine) -> None:
        self.buffers = {buffer.name: f"%b{n}" for n, buffer in enumerate(routine.buffers)}
        self.lines: list[str] = []
        self.names: dict[Op, str] = {}
        self.results: dict[Op, list[str]] = {}
        self.declared: set[str] = set()
        self.block = "entry"
        self.count = 0

    def body(self, ops: Sequence[Op]) -> list[str]:
        """Write a body; the names that its `next` hands on."""
        following: list[str] = []
        for op in ops:
            if op.name in ("work", "loop"):
                self.loop(op)
            elif op.name == "when":
                self.when(op)
            elif op.name == "cut":
                # LLVM merges equal loads within a block, so a block ends here; and it puts blocks
                # together again, so something that may write all memory, but is nothing, begins it
                after = self.label("cut")
                self.lines.append(f"  br label %{after}")
                self.start(after)
                self.lines.append('  call void asm sideeffect "", "~{memory}"()')
            elif op.name == "prefetch":
                self.prefetch(op)
            elif op.name == "next":
                following = [self.names[a] for a in op.args]
            elif op.name == "result":
                self.names[op] = self.results[op.args[0]][op.attr]
            elif op.name == "store":
                self.store(op)
            elif op.name == "load":
                self.names[op] = self.load(op, op.type or Type(INDEX))
            elif op.name == "const":
                self.names[op] = _constant(op)
            else:
                self.names[op] = self.value(op, op.type or Type(INDEX))
        return following

    def emit(self, text: str) -> str:
        """A line that makes a value; its name."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def label(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def loop(self, op: Op) -> None:
        step = 1 if op.name == "work" else op.attr
        given = ["%first", "%last"] if op.name == "work" else [self.names[a] for a in op.args]
        begin, end, *carried = given
        head, inside, after = (self.label(stem) for stem in ("head", "turn", "after"))
        phis = op.body[: 1 + len(carried)]
        for phi in phis:
            self.count += 1
            self.names[phi] = f"%v{self.count}"
        before = self.block
        self.lines.append(f"  br label %{head}")
        self.start(head)
        slots = len(self.lines)
        more = self.emit(f"icmp slt i64 {self.names[phis[0]]}, {end}")
        self.lines.append(f"  br i1 {more}, label %{inside}, label %{after}")
        self.start(inside)
        following = self.body(op.body[len(phis) :])
        index = self.emit(f"add nsw i64 {self.names[phis[0]]}, {step}")
        self.lines.append(f"  br label %{head}")
        written = [
            f"  {self.names[phi]} = phi {llvm_type(phi.type or Type(INDEX))} "
            f"[ {initial}, %{before} ], [ {later}, %{self.block} ]"
            for phi, initial, later in zip(
                phis, [begin, *carried], [index, *following], strict=True
            )
        ]
        self.lines[slots:slots] = written
        self.start(after)
        self.results[op] = [self.names[phi] for phi in phis[1:]]

    def when(self, op: Op) -> None:
        inside, after = self.label("then"), self.label("after")
        condition = self.names[op.args[0]]
        self.lines.append(f"  br i1 {condition}, label %{inside}, label %{after}")
        self.start(inside)
        self.body(op.body)
        self.lines.append(f"  br label %{after}")
        self.start(after)

    def address(self, buffer: Buffer, at: Op) -> str:
        base, index = self.buffers[buffer.name], self.names[at]
        return self.emit(f"getelementptr inbounds {_STORED[buffer.dtype]}, ptr {base}, i64 {index}")

    def prefetch(self, op: Op) -> None:
        # without `inbounds`: the element need not be there
        stored, base, index = _STORED[op.attr.dtype], self.buffers[op.attr.name], op.args[0]
        address = self.emit(f"getelementptr {stored}, ptr {base}, i64 {self.names[index]}")
        self.declared.add("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        cache = op.args[1].attr if len(op.args) > 1 else 1
        kind = f"i32 0, i32 {4 - cache}, i32 1"
        self.lines.append(f"  call void @llvm.prefetch.p0(ptr {address}, {kind})")

    def load(self, op: Op, kind: Type) -> str:
        buffer: Buffer = op.attr
        stored = _vector(_STORED[buffer.dtype], kind.lanes)
        address = self.address(buffer, op.args[0])
        if len(op.args) == 1:
            raw = self.emit(f"load {stored}, ptr {address}, align {buffer.item_size}")
        elif kind.lanes == 1:
            raw = self._guarded_load(stored, address, buffer, self.names[op.args[1]])
        else:
            name = f"llvm.masked.load.{_suffix(_STORED[buffer.dtype], kind.lanes)}.p0"
            mask = f"<{kind.lanes} x i1> {self.names[op.args[1]]}"
            self.declared.add(f"{stored} @{name}(ptr, i32, <{kind.lanes} x i1>, {stored})")
            raw = self.emit(
                f"call {stored} @{name}(ptr {address}, i32 {buffer.item_size}, {mask}, "
                f"{stored} zeroinitializer)"
            )
        return self.widened(raw, stored, kind, buffer.dtype)

    def _guarded_load(self, stored: str, address: str, buffer: Buffer, mask: str) -> str:
        """A scalar load under a mask of one lane: a branch around it."""
        before, inside, after = self.block, self.label("then"), self.label("after")
        self.lines.append(f"  br i1 {mask}, label %{inside}, label %{after}")
        self.start(inside)
        raw = self.emit(f"load {stored}, ptr {address}, align {buffer.item_size}")
        self.lines.append(f"  br label %{after}")
        self.start(after)
        zero = "0" if stored == "i16" else "0.0"
        return self.emit(f"phi {stored} [ {zero}, %{before} ], [ {raw}, %{inside} ]")

    def store(self, op: Op) -> None:
        buffer: Buffer = op.attr
        kind = op.args[1].type or Type(INDEX)
        stored = _vector(_STORED[buffer.dtype], kind.lanes)
        value = self.narrowed(self.names[op.args[1]], stored, kind, buffer.dtype)
        address = self.address(buffer, op.args[0])
        if len(op.args) == 2:
            self.lines.append(f"  store {stored} {value}, ptr {address}, align {buffer.item_size}")
            return
        mask = self.names[op.args[2]]
        if kind.lanes == 1:
            inside, after = self.label("then"), self.label("after")
            self.lines.append(f"  br i1 {mask}, label %{inside}, label %{after}")
            self.start(inside)
            self.lines.append(f"  store {stored} {value}, ptr {address}, align {buffer.item_size}")
            self.lines.append(f"  br label %{after}")
            self.start(after)
            return
        if buffer.dtype == "bfloat16" and (lane := _only_lane(op.args[2])) is not None:
            one = self.emit(f"extractelement {stored} {value}, i64 {lane}")
            address = self.emit(f"getelementptr inbounds i16, ptr {address}, i64 {lane}")
            self.lines.append(f"  store i16 {one}, ptr {address}, align 2")
            return
        name = f"llvm.masked.store.{_suffix(_STORED[buffer.dtype], kind.lanes)}.p0"
        self.declared.add(f"void @{name}({stored}, ptr, i32, <{kind.lanes} x i1>)")
        self.lines.append(
            f"  call void @{name}({stored} {value}, ptr {address}, i32 {buffer.item_size}, "
            f"<{kind.lanes} x i1> {mask})"
        )

    def widened(self, raw: str, stored: str, kind: Type, dtype: str) -> str:
        """A number from memory as it is in a register."""
        register = llvm_type(kind)
        if dtype == "float16":
            return self.fenced(self.emit(f"fpext {stored} {raw} to {register}"), kind)
        if dtype == "bfloat16":
            bits = _vector("i32", kind.lanes)
            wide = self.emit(f"zext {stored} {raw} to {bits}")
            high = self.emit(f"shl {bits} {wide}, {_splat('i32 16', kind.lanes)}")
            return self.emit(f"bitcast {bits} {high} to {register}")
        return raw

    def fenced(self, value: str, kind: Type) -> str:
        """The same numbers, which LLVM may not move a pick across.

        LLVM 22 picks from the halves in memory instead, and of every eighth takes wrong ones.
        """
        if kind.lanes == 1:
            return value
        register = llvm_type(kind)
        name = f"llvm.arithmetic.fence.{_suffix(_SCALAR[kind.kind], kind.lanes)}"
        self.declared.add(f"{register} @{name}({register})")
        return self.emit(f"call {register} @{name}({register} {value})")

    def narrowed(self, value: str, stored: str, kind: Type, dtype: str) -> str:
        """A register's number as it goes to memory, rounded to nearest, ties to even."""
        register, n = llvm_type(kind), kind.lanes
        if dtype == "float16":
            return self.emit(f"fptrunc {register} {value} to {stored}")
        if dtype != "bfloat16":
            return value
        bits = _vector("i32", n)
        raw = self.emit(f"bitcast {register} {value} to {bits}")
        high = self.emit(f"lshr {bits} {raw}, {_splat('i32 16', n)}")
        odd = self.emit(f"and {bits} {high}, {_splat('i32 1', n)}")
        half = self.emit(f"add {bits} {odd}, {_splat('i32 32767', n)}")
        up = self.emit(f"add {bits} {raw}, {half}")
        rounded = self.emit(f"lshr {bits} {up}, {_splat('i32 16', n)}")
        quiet = self.emit(f"or {bits} {high}, {_splat('i32 64', n)}")
        nan = self.emit(f"fcmp uno {register} {value}, {value}")
        bools = _vector("i1", n)
        kept = self.emit(f"select {bools} {nan}, {bits} {quiet}, {bits} {rounded}")
        return self.emit(f"trunc {bits} {kept} to {stored}")

    def value(self, op: Op, kind: Type) -> str:
        args = [self.names[a] for a in op.args]
        types = [llvm_type(a.type or Type(INDEX)) for a in op.args]
        of_index = bool(op.args) and op.args[0].type is not None and op.args[0].type.kind == INDEX
        if op.name in _INTRINSIC or op.name in ("min", "max"):
            return self.call(_intrinsic(op.name, of_index), kind, args, types[0])
        if op.name in _COMPARE:
            word = f"icmp {_COMPARE[op.name][0]}" if of_index else f"fcmp {_COMPARE[op.name][1]}"
            return self.emit(f"{word} {types[0]} {args[0]}, {args[1]}")
        if op.name in ("and", "or"):
            return self.emit(f"{op.name} {types[0]} {args[0]}, {args[1]}")
        if op.name == "not":
            return self.emit(f"xor {types[0]} {args[0]}, {_splat('i1 true', kind.lanes)}")
        if op.name == "select":
            typed = ", ".join(f"{t} {a}" for t, a in zip(types, args, strict=True))
            return self.emit(f"select {typed}")
        if op.name in _CAST:
            return self.emit(f"{_CAST[op.name]} {types[0]} {args[0]} to {llvm_type(kind)}")
        if op.name == "neg":
            return self.emit(f"fneg {types[0]} {args[0]}")
        if op.name in ("lane", "splat", "pick", "sum", "pow2"):
            return getattr(self, op.name)(op, kind, args, types)  # type: ignore[no-any-return]
        word = _INDEX_OP[op.name] if of_index else _FLOAT_OP[op.name]
        return self.emit(f"{word} {types[0]} {args[0]}, {args[1]}")

    def call(self, name: str, kind: Type, args: Sequence[str], operand: str) -> str:
        made = llvm_type(kind)
        name = f"{name}.{_suffix(_SCALAR[kind.kind], kind.lanes)}"
        self.declared.add(f"{made} @{name}({', '.join([operand] * len(args))})")
        return self.emit(f"call {made} @{name}({', '.join(f'{operand} {a}' for a in args)})")

    def lane(self, op: Op, kind: Type, args: list[str], types: list[str]) -> str:
        return (
            "<" + ", ".join(f"i64 {n}" for n in range(kind.lanes)) + ">" if kind.lanes > 1 else "0"
        )

    def splat(self, op: Op, kind: Type, args: list[str], types: list[str]) -> str:
        made = llvm_type(kind)
        if kind.lanes == 1:
            return args[0]
        first = self.emit(f"insertelement {made} poison, {types[0]} {args[0]}, i64 0")
        return self.emit(
            f"shufflevector {made} {first}, {made} poison, <{kind.lanes} x i32> zeroinitializer"
        )

    def pick(self, op: Op, kind: Type, args: list[str], types: list[str]) -> str:
        places = ", ".join(f"i32 {p}" for p in op.attr)
        vector = types[0]
        if not vector.startswith("<"):
            vector = f"<1 x {types[0]}>"
            args = [
                self.emit(f"insertelement {vector} poison, {types[0]} {a}, i64 0") for a in args
            ]
        of_both = ", ".join(f"{vector} {a}" for a in args)
        made = self.emit(f"shufflevector {of_both}, <{len(op.attr)} x i32> <{places}>")
        if kind.lanes > 1:
            return made
        return self.emit(f"extractelement <1 x {_SCALAR[kind.kind]}> {made}, i64 0")

    def sum(self, op: Op, kind: Type, args: list[str], types: list[str]) -> str:
        value, lanes = args[0], (op.args[0].type or kind).lanes
        scalar = _SCALAR[kind.kind]
        while lanes > 1:
            vector, half = f"<{lanes} x {scalar}>", lanes // 2
            halves = []
            for start in (0, half):
                places = ", ".join(f"i32 {start + n}" for n in range(half))
                of_both = f"{vector} {value}, {vector} poison"
                halves.append(self.emit(f"shufflevector {of_both}, <{half} x i32> <{places}>"))
            value = self.emit(f"fadd <{half} x {scalar}> {halves[0]}, {halves[1]}")
            lanes = half
        if (op.args[0].type or kind).lanes == 1:
            return value
        return self.emit(f"extractelement <1 x {scalar}> {value}, i64 0")

    def pow2(self, op: Op, kind: Type, args: list[str], types: list[str]) -> str:
        width, bias, shift = (32, 127, 23) if kind.kind == F32 else (64, 1023, 52)
        bits = _vector(f"i{width}", kind.lanes)
        whole = self.emit(f"fptosi {types[0]} {args[0]} to {bits}")
        biased = self.emit(f"add {bits} {whole}, {_splat(f'i{width} {bias}', kind.lanes)}")
        raised = self.emit(f"shl {bits} {biased}, {_splat(f'i{width} {shift}', kind.lanes)}")
        return self.emit(f"bitcast {bits} {raised} to {types[0]}")


def _only_lane(mask: Op) -> int | None:
    """The lane of a known mask of one lane.

    Up to version 22.1 LLVM stores four bytes, not two, of such a lane of a narrowed vector, where
    it has AVX-512 (llvm-project issue 179489).
    """
    bools = known(mask)
    return int(bools.argmax()) if bools is not None and bools.sum() == 1 else None


def _intrinsic(name: str, of_index: bool) -> str:
    if name in ("min", "max"):
        return f"llvm.s{name}" if of_index else f"llvm.{name}imum"
    return _INTRINSIC[name]


def _constant(op: Op) -> str:
    assert op.type is not None
    kind, number = op.type.kind, op.attr
    if isinstance(number, tuple):
        bools = [f"i1 {str(one).lower()}" for one in number]
        return f"<{', '.join(bools)}>" if len(bools) > 1 else bools[0].partition(" ")[2]
    if kind in (F32, F64):
        # LLVM writes both as the bits of the double, which for f32 must be a float exactly
        single = struct.unpack("f", struct.pack("f", number))[0] if kind == F32 else number
        scalar = "0x" + struct.pack(">d", single).hex().upper()
    else:
        scalar = str(int(number)) if kind == INDEX else str(bool(number)).lower()
    return _splat(f"{_SCALAR[kind]} {scalar}", op.type.lanes)


def _splat(typed: str, lanes: int) -> str:
    """A typed scalar constant, in every lane; without its type, as operands are written."""
    return typed.partition(" ")[2] if lanes == 1 else f"<{', '.join([typed] * lanes)}>"


def _vector(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def _suffix(scalar: str, lanes: int) -> str:
    short = {"float": "f32", "double": "f64", "half": "f16"}.get(scalar, scalar)
    return short if lanes == 1 else f"v{lanes}{short}"
