"""Puts a supervised run together from its config, trains, and keeps what comes out."""

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from contextlib import closing

import torch
from torch.utils.tensorboard import SummaryWriter

from clrl import allocator
from clrl.checkpoint import restoring, write_checkpoint
from clrl.config import config_file
from clrl.config.supervised import SupervisedRunConfig, TrainingConfig
from clrl.continual.learner import ContinualLearner
from clrl.continual.methods import Domain
from clrl.continual.precision import PRECISIONS, try_precisions, until_tried
from clrl.device import device_name, device_of
from clrl.errors import ConfigError, DivergenceError
from clrl.progress import Listener
from clrl.recognition.recognisers import OracleRecogniser
from clrl.records import Evaluation, Labelling, RecordWriter, Relabelled
from clrl.relabelling import recorded_true_labels
from clrl.run_directory import RunDirectory
from clrl.seeding import stream_number
from clrl.supervised.data import DATASETS, Dataset, Examples
from clrl.supervised.network import MLP, ClassMask
from clrl.supervised.objective import STATISTICS, CrossEntropy
from clrl.supervised.recorder import Recorder, describe, evaluations
from clrl.supervised.stopping import AllPasses, EarlyStopping, Stopping
from clrl.supervised.stream import (
    ExampleBatch,
    TaskStream,
    fixed_order,
    random_order,
)
from clrl.supervised.train import Memories, Trainer
from clrl.threads import fastest_threads
from clrl.types import TaskId

_TRIAL_BATCHES = 4


def check(config: SupervisedRunConfig) -> None:
    """Raises ConfigError if the device is not here; the config has checked the rest."""
    device_of(config.device)


def train(
    config: SupervisedRunConfig, directory: RunDirectory, listener: Listener
) -> None:
    """Trains on the whole stream and saves the classifier.

    Raises:
        DataError: A file of the data set is missing, altered, or cannot be fetched.
        DivergenceError: Loss, penalty or gradient stopped being finite; records are
            kept, and no checkpoint of the broken weights is written.
        ConfigError: The data set cannot be divided as the config asks, or precision
            auto has a single minibatch to try; or the recogniser found more tasks than
            the network has room for, when a checkpoint of where the run was is kept.
        BaseException: Whatever else stops it, after a checkpoint of where the run was.
    """
    allocator.keep_freed_memory()
    config = with_threads(with_precision(config, listener), listener)
    # Dropout draws from torch's global generator.
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        trainer = make_trainer(config)
        stream = trainer.stream
        directory.write_provenance(
            protocol=config.rules,
            command=sys.argv,
            device=device_name(device_of(config.device)),
            data_md5s=stream.dataset.md5s,
            precision=config.training.precision,
            threads=torch.get_num_threads(),
        )
        at_most = "" if config.training.patience_passes is None else "up to "
        total = f"{at_most}{stream.total_examples:,} examples"
        listener.message(f"{config.rules}, {total}")
        with (
            closing(SummaryWriter(str(directory.tensorboard))) as tensorboard,
            RecordWriter(directory.records) as writer,
        ):
            recorder = Recorder(
                writer.write, tensorboard, listener, also_under=config.also_under
            )
            try:
                trainer.learn(recorder)
            except DivergenceError:
                raise  # the weights are broken
            except BaseException:  # as for games: what was learnt is not lost
                save(trainer, directory)
                raise
            save(trainer, directory)


def evaluate(
    directory: RunDirectory,
    episodes: int | None,
    listener: Listener,
    also_under: Sequence[Labelling] | None = None,
) -> list[Evaluation | Relabelled]:
    """Scores all tasks of a run with its saved classifier.

    Args:
        directory: Of the run.
        episodes: Must be None: an accuracy is over the whole test set.
        listener: Is told each score.
        also_under: Other labels than the inferred one to score under; by default as in
            the run's config.

    Raises:
        ConfigError: Episodes are asked for, or scores without a label although tasks
            own layers.
        CheckpointError: There is no checkpoint, or it was altered.
        DataError: A file of the data set is missing, altered, or cannot be fetched.
    """
    if episodes is not None:
        raise ConfigError(
            "--episodes is for games, got a supervised run, whose accuracies are over "
            "the whole test sets; leave it out."
        )
    config = config_file.read_config(directory.config)
    assert isinstance(config, SupervisedRunConfig)
    if also_under is not None:
        config = dataclasses.replace(config, also_under=tuple(also_under))
    trainer = make_trainer(config)
    load(trainer, directory)
    true_labels = (
        recorded_true_labels(directory.records, config.task_names)
        if config.also_under
        else {}
    )
    found = []
    for record in evaluations(
        trainer,
        trainer.examples,
        len(trainer.stream.visits),
        config.also_under,
        true_labels,
    ):
        found.append(record)
        listener.message(describe(record))
    return found


