import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faltung.lang import cache as lang_cache
from faltung.lang.cache import ObjectCache

CODE = bytes(range(256)) * 20  # newlines in it, too
KEYS = ["k", "", "two\nlines", "naïve ∏ \0 \x7f", "lone \udc80 surrogate", "long " * 10000]


@pytest.fixture
def store(tmp_path: Path) -> ObjectCache:
    return ObjectCache(tmp_path / "a" / "kept")


@pytest.fixture
def folder(store: ObjectCache) -> Path:
    """The store's folder, with an object of the key `k`."""
    store.save("k", CODE)
    assert store.load("k") == CODE
    assert store.folder is not None
    return store.folder


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_what_was_saved_is_loaded(store: ObjectCache, key: str) -> None:
    assert store.load(key) is None
    for code in (CODE, b"", b"\n", b"other"):
        store.save(key, code)
        assert store.load(key) == code
    (file,) = store.files()
    assert file.read_bytes().count(b"\n") == 1  # the header's end: the code has none
    assert store.load(key + "x") is None


def test_only_we_can_read_and_write_it(store: ObjectCache, folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [f.stat().st_mode & 0o777 for f in store.files()] == [0o600]


@pytest.mark.parametrize("left", [0, 1, 20, 90, 200, -1])
def test_a_truncated_file_is_a_miss(store: ObjectCache, folder: Path, left: int) -> None:
    (file,) = store.files()
    file.write_bytes(file.read_bytes()[:left])
    assert store.load("k") is None
    store.save("k", CODE)
    assert store.load("k") == CODE


@pytest.mark.parametrize("step", [1, 7])
def test_any_changed_byte_is_a_miss(store: ObjectCache, folder: Path, step: int) -> None:
    (file,) = store.files()
    whole = file.read_bytes()
    header = whole.index(b"\n") + 1
    for at in [*range(header + 40), *range(header + 40, len(whole), 97 * step)]:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ step]) + whole[at + 1 :])
        assert store.load("k") is None, at
    file.write_bytes(whole + b"x")
    assert store.load("k") is None


@pytest.mark.parametrize(
    "content",
    [b"\n", b"null\n", b"[" * 100000, b"{}\n", b'"k"\n', b"\xff\xfe\n", b"x" * 100000, b"1" * 5000],
    ids=range(8),
)
def test_any_other_content_is_a_miss(store: ObjectCache, folder: Path, content: bytes) -> None:
    (file,) = store.files()
    file.write_bytes(content)
    assert store.load("k") is None


def test_the_key_in_the_file_is_compared(store: ObjectCache, folder: Path) -> None:
    store.save("other", b"other code")
    store._path("other").replace(store._path("k"))
    assert store.load("k") is None


def test_a_huge_file_is_not_read(store: ObjectCache, folder: Path) -> None:
    (file,) = store.files()
    with file.open("r+b") as opened:
        opened.truncate(2**42)  # sparse; more than memory holds
    assert store.load("k") is None
    store.save("k", CODE)
    assert store.load("k") == CODE


def test_links_are_not_followed(store: ObjectCache, folder: Path, tmp_path: Path) -> None:
    (file,) = store.files()
    real = tmp_path / "real"
    file.rename(real)
    file.symlink_to(real)
    assert store.load("k") is None
    store.save("k", CODE)  # replaces the link, not what it points to
    assert not file.is_symlink()
    assert store.load("k") == CODE


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_a_miss(store: ObjectCache, folder: Path, kind: str) -> None:
    (file,) = store.files()
    file.unlink()
    if kind == "directory":
        file.mkdir()
    else:
        os.mkfifo(file)
    assert store.load("k") is None
    store.save("k", CODE)
    assert store.load("k") == (None if kind == "directory" else CODE)
    assert [f.suffix for f in folder.iterdir()] == [".routine"]


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_write_to_is_not_used(
    store: ObjectCache, folder: Path, mode: int
) -> None:
    folder.chmod(mode)
    assert store.load("k") is None
    store.save("new", CODE)
    assert store.files() == []
    assert store.clear() == 0
    folder.chmod(0o755)  # others may read
    assert store.load("k") == CODE
    assert store.load("new") is None


def test_a_file_that_others_write_to_is_a_miss(store: ObjectCache, folder: Path) -> None:
    store.files()[0].chmod(0o620)
    assert store.load("k") is None


