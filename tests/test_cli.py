import subprocess
import sys
from pathlib import Path

import pytest

from clrl.cli import main
from clrl.config.games import SequenceConfig

from .report.run_files import config_of, write_references, write_run
from .run_files import config, run_directory
from .synthetic_run import synthetic_run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are written to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a refused command says; it must be one line and exit code 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent.learnig_rate", "1"], "did you mean agent.learning_rate"),
        (["--agent.batch_size", "many"], "Expected int. Got value: many"),
        (["--games", "pong,space_invader"], "did you mean space_invaders"),
        (["--games", "pong,pong"], "games must differ"),
        (["--method", "ecw"], "did you mean ewc"),
        (["--recogniser", "orcale"], "did you mean oracle"),
        (["--network", "smal"], "did you mean small"),
        (["--agent.tau", "3"], "agent.tau must lie between 0 and 1, got 3"),
        (["--seed"], "--seed expects a value"),
    ],
)
def test_a_wrong_override_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    said = complaint(capsys, "train", "configs/atari/smoke.yaml", *arguments)
    assert message in said
    assert not Path("runs").exists()


def test_an_unknown_key_in_a_file_is_refused_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.yaml").write_text("games: [pong]\nagent: {gama: 0.9}\n")
    assert "did you mean agent.gamma" in complaint(capsys, "train", "mine.yaml")


def test_an_unknown_config_is_refused_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = complaint(capsys, "train", "atari/quickstrat")
    assert "did you mean atari/quickstart" in said


def test_a_missing_config_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "atari/quickstart" in complaint(capsys, "train")


def test_a_run_directory_that_is_not_empty_is_refused_and_untouched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    precious = Path("runs/mine/precious")
    precious.parent.mkdir(parents=True)
    precious.write_text("data")
    said = complaint(capsys, "train", "atari/smoke", "--name", "mine")
    assert "--name" in said
    assert precious.read_text() == "data"


def test_an_unknown_label_to_score_under_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_run(Path("runs/done"), config_of(), synthetic_run(episodes_per_visit=3))
    arguments = ("evaluate", "runs/done", "--also-under", "true_labels")
    assert "did you mean true_label" in complaint(capsys, *arguments)


def test_evaluating_a_run_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "unknown run" in complaint(capsys, "evaluate", "runs/none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["atari/smoke", "--seeds", "0,x"], "--seeds expects numbers of 0 or more"),
        (["atari/smoke", "--seeds="], "--seeds expects numbers"),
        (["atari/smoke", "--agent.gama=1"], "did you mean agent.gamma"),
        (["mnist/quickstart"], "expected the config of a run on games"),
        (["runs"], "unknown run"),
        (["runs/done", "--seed=3"], "have the run's config, got --seed=3"),
    ],
)
def test_wrong_references_are_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_run(Path("runs/done"), config_of(), synthetic_run(episodes_per_visit=3))
    assert message in complaint(capsys, "reference", *arguments)
    assert not Path("runs/references").exists()


def test_references_that_are_there_are_not_trained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = synthetic_run(episodes_per_visit=3)
    done = write_run(Path("runs/done"), config_of(), run)
    references = write_references(Path("runs"), config_of(), 2, episodes_per_visit=3)
    assert main(["reference", str(done), "--seeds", "1,0,1"]) == 0
    said = capsys.readouterr().out.splitlines()
    cached = {f"{reference.resolve()}: cached" for reference in references}
    assert set(said[:-1]) == cached
    assert said[-1] == "0 of 6 references to train, 0 agent steps in all"


def test_comparing_a_run_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "unknown run" in complaint(capsys, "compare", "runs/none", "--out", "x")
    assert not Path("x").exists()