def make_trainer(config: SupervisedRunConfig) -> Trainer:
    """A freshly initialised classifier for the config's stream.

    Raises:
        DataError: A file of the data set is missing, altered, or cannot be fetched.
        ConfigError: The data set cannot be divided as the config asks.
        MemoryBudgetError: What the method keeps of all tasks would not fit.
    """
    if isinstance(config.threads, int):
        torch.set_num_threads(config.threads)
    device = device_of(config.device)
    dataset = load_dataset(config).to(device)
    stopping: Stopping = AllPasses()
    if config.training.patience_passes is not None:
        validation = make_validation(config, dataset)
        dataset = dataclasses.replace(validation.dataset, test=dataset.test)
        stopping = EarlyStopping(validation, config.training.patience_passes)
    stream = make_stream(config, dataset)
    one = ExampleBatch.of(Examples(*(x[:1] for x in dataset.train)), 0)
    config.method.check_memory(len(stream.tasks), sum(x.nbytes for x in one))
    return Trainer(
        stream=stream,
        learner=make_learner(config, stream, device),
        recogniser=config.recogniser,
        memories=Memories(
            examples=config.training.memory_examples,
            batch_size=config.training.batch_size,
            of_test=config.training.importance_from == "test",
        ),
        seed=config.seed,
        stopping=stopping,
    )


def load_dataset(config: SupervisedRunConfig) -> Dataset:
    """What the tasks are made from, in the CPU's memory.

    Raises:
        DataError: A file of the data set is missing, altered, or cannot be fetched.
        ConfigError: Fewer training examples than are to be held out.
    """
    dataset = DATASETS[config.dataset].load(config.data_dir)
    if config.held_out_examples is None:
        return dataset
    return dataset.holding_out(config.held_out_examples)


def make_stream(config: SupervisedRunConfig, dataset: Dataset) -> TaskStream:
    """The tasks to learn.

    Raises:
        ConfigError: The data set cannot be divided as the config asks.
    """
    image_shape = dataset.train.images.shape[1:]
    tasks = config.stream.build(dataset.name, dataset.classes, image_shape, config.seed)
    training = config.training
    visits = fixed_order(len(tasks), training.visits_per_task)
    if training.order == "random":
        visits = random_order(len(tasks), training.visits_per_task, config.seed)
    return TaskStream(
        dataset=dataset,
        tasks=tasks,
        visits=visits,
        batch_size=training.batch_size,
        passes=training.passes,
        examples_per_task=training.examples_per_task,
        test_examples=config.test_examples,
        seed=config.seed,
    )


def make_validation(config: SupervisedRunConfig, dataset: Dataset) -> TaskStream:
    """The same tasks, their test examples held out of the training set.

    ``training.validation_examples`` says how many; ``test_examples`` has no part in it.

    Raises:
        ConfigError: There would be none left to train on.
    """
    count = config.training.validation_examples
    return make_stream(
        dataclasses.replace(config, test_examples=None),
        dataset.holding_out(count, "training.validation_examples"),
    )


def make_learner(
    config: SupervisedRunConfig, stream: TaskStream, device: torch.device
) -> ContinualLearner[ExampleBatch]:
    """A network with initial weights from the seed, its optimiser and its method."""
    network = make_network(config, stream).to(device)
    generator = torch.Generator(device).manual_seed(config.seed)
    objective = CrossEntropy(
        precision=PRECISIONS[until_tried(config.training.precision)]
    )
    domain = Domain[ExampleBatch](
        statistics=STATISTICS,
        batch_type=ExampleBatch,
        objective=objective,
        generator=generator,
    )
    max_grad_norm = config.training.max_grad_norm
    return ContinualLearner(
        network=network,
        optimizer=_optimizer(config.training, network),
        objective=objective,
        method=config.method.build(domain),
        max_grad_norm=float("inf") if max_grad_norm is None else max_grad_norm,
    )


