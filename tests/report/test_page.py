import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrl.errors import CheckpointError, ConfigError
from clrl.records import Evaluation, Plasticity, Record, Train
from clrl.report.page import MOST_BYTES, write_report
from clrl.report.run_data import read_run
from clrl.report.single_task import forward_transfer, game_transfers, visit_levels
from clrl.report.tables import number, score, signed
from clrl.run_directory import RunDirectory
from clrl.summary import summarise

from ..run_files import config, run_directory
from ..synthetic_run import GAMES, description, synthetic_run
from .page_reader import PageReader
from .run_files import config_of, write_references, write_run

SECTIONS = [
    "Scores",
    "Learning curves",
    "Forgetting",
    "Against single-task runs",
    "Recognition",
    "Penalty",
    "Plasticity",
    "At play",
    "Cost",
    "Config and provenance",
]
FINISHED = synthetic_run()


def read(directory: RunDirectory) -> PageReader:
    return PageReader(write_report(directory.path).read_text(encoding="utf-8"))


def page_of(path: Path, run: list[Record], seconds: float | None = None) -> PageReader:
    return read(run_directory(path / "run", run, config(), seconds))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> PageReader:
    path = tmp_path_factory.mktemp("finished")
    return page_of(path, FINISHED, seconds=600.0)


def test_every_section_is_shown(finished: PageReader) -> None:
    assert finished.headings == SECTIONS
    assert finished.tags.count("svg") == len(GAMES) + 3


def test_without_films_the_page_says_how_to_make_them(finished: PageReader) -> None:
    assert "No film was made yet. After clrl watch run" in finished.text


def test_the_page_needs_nothing_else(finished: PageReader) -> None:
    assert "script" not in finished.tags
    assert not [name for name in finished.attributes if name.startswith("on")]
    for address in finished.loaded:
        assert address.startswith(("#", "data:"))


def test_identifiers_are_unique_and_lead_somewhere(finished: PageReader) -> None:
    assert len(set(finished.ids)) == len(finished.ids)
    for address in finished.loaded:
        if address.startswith("#"):
            assert address[1:] in finished.ids


def test_the_page_says_what_was_run(finished: PageReader) -> None:
    for expected in (
        "freeway, road_runner, space_invaders",
        "ewc (strength 100.0)",
        "nature: sticky actions 0",
        "2 visits to each game, 30,000 agent steps each",
        "Finished: all 6 visits, 180,000 agent steps.",
        "git_revision 0123abc",
        "sequence.num_envs 8",
    ):
        assert expected in finished.text


def test_the_page_shows_every_score_and_measure_of_the_summary(
    finished: PageReader,
) -> None:
    summary = summarise(FINISHED, description())
    for raw in np.ravel(summary.scores):
        assert score(raw) in finished.cells
    for value in (summary.acc, summary.bwt, summary.forgetting):
        assert number(value) in finished.text
    for visit in summary.visits:
        assert visit.return_mean is not None
        assert score(visit.return_mean) in finished.text
    last = summary.scores[-1][0] - summary.scores[4][0]
    assert score(last) in finished.cells


def test_the_cost_is_shown_with_its_units(finished: PageReader) -> None:
    assert "agent steps per second 300" in finished.text
    assert "10 min 0 s" in finished.text


