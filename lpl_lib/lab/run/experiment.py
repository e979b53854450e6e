"""What an experiment is: a small file, read and refused if it says something unknown."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lpl_lib.checks import check_count, check_number
from lpl_lib.lab.engine import Recipe
from lpl_lib.lab.methods import hyper_parameters

FOLDER = Path(__file__).parents[1] / "experiments"
SETTINGS = ("data", "groups", "model", "recipe")  # sections of settings by name
Params = dict[str, Any]


@dataclass(frozen=True)
class DataSpec:
    """Which images.

    Attributes:
        name: ``"digits"``, ``"cifar10"``, ``"cifar100"`` or ``"folder"``.
        label: what tables call it.
        path: of a ``"folder"``, below ``LPL_DATA`` or absolute: ``train/<class>/<image>``
            and ``test/<class>/<image>``, or ``<class>/<image>`` alone, a fifth of which
            then is the test set.
        imbalance_ratio: of the long-tailed subset that is trained on; 1 for all images.
        draw: seed of that subset, or ``"seed"`` to draw anew for each seed of a run.
        size: height and width to bring images of a folder to.
        skip_corrupt: leave out files of a folder that cannot be decoded.
    """

    name: Literal["digits", "cifar10", "cifar100", "folder"]
    label: str
    path: str = ""
    imbalance_ratio: float = 1.0
    draw: int | Literal["seed"] = 0
    size: int | None = None
    skip_corrupt: bool = False

    def __post_init__(self) -> None:
        known = ("digits", "cifar10", "cifar100", "folder")
        if self.name not in known:
            raise ValueError(f"data.name must be one of {known}, got {self.name!r}")
        if (self.name == "folder") != bool(self.path):
            raise ValueError(
                f"data.path must be given for a folder (--data DIR) and for nothing else, "
                f"got {self.path!r} for {self.name}"
            )
        check_number(self.imbalance_ratio, "data.imbalance_ratio", minimum=1)
        if self.draw != "seed" and type(self.draw) is not int:
            raise ValueError(f'data.draw must be a number or "seed", got {self.draw!r}')
        if self.size is not None:
            check_count(self.size, "data.size")


@dataclass(frozen=True)
class Search:
    """How hyper-parameters are chosen: on images held out of the training set.

    Attributes:
        share: of each class of the training set, before a long tail is drawn.
        seeds: of the trial runs.
        epochs: of a trial run, its schedule in proportion; ``None`` as many as in the
            experiment.
        grid: by method, the values to try of each hyper-parameter.
    """

    share: float = 0.2
    seeds: tuple[int, ...] = (100,)
    epochs: int | None = None
    grid: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not check_number(self.share, "search.share", strict=True) < 1:
            raise ValueError(f"search.share must be below 1, got {self.share}")
        if not isinstance(self.seeds, tuple) or not self.seeds:
            raise ValueError(f"search.seeds must be a list of seeds, got {self.seeds!r}")
        for seed in self.seeds:
            check_count(seed, "search.seeds", minimum=0)
        if self.epochs is not None:
            check_count(self.epochs, "search.epochs")
        for method, values in self.grid.items():
            if not isinstance(values, dict):
                raise ValueError(
                    f"search.grid.{method} must say which hyper-parameter, such as "
                    f"{{tau = [1.0]}}, got {values!r}"
                )
            for name, tried in values.items():
                if not isinstance(tried, list) or not tried:
                    raise ValueError(
                        f"search.grid: {name} of {method} must be a list of values to "
                        f"try, got {tried!r}"
                    )


@dataclass(frozen=True)
class Groups:
    """Classes with more training images than ``head_above`` are the head, with fewer than
    ``tail_below`` the tail."""

    head_above: float = 100
    tail_below: float = 20

    def __post_init__(self) -> None:
        check_number(self.head_above, "groups.head_above")
        check_number(self.tail_below, "groups.tail_below")
        if self.head_above < self.tail_below:
            raise ValueError(
                "groups.head_above must be at least groups.tail_below, got "
                f"{self.head_above} and {self.tail_below}"
            )


@dataclass(frozen=True)
class Experiment:
    """A comparison of methods: all that its runs have in common, and what differs.

    Attributes:
        name: of the file it stands in and of its ledger.
        title: for tables and figures.
        data: the images.
        model: arguments of :func:`lpl_lib.lab.models.build_model`.
        recipe: the training, the same for all.
        split: how LPL divides classes, ``"rank"`` or ``"confidence"``.
        seeds: number of runs of each method, with seeds 0, 1, ...
        methods: hyper-parameters that are not searched, by method.
        search: how the others are chosen.
        groups: head, medium and tail; ``None`` for balanced sets.
    """

    name: str
    title: str
    data: DataSpec
    model: Params
    recipe: Recipe
    split: Literal["rank", "confidence"]
    seeds: int
    methods: dict[str, Params]
    search: Search | None = None
    groups: Groups | None = None

    def __post_init__(self) -> None:
        check_count(self.seeds, "seeds")
        if not isinstance(self.methods, dict):
            raise ValueError(
                "methods must give the hyper-parameters of each by name, such as "
                f"{{ce = {{}}}}, got {self.methods!r}"
            )
        if self.split not in ("rank", "confidence"):
            raise ValueError(f"split must be 'rank' or 'confidence', got {self.split!r}")
        if "name" not in self.model:
            raise ValueError("model must have a name")
        grid = self.search.grid if self.search else {}
        for method, params in self.methods.items():
            searched = grid.get(method, {})
            known = hyper_parameters(method)
            for param in [*params, *searched]:
                if param not in known:
                    raise ValueError(
                        f"method {method!r} has no hyper-parameter {param!r}: it has "
                        f"{known}"
                    )
            both = sorted(set(params) & set(searched))
            if both:
                raise ValueError(f"{method}: {both[0]} is fixed and searched at once")
        stray = sorted(set(grid) - set(self.methods))
        if stray:
            raise ValueError(f"search.grid names {stray[0]!r}, which methods does not")


def available() -> list[str]:
    """Return the names of the experiments that come with the library.

    >>> "digits-lt50" in available()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_experiment(name: str, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment.

    A file may be ``like`` another experiment of the library: what it does not say itself
    is as there, setting by setting in ``data``, ``groups``, ``model`` and ``recipe``.

    Args:
        name: one of :func:`available`, or the path of a TOML file.
        overrides: settings in the place of the file's, such as ``"recipe.epochs=3"``;
            values as in TOML.

    Raises:
        ValueError: no such experiment; not TOML; an unknown key, method or
            hyper-parameter, a missing one, a value out of range. The message names it.

    >>> load_experiment("digits-lt50", ["recipe.epoch=3"])
    Traceback (most recent call last):
    ...
    ValueError: digits-lt50: recipe has no setting 'epoch': it has ['epochs', ...
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(
            f"experiment must be one of {available()} or a .toml file, got {name!r}"
        )
    try:
        content = _content(path)
        for override in overrides:
            _override(content, override)
        return _experiment(path.stem, content)
    except (TypeError, ValueError) as error:  # tomllib's error is a ValueError
        raise ValueError(f"{path.stem}: {error}") from error


def _content(path: Path) -> dict[str, Any]:
    """What a file says, and what it leaves to the one that it is like."""
    own = tomllib.loads(path.read_text(encoding="utf-8"))
    if "like" not in own:
        return own
    like = own.pop("like")
    if like not in available():
        raise ValueError(f"like must be one of {available()}, got {like!r}")
    content = _content(FOLDER / f"{like}.toml")
    for name, value in own.items():
        if name in SETTINGS and isinstance(value, dict):
            value = {**content.get(name, {}), **value}
        content[name] = value
    return content


def _experiment(name: str, content: dict[str, Any]) -> Experiment:
    content = dict(content)
    search = dict(content.pop("search", {}))
    if isinstance(search.get("seeds"), list):
        search["seeds"] = tuple(search["seeds"])
    recipe = dict(content.pop("recipe", {}))
    if "milestones" in recipe:
        recipe["milestones"] = tuple(recipe["milestones"])
    groups = content.pop("groups", None)
    parts = {
        "data": _made(DataSpec, "data", content.pop("data", {})),
        "recipe": _made(Recipe, "recipe", recipe),
        "search": _made(Search, "search", search) if search else None,
        "groups": None if groups is None else _made(Groups, "groups", groups),
    }
    return _made(Experiment, "experiment", {"name": name, **content, **parts})


def _made(kind: type[Any], section: str, settings: dict[str, Any]) -> Any:
    """An instance of a dataclass, refusing settings that it does not have."""
    known = [entry.name for entry in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in known:
            raise ValueError(f"{section} has no setting {setting!r}: it has {known}")
    for entry in dataclasses.fields(kind):
        needed = entry.default is entry.default_factory is dataclasses.MISSING
        if needed and entry.name not in settings:
            raise ValueError(f"{section} needs a setting {entry.name!r}")
        # a word such as False would count as true
        value = settings.get(entry.name, False)
        if entry.type == "bool" and not isinstance(value, bool):
            raise ValueError(f"{section}.{entry.name} must be true or false, got {value!r}")
    return kind(**settings)


def _override(content: dict[str, Any], override: str) -> None:
    """Put one ``section.setting=value`` into a file's content."""
    where, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"--set must be section.setting=value, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a word needs no quotation marks on the command line
    *sections, setting = where.strip().split(".")
    for section in sections:
        content = content.setdefault(section, {})
    content[setting] = value