def make_network(config: SupervisedRunConfig, stream: TaskStream) -> MLP:
    """A network with initial weights from the seed."""
    n_outputs = stream.n_outputs
    answers = range(n_outputs)
    allowed = torch.tensor(
        [[a in task.classes for a in answers] for task in stream.tasks]
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed + stream_number("network"))
        return MLP(
            stream.dataset.train.images.shape[1:],
            n_outputs,
            config.network.hidden,
            input_dropout=config.network.input_dropout,
            hidden_dropout=config.network.hidden_dropout,
            initialisation=config.network.initialisation,
            task_layers=config.network,
            max_tasks=config.network.max_tasks,
            mask=ClassMask(allowed) if config.stream.told_tasks else None,
        )


def with_precision(
    config: SupervisedRunConfig, listener: Listener
) -> SupervisedRunConfig:
    """``config`` with ``precision: auto`` replaced by what this machine is better at.

    A throwaway trainer tries, so that the run itself starts as ever.

    Raises:
        ConfigError: A pass over the first task has a single minibatch.
        DataError: As ``make_trainer``.
    """
    if config.training.precision != "auto":
        return config
    trainer = make_trainer(config)
    arrivals = list(itertools.islice(trainer.stream.batches(0), _TRIAL_BATCHES))
    if arrivals[0].ends_pass:
        raise ConfigError(
            "training.precision auto compares minibatches, got a pass of only one; "
            "choose float32 or bfloat16, or a smaller training.batch_size."
        )
    trial = try_precisions(
        trainer.network,
        lambda dtype: CrossEntropy(precision=dtype),
        [ExampleBatch.of(examples, _first_label(trainer)) for examples, *_ in arrivals],
    )
    listener.message(str(trial))
    chosen = dataclasses.replace(config.training, precision=trial.precision)
    return dataclasses.replace(config, training=chosen)


def with_threads(
    config: SupervisedRunConfig, listener: Listener
) -> SupervisedRunConfig:
    """``config`` with ``threads: auto`` replaced by what a throwaway trainer finds."""
    if config.threads != "auto":
        return config
    trainer = make_trainer(config)
    examples, *_ = next(iter(trainer.stream.batches(0)))
    task = _first_label(trainer)
    batch = ExampleBatch.of(examples, task)
    threads = fastest_threads(
        # A number is there only when a GPU is done.
        lambda: float(trainer.learner.step(batch, task)["loss"]),
        listener.message,
    )
    return dataclasses.replace(config, threads=threads)


def _first_label(trainer: Trainer) -> TaskId:
    """What the first batch will be labelled: the truth, where the learner is told."""
    is_told = isinstance(trainer.recogniser_config, OracleRecogniser)
    return trainer.stream.visits[0] if is_told else trainer.task


def save(trainer: Trainer, directory: RunDirectory) -> None:
    """Writes weights, and all the trainer knows about its tasks."""
    write_checkpoint(
        directory.checkpoint,
        {"network": trainer.network.state_dict(), "continual": trainer.state_dict()},
        {"agent_steps": trainer.examples, "updates": trainer.updates},
    )


def load(trainer: Trainer, directory: RunDirectory) -> None:
    """Restores what ``save`` wrote.

    Raises:
        CheckpointError: There is no checkpoint, it was altered, or it is another
            version's.
    """
    with restoring(directory.checkpoint) as parts:
        trainer.network.load_state_dict(parts["network"])
        trainer.load_state_dict(parts["continual"])


def _optimizer(training: TrainingConfig, network: MLP) -> torch.optim.Optimizer:
    if training.optimizer == "adam":
        # One pass over memory: else Adam takes a quarter of a wide network's update.
        return torch.optim.Adam(
            network.parameters(), lr=training.learning_rate, fused=True
        )
    return torch.optim.SGD(
        network.parameters(), lr=training.learning_rate, momentum=training.momentum
    )
