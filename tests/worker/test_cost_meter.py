"""What a cell takes is measured from its beginning on, and training apart."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from tlbench.worker.cost_meter import CostMeter

CPU = torch.device("cpu")


def test_training_is_a_part_of_the_whole_and_cpu_seconds_are_those_of_the_process() -> None:
    began = time.time()
    meter = CostMeter(CPU)
    with meter.training():
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    time.sleep(0.2)
    cost = meter.cost(2, 0.5)
    assert 0.2 <= cost.train_seconds <= cost.seconds - 0.2
    assert 0.2 <= cost.cpu_seconds <= cost.seconds
    assert began <= cost.started <= began + 1
    assert (cost.cpus, cost.gpus) == (2, 0.5)


def test_a_training_that_fails_is_counted() -> None:
    meter = CostMeter(CPU)

    @meter.training()
    def fail() -> None:
        time.sleep(0.1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert meter.cost(1, 0).train_seconds >= 0.1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not reset the peak")
def test_the_peak_of_memory_is_the_cell_s_own() -> None:
    # In a process of its own: in this one, other tests may have told the allocator to keep what is freed.
    code = (
        "import numpy as np, torch\n"
        "from tlbench.worker.cost_meter import CostMeter\n"
        "cpu = torch.device('cpu')\n"
        "large = np.ones(300 * 2**17)\n"
        "first = CostMeter(cpu).cost(1, 0).peak_memory\n"
        "del large\n"
        "print(first - CostMeter(cpu).cost(1, 0).peak_memory)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0.8 * 300 * 2**20
