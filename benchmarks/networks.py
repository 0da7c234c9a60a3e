"""Whole networks: what `faltung.optimize_` makes of them, beside PyTorch in both memory layouts.

    python benchmarks/networks.py                        # every network, one image or a second
    python benchmarks/networks.py resnet mobilenet       # those with these words in their names
    python benchmarks/networks.py --compile resnet       # torch.compile, too
    python benchmarks/networks.py --layers resnet        # and what runs in each layer

The networks are those of the `transformers` package at their usual sizes, with random weights, made
so that numbers stay of one size from layer to layer: those that vanish are slow to compute with.
Every network has a process of its own, as its user has it: after large networks the system's memory
allocator keeps what it gave back before, which is worth up to a fifth to the next one. Every
contestant is a copy of the same network, in inference mode, batch 1. In every round each has one
turn, in an order drawn anew, and a time is the median of the rounds. `swapped` is
`optimize_` with the example inputs; `fused` folds BatchNorm, activations and residuals as well. How
far the results are apart stands at the end of a row, relative to the largest number. Ratios are to
the faster of the two eager layouts.

With `--compile`, `compiled` is `torch.compile` of the plain network in the faster of the two, its
graphs broken where the network breaks them, and `both` is `torch.compile` of the fused one. What
cannot be compiled is left out and named, and so is a network that compiling makes many times slower
than it was: its ratio would say nothing of ours and decide the mean. At the end of a row stand the
ratios of `compiled` to `fused` and to `both`, and the last line has the geometric means.
"""

import argparse
import copy
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import faltung
from faltung.optimize.running import Inputs, outputs

_PAUSE = 0.01  # seconds, in which threads of the last contestant stop spinning
_TURN = 0.02  # seconds for which a turn repeats a call


@dataclass(frozen=True)
class Network:
    """A network and what it is called with."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Tensor]]
    not_compiled: str = ""
    """Why `torch.compile` is no contestant."""


Contestant = tuple[nn.Module, Inputs]


def image(size: int) -> Callable[[], dict[str, Tensor]]:
    return lambda: {"pixel_values": torch.randn(1, 3, size, size)}


def hf(model: str, config: str, **settings: Any) -> Callable[[], nn.Module]:
    """A network of `transformers` from its configuration, which is imported only then."""

    def build() -> nn.Module:
        import transformers  # noqa: PLC0415  (not everyone has it)

        made: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**settings))
        return made

    return build


def wav2vec2_features() -> nn.Module:
    from transformers import Wav2Vec2Config  # noqa: PLC0415
    from transformers.models.wav2vec2.modeling_wav2vec2 import (  # noqa: PLC0415
        Wav2Vec2FeatureEncoder,
    )

    made: nn.Module = Wav2Vec2FeatureEncoder(Wav2Vec2Config())
    return made


NETWORKS = (
    Network("ConvNeXt V2 tiny", hf("ConvNextV2Model", "ConvNextV2Config"), image(224)),
    Network("MobileNet V2", hf("MobileNetV2Model", "MobileNetV2Config"), image(224)),
    Network("ResNet-50", hf("ResNetModel", "ResNetConfig"), image(224)),
    Network(
        "EfficientNet B0",
        hf("EfficientNetModel", "EfficientNetConfig", width_coefficient=1.0,
           depth_coefficient=1.0, hidden_dim=1280),
        image(224),
        not_compiled="its graph takes more than ten times as long as the plain network, ours too: "
        "all of it in loops of Inductor's, and nothing is compiled again",
    ),
    Network(
        "RegNetY 4GF",
        hf("RegNetModel", "RegNetConfig", hidden_sizes=[128, 192, 512, 1088],
           depths=[2, 6, 12, 2], groups_width=64),
        image(224),
    ),
    Network("SegFormer B0", hf("SegformerModel", "SegformerConfig"), image(512)),
    Network(
        "Mamba 130M, 4 layers, 256 words",
        hf("MambaModel", "MambaConfig", num_hidden_layers=4, use_cache=False),
        lambda: {"input_ids": torch.randint(0, 50000, (1, 256))},
    ),
    Network(
        "Wav2Vec2 features, 1 s",
        wav2vec2_features,
        lambda: {"input_values": torch.randn(1, 16000)},
    ),
    Network(
        "HiFi-GAN (SpeechT5), 32 frames",
        hf("SpeechT5HifiGan", "SpeechT5HifiGanConfig"),
        lambda: {"spectrogram": torch.randn(32, 80)},
    ),
    Network(
        "EnCodec 24 kHz, 1 s",
        hf("EncodecModel", "EncodecConfig"),
        lambda: {"input_values": torch.randn(1, 1, 24000)},
    ),
)  # fmt: skip


def calibrated(model: nn.Module, inputs: Inputs) -> nn.Module:
    """The model with weights under which its numbers neither grow nor vanish."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() > 1 and not isinstance(module, nn.Embedding):
            scaled = nn.init.kaiming_normal_(torch.empty_like(weight), nonlinearity="linear")
            with torch.no_grad():
                module.weight = (
                    scaled if parametrize.is_parametrized(module) else weight.copy_(scaled)
                )
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            twice = inputs.mapped(lambda t: torch.cat([t, t.flip(-1)]))
            model.train()(*twice.args, **twice.kwargs)
    return model.eval()


def contestants(network: nn.Module, inputs: Inputs) -> dict[str, Contestant]:
    """The network as each of them has it, and its inputs."""
    turned = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    swapped = faltung.optimize_(copy.deepcopy(network), example_inputs=dict(inputs.kwargs))
    return {
        "eager": (network, inputs),
        "channels-last": (turned, inputs.channels_last()),
        "swapped": (swapped, inputs),
        "fused": (fused(network, inputs), inputs),
    }


