import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clrl.config.games import SequenceConfig
from clrl.continual.methods import METHODS
from clrl.errors import ConfigError
from clrl.recognition.recognisers import RECOGNISERS
from clrl.report.comparison_runs import Selection, names_of, select

from ..synthetic_run import GAMES, synthetic_run
from .run_files import EWC, FINETUNE, config_of, write_methods, write_run

RUN = synthetic_run(episodes_per_visit=3)
STRONGER = dataclasses.replace(EWC, strength=9.0)


def reasons(selection: Selection) -> dict[str, str]:
    return {run.path.name: run.reason for run in selection.left_out}


def test_runs_that_differ_in_their_seed_only_are_one_method(tmp_path: Path) -> None:
    paths = write_methods(tmp_path, episodes_per_visit=3)
    ewc, finetune = select(reversed(paths)).methods[::-1]
    assert (ewc.name, finetune.name) == ("ewc", "finetune")
    assert [run.summary.seed for run in ewc.runs] == [0, 1, 2]
    assert [run.path.name for run in ewc.runs] == ["ewc-0", "ewc-1", "ewc-2"]


def test_where_and_how_a_run_was_made_is_no_part_of_its_method(tmp_path: Path) -> None:
    here = config_of(seed=0)
    there = dataclasses.replace(
        config_of(seed=1), name="x", runs_dir=Path("y"), device="cuda", threads=4
    )
    paths = [write_run(tmp_path / c.device, c, RUN) for c in (here, there)]
    assert len(select(paths).methods) == 1


def test_a_method_is_named_by_what_it_differs_in(tmp_path: Path) -> None:
    configs = (config_of(EWC), config_of(STRONGER), config_of(FINETUNE))
    paths = [write_run(tmp_path / str(i), c, RUN) for i, c in enumerate(configs)]
    names = [method.name for method in select(paths).methods]
    assert names == [f"ewc, strength {EWC.strength}", "ewc, strength 9.0", "finetune"]


def test_recognisers_and_the_agent_are_part_of_the_name_where_they_differ(
    tmp_path: Path,
) -> None:
    plain = config_of(EWC)
    faster = dataclasses.replace(plain.agent, learning_rate=0.01)
    configs = (
        plain,
        dataclasses.replace(plain, recogniser=RECOGNISERS["oracle"]()),
        dataclasses.replace(plain, agent=faster),
    )
    paths = [write_run(tmp_path / str(i), c, RUN) for i, c in enumerate(configs)]
    assert [method.name for method in select(paths).methods] == [
        "ewc, learning_rate 0.0001, one_task",
        "ewc, learning_rate 0.0001, oracle",
        "ewc, learning_rate 0.01, one_task",
    ]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"method.name": st.sampled_from(["ewc", "my_package.ewc", "finetune"])},
            optional={
                "method.strength": st.sampled_from(["1", "2"]),
                "agent.gamma": st.sampled_from(["0.9", "0.99"]),
                "recogniser.gamma": st.sampled_from(["0.9", "0.8"]),
            },
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda config: tuple(sorted(config.items())),
    )
)
def test_methods_that_differ_have_names_that_differ(
    configs: list[dict[str, str]],
) -> None:
    assert len(set(names_of(configs))) == len(configs)


@pytest.mark.parametrize(
    ("sequence", "games", "expected"),
    [
        (
            SequenceConfig(visit_steps=30_000, protocol="machado"),
            GAMES,
            ["sequence.protocol:", "  nature: one", "  machado: other"],
        ),
        (
            SequenceConfig(visit_steps=20_000),
            GAMES,
            ["sequence.visit_steps:", "  30000: one", "  20000: other"],
        ),
        (
            SequenceConfig(visit_steps=30_000),
            GAMES[:2],
            ["games:", f'  ["{GAMES[0]}", "{GAMES[1]}"]: other'],
        ),
    ],
    ids=["protocol", "steps", "games"],
)
def test_runs_of_different_settings_are_refused_with_what_differs(
    tmp_path: Path,
    sequence: SequenceConfig,
    games: tuple[str, ...],
    expected: list[str],
) -> None:
    one = write_run(tmp_path / "one", config_of(), RUN)
    other = config_of(games=games, sequence=sequence)
    run = synthetic_run(games, episodes_per_visit=3)
    with pytest.raises(ConfigError, match="one setting") as refused:
        select([one, write_run(tmp_path / "other", other, run)])
    lines = str(refused.value).splitlines()
    assert set(expected) <= set(lines)
    assert len([line for line in lines if line.endswith(":")]) == 1


def test_the_listed_order_of_games_matters_only_where_they_are_played_in_it(
    tmp_path: Path,
) -> None:
    for order in ("random", "fixed"):
        sequence = SequenceConfig(visit_steps=30_000, order=order)
        paths = [
            write_run(
                tmp_path / order / str(seed),
                config_of(seed=seed, games=games, sequence=sequence),
                synthetic_run(games, episodes_per_visit=3),
            )
            for seed, games in enumerate((GAMES, GAMES[::-1]))
        ]
        if order == "random":
            assert len(select(paths).methods[0].runs) == 2
        else:
            with pytest.raises(ConfigError, match="games:"):
                select(paths)


