"""Specifications: what comes with the library is whole, and wrong ones are refused."""

from __future__ import annotations

import json

import pytest

from lpl_lib.lab.measures import MEASURES
from lpl_lib.lab.plan import Run, candidates
from lpl_lib.lab.specification import available, load

GOOD = """title = "t"
seeds = 2
[data]
name = "digits"
label = "digits"
[model]
name = "small-conv"
[recipe]
epochs = 1
[methods]
cross-entropy = {}
LA = {}
[search.grid]
LA = { tau = [0.5, 1.0] }
"""


@pytest.mark.parametrize("name", available())
def test_each_experiment_of_the_library_is_whole(name):
    spec = load(name)
    assert spec.name == name
    assert set(spec.measures) <= set(MEASURES)
    keys = [
        Run(spec, method, params).key
        for method in spec.methods
        for choices in candidates(spec, method)
        for params in choices
        if spec.data.name != "folder"
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "epochs = 1",
            "epoch = 1",
            r"unknown field `epoch`.*recipe.*\(line 9: epoch = 1\)",
        ),
        ("epochs = 1", 'epochs = "1"', r"Expected `int`, got `str`.*\(line 9: epochs"),
        ("epochs = 1", "epochs = 0", r"`int` >= 1 - at `\$.recipe.epochs` \(line 9"),
        ("epochs = 1", "epochs = 1\nlr = 0", r"> 0.0 - at `\$.recipe.lr` \(line 10"),
        ("seeds = 2", "", "missing required field `seeds`"),
        ("seeds = 2", "seeds = true", r"Expected `int`, got `bool`.*\(line 2"),
        ('name = "digits"', 'name = "digit"', r"'digit' - at `\$.data.name` \(line 4"),
        ('name = "digits"', 'name = "folder"', "path must be given for a folder"),
        ("LA = {}", "LA = { taw = 1 }", r"no hyper-parameter 'taw'.*\(line 12: LA"),
        ("LA = {}", "AL = {}", "method must be one of|names 'LA', which methods does not"),
        ("LA = {}", "LA = { tau = 1.0 }", r"LA: tau is fixed and searched at once"),
        ("tau = [0.5, 1.0]", "tau = []", r"length >= 1"),
        ("[methods]", "[methods", "line 10"),
        ("title", "titles", "unknown field `titles`"),
        ('name = "small-conv"', "width = 3", "model must have a name"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, message):
    place = tmp_path / "mine.toml"
    place.write_text(GOOD)
    assert load(str(place)).seeds == 2
    place.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match=f"(?s)mine: .*({message})"):
        load(str(place))


@pytest.mark.parametrize(
    "setting",
    [
        "seeds=1000000000",
        "recipe.epochs=100000000000000000000000000",
        "recipe.batch_size=1e9",
        "recipe.lr=inf",
        "recipe.weight_decay=1e300",
        "recipe.padding=1000000",
        "search.epochs=10000000",
        "search.seeds=[99999999999]",
        "data.size=1000000",
        "data.draw=99999999999",
        "data.imbalance_ratio=1e300",
    ],
)
def test_a_number_that_would_take_for_ever_is_refused_with_the_limit(setting):
    """Fault 18: `seeds=1e9` filled 20 GB, `epochs=1e26` was accepted. Also what NumPy
    does not take as a seed, and what fills the memory."""
    with pytest.raises(ValueError, match=r"Expected `(int|float)` <= \d|got `float`"):
        load("digits-lt50", [setting])


@pytest.mark.parametrize(
    "name",
    ["../x", "/tmp/x", "a/b", "a\\b", "..", ".", ".hidden", "", "a\0b", "a\n", "x" * 101],
)
def test_the_name_of_an_experiment_is_that_of_a_file_in_the_results(tmp_path, name):
    """Fault 19: with `name = "../x"` the ledger lay outside of the results."""
    place = tmp_path / "mine.toml"
    place.write_text(f"name = {json.dumps(name)}\n{GOOD}")
    with pytest.raises(ValueError, match=r"mine: name must be plain, as digits-lt50, got"):
        load(str(place))
    place.write_text(f'name = "my cats_2.0+LA"\n{GOOD}')
    assert load(str(place)).name == "my cats_2.0+LA"


def test_an_unknown_experiment():
    with pytest.raises(ValueError, match=r"experiment must be one of \['abl.*got 'nine'"):
        load("nine")


def test_a_file_like_another_takes_over_what_it_does_not_say(tmp_path):
    place = tmp_path / "mine.toml"
    place.write_text('title = "t"\nlike = "digits-lt50"\n[recipe]\nlr = 0.5\n')
    spec, other = load(str(place)), load("digits-lt50")
    assert (spec.recipe.lr, spec.recipe.epochs) == (0.5, other.recipe.epochs)
    assert spec.methods == other.methods
    place.write_text('like = "nothing"\n')
    with pytest.raises(ValueError, match="like must be one of"):
        load(str(place))


def test_overrides_are_settings_as_in_the_file():
    spec = load("digits-lt50", ["recipe.lr=0.5", "data.draw=seed", "title=my own"])
    assert (spec.recipe.lr, spec.data.draw, spec.title) == (0.5, "seed", "my own")
    with pytest.raises(ValueError, match=r"must be section.setting=value, got 'lr'"):
        load("digits-lt50", ["lr"])


def test_a_hyper_parameter_with_a_dot_is_a_setting():
    spec = load("digits-lt50")
    own = spec.with_settings({"recipe.lr": 0.3, "data.noise": 0.2, "tau": 1.0})
    assert (own.recipe.lr, own.data.noise, own.recipe.epochs) == (0.3, 0.2, 60)
    run = Run(spec, "LA", {"recipe.lr": 0.3, "tau": 1.0})
    assert run.config["recipe"]["lr"] == 0.3
    assert run.config["params"] == {"tau": 1.0}
    with pytest.raises(ValueError, match="unknown field `rate`"):
        spec.with_settings({"recipe.rate": 0.3})
