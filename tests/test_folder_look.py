"""A folder of images before training: what is there, what is unusable, how it splits."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lpl_lib.counts import class_counts
from lpl_lib.folder.split import split
from lpl_lib.lab.data.look import CorruptImagesError, Found, Row, look_at


def paint(folder: Path, *names: str, size: int = 8) -> None:
    """A noisy picture of its own for each name, the same at each run."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(list(name.encode()))
        Image.fromarray(draw.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(file)


def numbered(name: str, count: int, suffix: str = "png") -> list[str]:
    return [f"{name}/{number}.{suffix}" for number in range(count)]


def in_words(found: Found, what: str) -> str:
    (line,) = [line for line in str(found).splitlines() if line.startswith(f"{what}:")]
    return line.removeprefix(f"{what}: ")


def hostile(folder: Path) -> None:
    """Row by row what was lost, invented or turned: fault 12 and its formats."""
    for name in ("Train/cat", "Train/dog", "testing/cat", "testing/dog", "val/cat"):
        paint(folder, *numbered(name, 2))
    paint(folder, "Train/rare/only.png", "Train/cat/a.gif", "Train/cat/b.jfif")
    paint(folder, "Train/dog/c.webp", "Train/dog/d.tif", "Train/cat/deep/er/e.png")
    paint(folder, "Train/stray.png", "Train/cat/.hidden.png")
    for name in (".ipynb_checkpoints", "Train/__MACOSX", "Train/cat/@eaDir"):
        paint(folder, f"{name}/x.png")
    cut = (folder / "Train/cat/0.png").read_bytes()
    (folder / "Train/cat/cut.png").write_bytes(cut[: len(cut) // 2])
    (folder / "Train/dog/page.jpg").write_text("<html>404</html>")
    (folder / "Train/dog/empty.png").touch()
    (folder / "notes.txt").write_text("mind the dog")
    (folder / "Train/dog/copy.png").write_bytes((folder / "testing/dog/1.png").read_bytes())
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(folder / "Train/dog/deep.png")
    os.mkfifo(folder / "Train/dog/pipe.png")
    Image.new("RGBA", (6, 4), (9, 9, 9, 0)).save(folder / "Train/rare/clear.png")
    turned = Image.new("RGB", (6, 4))
    turned.save(folder / "Train/rare/turned.jpg", exif=exif(orientation=6))


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def test_in_a_hostile_folder_nothing_is_silent_and_nothing_is_lost(tmp_path: Path) -> None:
    hostile(tmp_path)
    found = look_at(tmp_path)
    assert found.classes == ["cat", "dog", "rare"]
    train = {row.file.name for row in found.rows if row.part == "train"}
    assert train == {"0.png", "1.png", "a.gif", "b.jfif", "e.png", "c.webp", "d.tif"} | {
        "copy.png",
        "only.png",
        "clear.png",
        "turned.jpg",
    }
    for name in ("cut.png", "page.jpg", "empty.png", "deep.png", "pipe.png", "stray.png"):
        assert sum(name in line for line in found.unusable) == 1, name
    assert in_words(found, "cannot be used").startswith("6 ")
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", "val", "notes.txt"):
        assert name in in_words(found, "passed over")
    both = in_words(found, "copies in two parts or classes")
    assert "Train/dog/copy.png" in both
    with pytest.raises(CorruptImagesError, match=r"6 of 23 .*cut.png.*skip_unusable=True"):
        split(found)
    train_part, test_part = split(found, skip_unusable=True)
    assert len(train_part) + len(test_part) == len(found)
    assert {found.rows[i].part for i in test_part} == {"test"}
    pictures = {row.file.name: found[i][0] for i, row in enumerate(found.rows)}
    assert pictures["turned.jpg"].size == (4, 6)
    assert pictures["clear.png"].getpixel((0, 0)) == (255, 255, 255)


def test_a_link_that_shows_a_folder_twice_is_refused(tmp_path: Path) -> None:
    paint(tmp_path, "a/0.png", "b/0.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="once more, by a link"):
        look_at(tmp_path)


def test_it_is_a_data_set_that_is_counted(tmp_path: Path) -> None:
    paint(tmp_path, *numbered("dog", 3), *numbered("cat", 1))
    found = look_at(tmp_path)
    assert class_counts(found).tolist() == [1, 3]
    part = found.at(torch.tensor([3, 0]), transform=np.asarray)
    assert [label for _, label in map(part.__getitem__, range(2))] == [1, 0]
    assert class_counts(part).tolist() == [1, 1]
    assert part[0][0].shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "at least two subfolders"),
        (("a/0.png",), r"at least two subfolders, .* got 1"),
        (("train/a/0.png", "train/b/0.png"), "train and test, each once"),
        (("train/a/0.png", "train/b/0.png", "test/c/0.png"), r"test only \['c'\]"),
    ],
)
def test_folders_that_cannot_be_used(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    paint(tmp_path, *names)
    with pytest.raises(ValueError, match=message):
        look_at(tmp_path)


def test_a_folder_without_a_readable_image(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        look_at(tmp_path / "nowhere")
    paint(tmp_path, *numbered("a", 2), "b/0.png")
    (tmp_path / "b/0.png").write_text("gone")
    with pytest.raises(ValueError, match=r"none to train on for \['b'\].*0.png \(cannot"):
        look_at(tmp_path)


# --- a table of labels ------------------------------------------------------------------


def table(folder: Path, *lines: str) -> Path:
    place = folder / "labels.csv"
    place.write_text("\n".join(lines))
    return place


def test_a_table_of_labels(tmp_path: Path) -> None:
    paint(tmp_path, "x/0.png", "x/1.png", "y/2.png", "3.png", "unnamed.png")
    place = table(
        tmp_path, "path,label", "x/0.png,dog", "x/1.png,dog", "y/2.png,cat", "3.png,cat"
    )
    found = look_at(tmp_path, place)
    assert found.classes == ["cat", "dog"]
    assert found.targets.tolist() == [1, 1, 0, 0]
    assert "unnamed.png (in no class)" in in_words(found, "cannot be used")


def test_parts_and_groups_of_a_table(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(6)]
    paint(tmp_path, *names)
    lines = [
        f"{name},{'ab'[i % 2]},{'Test' if i > 3 else 'train'}"
        for i, name in enumerate(names)
    ]
    train, test = split(look_at(tmp_path, table(tmp_path, "path,label,part", *lines)))
    assert (train.tolist(), test.tolist()) == ([0, 1, 2, 3], [4, 5])
    lines = [f"{name},{'ab'[i % 2]},film{i // 2}" for i, name in enumerate(names)]
    found = look_at(tmp_path, table(tmp_path, "path,label,group", *lines))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # there are groups: nothing to warn of
        train, test = split(found)
    assert test.tolist()[1] == test.tolist()[0] + 1
    assert len(test) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "0.png,a"], r"columns path and label, got \['file', 'label'\]"),
        (["path,label", "0.png,a", "1.png,b", "no.png,a"], "line 4: no such file"),
        (["path,label", "0.png,a", "1.png,b", "0.png,b"], "line 4: once more"),
        (["path,label", "0.png,a", "1.png,"], "line 3: no label"),
        (["path,label,part", "0.png,a,train", "1.png,b,sky"], "line 3: part must be"),
        (["path,label,group", "0.png,a,1", "1.png,b,"], "line 3: no group"),
        (["path,label", "0.png,a", "1.png,a"], "must have two classes"),
        (["path,label,part", "0.png,a,train", "1.png,b,test"], r"train on for \['b'\]"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, lines: list[str], message: str) -> None:
    paint(tmp_path, "0.png", "1.png")
    with pytest.raises(ValueError, match=message):
        look_at(tmp_path, table(tmp_path, *lines))


# --- splits -----------------------------------------------------------------------------


def made_up(groups: list[tuple[str, int]]) -> Found:
    """A folder that was never on a disk: a file for each label and group."""
    rows = [
        Row(Path(f"{label}/{number}-{i}.png"), label, pixels=str(i))
        for i, (label, number) in enumerate(groups)
    ]
    return Found(Path(), sorted({row.label for row in rows}), rows, [], [])


def group_of(file: Path) -> str:
    return file.stem.split("-")[0]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=2, max_size=40),
    st.integers(0, 5),
    st.sampled_from([0.1, 0.2, 0.5, 0.9]),
)
def test_what_a_split_promises(
    groups: list[tuple[str, int]], seed: int, share: float
) -> None:
    found = made_up(groups)
    try:
        train, test = split(found, group_of, share=share, seed=seed)
    except ValueError:  # nothing can be tested on: some class would be left without
        labels = {label for label, _ in groups}
        for number in {number for _, number in groups}:
            left = {label for label, other in groups if other != number}
            assert left != labels
        return
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(groups)))
    sides = [{groups[i][1] for i in part.tolist()} for part in (train, test)]
    assert not sides[0] & sides[1]  # a group is on one side
    assert {groups[i][0] for i in train.tolist()} == {label for label, _ in groups}
    again = split(found, group_of, share=share, seed=seed)
    assert test.equal(again[1])