def fused(network: nn.Module, inputs: Inputs) -> nn.Module:
    """A copy, with everything folded that can be."""
    return faltung.optimize_(
        copy.deepcopy(network), example_inputs=dict(inputs.kwargs), fold_batchnorm=True,
        fuse_activations=True,
    )  # fmt: skip


def compiled(racing: Mapping[str, Contestant]) -> dict[str, Contestant]:
    """The faster of the plain ones compiled, and ours; what cannot be is left out."""
    plain = {name: racing[name] for name in ("eager", "channels-last")}
    quick = times(plain, 5, 2.0)
    network, inputs = racing["eager"]
    made: dict[str, Contestant] = {}
    for name, model, given in (
        ("compiled", *plain[min(quick, key=quick.__getitem__)]),
        ("both", fused(network, inputs), inputs),
    ):
        torch.compiler.reset()
        graph: Any = torch.compile(copy.deepcopy(model))
        try:
            outputs(graph, given)
            _turn(graph, given, 1)  # another graph in inference mode
        except Exception as failed:  # whatever a compiler says of a network
            print(f"  {name} left out: {type(failed).__name__}: {str(failed)[:100]!r}")
        else:
            made[name] = graph, given
    return made


def times(racing: Mapping[str, Contestant], rounds: int, most: float) -> dict[str, float]:
    """Median seconds of a call of each, by name."""
    taken: dict[str, list[float]] = {name: [] for name in racing}
    names, begin = list(racing), time.perf_counter()
    repeats = {name: max(1, round(_TURN / _turn(*racing[name], 1))) for name in names}
    for number in range(rounds):
        for name in random.Random(number).sample(names, len(names)):
            time.sleep(_PAUSE)
            _turn(*racing[name], 1)
            taken[name].append(_turn(*racing[name], repeats[name]))
        if number >= 2 and time.perf_counter() - begin > most:
            break
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _turn(model: nn.Module, inputs: Inputs, repeats: int) -> float:
    begin = time.perf_counter()
    with torch.inference_mode():
        for _ in range(repeats):
            model(*inputs.args, **inputs.kwargs)
    return (time.perf_counter() - begin) / repeats


def largest_difference(racing: Mapping[str, Contestant]) -> float:
    """Of any number of any result, to the first one's, in parts of that result's largest."""
    truth, *others = (outputs(model, inputs) for model, inputs in racing.values())
    worst = 0.0
    for result in others:
        for y, y0 in zip(result, truth, strict=True):
            if y.is_floating_point():
                if not y.isfinite().all():
                    raise SystemExit("a result is infinite or NaN")
                worst = max(worst, float((y - y0).abs().max() / y0.abs().max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description="Time whole networks of transformers.")
    parser.add_argument("words", nargs="*", help="only networks with one of these in their names")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=float, default=10.0, help="seconds of rounds a network")
    parser.add_argument("--threads", type=int, help="PyTorch's number unless given")
    parser.add_argument("--compile", action="store_true", help="torch.compile is a contestant, too")
    parser.add_argument("--layers", action="store_true", help="print what runs in each layer")
    options = parser.parse_args()
    threads = options.threads or torch.get_num_threads()
    print(f"{threads} threads, torch {torch.__version__}, medians in ms", flush=True)
    ratios: dict[str, list[float]] = {}
    alone = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, alone, max_tasks_per_child=1) as processes:
        for number, network in enumerate(NETWORKS):
            if options.words and not any(w.lower() in network.name.lower() for w in options.words):
                continue
            for name, ratio in processes.submit(run, number, options).result().items():
                ratios.setdefault(name, []).append(ratio)
    means = [f"{name} {statistics.geometric_mean(r):.2f}x" for name, r in ratios.items()]
    print(f"{'geometric means':<32} {'  '.join(means)}")


def run(number: int, options: argparse.Namespace) -> dict[str, float]:
    """Print the row of a network, one of `NETWORKS`; its ratios by name."""
    network = NETWORKS[number]
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    try:
        model = network.build()
    except (ImportError, AttributeError) as missing:
        print(f"{network.name:<32} left out: {missing}")
        return {}
    inputs = Inputs.of(network.inputs())
    model = calibrated(model, inputs)
    racing = contestants(model, inputs)
    if options.compile and network.not_compiled:
        print(f"  compiled left out: {network.not_compiled}")
    elif options.compile:
        racing |= compiled(racing)
    difference = largest_difference(racing)
    seen = times(racing, options.rounds, options.most)
    ratios = _ratios(seen)
    cells = [f"{name} {seconds * 1e3:.1f}" for name, seconds in seen.items()]
    cells += [f"{name} {ratio:.2f}x" for name, ratio in ratios.items()]
    print(f"{network.name:<32} {'  '.join(cells)}  differs by {difference:.1e}", flush=True)
    if options.layers:
        print(faltung.report(racing["fused"][0]))
    return ratios


def _ratios(seen: Mapping[str, float]) -> dict[str, float]:
    peer = min(seen["eager"], seen["channels-last"])
    found = {name: peer / seen[name] for name in ("swapped", "fused", "compiled") if name in seen}
    if "compiled" in seen:
        others = [name for name in ("fused", "both") if name in seen]
        found |= {f"compiled to {name}": seen["compiled"] / seen[name] for name in others}
    return found


if __name__ == "__main__":
    main()
