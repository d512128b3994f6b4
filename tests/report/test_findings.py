from pathlib import Path

import pytest

from clrl.records import Evaluation, Guard, Label, Record, Train, to_fields
from clrl.report.findings import findings
from clrl.report.run_data import read_run

from ..run_files import config, run_directory
from ..synthetic_run import synthetic_run

INACTIVE = "The penalty was never above 1e-6"
NOTHING_LEARNT = "No visit ended with training returns above random play"
FROZEN = "No learning after visit"


def changed(record: Record, **values: object) -> Record:
    return type(record)(**{f: getattr(record, f) for f in vars(record)} | values)


def found_in(path: Path, run: list[Record], **sections: dict[str, object]) -> str:
    mine = config()
    for section, values in sections.items():
        mine[section] |= values
    return "\n".join(findings(read_run(run_directory(path / "run", run, mine).path)))


def with_episodes(run: list[Record], episodes: int) -> list[Record]:
    """The same with as many episodes in each evaluation."""
    return [
        changed(r, returns=(r.returns * episodes)[:episodes])
        if isinstance(r, Evaluation)
        else r
        for r in run
    ]


def with_penalty(run: list[Record], share_of_loss: float) -> list[Record]:
    return [
        changed(r, penalty=share_of_loss * r.loss) if isinstance(r, Train) else r
        for r in run
    ]


def test_a_run_with_nothing_to_complain_of_has_no_findings(tmp_path: Path) -> None:
    assert found_in(tmp_path, with_episodes(synthetic_run(), 20)) == ""


@pytest.mark.parametrize(("share", "said"), [(0.9e-6, True), (1.1e-6, False)])
def test_a_penalty_that_protects_nothing_is_found(
    tmp_path: Path, share: float, said: bool
) -> None:
    run = with_penalty(synthetic_run(), share)
    assert (INACTIVE in found_in(tmp_path, run)) == said


def test_a_method_without_importance_has_no_penalty_to_miss(tmp_path: Path) -> None:
    run = [r for r in with_penalty(synthetic_run(), 0.0) if r.kind != "consolidation"]
    assert INACTIVE not in found_in(tmp_path, run)


def without_skill_from(run: list[Record], visit: int) -> list[Record]:
    """Training returns at the random policy's level from a visit on."""
    return [
        changed(r, return_=to_fields(r)["return"] * 0.0)
        if r.kind == "episode" and to_fields(r)["visit"] >= visit
        else r
        for r in run
    ]


def test_an_agent_that_stopped_learning_is_found(tmp_path: Path) -> None:
    said = found_in(tmp_path, without_skill_from(synthetic_run(), 3))
    assert f"{FROZEN} 3: none of the 3 visits that followed" in said
    assert NOTHING_LEARNT not in said


def test_an_agent_that_fails_in_one_visit_only_is_not_frozen(tmp_path: Path) -> None:
    assert FROZEN not in found_in(tmp_path, without_skill_from(synthetic_run(), 5))


def test_an_agent_that_never_learnt_is_found(tmp_path: Path) -> None:
    said = found_in(tmp_path, without_skill_from(synthetic_run(), 0))
    assert NOTHING_LEARNT in said
    assert FROZEN not in said


def test_learning_is_not_judged_without_a_random_policy(tmp_path: Path) -> None:
    run = [r for r in without_skill_from(synthetic_run(), 0) if r.kind[0] != "r"]
    assert "random" not in found_in(tmp_path, run)


def test_games_that_share_a_label_are_named(tmp_path: Path) -> None:
    merged = [
        changed(r, label=0) if isinstance(r, Label) else r for r in synthetic_run()
    ]
    said = found_in(tmp_path, merged)
    assert "freeway and road_runner and space_invaders were taken for" in said
    one_task: dict[str, object] = {"name": "one_task"}
    assert "taken for" not in found_in(tmp_path / "one", merged, recogniser=one_task)


@pytest.mark.parametrize(("episodes", "said"), [(9, True), (10, False)])
def test_scores_of_few_episodes_are_called_noisy(
    tmp_path: Path, episodes: int, said: bool
) -> None:
    found = found_in(tmp_path, with_episodes(synthetic_run(), episodes))
    assert (f"the mean of {episodes} episodes" in found) == said


def test_episodes_that_were_cut_off_are_not_comparable_with_humans(
    tmp_path: Path,
) -> None:
    cut: dict[str, object] = {"max_episode_steps": 2500}
    found = found_in(tmp_path, synthetic_run(), evaluation=cut)
    assert "cut off after 2,500 agent steps" in found


def test_what_guards_said_is_repeated_with_its_step(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", synthetic_run(), config())
    with directory.records.open("a", encoding="utf-8") as file:
        file.write('{"kind": "guard", "agent_steps": 4000, "message": "Q explodes."}\n')
    assert "At step 4,000: Q explodes." in findings(read_run(directory.path))


def alarm(guard: str, agent_steps: int) -> Guard:
    return Guard(
        agent_steps=agent_steps,
        visit=0,
        game="freeway",
        guard=guard,
        message=f"{guard} speaks.",
    )


def test_an_alarm_that_says_what_the_whole_run_shows_is_not_repeated(
    tmp_path: Path,
) -> None:
    quiet = [*with_penalty(synthetic_run(), 0.0), alarm("inactive_penalty", 40_000)]
    said = found_in(tmp_path / "quiet", quiet)
    assert INACTIVE in said
    assert "speaks" not in said
    awake = found_in(tmp_path / "awake", [*synthetic_run(), quiet[-1]])
    assert "At step 40,000: inactive_penalty speaks." in awake
    assert INACTIVE not in awake


def test_alarms_before_the_agent_stopped_learning_are_kept(tmp_path: Path) -> None:
    # The third visit of 30,000 steps, which was learnt, ends with step 90,000.
    alarms = [alarm("frozen_agent", step) for step in (60_000, 90_000, 120_000)]
    frozen = [*without_skill_from(synthetic_run(), 3), *alarms]
    said = found_in(tmp_path / "late", frozen)
    assert [f"At step {step:,}" in said for step in (60_000, 90_000, 120_000)] == [
        True,
        True,
        False,
    ]
    never = [*without_skill_from(synthetic_run(), 0), *alarms]
    assert "speaks" not in found_in(tmp_path / "never", never)


def test_records_of_a_later_version_are_counted(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", synthetic_run(), config())
    with directory.records.open("a", encoding="utf-8") as file:
        file.write('{"kind": "dream", "agent_steps": 4000}\n' * 2)
    assert any(
        "2 records of kind 'dream'" in f for f in findings(read_run(directory.path))
    )
