"""The way of a GPU, rehearsed on a CPU: streams and graphs that call what they captured."""

import pytest
import torch

from randprune_core.training import engine
from randprune_core.training.engine import Run

CPU = torch.device("cpu")


class Rehearsal:
    """Stands in for CUDA streams and graphs: a replay calls the step that was captured.

    The device is through with a step when it was asked `patience` times; `waiting` are the steps
    that it has and is not through with, `longest` the most that it ever had.
    """

    def __init__(self, monkeypatch, patience: int = 0):
        self.replays, self.waiting, self.longest = 0, 0, 0
        rehearsal = self

        class Event:
            def __init__(self):
                self.left = patience
                rehearsal.waiting += 1
                rehearsal.longest = max(rehearsal.longest, rehearsal.waiting)

            def query(self):
                self.left -= 1
                rehearsal.waiting -= self.left == -1
                return self.left < 0

            def synchronize(self):
                while not self.query():
                    pass

        class Stream:
            def record_event(self):
                return Event()

            def __enter__(self):
                return self

            def __exit__(self, *error):
                return None

        class Graph:
            def pool(self):
                return "pool"

            def replay(self):
                rehearsal.replays += 1
                self.step()

        class capture:
            """Keeps what is called in its block, which like on a GPU computes nothing."""

            def __init__(self, graph, pool, stream):
                self.graph = graph

            def __enter__(self):
                def remember(run, size):
                    self.graph.step = lambda: real(run, size)

                real = Run.step
                self.patch = pytest.MonkeyPatch()
                self.patch.setattr(Run, "step", remember)

            def __exit__(self, *error):
                self.patch.undo()

        monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
        monkeypatch.setattr(torch.cuda, "graph", capture)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(engine, "_rate", lambda config, device: torch.tensor(config.lr))
        self.stream = Stream()

    def run(self, config) -> Run:
        run = Run(config, CPU)
        run._stream = self.stream
        return run


def finish(run: Run) -> Run:
    while run.epoch < run.config.epochs:
        run.start_epoch()
        run.finish_epoch()
    return run
