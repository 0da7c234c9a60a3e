"""Export a network with our convolutions to ONNX, and run the file with what others have.

    python examples/export_onnx.py [network.onnx]

The network uses what PyTorch's modules refuse: "same" padding with a stride, one side padded more
than the other, causal padding, a padding mode in a transposed convolution. In the file all of it is
standard ONNX, so any runtime reads it. ONNX Runtime runs it here, or ONNX's own reference where
that is not installed.
"""

import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import faltung


class Network(nn.Module):
    """An image's stem, a large depthwise layer, a step down and one up again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = faltung.nn.Conv2d(3, 16, 3, stride=2, padding="same", activation="relu")
        self.large = faltung.nn.Conv2d(16, 16, 13, padding=((6, 6), (12, 0)), groups=16)
        self.down = faltung.nn.Conv2d(16, 32, 2, stride=2, activation="hardswish")
        self.up = faltung.nn.ConvTranspose2d(32, 4, 4, stride=2, padding=1, padding_mode="circular")
        self.line = faltung.nn.CausalConv1d(4, 2, 5, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 2, H · W / 4], for H and W that 4 divides."""
        y = self.up(self.down(self.large(self.stem(x))))
        line: Tensor = self.line(y.flatten(2))
        return line


def run(path: Path, x: Tensor) -> tuple[str, Any]:
    """The result of the file, and who computed it."""
    try:
        import onnxruntime  # noqa: PLC0415  (one of two that will do)
    except ImportError:
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

        session: Any = ReferenceEvaluator(str(path))
        who = "ONNX's reference"
    else:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        who = f"ONNX Runtime {onnxruntime.__version__}"
    return who, session.run(None, {"x": x.numpy()})[0]


def main() -> None:
    """Export, look inside, run and compare."""
    import onnx  # noqa: PLC0415  (says first what the script does)

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # else it tells of what is not needed
    torch.manual_seed(0)
    model, x = Network().eval(), torch.randn(1, 3, 32, 48)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/network.onnx")
        begin = time.perf_counter()
        torch.onnx.export(
            model, (x,), str(path), input_names=["x"], output_names=["y"], external_data=False,
            verbose=False,
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        file = onnx.load(str(path))
        onnx.checker.check_model(file)
        print(f"{path.name}: {path.stat().st_size / 1e3:.1f} kB, written in {seconds:.1f} s")
        operators = Counter(node.op_type for node in file.graph.node)
        print("operators: " + ", ".join(f"{n} {name}" for name, n in sorted(operators.items())))
        who, result = run(path, x)
    with torch.no_grad():
        ours, exact = model(x), model.double()(x.double())
    print(f"\n{'largest error, against float64':<34}{'max|error|':>12}")
    for name, y in (("faltung", ours), (who, torch.from_numpy(result))):
        error = float((y.double() - exact).abs().max())
        print(f"{name:<34}{error:>12.2e}")
        rounding = 64 * torch.finfo(torch.float32).eps * float(exact.abs().max())
        assert y.shape == exact.shape and error < rounding, f"{name} is wrong by {error:.2e}"


if __name__ == "__main__":
    main()
