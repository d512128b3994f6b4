"""What a recogniser made of a stream, for TensorBoard."""

import math
from contextlib import closing
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from clrl.evaluation.recognition import switch_delays_steps, switches, values_at
from clrl.report.recognition import RecognisedStream, draw_contexts, draw_timeline


def write_tensorboard(stream: RecognisedStream, folder: Path) -> None:
    """Writes an event file: what changes over the stream, all measures, pictures.

    True task, label, contexts found and posterior are there for the moments at which
    the posterior was looked at; a delay for each true switch; measures at the end.
    """
    with closing(SummaryWriter(str(folder))) as writer:
        _write_course(writer, stream)
        _write_delays(writer, stream)
        for name, value in stream.measures()._asdict().items():
            if not math.isnan(value):
                writer.add_scalar(f"measure/{name}", value, stream.total_steps)
        milliseconds = stream.milliseconds_per_step()
        writer.add_scalar(
            "measure/milliseconds_per_step", milliseconds, stream.total_steps
        )
        writer.add_figure("over_time", draw_timeline(stream), stream.total_steps)
        if len(stream.screens):
            writer.add_figure("contexts", draw_contexts(stream), stream.total_steps)
        for context, screen in enumerate(stream.screens):
            picture = np.clip(screen, 0, 255).astype(np.uint8)
            writer.add_image(
                f"context/{context}", picture, stream.total_steps, dataformats="HW"
            )


def _write_course(writer: SummaryWriter, stream: RecognisedStream) -> None:
    truth = values_at(stream.truth, stream.posterior_steps)
    labels = values_at(stream.labels, stream.posterior_steps)
    found = np.maximum.accumulate(labels) + 1
    for row, step in enumerate(stream.posterior_steps.tolist()):
        writer.add_scalar("recognition/true_task", truth[row], step)
        writer.add_scalar("recognition/label", labels[row], step)
        writer.add_scalar("recognition/contexts", found[row], step)
        *known, unknown = stream.posterior[row].tolist()
        for context, probability in enumerate(known):
            writer.add_scalar(f"posterior/task_{context}", probability, step)
        writer.add_scalar("posterior/unknown", unknown, step)


def _write_delays(writer: SummaryWriter, stream: RecognisedStream) -> None:
    timelines = stream.truth, stream.labels, stream.total_steps
    delays = switch_delays_steps(*timelines).tolist()
    for step, delay in zip(switches(stream.truth).tolist(), delays, strict=True):
        writer.add_scalar("recognition/delay_steps", delay, step)
        writer.add_scalar(
            "recognition/delay_frames", delay * stream.frames_per_step, step
        )
