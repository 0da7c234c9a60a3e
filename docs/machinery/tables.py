"""The benchmark's tables, from the newest file of results that there is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

_WORDS = {
    "en": {
        "none": "No results are recorded for this version yet: `faltung bench --json "
        "benchmarks/results` makes them.",
        "where": "Version {version}, {date}, {processor}, {threads} threads, {software}. Measured "
        "peak {peak:.0f} GF/s, copying {bandwidth:.0f} GB/s. Ratio: time of the best peer over "
        "ours, above 1 we are faster.",
        "head": ("layer", "ours", "ms", "of the bound", "best peer", "ms", "ratio"),
        "mean": "geometric mean",
        "wrong": "wrong: no number",
    },
    "zh": {
        "none": "这个版本还没有记录结果：运行 `faltung bench --json benchmarks/results` 即可生成。",
        "where": "版本 {version}，{date}，{processor}，{threads} 线程，{software}。实测峰值 "
        "{peak:.0f} GF/s，拷贝带宽 {bandwidth:.0f} GB/s。比值：最快的对手用时 ÷ 我们的用时，"
        "大于 1 表示我们更快。",
        "head": ("层", "我们", "毫秒", "占上限", "最快的对手", "毫秒", "比值"),
        "mean": "几何平均",
        "wrong": "结果错误：不给数字",
    },
}


def filled_in(markdown: str, language: str) -> str:
    """The page with the tables in place of `{{ benchmarks }}`."""
    if "{{ benchmarks }}" not in markdown:
        return markdown
    return markdown.replace("{{ benchmarks }}", "\n".join(_all(language)))


def newest(folder: Path = RESULTS) -> Path | None:
    """The results of the highest version, and of its files the latest run."""
    files = sorted(folder.glob("*/*.json")) if folder.is_dir() else []
    return max(files, key=lambda path: (_version(path), _read(path).get("date", "")), default=None)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.parent.name))


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def _all(language: str) -> Iterator[str]:
    words: dict[str, Any] = _WORDS[language]
    path = newest(RESULTS)
    if path is None:
        yield words["none"]
        return
    results = _read(path)
    yield words["where"].format(
        version=results["version"], date=results["date"][:10],
        processor=results["machine"]["processor"], threads=results["method"]["threads"],
        software=", ".join(f"{k} {v}" for k, v in results["software"].items() if v),
        peak=results["rates"]["peak"] / 1e9, bandwidth=results["rates"]["bandwidth"] / 1e9,
    )  # fmt: skip
    yield ""
    for family in dict.fromkeys(case["family"] for case in results["cases"]):
        cases = [case for case in results["cases"] if case["family"] == family]
        yield from _family(family, cases, results["geometric_means"].get(family), words)


def _family(
    name: str, cases: list[dict[str, Any]], mean: float | None, words: dict[str, Any]
) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"| {' | '.join(words['head'])} |"
    yield "| --- | --- | ---: | ---: | --- | ---: | ---: |"
    for case in cases:
        yield f"| {' | '.join(_row(case, words))} |"
    if mean is not None and len(cases) > 1:
        yield f"| **{words['mean']}** | | | | | | **{mean:.2f}** |"
    yield ""


def _row(case: dict[str, Any], words: dict[str, Any]) -> tuple[str, ...]:
    named = f'<span title="{case["problem"]}">{case["name"]}</span>'
    ours, peer, ratio = case["ours"], case["best_peer"], case["ratio"]
    if ours is None:
        return (named, words["wrong"] if case["complaints"] else "–", "", "", "", "", "")
    bound = max(ours["of_peak"], ours["of_copying"])
    by = "" if peer is None else peer["who"] + _layout(peer)
    return (
        named, ours["algorithm"].removesuffix("_cpu") + _layout(ours),
        _milliseconds(ours["seconds"]), f"{bound:.0%}", by,
        "" if peer is None else _milliseconds(peer["seconds"]),
        "–" if ratio is None else f"{ratio:.2f}",
    )  # fmt: skip


def _layout(who: dict[str, Any]) -> str:
    return " channels-last" if who["layout"] == "channels_last" else ""


def _milliseconds(seconds: float) -> str:
    digits = 3 if seconds < 1e-2 else 1
    return f"{seconds * 1e3:.{digits}f}"
