"""Runs a recogniser over the minibatches of a supervised config, without training."""

from clrl.config import config_file
from clrl.config.supervised import SupervisedRunConfig
from clrl.progress import Listener, Status
from clrl.recognise.recording import Recording
from clrl.report.recognition import RecognisedStream
from clrl.run.supervised import load_dataset, make_stream


def recognise(config: SupervisedRunConfig, listener: Listener) -> RecognisedStream:
    """Shows a config's recogniser the images that training would show it.

    Args:
        config: Its data set, stream, training and recogniser.
        listener: Is told how far it is.

    Raises:
        DataError: A file of the data set is missing, altered, or cannot be fetched.
        ConfigError: The data set cannot be divided as the config asks.
    """
    stream = make_stream(config, load_dataset(config))
    true_task = stream.visits[0]
    recogniser = config.recogniser.build(lambda: true_task)
    recording = Recording(recogniser, stream.total_examples)
    examples = 0
    for visit, true_task in enumerate(stream.visits):
        for batch, *_ in stream.batches(visit):
            recording.observe(batch.images.numpy(), examples, true_task)
            listener.status(
                Status(
                    game=stream.tasks[true_task].name,
                    visit=visit,
                    visits=len(stream.visits),
                    agent_steps=examples,
                    total_agent_steps=stream.total_examples,
                    label=recording.label,
                    exploration_rate=None,
                    last_return=None,
                )
            )
            examples += len(batch.labels)
    return recording.stream(
        tasks=config.task_names,
        recogniser=config_file.recogniser_name(config.recogniser),
        source=stream.dataset.name,
        step_name="examples",
        frames_per_step=1,
    )
