"""Tables from records alone: means, intervals, pairs by seed, stamps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lpl_lib.lab.fitness import Fitness
from lpl_lib.lab.tables import Ranked, dot_plot, interval, origin, paired, summary, table

ROOT = Path(__file__).parents[1]


def run(method: str, seed: int, hits: list[int], part: str = "test") -> dict:
    return {
        "experiment": "x",
        "method": method,
        "seed": seed,
        "part": part,
        "params": {"tau": 1.0} if method == "LA" else {},
        "hits": hits,
        "tested": [10, 20, 10],
        "groups": {"head": [0], "tail": [1, 2]},
    }


RUNS = [
    run("cross-entropy", 0, [9, 10, 2]),
    run("cross-entropy", 1, [8, 12, 1]),
    run("cross-entropy", 2, [9, 8, 3]),
    run("LA", 0, [8, 14, 5]),
    run("LA", 1, [8, 16, 6]),
    run("LA", 2, [7, 14, 8]),
    run("LA", 9, [0, 0, 0], part="validation"),
    run("focal loss", 7, [5, 10, 5]),
]


def test_accuracies_are_means_over_classes():
    frame = table(RUNS)
    assert frame.loc[0, ["all", "head", "tail"]].tolist() == pytest.approx(
        [100 * (0.9 + 0.5 + 0.2) / 3, 90, 35]
    )
    assert len(frame) == 7
    assert table(RUNS, part="validation")["all"].tolist() == [0]


def test_differences_are_paired_by_seed():
    frame = table(RUNS)
    ce, la = (
        frame[frame["method"] == name]["all"].to_numpy() for name in ("cross-entropy", "LA")
    )
    expected = stats.ttest_rel(la, ce).confidence_interval()
    difference = paired(frame, "LA", "cross-entropy")
    assert difference.mean == pytest.approx((la - ce).mean())
    assert difference.mean + difference.half == pytest.approx(expected.high)
    assert paired(frame, "focal loss", "cross-entropy") is None  # no seed in common
    assert paired(frame, "ISDA", "cross-entropy") is None


def test_one_run_has_a_mean_but_no_interval():
    assert interval([3.0]).mean == 3
    assert np.isnan(interval([3.0]).half)


def test_the_table_has_a_line_a_method():
    lines = summary(table(RUNS), over=["cross-entropy"]).to_string().splitlines()
    heads = ["seeds", "all", "head", "tail", "train", "over", "cross-entropy"]
    assert lines[0].split() == heads
    assert [line[:13].strip() for line in lines[1:]] == [
        "cross-entropy",
        "LA",
        "focal loss",
    ]
    found = paired(table(RUNS), "LA", "cross-entropy")
    assert lines[2].endswith(f"{found.mean:+.1f} ± {found.half:.1f}")


@pytest.mark.parametrize("fit", [True, False, None])
def test_what_is_made_of_runs_whose_recipe_is_unfit_says_so(fit):
    said = Fitness(fit, "learnt 80 %")
    facts = {"key": "k", "date": "2026-11-24T00:00:00", "commit": None, "device": "CPU"}
    facts |= {"recipe": said, "wall_seconds": 1}
    runs = [{**r, **facts} for r in RUNS]
    figure = dot_plot(table(runs[:6]), "title")
    for shown in (repr(Ranked(runs)), figure.get_suptitle()):
        assert ("x: recipe NOT FIT for comparing losses: learnt 80 %" in shown) == (
            fit is False
        )
    assert f"recipe {said}" in origin(runs)


def test_settings_of_one_method_have_lines_of_their_own():
    noisy = [{**r, "params": {"data.noise": 0.2}} for r in RUNS[:3]]
    frame = summary(table([*RUNS[:3], *noisy]), over=["cross-entropy"])
    assert list(frame.index) == ["cross-entropy", "cross-entropy noise=0.2"]
    assert frame["over cross-entropy"].tolist() == ["", "+0.0 ± 0.0"]


def test_labels_are_scored_by_their_average_precision():
    labels = {**RUNS[0], "ap": [0.5, 0.25, 0.75], "hits": None}
    assert table([labels])[["all", "tail"]].values.tolist() == [[50, 50]]


def test_training_accuracy_stands_beside_the_result():
    learnt = {**RUNS[0], "train_accuracy": [1.0, 1.0, 0.7]}
    assert table([learnt])["train"].tolist() == pytest.approx([90])
    assert np.isnan(table(RUNS)["train"]).all()


def test_a_stamp_says_where_records_are_from():
    facts = {"key": "k", "date": "2026-11-24T00:00:00", "commit": None, "device": "CPU"}
    stamp = origin([{**r, **facts, "wall_seconds": 1800} for r in RUNS[:3]])
    assert "x: 3 runs, seeds 0 to 2; last epoch; configurations" in stamp
    assert "commit unknown; CPU; 2026-11-24; 1.5 hours" in stamp


def test_a_figure_of_differences():
    figure = dot_plot(table(RUNS[:6]), "title", over="cross-entropy")
    assert [axis.get_title() for axis in figure.axes] == ["all", "head", "tail"]


def test_a_ranked_table_has_its_best_first_and_bold():
    runs = [run("LPL", 0, [9, 1, 1]), run("LA", 0, [5, 5, 5]), run("LA", 1, [5, 5, 5])]
    shown = Ranked(runs, by="tail")
    assert list(shown.shown.index) == ["LA", "LPL"]
    assert [*shown.shown.columns] == ["tail", "all", "head", "train", "seeds"]
    assert shown._repr_html_().count("<b>") == 3
    assert "<b>50.0 ± 0.0</b>" not in shown._repr_html_()
    assert "<b>90.0</b>" in shown._repr_html_()
    assert repr(shown).splitlines()[1].startswith("LA")


def test_who_reads_a_table_needs_no_trainer():
    code = (
        "import sys; from lpl_lib.lab.records import records; "
        "from lpl_lib.lab.tables import table; table(records('digits')); "
        "bad = {'torchvision', 'lpl_lib.lab.training', 'lpl_lib.lab.runner', 'sklearn'}; "
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_settings_are_not_mixed():
    """Fault 20: two settings of a method went into one mean without a word."""
    two = [
        run("LA", seed, [5, 5, 5]) | {"params": {"tau": tau}}
        for seed in (0, 1)
        for tau in (1.0, 2.0)
    ]
    runs = [*two, run("LPL", 0, [6, 6, 6]), run("LPL", 1, [7, 7, 7])]
    assert {"LA tau=1", "LA tau=2", "LPL"} == set(summary(table(runs)).index)
    with pytest.raises(ValueError, match="one setting of LA, got several"):
        paired(table(runs), "LPL", "LA")
    assert paired(table(runs), "LPL", "LPL").mean == 0


def test_runs_that_diverged_are_named():
    """Fault 20: they count as 0, and the table says which."""
    runs = [run("LPL", 0, [6, 6, 6]), run("LPL", 1, [0, 0, 0]) | {"diverged": True}]
    assert "LPL, seed 1: diverged, counted as 0" in repr(Ranked(runs))
    assert "diverged" not in repr(Ranked(runs[:1]))


def test_a_difference_to_a_method_that_is_not_there():
    with pytest.raises(ValueError, match="over must name methods of the table, got 'CE'"):
        summary(table([run("LPL", 0, [6, 6, 6])]), over=["CE"])
