"""What an experiment is: a small TOML file, read whole or refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lpl_lib.lab.methods import check_parameters
from lpl_lib.lab.recipe import Count, Number, Recipe, Section, Whole

FOLDER = Path(__file__).parent / "specifications"
SETTINGS = ("data", "groups", "model", "recipe")  # sections that `like` merges
Params = dict[str, Any]
Grid = dict[str, Annotated[list[Any], Meta(min_length=1)]]
Share = Annotated[float, Meta(ge=0, lt=1)]


class Data(Section, frozen=True, kw_only=True):
    """Which images.

    Attributes:
        name: where they come from; ``"random"`` is noise of CIFAR's size, to try a plan.
        label: what tables call it.
        path: of a ``"folder"``, below ``LPL_DATA`` or absolute; see
            :func:`~lpl_lib.lab.data.folder.read_parts`.
        imbalance_ratio: of the long-tailed subset that is trained on; 1 for all images.
        draw: seed of that subset and of what is held out, or ``"seed"`` to draw anew for
            each seed of a run.
        split: seed of the split of digits into training and test images, likewise.
        held_out: share of each training class that test runs hold out, too.
        meta: images of each class that are set aside before all else, as a meta set.
        with_meta: train on the meta set, too.
        noise: share of the training labels that are replaced by another one.
        size: height and width to bring images of a folder to.
        skip_corrupt: leave out files of a folder that cannot be read.
    """

    name: Literal["digits", "canvases", "cifar10", "cifar100", "folder", "random"]
    label: str
    path: str = ""
    imbalance_ratio: Annotated[float, Meta(ge=1, le=1e9)] = 1.0
    draw: Whole | Literal["seed"] = 0
    split: Whole | Literal["seed"] = 0
    held_out: Share = 0.0
    meta: Whole = 0
    with_meta: bool = False
    noise: Share = 0.0
    size: Annotated[int, Meta(ge=1, le=4096)] | None = None
    skip_corrupt: bool = False

    def __post_init__(self) -> None:
        if (self.name == "folder") != bool(self.path):
            raise ValueError(
                "path must be given for a folder and for nothing else, got "
                f"{self.path!r} for {self.name}"
            )

    @property
    def task(self) -> Literal["multiclass", "multilabel"]:
        """What kind of labels the images have."""
        return "multilabel" if self.name == "canvases" else "multiclass"


class Search(Section, frozen=True, kw_only=True):
    """How hyper-parameters are chosen: on images held out of the training set.

    Attributes:
        share: of each class of the training set, before a long tail is drawn.
        seeds: of the trial runs.
        epochs: of a trial run, its schedule in proportion; ``None`` as many as in the
            experiment.
        grid: by method, the values to try of each hyper-parameter, all combinations;
            or a list of such grids. ``"recipe.lr"`` and the like are settings of the file.
    """

    share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    seeds: Annotated[tuple[Whole, ...], Meta(min_length=1)] = (100,)
    epochs: Count | None = None
    grid: dict[str, Grid | list[Grid]] = msgspec.field(default_factory=dict)

    def grids(self, method: str) -> list[Grid]:
        """Return what is to be tried of a method, one or several grids."""
        found = self.grid.get(method, {})
        return found if isinstance(found, list) else [found]


class Groups(Section, frozen=True, kw_only=True):
    """Classes with more training images than ``head_above`` are the head, with fewer than
    ``tail_below`` the tail."""

    head_above: Number = 100
    tail_below: Number = 20

    def __post_init__(self) -> None:
        if self.head_above < self.tail_below:
            raise ValueError(
                "head_above must be at least tail_below, got "
                f"{self.head_above:g} and {self.tail_below:g}"
            )


class Specification(Section, frozen=True, kw_only=True):
    """A comparison of methods: all that its runs have in common, and what differs.

    Attributes:
        name: of the file it stands in and of its ledger: plain, as ``digits-lt50``.
        title: for tables and figures.
        data: the images.
        model: arguments of :func:`lpl_lib.lab.models.build_model`.
        recipe: the training, the same for all.
        split: how LPL divides classes, ``"rank"`` or ``"confidence"``.
        seeds: number of runs of each method, with seeds 0, 1, ...
        methods: hyper-parameters that are not searched, by method; several tables in a
            list are all run, each with its own search. A name with a dot, such as
            ``"data.noise"``, is a setting of the file that this method has otherwise.
        search: how the others are chosen.
        groups: head, medium and tail; ``None`` for balanced sets.
        measures: what is recorded besides, of :mod:`lpl_lib.lab.measures`.
        protocol: whose recipe it is: our ``"own"``, which :mod:`lpl_lib.lab.fitness`
            judges, or a ``"published"`` one.
    """

    name: str
    title: str
    data: Data
    model: dict[str, Any]
    recipe: Recipe
    seeds: Annotated[int, Meta(ge=1, le=10_000)]
    methods: dict[str, Params | Annotated[list[Params], Meta(min_length=1)]]
    split: Literal["rank", "confidence"] = "rank"
    search: Search | None = None
    groups: Groups | None = None
    measures: tuple[str, ...] = ()
    protocol: Literal["own", "published"] = "own"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.+ -]{0,99}", self.name):  # files are called so
            raise ValueError(f"name must be plain, as digits-lt50, got {self.name!r}")
        if "name" not in self.model:
            raise ValueError("model must have a name")
        grid = self.search.grid if self.search else {}
        for stray in sorted(set(grid) - set(self.methods)):
            raise ValueError(f"search.grid names {stray!r}, which methods does not")
        for method in self.methods:
            grids = self.search.grids(method) if self.search else []
            searched = {name for tried in grids for name in tried}
            fixed = {name for params in self.settings(method) for name in params}
            own = [name for name in [*fixed, *sorted(searched)] if "." not in name]
            check_parameters(method, own, self.data.task)
            for both in sorted(fixed & searched):
                raise ValueError(f"{method}: {both} is fixed and searched at once")

    def settings(self, method: str) -> list[Params]:
        """Return what the file fixes of a method, one or several tables."""
        found = self.methods[method]
        return found if isinstance(found, list) else [found]

    def with_settings(self, params: Params) -> Specification:
        """Return the experiment with settings such as ``{"recipe.lr": 0.3}``; what has no
        dot is a hyper-parameter and changes nothing here."""
        content = msgspec.to_builtins(self)
        for name, value in params.items():
            section, dot, setting = name.partition(".")
            if dot:
                content[section] = {**content.get(section, {}), setting: value}
        return msgspec.convert(content, Specification)


def available() -> list[str]:
    """Return the names of the experiments that come with the library.

    >>> "digits-lt50" in available()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, overrides: Sequence[str] = ()) -> Specification:
    """Read an experiment.

    A file may be ``like`` another experiment of the library: what it does not say itself
    is as there, setting by setting in ``data``, ``groups``, ``model`` and ``recipe``.

    Args:
        name: one of :func:`available`, or the path of a TOML file.
        overrides: settings in the place of the file's, such as ``"recipe.epochs=3"``;
            values as in TOML.

    Raises:
        ValueError: no such experiment; not TOML; an unknown key, method or
            hyper-parameter, a missing one, a wrong type or value. The message names it,
            and the line of the file that says it.

    >>> load("digits-lt50", ["recipe.epoch=3"])
    Traceback (most recent call last):
    ...
    ValueError: digits-lt50: Object contains unknown field `epoch` - at `$.recipe`
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(
            f"experiment must be one of {available()} or a .toml file, got {name!r}"
        )
    text = path.read_text(encoding="utf-8")
    try:
        content = _content(text)
        for override in overrides:
            _override(content, override)
        return msgspec.convert({"name": path.stem, **content}, Specification)
    except ValueError as error:  # of tomllib, of msgspec, and our own
        where = "" if overrides else _place(text, str(error))
        raise ValueError(f"{path.stem}: {error}{where}") from error


def _content(text: str) -> dict[str, Any]:
    """What a file says, and what it leaves to the one that it is like."""
    own = tomllib.loads(text)
    if "like" not in own:
        return own
    like = own.pop("like")
    if like not in available():
        raise ValueError(f"like must be one of {available()}, got {like!r}")
    content = _content((FOLDER / f"{like}.toml").read_text(encoding="utf-8"))
    tables = [name for name in SETTINGS if isinstance(own.get(name), dict)]
    return content | own | {name: content.get(name, {}) | own[name] for name in tables}


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


def _place(text: str, message: str) -> str:
    """The line of a file that an error is about, as far as it can be told."""
    path = message.rpartition("`$.")[2].rstrip("`").split(".") if "`$." in message else []
    named = re.findall(r"['`]([\w+ ,-]+)['`]", message.partition(" - at")[0])
    for key in [*named, *(re.sub(r"\[.*", "", part) for part in reversed(path))]:
        section = ""
        for number, line in enumerate(text.splitlines(), 1):
            if header := re.match(r"\[([\w.]+)\]", line):
                section = header[1]
            inside = not path or section.split(".")[0] in ("", path[0])
            word = rf'"?{re.escape(key)}"?'
            if inside and re.match(rf"\[(\w+\.)?{word}\]|(.*[{{, ])?{word}\s*=", line):
                return f" (line {number}: {line.strip()})"
    return ""