def test_each_class_of_two_is_tested_on_and_one_of_one_is_not() -> None:
    found = made_up([("a", i) for i in range(20)] + [("b", 20), ("b", 21), ("c", 22)])
    _, test = split(found, "random")
    assert class_counts(found.targets[test], 3).tolist() == [4, 1, 0]


def test_by_order_the_last_are_tested_on_and_img10_comes_after_img2() -> None:
    rows = [
        Row(Path(f"{c}/img{i}.png"), c, pixels=f"{c}{i}") for c in "ab" for i in range(11)
    ]
    found = Found(Path(), ["a", "b"], sorted(rows), [], [])
    _, test = split(found, "order")
    names = sorted(found.rows[i].file.name for i in test.tolist())
    assert names == ["img10.png", "img10.png", "img9.png", "img9.png"]


def test_copies_stay_on_one_side() -> None:
    rows = [
        Row(Path(f"{c}/{i}.png"), c, pixels=f"{c}{i // 2}") for c in "ab" for i in range(10)
    ]
    found = Found(Path(), ["a", "b"], rows, [], [])
    _, test = split(found, "random", seed=3)
    assert len(test) == 4
    assert {rows[i].pixels for i in test.tolist()} == {
        rows[i ^ 1].pixels for i in test.tolist()
    }


def test_a_random_split_that_nobody_asked_for_warns() -> None:
    found = made_up([("a", i) for i in range(4)] + [("b", 5), ("b", 6)])
    with pytest.warns(UserWarning, match="the split is random: of a burst"):
        split(found)


@pytest.mark.parametrize(
    "bad", [{"share": 1.0}, {"share": float("nan")}, {"by": "alphabet"}]
)
def test_splits_that_make_no_sense(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="share must lie between 0 and 1, and by be"):
        split(made_up([("a", 0), ("b", 1)]), **bad)


def test_nothing_to_test_on() -> None:
    with pytest.raises(ValueError, match="two images or groups"):
        split(made_up([("a", 0), ("b", 1)]), "random")