# ---- runs that are left out ---------------------------------------------------------


def test_a_run_in_progress_is_left_out_with_how_far_it_is(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", config_of(), RUN)
    part = [r for r in RUN if r.agent_steps < 60_000]
    going = write_run(tmp_path / "going", config_of(seed=1), part, with_summary=False)
    new = write_run(tmp_path / "new", config_of(seed=2), part[:4], with_summary=False)
    unborn = write_run(tmp_path / "unborn", config_of(seed=3), RUN, with_summary=False)
    (unborn / "records.jsonl").unlink()
    assert reasons(select([good, going, new, unborn])) == {
        "going": "in progress or interrupted: 1 of 6 visits are scored",
        "new": "in progress or interrupted: no stage is scored yet",
        "unborn": "not started: there is no records.jsonl",
    }


def test_a_run_whose_last_record_was_cut_off_counts_up_to_there(tmp_path: Path) -> None:
    cut = write_run(tmp_path / "cut", config_of(), RUN, with_summary=False)
    content = (cut / "records.jsonl").read_bytes()
    (cut / "records.jsonl").write_bytes(content + b'{"kind": "epis')
    assert select([cut]).methods[0].runs[0].path == cut.resolve()
    (cut / "records.jsonl").write_bytes(content[:-20])
    with pytest.raises(ConfigError, match="5 of 6 visits"):
        select([cut])


def test_a_missing_stage_leaves_a_run_out(tmp_path: Path) -> None:
    holed = [r for r in RUN if not (r.kind == "evaluation" and r.agent_steps == 90_000)]
    path = write_run(tmp_path / "holed", config_of(), holed, with_summary=False)
    with pytest.raises(ConfigError, match="2 of 6 visits are scored"):
        select([path])


def test_what_cannot_be_read_is_left_out_with_the_reason(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", config_of(), RUN)
    damaged = write_run(tmp_path / "damaged", config_of(seed=1), RUN)
    text = (damaged / "records.jsonl").read_text("utf-8")
    (damaged / "records.jsonl").write_text(text.replace("visit", "vi{sit", 1), "utf-8")
    (tmp_path / "empty").mkdir()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.yaml").write_text("dataset: mnist\n", "utf-8")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.yaml").write_text("games: [", "utf-8")
    paths = [good, damaged, tmp_path / "empty", foreign, broken]
    found = reasons(select(paths))
    assert "is damaged" in found["damaged"]
    assert found["empty"] == "holds no run: there is no config.yaml"
    assert found["foreign"] == (
        "config.yaml is not that of a run on games: no valid 'games'"
    )
    assert "cannot read the config" in found["broken"]


def test_the_same_seed_twice_counts_once(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", config_of(), RUN)
    again = write_run(tmp_path / "again", config_of(), RUN)
    selection = select([first, again, first])
    assert [run.path for run in selection.methods[0].runs] == [first.resolve()]
    expected = f"the same config and seed as {first.resolve()}"
    assert reasons(selection) == {"again": expected}


def test_a_path_that_is_not_there_is_refused_with_the_nearest_run(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "ewc-1", config_of(), RUN)
    with pytest.raises(ConfigError, match=r"did you mean .*ewc-1"):
        select([tmp_path / "ewc-2"])


# ---- records or summary -------------------------------------------------------------


def test_a_summary_is_read_only_while_it_is_newer_than_the_records(
    tmp_path: Path,
) -> None:
    path = write_run(tmp_path / "run", config_of(), RUN)
    summary, records = path / "summary.json", path / "records.jsonl"
    expected = select([path]).methods[0].runs[0].summary
    records.write_bytes(b"no record\n")
    os.utime(summary, ns=(records.stat().st_mtime_ns + 1,) * 2)
    assert select([path]).methods[0].runs[0].summary == expected
    os.utime(summary, ns=(records.stat().st_mtime_ns - 1,) * 2)
    with pytest.raises(ConfigError, match="is damaged"):
        select([path])


def test_the_summary_of_another_version_gives_way_to_the_records(
    tmp_path: Path,
) -> None:
    path = write_run(tmp_path / "run", config_of(), RUN)
    expected = select([path]).methods[0].runs[0].summary
    (path / "summary.json").write_text('{"acc": 0.5}', "utf-8")
    found = select([path]).methods[0].runs[0].summary
    assert found.acc == pytest.approx(expected.acc)
    assert found.scores == expected.scores


def test_every_method_of_ours_can_be_told_apart() -> None:
    names = names_of([{"method.name": name} for name in METHODS])
    assert names == list(METHODS)
