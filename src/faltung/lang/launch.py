"""The entry to a routine's code, as LLVM assembly text.

    void @task(ptr %args)                                      one thread's share of the items
    void @launch(ptr %parallel, ptr %thread, ptr %threads, i64 %wanted, ptr %b0, …)

`launch` runs `body` itself for one thread and otherwise hands `task` to the OpenMP runtime whose
entry points it is given; so the object refers to nothing outside itself. Thread t of n, however
many the runtime gives, does the items from ⌊t · items / n⌋ to ⌊(t + 1) · items / n⌋, and its part
of a scratch buffer begins t parts after the address given.
"""

from collections.abc import Iterator, Sequence


def launching(items: int, thread_bytes: Sequence[int]) -> Iterator[str]:
    """The lines of `task` and `launch`; what the one hands the other is an array of words.

    `thread_bytes` says for each buffer how far apart the threads' parts are, 0 for a shared one.
    """
    buffers = len(thread_bytes)
    given = [f"ptr %b{n}" for n in range(buffers)]
    block = f"[{3 + buffers} x ptr]"
    yield "define internal void @task(ptr %args) nounwind {"
    for n in range(2 + buffers):
        yield f"  %p{n} = getelementptr inbounds {block}, ptr %args, i64 0, i64 {n}"
        yield f"  %a{n} = load ptr, ptr %p{n}"
    yield "  %t32 = call i32 %a0()"
    yield "  %n32 = call i32 %a1()"
    yield "  %t = sext i32 %t32 to i64"
    yield "  %n = sext i32 %n32 to i64"
    yield "  %next = add i64 %t, 1"
    yield f"  %low = mul i64 %t, {items}"
    yield f"  %high = mul i64 %next, {items}"
    yield "  %first = sdiv i64 %low, %n"
    yield "  %last = sdiv i64 %high, %n"
    for n, apart in enumerate(thread_bytes):
        yield f"  %o{n} = mul i64 %t, {apart}"
        yield f"  %m{n} = getelementptr inbounds i8, ptr %a{n + 2}, i64 %o{n}"
    handed = ", ".join(["i64 %first", "i64 %last", *(f"ptr %m{n}" for n in range(buffers))])
    yield f"  call void @body({handed})"
    yield "  ret void"
    yield "}"
    signature = ", ".join(["ptr %parallel", "ptr %thread", "ptr %threads", "i64 %wanted", *given])
    yield f"define void @launch({signature}) nounwind {{"
    yield "  %alone = icmp sle i64 %wanted, 1"
    yield "  br i1 %alone, label %here, label %shared"
    yield "here:"
    yield f"  call void @body({', '.join(['i64 0', f'i64 {items}', *given])})"
    yield "  ret void"
    yield "shared:"
    yield f"  %args = alloca {block}"
    for n, name in enumerate(["%thread", "%threads", *(f"%b{n}" for n in range(buffers))]):
        yield f"  %s{n} = getelementptr inbounds {block}, ptr %args, i64 0, i64 {n}"
        yield f"  store ptr {name}, ptr %s{n}"
    yield "  %count = trunc i64 %wanted to i32"
    yield "  call void %parallel(ptr @task, ptr %args, i32 %count, i32 0)"
    yield "  ret void"
    yield "}"