def test_a_folder_of_someone_else_is_not_used(
    store: ObjectCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert store.load("k") is None
    store.save("new", CODE)
    monkeypatch.undo()
    assert store.load("new") is None


def test_where_files_have_no_owner_nothing_is_kept(
    store: ObjectCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "getuid")
    store.save("new", CODE)
    assert store.load("k") is store.load("new") is None


def test_a_folder_that_is_a_link_is_not_used(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    store = ObjectCache(link)
    assert store.load("k") is None
    store.save("new", CODE)
    assert ObjectCache(folder).load("new") is None


@pytest.mark.parametrize("obstacle", ["a file", "under a file", "no such device"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, obstacle: str) -> None:
    (tmp_path / "file").write_text("")
    store = ObjectCache({
        "a file": tmp_path / "file",
        "under a file": tmp_path / "file" / "kept",
        "no such device": Path("/proc/no/such/folder"),
    }[obstacle])  # fmt: skip
    store.save("k", CODE)
    assert store.load("k") is None
    assert store.files() == []
    store.prune(0)


@pytest.mark.parametrize("function", ["open", "lstat", "replace", "mkdir", "fdopen", "unlink"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ESTALE])
def test_trouble_with_the_disk_is_a_miss(
    store: ObjectCache, folder: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)
    store.save("new", CODE)
    assert store.load("new") in (None, CODE)
    store.prune(0)
    store.clear()
    monkeypatch.undo()
    store.save("new", CODE)
    assert store.load("new") == CODE


def test_a_full_disk(store: ObjectCache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write fails half way: what was there before stays, and nothing is left behind."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")

    def opened(handle: int, mode: str) -> Any:
        os.close(handle)
        return full.open(mode)

    monkeypatch.setattr(os, "fdopen", opened)
    store.save("k", CODE[:100])
    store.save("new", CODE)
    monkeypatch.undo()
    assert store.load("k") == CODE
    assert store.load("new") is None
    assert len(list(folder.iterdir())) == 1


def test_an_interrupted_save_leaves_nothing(
    store: ObjectCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.save("new", CODE)
    assert len(list(folder.iterdir())) == 1


def test_read_only(store: ObjectCache, folder: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("the superuser may write everywhere")
    folder.chmod(0o500)
    store.save("new", CODE)
    assert (store.load("k"), store.load("new")) == (CODE, None)
    folder.chmod(0o700)


def test_clear(store: ObjectCache, folder: Path) -> None:
    for n in range(4):
        store.save(str(n), CODE)
    (folder / "mine.txt").write_text("not an object")
    assert store.clear() == 5
    assert store.clear() == 0
    assert store.files() == []
    assert (folder / "mine.txt").exists()


def test_prune_keeps_what_was_used_last(store: ObjectCache, folder: Path) -> None:
    for n in range(6):
        store.save(str(n), CODE)
        read, written = 1000 * (n != 2) + n, n  # of all, 0 was read last but k
        times = (9000, 0) if n == 0 else (read, written)
        os.utime(store._path(str(n)), times)
    size = store._path("0").stat().st_size
    store.prune(4 * size)
    kept = [key for key in ("0", "1", "2", "3", "4", "5", "k") if store.load(key)]
    assert kept == ["0", "4", "5", "k"]
    for n, key in enumerate(kept):
        os.utime(store._path(key), (n, 100 - 50 * (n == 2)))
    store.prune(most_files=3)
    kept.remove("5")
    assert [key for key in ("0", "4", "5", "k") if store.load(key)] == kept
    store.prune(0)
    assert store.files() == []


def test_prune_removes_what_nobody_finished(store: ObjectCache, folder: Path) -> None:
    old, new = folder / "old.part", folder / "new.part"
    old.write_bytes(CODE)
    new.write_bytes(CODE)
    os.utime(old, (time.time() - 7200,) * 2)
    store.prune()
    assert (old.exists(), new.exists()) == (False, True)
    assert store.load("k") == CODE


def test_saving_keeps_the_folder_small(store: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lang_cache, "_MOST_FILES", 12)
    monkeypatch.setattr(ObjectCache.prune, "__defaults__", (10**9, 9))
    most = 0
    for n in range(40):
        store.save(str(n), CODE)
        assert store.load(str(n)) == CODE
        most = max(most, len(store.files()))
    assert most == 12


@pytest.mark.parametrize(
    ("named", "base", "folder"),
    [
        ("/tmp/mine", "/tmp/base", "/tmp/mine"),
        (None, "/tmp/base", "/tmp/base/faltung"),
        (None, "", "/home/someone/.cache/faltung"),
        (None, None, "/home/someone/.cache/faltung"),
        ("", "/tmp/base", None),
    ],
)
def test_where_the_folder_is(
    monkeypatch: pytest.MonkeyPatch, named: str | None, base: str | None, folder: str | None
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for variable, value in (("FALTUNG_CACHE", named), ("XDG_CACHE_HOME", base)):
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
    lang_cache._default.cache_clear()
    assert ObjectCache.default().folder == (Path(folder) if folder else None)
    lang_cache._default.cache_clear()


def test_nobody_has_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    lang_cache._default.cache_clear()
    assert lang_cache._default(None, None) == ObjectCache(None)
    lang_cache._default.cache_clear()


def test_nothing_is_kept_where_nothing_shall_be() -> None:
    store = ObjectCache(None)
    store.save("k", CODE)
    assert store.load("k") is None
    assert (store.files(), store.clear()) == ([], 0)
    store.prune(0)


def test_two_hundred_processes(tmp_path: Path, python: Callable[..., Any]) -> None:
    """Eight at a time they write and read one key, some die over it; each reads all or nothing."""
    assert sys.platform != "win32"
    python(f"""
import os, random, signal
from pathlib import Path
from faltung.lang.cache import ObjectCache

assert "torch" not in sys.modules and "numpy" not in sys.modules
store = ObjectCache(Path({str(tmp_path)!r}) / "kept")

def child(number):
    random.seed(number)
    found = 0
    for turn in range(6):
        code = bytes([number]) * random.randrange(1, 30000)
        if number % 10 == 3 and turn == 3:  # dies between writing and renaming, or thereabouts
            os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        store.save("one key for all", code)
        loaded = store.load("one key for all")
        # no process removes the file, so somebody's code is there, and it is all of one piece
        assert loaded and set(loaded) == {{loaded[0]}}, number
        found += loaded[0] != number
    return found

def start(number):
    process = os.fork()
    if process == 0:
        status = 99
        try:
            status = min(child(number), 50)
        finally:
            os._exit(status)
    return process

met, killed = 0, 0
for batch in range(25):
    for process in [start(8 * batch + n) for n in range(8)]:
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        else:
            assert os.WEXITSTATUS(status) != 99
            met += os.WEXITSTATUS(status)
assert killed == 20 and met > 0, (killed, met)
left = list(store.folder.glob("*.part"))
assert len(left) == 20, left
assert len(store.files()) == 1 and store.load("one key for all")
""")
