"""What was measured of recognition, as tables in ``docs/recognition.md``."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

PAGE = Path("docs/recognition.md")
AGENT = "agent.json"

BEGIN = "<!-- scripts/recognition.py --page writes from here -->"
END = "<!-- to here -->"

_SPLIT_SHARE = 0.02
"""A game has a context that holds this share of its steps."""

_MERGER_SHARE = 0.1
"""Games share a context that holds this share of the steps of each."""

_NAMED_GAMES = 6
"""At most so many to which the same happened are named."""

_Shares: TypeAlias = dict[str, dict[str, float]]
"""Of each game's steps, by label."""

COLUMNS = (
    *("case", "recogniser", "seed", "agent steps", "ARI"),
    *("contexts of 1 %", "tasks", "delay: median, longest", "false switches"),
    *("wrong label", "other's memory"),
)


def write_page(results: Path, page: Path = PAGE) -> None:
    """Puts all results of a folder into the page, between its two marks."""
    tables = "\n".join([BEGIN, "", *_tables(results), "", END])
    marked = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    text, count = marked.subn(lambda _: tables, page.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"expected {BEGIN} and {END} in {page} once, got {count}.")
    page.write_text(text, encoding="utf-8")


def _tables(results: Path) -> Iterator[str]:
    found = [
        json.loads(path.read_text()) for path in sorted(results.glob("*seed*.json"))
    ]
    yield from _table(COLUMNS, (_row(result) for result in found))
    yield ""
    machines = sorted({result["machine"] for result in found})
    dates = sorted({result["date"] for result in found})
    yield f"{', '.join(machines)}, {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}."
    yield ""
    yield from _agent(results / AGENT)
    yield "Games with false switches, and games that share a context or have several:"
    yield ""
    for result in found:
        for remark in _remarks(result):
            yield f"- {_name(result)}: {remark}"


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(cells)} |"


def _name(result: dict[str, Any]) -> str:
    return f"`{result['case']}`, `{result['recogniser']}`, seed {result['seed']}"


def _row(result: dict[str, Any]) -> list[str]:
    found = result["measures"]
    delays = [found["median_delay_steps"], found["max_delay_steps"]]
    return [
        f"`{result['case']}`",
        f"`{result['recogniser']}`",
        str(result["seed"]),
        f"{result['agent_steps']:,}",
        f"{found['adjusted_rand_index']:.4f}",
        str(found["contexts_of_at_least_1_percent"]),
        str(found["tasks"]),
        "-" if None in delays else f"{delays[0]:g}, {delays[1]:g}",
        str(found["false_switches"]),
        f"{found['wrong_label_share']:.2%}",
        f"{found['contaminated_share']:.2%}",
    ]


def _remarks(result: dict[str, Any]) -> Iterator[str]:
    false = result["false_switches_by_game"]
    if len(false) > _NAMED_GAMES:
        yield f"{sum(false.values())} false switches in {len(false)} games"
    elif false:
        each = ", ".join(f"{game} {count}" for game, count in sorted(false.items()))
        yield f"false switches in {each}"
    shares = {
        game: {label: steps / sum(row.values()) for label, steps in row.items()}
        for game, row in result["steps_by_game_and_label"].items()
    }
    yield from _splits(shares)
    yield from _mergers(shares)


def _splits(shares: _Shares) -> Iterator[str]:
    large_of = {
        game: [f"{share:.0%}" for share in row.values() if share >= _SPLIT_SHARE]
        for game, row in shares.items()
    }
    split = {game: large for game, large in large_of.items() if len(large) > 1}
    if len(split) > _NAMED_GAMES:
        yield f"{len(split)} of {len(shares)} games have several contexts"
        return
    for game, large in split.items():
        yield f"{game} has {len(large)} contexts ({', '.join(large)} of its steps)"


def _mergers(shares: _Shares) -> Iterator[str]:
    games_of: dict[str, list[str]] = {}
    for game, row in shares.items():
        for label, share in row.items():
            if share >= _MERGER_SHARE:
                games_of.setdefault(label, []).append(game)
    for games in games_of.values():
        if len(games) > _NAMED_GAMES:
            yield f"one context for {len(games)} of {len(shares)} games"
        elif len(games) > 1:
            yield f"one context for {', '.join(sorted(games))}"


def _agent(path: Path) -> Iterator[str]:
    """How well the agent plays that plays in some cases."""
    if not path.exists():
        return
    agent = json.loads(path.read_text())
    yield f"The trained agent beside a random policy, {agent['conditions']}:"
    yield ""
    columns = ["game", "agent", "random policy"]
    rows = (
        [game, f"{scores['agent']:.1f}", f"{scores['random']:.1f}"]
        for game, scores in agent["games"].items()
    )
    yield from _table(columns, rows)
    yield ""
