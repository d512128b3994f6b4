import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from clrl.config.config_file import hyper_parameters, read_game_config, to_yaml
from clrl.config.games import RunConfig
from clrl.recognition.recognisers import RECOGNISERS
from clrl.report.comparison_runs import select
from clrl.report.references import FOLDER, folder_beside, plan, read_references

from ..synthetic_run import GAMES, synthetic_run
from .run_files import EWC, FINETUNE, config_of, write_references, write_run

GAME = GAMES[0]


def name_of(config: RunConfig, seed: int = 0) -> str:
    (reference,) = plan(Path("x"), hyper_parameters(config), [GAME], [seed])
    return reference.path.name


def with_agent(**changes: object) -> RunConfig:
    config = config_of()
    agent = dataclasses.replace(config.agent, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(config, agent=agent)


def with_sequence(**changes: object) -> RunConfig:
    config = config_of()
    sequence = dataclasses.replace(config.sequence, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(config, sequence=sequence)


@pytest.mark.parametrize(
    "config",
    [
        config_of(FINETUNE),
        config_of(EWC, seed=3),
        config_of(games=GAMES[:2]),
        dataclasses.replace(config_of(), recogniser=RECOGNISERS["flat_fmn"]()),
        dataclasses.replace(
            config_of(), name="x", runs_dir=Path("y"), device="cuda", threads=1
        ),
        with_agent(consolidation_starts=7),
        with_sequence(order="random"),
    ],
)
def test_runs_that_learn_a_game_alike_share_its_references(config: RunConfig) -> None:
    assert name_of(config) == name_of(config_of())


@pytest.mark.parametrize(
    "config",
    [
        with_agent(learning_rate=0.1),
        with_agent(buffer_size=1234),
        with_sequence(protocol="machado"),
        with_sequence(visit_steps=30_001),
        with_sequence(visits_per_game=3),
        with_sequence(num_envs=2),
    ],
)
def test_another_agent_or_protocol_has_references_of_its_own(config: RunConfig) -> None:
    assert name_of(config) != name_of(config_of())


def test_every_game_and_seed_has_a_name_of_its_own() -> None:
    found = plan(Path("x"), hyper_parameters(config_of()), GAMES, [0, 7])
    assert len({reference.path for reference in found}) == 2 * len(GAMES)
    assert name_of(config_of(), 7).endswith("-seed7")


def test_the_config_of_a_reference_leads_back_to_it(tmp_path: Path) -> None:
    """It is the run's, with one game, no method and one task."""
    config = dataclasses.replace(
        config_of(EWC, seed=3), recogniser=RECOGNISERS["flat_fmn"]()
    )
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config), "utf-8")
    (reference,) = plan(tmp_path, hyper_parameters(config), [GAME], [5])
    changes = [f"--{key}={text}" for key, text in reference.overrides.items()]
    alone = read_game_config(file, changes)
    assert alone.games == (GAME,)
    assert alone.seed == 5
    assert (alone.method, alone.recogniser) == (FINETUNE, RECOGNISERS["one_task"]())
    assert alone.runs_dir / str(alone.name) == reference.path
    assert alone.agent == config.agent
    assert alone.sequence == config.sequence
    (again,) = plan(tmp_path, hyper_parameters(alone), [GAME], [5])
    assert again == reference
    folder = folder_beside(tmp_path / "run")
    assert folder == folder_beside(folder / reference.path.name)


def test_agent_steps_are_counted_in_whole_vector_steps() -> None:
    config = with_sequence(visit_steps=1001, visits_per_game=2, num_envs=8)
    (reference,) = plan(Path("x"), hyper_parameters(config), [GAME], [0])
    assert reference.agent_steps == 2 * 1008


def test_only_what_is_at_its_end_is_cached(tmp_path: Path) -> None:
    config = config_of()
    first, second, third = write_references(tmp_path, config)
    half = [r for r in synthetic_run(GAMES[1:2]) if r.agent_steps < 50_000]
    (second / "records.jsonl").unlink()
    os.rename(second, tmp_path / "away")
    write_run(second, config_of(games=GAMES[1:2]), half, with_summary=False)
    (third / "config.yaml").unlink()
    texts = hyper_parameters(config)
    found = {
        r.path: r.missing for r in plan(tmp_path / FOLDER, texts, GAMES, [0, 1])[::2]
    }
    assert found == {
        first: "",
        second: "in progress or interrupted: 1 of 2 visits are scored",
        third: "holds no run: there is no config.yaml",
    }
    unborn = plan(tmp_path / FOLDER, texts, GAMES, [1])
    assert {reference.missing for reference in unborn} == {"not trained yet"}
    assert list(read_references(tmp_path / FOLDER, texts)) == [GAME]


def test_all_seeds_that_there_are_are_read(tmp_path: Path) -> None:
    write_references(tmp_path, config_of(), seeds=3)
    found = read_references(tmp_path / FOLDER, hyper_parameters(config_of(seed=9)))
    assert {game: [s.seed for s in found[game]] for game in found} == {
        game: [0, 1, 2] for game in GAMES
    }
    other = hyper_parameters(with_agent(gamma=0.5))
    assert read_references(tmp_path / FOLDER, other) == {}


@pytest.mark.parametrize("order", [lambda paths: paths, reversed])
def test_a_comparison_of_everything_in_a_folder_passes_over_its_references(
    tmp_path: Path, order: Callable[[list[Path]], list[Path]]
) -> None:
    write_run(tmp_path / "run", config_of(), synthetic_run(episodes_per_visit=3))
    write_references(tmp_path, config_of(), episodes_per_visit=3)
    selection = select(order(sorted(tmp_path.iterdir())))
    assert selection.left_out == ()
    (run,) = selection.methods[0].runs
    assert set(run.references) == set(GAMES)
