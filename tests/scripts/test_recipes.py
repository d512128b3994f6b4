"""Recipes: what is expected, what is run and kept, and what the page says."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import recipe_runs
from matplotlib.container import ErrorbarContainer
from recipe import Expectation, Recipe, SweepPoint, mean, read_recipe, read_recipes
from recipe_figure import draw_sweep, draw_sweeps
from recipe_page import page, rows
from recipe_results import read_result, write_result
from recipe_runs import RecipeError, measures_of, run_seed

import recipes as command
from clrl.config.config_file import read_config
from clrl.config.library import find_config
from clrl.errors import ConfigError
from clrl.run_directory import RunDirectory
from clrl.summary_file import read_summary

ROOT = Path(__file__).parents[2]
TINY = {
    "training.passes": 1,
    "training.examples_per_task": 50,
    "test_examples": 20,
    "network.hidden": [8],
    "method.importance_batches": 1,
}


def recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {
        "title": "EWC on digits",
        "source": "nobody",
        "expected": {"acc": Expectation(value=0.5, tolerance=0.5)},
        "seeds": [0, 1],
        "minutes": 0.1,
        "config": "mnist/quickstart",
        "overrides": TINY,
    }
    return Recipe(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compare", "reached"),
    [("near", (0.8, 0.9, 1.0)), ("at_least", (0.8, 2.0)), ("at_most", (-1.0, 1.0))],
)
def test_a_number_is_reached_within_the_tolerance_on_the_sides_that_matter(
    compare: str, reached: tuple[float, ...]
) -> None:
    expectation = Expectation(value=0.9, tolerance=0.1001, compare=compare)  # type: ignore[arg-type]
    for got in (-1.0, 0.7, 0.8, 0.9, 1.0, 1.1, 2.0, math.nan):
        within = {
            "near": 0.7999 <= got <= 1.0001,
            "at_least": got >= 0.7999,
            "at_most": got <= 1.0001,
        }[compare]
        assert (expectation.verdict(got) == "reached") == within
    assert all(expectation.verdict(got) == "reached" for got in reached)


def test_an_expectation_reads_as_what_it_asks_for() -> None:
    assert str(Expectation(value=0.9, tolerance=0.1)) == "0.9 ± 0.1"
    at_least = Expectation(value=0.9, tolerance=0.1, compare="at_least")
    assert str(at_least) == "at least 0.8"
    assert str(Expectation(value=0.9, compare="at_most")) == "at most 0.9"


def test_every_recipe_that_comes_along_names_a_config_and_its_keys() -> None:
    found = read_recipes(ROOT / "recipes")
    assert len(found) >= 25
    for one in found.values():
        if one.config is not None:
            read_config(find_config(one.config), one.arguments)
        assert len(one.seeds) >= 3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("title: a\nsource: b\nminutes: 1\nconfg: c\n", "confg"),
        ("title: a\nsource: b\nminutes: long\n", "minutes"),
        ("source: b\nminutes: 1\n", "title"),
        ("- 1\n", "recipe"),
        ("title: a\nsource: b\nminutes: 1\nseeds: []\n", "seed"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_with_its_name(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=complaint) as error:
        read_recipe(path)
    assert str(path) in str(error.value)


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="gem_rotations"):
        read_recipes(ROOT / "recipes", ["gem_rotation"])


def test_the_identity_follows_the_settings_and_nothing_else() -> None:
    assert recipe().identity == recipe(title="another", seeds=[5]).identity
    changed = recipe(overrides=TINY | {"training.passes": 2})
    assert changed.identity != recipe().identity


def test_a_seed_is_run_once_and_gives_what_its_summary_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    one = recipe()
    stem = f"mine-{one.identity}-seed1"
    cut_off = tmp_path / stem
    cut_off.mkdir()
    (cut_off / "records.jsonl").write_text("half a line")

    measures = run_seed("mine", one, 1, tmp_path)
    summary = read_summary(RunDirectory.open(cut_off).summary)
    assert summary.seed == 1
    assert measures == measures_of(summary)
    assert measures["lowest"] == min(summary.scores[-1])
    assert measures["acc"] == pytest.approx(sum(summary.scores[-1]) / 3)

    def refuse(*arguments: object) -> dict[str, float]:
        raise AssertionError("it was run again")

    monkeypatch.setattr(recipe_runs, "run_training", refuse)
    assert run_seed("mine", one, 1, tmp_path) == measures


def test_a_run_that_fails_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    broken = recipe(overrides={"training.learning_rat": 1})
    with pytest.raises(RecipeError, match=r"\.log") as error:
        run_seed("mine", broken, 0, tmp_path)
    log = Path(str(error.value).rpartition("see ")[2].rstrip("."))
    assert "learning_rat" in log.read_text()


def test_random_patterns_are_measured_as_their_recipe_names_them() -> None:
    patterns = read_recipe(ROOT / "recipes" / "random_patterns.yaml")
    small = recipe(config=None, overrides={"synapses": 50, "repeats": 3})
    assert patterns.expected.keys() <= recipe_runs.run_patterns(small, 0).keys()


def test_a_result_reads_back_until_the_settings_change(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    runs = {0: {"acc": 0.2}, 1: {"acc": 0.4}}
    assert read_result(path, recipe()) is None
    write_result(path, recipe(), runs)
    result = read_result(path, recipe())
    assert result is not None
    assert result.runs == runs
    assert result.mean == mean([{"acc": 0.2}, {"acc": 0.4}])
    assert result.mean["acc"] == pytest.approx(0.3)
    assert json.loads(path.read_text())["mean"] == {"acc": 0.3}
    assert read_result(path, recipe(overrides={})) is None


def test_the_page_shows_what_was_reached_missed_and_not_run(tmp_path: Path) -> None:
    expected = {"acc": Expectation(value=0.9, published=0.95)}
    recipes = {
        "good": recipe(),
        "bad": recipe(expected=expected, note="It is hard."),
        "open": recipe(),
        "unpublished": recipe(expected={}),
    }
    result = write_result(
        tmp_path / "r.json", recipe(), {0: {"acc": 0.2}, 1: {"acc": 0.4}}
    )
    results = {"good": result, "bad": result, "open": None, "unpublished": result}
    verdicts = {
        name: [row.verdict for row in rows(name, one, results[name])]
        for name, one in recipes.items()
    }
    assert verdicts == {
        "good": ["reached"],
        "bad": ["missed"],
        "open": ["not run"],
        "unpublished": ["-"],
    }
    text = page(recipes, results)
    assert "| [bad](#bad) | acc | 0.95 | 0.9 ± 0 | 0.300 ± 0.141 | missed |" in text
    assert "It is hard." in text
    assert "[numbers](results/recipes/good.json)" in text
    assert "clrl train mnist/quickstart --training.passes=1" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 7


def test_the_page_that_comes_along_is_of_the_recipes_and_results_that_do() -> None:
    found = read_recipes(ROOT / command.FOLDER)
    results = {
        name: read_result(ROOT / command.result_path(name), one)
        for name, one in found.items()
    }
    # Otherwise: scripts/recipes --page
    assert (ROOT / command.PAGE).read_text(encoding="utf-8") == page(found, results)


def swept(curve: str, value: float) -> Recipe:
    point = SweepPoint(picture="mine", curve=curve, axis="lambda", value=value)
    return recipe(sweep=point, expected={})


def test_a_sweep_is_drawn_in_order_from_what_was_run(tmp_path: Path) -> None:
    recipes = {
        "b": swept("global", 10),
        "a": swept("global", 1),
        "c": swept("local", 10),
        "open": swept("global", 100),
        "alone": recipe(),
    }
    results = {
        name: write_result(
            tmp_path / f"{name}.json",
            one,
            {
                0: {"acc": acc, "forgetting": 0.1},
                1: {"acc": acc + 0.2, "forgetting": 0},
            },
        )
        for (name, one), acc in zip(
            recipes.items(), (0.5, 0.6, 0.7, 0, 0.2), strict=True
        )
    } | {"open": None}
    accuracy, forgetting = draw_sweep("mine", recipes, results).axes
    lines = {
        container.get_label(): np.asarray(container.lines[0].get_xydata())
        for container in accuracy.containers
        if isinstance(container, ErrorbarContainer)
    }
    assert lines.keys() == {"global", "local"}
    assert lines["global"] == pytest.approx(np.array([[1, 0.7], [10, 0.6]]))
    assert lines["local"] == pytest.approx(np.array([[10, 0.8]]))
    assert accuracy.get_xlabel() == forgetting.get_xlabel() == "lambda"

    draw_sweeps(recipes, results, tmp_path / "pictures")
    assert [p.name for p in (tmp_path / "pictures").iterdir()] == ["mine.png"]
    assert page(recipes, results).count("(pictures/mine.png)") == 1
    nothing_run = dict.fromkeys(recipes)
    assert "mine.png" not in page(recipes, nothing_run)
    draw_sweeps(recipes, nothing_run, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_place_in_a_figure_is_read_and_changes_no_identity(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "title: a\nsource: b\nminutes: 1\nconfig: mnist/mas\n"
    path.write_text(text)
    plain = read_recipe(path)
    point = "{picture: mine, curve: global, axis: lambda, value: 10}"
    path.write_text(f"{text}sweep: {point}\n")
    assert read_recipe(path).sweep == swept("global", 10).sweep
    assert read_recipe(path).identity == plain.identity
    assert plain.sweep is None


def test_the_command_runs_what_is_named_and_writes_the_page_of_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("recipes").mkdir()
    for name in ("first", "second"):
        Path(f"recipes/{name}.yaml").write_text(
            "title: patterns\nsource: nobody\nminutes: 0\n"
            "expected: {ewc_snr_100: {value: 9, compare: at_least}}\n"
            "overrides: {synapses: 50, repeats: 3}\n"
        )
    monkeypatch.setattr("sys.argv", ["scripts/recipes", "first"])
    assert command.main() == 0
    said = capsys.readouterr().out
    assert "missed" in said
    assert "second" not in said
    assert "not run" in Path("docs/recipes.md").read_text()
    assert Path("docs/results/recipes/first.json").exists()

    monkeypatch.setattr("sys.argv", ["scripts/recipes", "third"])
    assert command.main() == 1
    assert "unknown recipe" in capsys.readouterr().out


def test_a_recipe_that_fails_does_not_keep_the_others_from_running(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    line = "title: T\nsource: S\nminutes: 1\nseeds: [0]\n"
    broken = line + "config: mnist/quickstart\noverrides: {training.passe: 1}\n"
    (folder / "a_broken.yaml").write_text(broken)
    patterns = (
        line
        + "overrides: {synapses: 50, repeats: 2}\nexpected: {ewc_snr_500: {value: 1}}\n"
    )
    (folder / "b_patterns.yaml").write_text(patterns)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name, path in (
        ("FOLDER", folder),
        ("CACHE", tmp_path / "cache"),
        ("RESULTS", tmp_path / "results"),
        ("PAGE", tmp_path / "page.md"),
    ):
        monkeypatch.setattr(command, name, path)
    monkeypatch.setattr("sys.argv", ["scripts/recipes"])
    assert command.main() == 1
    assert "a_broken" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "results").iterdir()] == [
        "b_patterns.json"
    ]
    assert "Not run" in (tmp_path / "page.md").read_text()
