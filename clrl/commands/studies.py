"""``clrl recognise``, ``patterns`` and ``overlap``: studies that keep no learner."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from clrl.commands.console import line, listening
from clrl.config.library import find_config
from clrl.errors import ConfigError
from clrl.run_directory import RunDirectory, run_stem

if TYPE_CHECKING:
    from clrl.commands.parsers import Commands
    from clrl.config.any_domain import CommonConfig
    from clrl.report.recognition import RecognisedStream


def add_to(commands: "Commands") -> None:
    """Adds the commands of this module to the parser."""
    _add_recognise(commands)
    _add_patterns(commands)
    _add_overlap(commands)


def _add_recognise(commands: "Commands") -> None:
    parser = commands.add_parser(
        "recognise",
        help="run a config's recogniser over its stream, without training",
        usage="clrl recognise CONFIG [--agent RUN] [--key value ...]",
        allow_abbrev=False,
    )
    parser.add_argument("config", metavar="CONFIG")
    parser.add_argument(
        "--agent", type=Path, metavar="RUN", help="whose agent plays; else at random"
    )
    parser.set_defaults(execute=recognise, takes_keys=True)


def _add_patterns(commands: "Commands") -> None:
    parser = commands.add_parser(
        "patterns", help="what EWC changes in a linear memory of random patterns"
    )
    parser.add_argument("--synapses", type=int, default=1_000, help="(1000)")
    parser.add_argument("--repeats", type=int, default=400, help="memories (400)")
    parser.add_argument("--seed", type=int, default=0, help="of the patterns (0)")
    parser.add_argument(
        "--output", type=Path, default=Path("patterns.png"), metavar="FILE"
    )
    parser.set_defaults(execute=patterns)


def _add_overlap(commands: "Commands") -> None:
    parser = commands.add_parser(
        "overlap",
        help="how far tasks that are more or less alike need the same parameters",
        usage="clrl overlap CONFIG [--squares N ...] [--seeds N] [--key value ...]",
        allow_abbrev=False,
    )
    parser.add_argument("config", metavar="CONFIG")
    parser.add_argument(
        "--squares", type=int, nargs="+", default=(8, 26), help="their sides (8 26)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="networks of each (3)")
    parser.add_argument(
        "--output", type=Path, default=Path("overlap.png"), metavar="FILE"
    )
    parser.set_defaults(execute=overlap, takes_keys=True)


def recognise(out: Console, options: argparse.Namespace) -> int:
    """Runs a recogniser over a stream; the exit code."""
    from clrl.config import config_file
    from clrl.recognise.tensorboard import write_tensorboard
    from clrl.report import recognition as report

    config = config_file.read_config(find_config(options.config), options.overrides)
    stream = _recognised(out, config, options.agent)
    stem = run_stem("recognise", stream.recogniser, config.subject, config.seed)
    directory = RunDirectory.create_numbered(config.runs_dir, stem)
    folder = directory.path
    report.write_json(stream, folder / "recognition.json")
    report.draw_timeline(stream).savefig(folder / "recognition.png")
    report.draw_contexts(stream).savefig(folder / "contexts.png")
    write_tensorboard(stream, directory.tensorboard)
    out.print(report.recognition_table(stream))
    line(out, f"numbers      {folder / 'recognition.json'}")
    line(out, f"over time    {folder / 'recognition.png'}")
    line(out, f"contexts     {folder / 'contexts.png'}")
    line(out, f"tensorboard --logdir {directory.tensorboard}")
    return 0


def _recognised(
    out: Console, config: "CommonConfig", agent: Path | None
) -> "RecognisedStream":
    from clrl.config.games import RunConfig
    from clrl.config.supervised import SupervisedRunConfig

    if isinstance(config, SupervisedRunConfig):
        from clrl.recognise import supervised

        if agent is not None:
            raise ConfigError(
                f"--agent is for games, which somebody must play, got {agent} for a "
                "supervised config; leave it out."
            )
        with listening(out) as listener:
            return supervised.recognise(config, listener)
    from clrl.rl.atari_modes import check_specs

    assert isinstance(config, RunConfig)
    check_specs(config.games)
    agent_run = None if agent is None else RunDirectory.open(agent)

    from clrl.recognise.games import recognise

    with listening(out) as listener:
        return recognise(config, agent_run, listener)


def patterns(out: Console, options: argparse.Namespace) -> int:
    """Simulates memories of random patterns; the exit code."""
    from clrl.patterns import run_patterns

    with listening(out) as listener:
        table = run_patterns(
            options.output,
            synapses=options.synapses,
            repeats=options.repeats,
            seed=options.seed,
            listener=listener,
        )
    out.print(table)
    line(out, f"picture      {options.output}")
    return 0


def overlap(out: Console, options: argparse.Namespace) -> int:
    """Measures the Fisher overlap of tasks; the exit code."""
    from clrl.config import config_file
    from clrl.overlap import run_overlap

    config = config_file.read_supervised_config(
        find_config(options.config), options.overrides
    )
    with listening(out) as listener:
        table = run_overlap(
            config,
            options.output,
            squares=options.squares,
            seeds=options.seeds,
            listener=listener,
        )
    out.print(table)
    line(out, f"picture      {options.output}")
    line(out, f"numbers      {options.output.with_suffix('.json')}")
    return 0
