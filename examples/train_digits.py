"""Train a small network on handwritten digits, with our convolutions and with PyTorch's.

    python examples/train_digits.py

The digits are scikit-learn's: 1797 images of 8×8. The network begins with a large depthwise kernel
and goes down by strides; its layers are PyTorch's, and `faltung.optimize_` swaps them for ours,
gradients and all. From the same weights and the same order of batches both learn the same.
"""

import copy
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import faltung

EPOCHS = 6
BATCH = 64


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images and their digits, to train with and to test with."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (says first what the script does)

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    targets = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    return (images[train], targets[train]), (images[test], targets[test])


def network() -> nn.Module:
    """A large depthwise kernel, pointwise and strided layers: a hundred thousand weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 7, padding=3, groups=16),
        nn.Conv2d(16, 32, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10),
    )


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, t: Tensor) -> float:
    """One pass over the data; the mean loss."""
    model.train()
    losses = []
    for begin in range(0, len(x), BATCH):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[begin : begin + BATCH]), t[begin : begin + BATCH])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, t: Tensor) -> float:
    """The share of images whose digit is the one with the highest score."""
    return float((model.eval()(x).argmax(1) == t).float().mean())


def main() -> None:
    """Train both and print what they learn."""
    torch.manual_seed(0)
    train, test = digits()
    theirs = network()
    ours = faltung.optimize_(copy.deepcopy(theirs))
    models = {"PyTorch": theirs, "faltung": ours}
    optimizers = {n: torch.optim.Adam(m.parameters(), 2e-3) for n, m in models.items()}
    seconds = dict.fromkeys(models, 0.0)
    print("epoch   " + "".join(f"{name + ' loss':>14}{'test':>9}" for name in models))
    for number in range(1, EPOCHS + 1):
        row = f"{number:>5}   "
        for name, model in models.items():
            begin = time.perf_counter()
            loss = epoch(model, optimizers[name], *train)
            if number > 1:  # in the first one routines are compiled, or loaded
                seconds[name] += time.perf_counter() - begin
            row += f"{loss:>14.4f}{accuracy(model, *test):>8.1%} "
        print(row)
    print(
        "\nseconds of training after the first epoch: "
        + ", ".join(f"{n} {s:.2f}" for n, s in seconds.items())
    )
    print("what ran, forward and backward:")
    for algorithm, calls in faltung.usage().most_common():
        print(f"  {algorithm:<28}{calls:>6} calls")
    final = accuracy(ours, *test)
    assert final > 0.95, f"the network has learned too little: {final:.1%}"


if __name__ == "__main__":
    main()