def test_updates_are_shown_where_a_checkpoint_knows_them(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    assert "updates" not in read(directory).text.split("Cost", 2)[2]
    directory.checkpoint.mkdir()
    manifest = directory.checkpoint / "manifest.json"
    manifest.write_text(json.dumps({"facts": {"updates": 4567}}))
    assert "updates 4,567" in read(directory).text


def test_a_run_in_progress_says_so(tmp_path: Path) -> None:
    so_far = [r for r in FINISHED if r.agent_steps <= 75_000]
    page = page_of(tmp_path, so_far)
    assert "Not finished: visit 3 of 6, 75,000 of 180,000 agent steps." in page.text
    assert "The run has not ended: it goes on, or was killed." in page.text
    assert "time not known" in page.text
    assert page.headings == SECTIONS


def test_a_run_that_diverged_says_why_it_ended(tmp_path: Path) -> None:
    so_far = [r for r in FINISHED if r.agent_steps < 40_000]
    directory = run_directory(tmp_path / "run", so_far, config())
    directory.stopped.write_text("the penalty is not finite; lower method.strength.\n")
    text = read(directory).text
    assert "ended early: the penalty is not finite; lower method.strength." in text


def test_a_last_line_that_was_cut_off_is_reported(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    assert "last record was being written" not in read(directory).text
    with directory.records.open("a", encoding="utf-8") as file:
        file.write('{"kind": "epis')
    page = read(directory)
    assert "last record was being written" in page.text
    assert page.headings == SECTIONS


def test_damage_elsewhere_is_refused(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    text = directory.records.read_text()
    directory.records.write_text(f"broken\n{text}")
    with pytest.raises(CheckpointError, match="line 1 is damaged"):
        write_report(directory.path)
    assert not directory.report.exists()


def test_a_stage_with_a_missing_score_is_named_and_measures_stop_before_it(
    tmp_path: Path,
) -> None:
    gap = [
        r
        for r in FINISHED
        if not (
            isinstance(r, Evaluation) and r.stage == 4 and r.game == "space_invaders"
        )
    ]
    page = page_of(tmp_path, gap)
    assert "After stage 4 (freeway #2) there is no score of space_invaders" in page.text
    assert "not scored" in page.text
    first_stages = [
        r for r in FINISHED if not (isinstance(r, Evaluation) and r.stage >= 4)
    ]
    summary = summarise(first_stages, description())
    assert f"ACC {number(summary.acc)}" in page.text
    # What was scored later is still shown.
    late = [r for r in FINISHED if isinstance(r, Evaluation) and r.stage == 6]
    assert score(float(np.mean(late[0].returns))) in page.cells


@pytest.mark.parametrize("records", [0, 3, 6, 8, 12])
def test_a_run_that_has_hardly_begun_has_a_report(tmp_path: Path, records: int) -> None:
    page = page_of(tmp_path, FINISHED[:records])
    assert page.headings == SECTIONS
    assert "nan" not in page.text.split()
    assert "None" not in page.text


def test_a_run_without_records_or_provenance_has_a_report(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", [], config())
    directory.records.unlink()
    directory.provenance.unlink()
    page = read(directory)
    assert "No game has been scored yet." in page.text
    assert "there is no provenance.json" in page.text


def test_games_without_a_human_score_are_shown_raw(tmp_path: Path) -> None:
    games = ("pong", "adventure")
    run = synthetic_run(games)
    page = read(run_directory(tmp_path / "run", run, config(games)))
    summary = summarise(run, description(games))
    assert score(summary.scores[-1][1]) in page.cells
    assert "nan" not in page.text.split()


def test_a_gradient_ratio_has_a_curve_where_it_was_recorded(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    assert "gradient ratio" not in read(directory).text
    lines = [json.loads(line) for line in directory.records.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "train":
            line["penalty_gradient_ratio"] = 0.5
    directory.records.write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    assert "gradient ratio" in read(directory).text


def test_text_from_a_run_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    mine = config()
    mine["method"] = {"name": "mine.<script>alert(1)</script>", "x": "<img src=http:>"}
    page = read(run_directory(tmp_path / "run", FINISHED, mine))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in page.text


def test_films_are_part_of_the_page(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    directory.videos.mkdir()
    (directory.videos / "freeway.png").write_bytes(b"a picture")
    (directory.videos / "freeway.mp4").write_bytes(b"a video")
    (directory.videos / "road_runner.png").write_bytes(b"another")
    page = read(directory)
    assert page.headings == SECTIONS
    assert "No film was made yet" not in page.text
    embedded = {
        base64.b64decode(address.partition("base64,")[2])
        for address in page.loaded
        if "base64," in address
    }
    assert embedded == {b"a picture", b"a video", b"another"}
    assert page.tags.count("video") == 1
    assert page.tags.count("img") == 2


def test_films_for_which_there_is_no_room_are_named(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    directory.videos.mkdir()
    for game in GAMES:
        (directory.videos / f"{game}.mp4").write_bytes(bytes(1_400_000))
    page = read(directory)
    assert directory.report.stat().st_size < MOST_BYTES
    assert page.tags.count("video") == 2
    assert "Left out to keep this page small: videos/space_invaders.mp4." in page.text


def test_the_report_goes_where_it_is_asked_to(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    assert write_report(directory.path, tmp_path / "x.html") == tmp_path / "x.html"
    assert (tmp_path / "x.html").exists()
    assert not directory.report.exists()


def test_what_training_had_no_time_to_write_comes_with_the_report(
    tmp_path: Path,
) -> None:
    over = run_directory(tmp_path / "over", FINISHED, config())
    going = run_directory(tmp_path / "going", FINISHED[:20], config())
    for directory in (over, going):
        directory.summary.unlink(missing_ok=True)
        write_report(directory.path)
    assert over.summary.exists()
    assert over.picture.exists()
    assert not going.summary.exists()
    going.stopped.write_text("it was interrupted.\n", "utf-8")
    write_report(going.path)
    assert going.summary.exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", [], config())
    with pytest.raises(ConfigError, match="Is a directory; name a file"):
        write_report(directory.path, tmp_path)
    with pytest.raises(ConfigError, match="No such file or directory"):
        write_report(directory.path, tmp_path / "none" / "x.html")


def test_the_same_run_has_the_same_report(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    first = write_report(directory.path).read_bytes()
    assert write_report(directory.path).read_bytes() == first


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown run"):
        write_report(tmp_path / "none")
    (tmp_path / "config.yaml").write_text("games: [pong]\n")
    with pytest.raises(ConfigError, match="lacks 'method'"):
        write_report(tmp_path)


def test_planned_steps_count_whole_vector_steps(tmp_path: Path) -> None:
    odd = config(visit_steps=1001)
    run = read_run(run_directory(tmp_path / "run", [], odd).path)
    assert run.planned_agent_steps == 6 * 1008


def test_a_report_is_written_without_torch(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", FINISHED, config())
    code = (
        "import sys; from clrl.cli import main\n"
        f"main(['report', {str(directory.path)!r}])\n"
        "sys.exit(', '.join({'torch', 'gymnasium', 'ale_py'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(directory.report)
    assert directory.report.exists()


def test_a_run_without_references_says_how_to_make_them(finished: PageReader) -> None:
    assert "freeway, road_runner, space_invaders alone is not known" in finished.text
    assert "clrl reference finished0/run trains them" in finished.text
    assert "Normalised forward transfer" not in finished.text


def test_a_run_is_shown_beside_its_references(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", config_of(), FINISHED)
    *_, last = write_references(tmp_path, config_of(), seeds=2)
    shutil.rmtree(last)
    page = PageReader(write_report(path).read_text(encoding="utf-8"))
    run = read_run(path)
    assert run.summary is not None
    levels = visit_levels(run.summary, run.references)
    assert len(levels) == 6
    for level in levels:
        for value in (score(level.level), score(level.alone)):
            assert value in page.cells
        assert signed(level.human_difference) in page.cells
    mean = forward_transfer(run.summary, run.references)
    assert f"forward transfer of Continual World: {signed(mean)}." in page.text
    assert [each.seeds for each in game_transfers(run.summary, run.references)] == [
        2,
        2,
        1,
    ]
    assert "trains them" not in page.text
    assert "nan" not in page.text.split()


def plasticity(stage: int, **values: float | None) -> Plasticity:
    known: dict[str, Any] = {
        "dormant_fraction": 0.025 * stage,
        "effective_rank": 100 - stage,
        "weight_norm": 40.0 + stage,
    }
    return Plasticity(
        agent_steps=30_000 * stage,
        stage=stage,
        game=GAMES[(stage - 1) % len(GAMES)],
        label=0,
        **(known | values),
    )


def test_what_is_left_of_plasticity_is_shown_in_words_and_drawn(tmp_path: Path) -> None:
    page = page_of(tmp_path, [*FINISHED, *map(plasticity, range(1, 7))])
    assert (
        "From visit 1 to visit 6, the share of dormant units went from 2.5 to 15.0 %, "
        "the effective rank of the last hidden layer went from 99 to 94 and the norm "
        "of the shared weights went from 41.0 to 46.0."
    ) in page.text
    assert page.tags.count("svg") == len(GAMES) + 4


def test_a_network_that_hides_its_activations_has_a_weight_norm(tmp_path: Path) -> None:
    hidden = plasticity(1, dormant_fraction=None, effective_rank=None)
    page = page_of(tmp_path, [*FINISHED, hidden])
    assert "After the first visit, the norm of the shared weights is 41.0." in page.text
    assert "nan" not in page.text.split()


def without(run: list[Record], kind: type[Record]) -> list[Record]:
    return [record for record in run if not isinstance(record, kind)]


def test_a_run_without_updates_has_no_penalty_curve(tmp_path: Path) -> None:
    page = page_of(tmp_path, without(FINISHED, Train))
    assert "No updates are recorded yet." in page.text
