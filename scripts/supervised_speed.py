"""What supervised runs cost: GEM's recipe as a whole, and a step against the tasks."""

import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from method_costs import leave_tasks
from turns import Measurement, alternate, ratio, repeat

from clrl import allocator
from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import EWC, GEM, Domain, MethodConfig
from clrl.errors import DataError
from clrl.report.score_matrix import COLOURS
from clrl.supervised.data import DATASETS
from clrl.supervised.network import MLP
from clrl.supervised.objective import STATISTICS, CrossEntropy
from clrl.supervised.stream import ExampleBatch
from clrl.threads import thread_counts

TASKS = (1, 2, 5, 10, 15, 20)
METHODS: Mapping[str, MethodConfig] = {"gem": GEM(), "ewc": EWC(importance_batches=1)}
BATCH_SIZE = 10  # as configs/mnist/gem.yaml
MEMORY_SIZE = 256
HIDDEN = (100, 100)
CLASSES = 10
IMAGE = (28, 28)
_DPI = 160
_MILLISECONDS = (1, 2, 5, 10, 20, 50)


def supervised_measurements(
    *, repetitions: int, calls: int, gem_tasks: int, seed: int
) -> Iterator[tuple[str, Measurement]]:
    """Each measurement with its name; the recipe's only where MNIST is at hand.

    Args:
        repetitions: Turns, over which medians are taken.
        calls: Steps in each turn.
        gem_tasks: Tasks of GEM's recipe, which has 20; 0: it is not measured.
        seed: Of the recipe.
    """
    yield from step_costs(repetitions, calls).items()
    if gem_tasks == 0:
        return
    try:
        DATASETS["mnist"].load(None)
    except DataError:
        return
    yield "gem_recipe_seconds", gem_recipe(gem_tasks, seed)


def gem_recipe(tasks: int, seed: int) -> Measurement:
    """Seconds of ``clrl train mnist/gem`` at its best number of threads.

    From the start of the command to the end of its report.
    """
    seconds = {}
    for threads in thread_counts(torch.get_num_threads()):
        with tempfile.TemporaryDirectory() as folder:
            options = {
                "stream.tasks": tasks,
                "threads": threads,
                "seed": seed,
                "runs_dir": folder,
            }
            command = [sys.executable, "-m", "clrl", "train", "mnist/gem"]
            start = time.perf_counter()
            subprocess.run(
                [*command, *(f"--{key}={value}" for key, value in options.items())],
                check=True,
                capture_output=True,
            )
            seconds[f"{threads}_threads_seconds"] = time.perf_counter() - start
    return Measurement(
        value=min(seconds.values()), unit="s", detail={"tasks": tasks, **seconds}
    )


def step_costs(repetitions: int, calls: int) -> dict[str, Measurement]:
    """Time of a step in the last of some tasks, over that in the first."""
    allocator.keep_freed_memory()
    candidates: dict[str, Callable[[], object]] = {}
    for name, method in METHODS.items():
        for tasks in TASKS:
            step = functools.partial(
                learner_after(method, tasks).step, examples(BATCH_SIZE, tasks - 1)
            )
            candidates[f"{name}_{tasks}_tasks"] = repeat(
                functools.partial(step, tasks - 1), calls
            )
    turns = alternate(candidates, repetitions)
    return {
        f"{name}_step_against_tasks": Measurement(
            value=ratio(turns, f"{name}_{TASKS[-1]}_tasks", f"{name}_{TASKS[0]}_tasks"),
            unit="times",
            detail={
                f"{tasks}_tasks_seconds": statistics.median(
                    turns[f"{name}_{tasks}_tasks"]
                )
                / calls
                for tasks in TASKS
            },
        )
        for name in METHODS
    }


def learner_after(method: MethodConfig, tasks: int) -> ContinualLearner[ExampleBatch]:
    """A learner that has left all of ``tasks`` tasks but the last."""
    network = MLP(IMAGE, CLASSES, HIDDEN)
    objective = CrossEntropy()
    domain = Domain[ExampleBatch](
        statistics=STATISTICS,
        batch_type=ExampleBatch,
        objective=objective,
        generator=torch.Generator().manual_seed(0),
    )
    learner = ContinualLearner(
        network=network,
        # Nothing is to be learnt from noise.
        optimizer=torch.optim.SGD(network.parameters(), lr=1e-6),
        objective=objective,
        method=method.build(domain),
    )
    leave_tasks(learner, [examples(MEMORY_SIZE, task) for task in range(tasks - 1)])
    return learner


def examples(count: int, task: int) -> ExampleBatch:
    """Noise with labels."""
    return ExampleBatch(
        torch.randint(256, (count, *IMAGE)).to(torch.uint8),
        torch.randint(CLASSES, (count,)),
        torch.full((count,), task),
    )


def draw_step_costs(results: Mapping[str, Measurement]) -> Figure:
    """Milliseconds of a step against the number of tasks met."""
    figure = Figure(figsize=(6, 3.5), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    for colour, name in zip(COLOURS, METHODS, strict=False):
        seconds = results[f"{name}_step_against_tasks"].detail
        milliseconds = [1_000 * seconds[f"{tasks}_tasks_seconds"] for tasks in TASKS]
        axes.plot(TASKS, milliseconds, ".-", color=colour, label=name.upper())
    axes.set(
        xlabel="tasks met",
        ylabel="milliseconds a step",
        yscale="log",
        xticks=TASKS,
    )
    axes.set_yticks(_MILLISECONDS, [str(value) for value in _MILLISECONDS])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
