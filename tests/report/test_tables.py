import io

from rich.console import Console, RenderableType

from clrl.records import Evaluation, Relabelled
from clrl.report.tables import (
    evaluation_table,
    number,
    report,
    score,
    task_table,
)
from clrl.summary import summarise

from ..synthetic_run import (
    GAMES,
    description,
    supervised_description,
    supervised_run,
    synthetic_run,
)


def shown(renderable: RenderableType, width: int = 160) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(renderable)
    return out.getvalue()


def test_the_report_shows_every_game_stage_and_measure() -> None:
    text = shown(report(summarise(synthetic_run(), description())))
    for expected in (*GAMES, "before", "space_invaders #2", "ACC", "BWT", "FWT"):
        assert expected in text
    for expected in ("forgetting", "ARI", "random", "total clipped"):
        assert expected in text


def test_where_the_matrix_is_too_wide_each_task_has_a_row() -> None:
    summary = summarise(synthetic_run(), description())
    matrix, rows = shown(report(summary)), shown(report(summary), width=66)
    assert "space_invaders #2" in matrix
    assert "when last left" not in matrix
    assert "space_invaders #2" not in rows.split("Training returns")[0]
    assert "…" not in rows.split("Training returns")[0]
    for column, task in enumerate(summary.tasks):
        last = max(i for i, v in enumerate(summary.visits, 1) if v.game == task)
        row = next(line for line in rows.splitlines() if task in line)
        for stage in (0, last, len(summary.scores) - 1):
            assert score(summary.scores[stage][column]) in row


def test_a_game_that_is_being_revisited_was_last_left_before() -> None:
    run = synthetic_run()
    second = next(r for r in run if getattr(r, "visit", None) == len(GAMES))
    so_far = run[: run.index(second) + 1]  # the second visit to the first game begins
    summary = summarise(so_far, description())
    row = next(
        line
        for line in shown(task_table(summary)).splitlines()
        if summary.tasks[0] in line
    )
    assert score(summary.scores[1][0]) in row.split("│")[3]


def test_the_report_says_which_games_have_no_human_score() -> None:
    games = ("pong", "adventure")
    run = synthetic_run(games, rounds=1)
    text = shown(report(summarise(run, description(games))))
    assert "no human score: adventure" in text
    assert "nan" not in text


def test_a_run_of_one_stage_is_reported_without_numbers_that_do_not_exist() -> None:
    first_stage = [r for r in synthetic_run() if r.agent_steps == 0]
    text = shown(report(summarise(first_stage, description())))
    assert "BWT -" in text
    assert "nan" not in text


def test_an_evaluation_shows_returns_and_their_spread() -> None:
    returns = (-20.0, -21.0)
    evaluation = Evaluation(
        agent_steps=0, stage=0, game="pong", label=1, returns=returns
    )
    assert "-20.5 ± 0.5" in shown(evaluation_table([evaluation]))


def test_numbers_are_as_long_as_they_need_to_be() -> None:
    assert score(12345.6) == "12,346"
    assert score(-20.46) == "-20.5"
    assert number(-0.001) == "0.00"
    assert number(float("nan")) == "-"


def test_the_report_of_a_supervised_run_shows_accuracies_and_nothing_of_games() -> None:
    text = shown(report(summarise(supervised_run(), supervised_description())))
    for expected in ("0.975", "0.125", "permutation_2 #1", "ACC 0.700", "BWT -0.475"):
        assert expected in text
    for other in ("human", "random", "nan", "game"):
        assert other not in text


def test_a_round_of_accuracies_is_a_table_of_tasks() -> None:
    evaluation = Evaluation(
        agent_steps=9, stage=2, game="permutation_1", label=3, returns=(0.9876,)
    )
    text = shown(evaluation_table([evaluation], "accuracy"))
    assert "permutation_1" in text
    assert "0.988" in text
    assert "human" not in text


def again(game: str, labelling: str, label: int | None, score: float) -> Relabelled:
    return Relabelled(
        agent_steps=0,
        stage=0,
        game=game,
        labelling=labelling,  # type: ignore[arg-type]
        label=label,
        returns=(score,),
    )


def test_scores_under_other_labels_stand_beside_the_inferred_ones() -> None:
    evaluations = [
        Evaluation(agent_steps=0, stage=0, game=game, label=2, returns=(7.5,))
        for game in ("pong", "krull")
    ]
    others = [
        again("pong", "true_label", 4, 8.5),
        again("krull", "no_label", None, 9.5),
    ]
    lines = shown(evaluation_table([*evaluations, *others])).splitlines()
    (heading,) = [line for line in lines if "true label" in line]
    assert "no label" in heading
    (pong,) = [line for line in lines if "pong" in line]
    assert [part.strip() for part in pong.split("│")[-3:-1]] == ["8.5 (task 4)", "-"]
    (krull,) = [line for line in lines if "krull" in line]
    assert [part.strip() for part in krull.split("│")[-3:-1]] == ["-", "9.5"]

    first_stage = [r for r in synthetic_run() if r.agent_steps == 0]
    relabelled = [again(game, "no_label", None, 3.5) for game in GAMES]
    text = shown(report(summarise([*first_stage, *relabelled], description())))
    assert "no label" in text
    assert text.count("3.5") == len(GAMES)
    plain = shown(report(summarise(first_stage, description())))
    assert "no label" not in plain
