"""What was run, in the words of its config."""

from collections.abc import Mapping
from typing import Any

from clrl.report.run_data import RunData


def facts(run: RunData) -> list[tuple[str, str]]:
    """Each with its name, those that matter most first."""
    own = _supervised(run) if run.is_supervised else _on_games(run)
    return [
        (run.words.tasks, ", ".join(run.games)),
        ("method", _named(run.description.method, run.config["method"])),
        ("recogniser", run.description.recogniser),
        *own,
        ("seed", str(run.description.seed)),
    ]


def _on_games(run: RunData) -> list[tuple[str, str]]:
    sequence, network = run.config["sequence"], run.config.get("network", {})
    pixels = sequence.get("frame_size", "?")
    return [
        ("protocol", run.provenance.get("protocol", run.description.protocol)),
        (
            "sequence",
            f"{sequence['visits_per_game']} visits to each game, "
            f"{sequence['visit_steps']:,} agent steps each, "
            f"{sequence.get('order', 'fixed')} order, {sequence['num_envs']} "
            "environments",
        ),
        ("network", f"{network.get('name', 'not known')}, {pixels} x {pixels} pixels"),
    ]


def _supervised(run: RunData) -> list[tuple[str, str]]:
    stream, training = run.config["stream"], run.config["training"]
    hidden = run.config.get("network", {}).get("hidden", ())
    examples = training.get("examples_per_task")
    passes = training.get("passes", 1)
    return [
        ("data", f"{run.config['dataset']}, {_named(stream['name'], stream)}"),
        (
            "training",
            f"{_counted(training['visits_per_task'], 'visit')} to each task, "
            f"{_counted(passes, 'pass', 'passes')} over "
            f"{'all' if examples is None else f'{examples:,}'} of its examples, "
            f"{training.get('order', 'fixed')} order, batches of "
            f"{training.get('batch_size', '?')}, {training.get('optimizer', '?')} with "
            f"learning rate {training.get('learning_rate', '?')}",
        ),
        (
            "network",
            f"hidden layers of {', '.join(map(str, hidden))} units"
            if hidden
            else "no hidden layer",
        ),
    ]


def _named(name: str, section: Mapping[str, Any]) -> str:
    options = {
        key: value
        for key, value in section.items()
        if key != "name" and value is not None
    }
    shown = ", ".join(f"{key} {value}" for key, value in options.items())
    return f"{name} ({shown})" if shown else name


def _counted(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"
