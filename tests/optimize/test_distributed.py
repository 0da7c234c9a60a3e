"""Two processes that train an optimised model together do what one does with both their batches."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

import faltung

PROCESSES = 2


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(),
        nn.Linear(8 * 6 * 6, 1),
    )  # fmt: skip


def batch() -> Tensor:
    torch.manual_seed(4)
    return torch.randn(2 * PROCESSES, 3, 8, 8)


def trained(made: nn.Module, x: Tensor) -> None:
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        made(x).square().mean().backward()
        optimizer.step()


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    made = faltung.optimize_(model())
    trained(DistributedDataParallel(made), batch()[2 * rank : 2 * rank + 2])
    torch.save(made.state_dict(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available(), reason="PyTorch was built without it")
@pytest.mark.filterwarnings("ignore")
def test_two_processes_are_one(tmp_path: Path) -> None:
    spawn(work, args=(str(tmp_path),), nprocs=PROCESSES)
    alone = model()
    trained(alone, batch())
    for rank in range(PROCESSES):
        state = torch.load(tmp_path / f"{rank}.pt")
        for name, value in alone.state_dict().items():
            slip = (state[name] - value).abs().max()
            assert slip <= 64 * torch.finfo(torch.float32).eps * value.abs().max(), name
