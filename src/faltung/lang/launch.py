"""The entry to a routine's code, as LLVM assembly text.

    void @launch(ptr %words)      all items
    void @task(ptr %words)        one thread's share of them
    i64 @thread_bytes()           scratch memory that a thread needs

    %words -> | pool | wanted | buffer 0 | buffer 1 | … | own |
               pool -> | parallel | thread | threads |

Everything is given in one array of words, so that a call has one argument. `launch` runs `body`
itself if one thread is wanted, or there is no pool by now, and otherwise hands `task` and the words
to the OpenMP runtime whose entry points they lead to; so the object refers to nothing outside
itself. Thread t of n, however many the runtime gives, does the items from ⌊t · items / n⌋ to
⌊(t + 1) · items / n⌋. Where there are scratch buffers, `own` is one piece of memory for all of them
and all threads (`scratch.py`).
"""

from collections.abc import Iterator, Sequence

from . import scratch


def launching(items: int, own_sizes: Sequence[int | None]) -> Iterator[str]:
    """The lines of `task`, `launch` and `thread_bytes`.

    `own_sizes` says for each buffer how many bytes every thread has of its own, None for a buffer
    that is given and shared.
    """
    places, size = scratch.places([own for own in own_sizes if own is not None])
    numbers = [n for n, own in enumerate(own_sizes) if own is not None]
    own = [(f"%b{n}", at) for n, at in zip(numbers, places, strict=True)]
    shared = [f"%b{n}" for n in range(len(own_sizes)) if n not in numbers]
    given = list(_read("%words", ["", "", *shared, *["%own"] * bool(own)]))
    mine = [f"  %before = mul i64 %t, {scratch.apart(size)}", _behind("%own", "%mine", "%before")]
    handed = "".join(f", ptr %b{n}" for n in range(len(own_sizes)))
    here = [_behind("%own", name, at) for name, at in own]
    there = [_behind("%mine", name, at) for name, at in own]
    yield from _task(items, [*given, *mine * bool(own), *there], handed)
    yield from _launch(items, [*given, *here], handed)
    yield f"define i64 @thread_bytes() nounwind {{ ret i64 {size} }}"


def _read(array: str, names: Sequence[str]) -> Iterator[str]:
    """Read the words of an array that have names."""
    for n, name in enumerate(names):
        if name:
            yield f"  {array}.{n} = getelementptr inbounds ptr, ptr {array}, i64 {n}"
            yield f"  {name} = load ptr, ptr {array}.{n}"


def _behind(first: str, name: str, distance: str | int) -> str:
    """Name the address so many bytes behind the first."""
    return f"  {name} = getelementptr inbounds i8, ptr {first}, i64 {distance}"


def _task(items: int, addresses: Sequence[str], handed: str) -> Iterator[str]:
    """One thread's share."""
    yield "define internal void @task(ptr %words) nounwind {"
    yield from _read("%words", ["%pool"])
    yield from _read("%pool", ["", "%thread", "%threads"])
    yield "  %t32 = call i32 %thread()"
    yield "  %n32 = call i32 %threads()"
    yield "  %t = sext i32 %t32 to i64"
    yield "  %n = sext i32 %n32 to i64"
    yield "  %next = add i64 %t, 1"
    yield f"  %low = mul i64 %t, {items}"
    yield f"  %high = mul i64 %next, {items}"
    yield "  %first = sdiv i64 %low, %n"
    yield "  %last = sdiv i64 %high, %n"
    yield from addresses
    yield f"  call void @body(i64 %first, i64 %last{handed})"
    yield "  ret void"
    yield "}"


def _launch(items: int, addresses: Sequence[str], handed: str) -> Iterator[str]:
    """All items here, or the words for all threads."""
    yield "define void @launch(ptr %words) nounwind {"
    yield "  %second = getelementptr inbounds i64, ptr %words, i64 1"
    yield "  %wanted = load i64, ptr %second"
    yield "  %one = icmp sle i64 %wanted, 1"
    yield "  br i1 %one, label %alone, label %several"
    yield "several:"
    yield from _read("%words", ["%pool"])
    yield from _read("%pool", ["%parallel"])
    yield "  %gone = icmp eq ptr %parallel, null"
    yield "  br i1 %gone, label %alone, label %together"
    yield "together:"
    yield "  %count = trunc i64 %wanted to i32"
    yield "  call void %parallel(ptr @task, ptr %words, i32 %count, i32 0)"
    yield "  ret void"
    yield "alone:"
    yield from addresses
    yield f"  call void @body(i64 0, i64 {items}{handed})"
    yield "  ret void"
    yield "}"