def test_comparing_different_protocols_is_refused_with_what_differs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = synthetic_run(episodes_per_visit=3)
    for protocol in ("nature", "machado"):
        sequence = SequenceConfig(visit_steps=30_000, protocol=protocol)
        write_run(Path(protocol), config_of(sequence=sequence), run)
    assert main(["compare", "nature", "machado", "--out", "x"]) == 2
    said = capsys.readouterr().err
    assert "sequence.protocol:\n  nature: nature\n  machado: machado" in said
    assert not Path("x").exists()


def test_a_comparison_says_what_it_leaves_out_and_where_its_page_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = synthetic_run(episodes_per_visit=3)
    done = write_run(Path("runs/done"), config_of(), run)
    going = write_run(
        Path("runs/going"), config_of(seed=1), run[:9], with_summary=False
    )
    assert main(["compare", str(done), str(going), "--out", "x"]) == 0
    said = capsys.readouterr().out
    assert "ewc: 1 seed, so its numbers have no interval." in said
    assert "going: in progress or interrupted: 0 of 6 visits are scored" in said
    assert "x/index.html" in said
    assert Path("x/index.html").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError("No space left on device"), 1, "clrl: No space left on device\n"),
        (KeyboardInterrupt(), 130, "clrl: interrupted\n"),
    ],
)
def test_what_stops_a_command_is_said_on_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def stopped(*_: object) -> int:
        raise error

    monkeypatch.setattr("clrl.report.page.read_run", stopped)
    assert main(["report", "runs/x"]) == code
    assert capsys.readouterr().err == said


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in (["patterns"], ["overlap", "mnist/overlap"]):
        for path, said in (("none/x.png", "make none first"), ("x.xyz", ".svg")):
            assert said in complaint(capsys, *command, "--output", path)
    assert "seed" in complaint(capsys, "patterns", "--seed=-1", "--output", "x.png")


def test_a_report_of_a_run_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "unknown run" in complaint(capsys, "report", "runs/none")


def test_a_report_says_where_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_directory(Path("runs/mine"), synthetic_run(rounds=1), config())
    assert main(["report", "runs/mine"]) == 0
    assert capsys.readouterr().out.strip() == str(run.report.resolve())
    assert run.report.exists()
    assert main(["report", "runs/mine", "--output", "mine.html"]) == 0
    assert capsys.readouterr().out.strip() == "mine.html"
    assert Path("mine.html").exists()


def test_random_patterns_leave_a_picture_and_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["patterns", "--synapses", "20", "--repeats", "3"]) == 0
    said = capsys.readouterr().out
    assert "signal / noise" in said
    assert "gradient descent" in said
    assert Path("patterns.png").read_bytes().startswith(b"\x89PNG")


def test_random_patterns_need_more_than_one_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "repeats must be at least 2" in complaint(
        capsys, "patterns", "--repeats", "1"
    )


def test_an_unexpected_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--fast" in complaint(capsys, "evaluate", "runs/none", "--fast")


def test_memories_that_do_not_fit_fail_the_run_and_leave_nothing_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "atari/smoke", "--agent.replay_gib", "1e-6"]) == 1
    said = capsys.readouterr().err
    assert "agent.replay_gib" in said
    assert "Traceback" not in said
    assert not any(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("games", "space_invaders"),
        ("methods", "ewc"),
        ("recognisers", "flat_fmn"),
        ("networks", "nature"),
        ("datasets", "mnist"),
        ("streams", "permutations"),
        ("configs", "atari/quickstart"),
    ],
)
def test_what_a_config_can_name_is_listed(
    capsys: pytest.CaptureFixture[str], what: str, expected: str
) -> None:
    assert main(["list", what]) == 0
    assert expected in capsys.readouterr().out


def test_help_explains_the_keys_of_the_chosen_method(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--help"]) == 0
    assert "--agent.train_freq" in capsys.readouterr().out
    assert main(["train", "atari/smoke", "--method", "ewc", "--help"]) == 0
    assert "--method.strength" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from clrl.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'stable_baselines3', 'ale_py', 'matplotlib', 'numpy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("clrl ")
