"""Folders of images: what is read, what is passed over with a word, what is refused."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
import torch
from PIL import Image

from lpl_lib.lab.__main__ import main
from lpl_lib.lab.data import folder as folders
from lpl_lib.lab.data.folder import SkippedImagesWarning, read_parts
from lpl_lib.lab.data.look import CorruptImagesError
from lpl_lib.lab.data.tree import folder_digest, look_through
from lpl_lib.lab.problem import load_source
from lpl_lib.lab.records import read
from lpl_lib.lab.specification import Data


def read_folder(folder, **options):
    """The images of a folder without parts, and the names of its classes."""
    parts, names = folders.read_folder(folder, **options)
    (images,) = parts.values()
    return images, names


def write_images(folder, sizes):
    """A tree of one grey image a class, lighter from class to class."""
    for number, size in enumerate(sizes):
        place = folder / f"class-{number}"
        place.mkdir(parents=True)
        Image.new("RGB", size, (number * 51,) * 3).save(place / "one.png")


def test_a_folder_that_cannot_be_used(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder must have one subfolder a class"):
        read_folder(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"at least two subfolders, .*, got 0"):
        read_folder(tmp_path)  # no class in it
    write_images(tmp_path, [(6, 4), (5, 4)])
    with pytest.raises(ValueError, match=r"one size, got 2 sizes .* \(4, 5\) to \(4, 6\)"):
        read_folder(tmp_path)
    for name in ("class-2", "class-3"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"got 4, \['class-2', 'class-3'\] of them empty"):
        read_folder(tmp_path)


def test_a_folder_as_bytes_with_the_names_of_its_classes(tmp_path):
    write_images(tmp_path, [(6, 4)] * 3)
    data, names = read_folder(tmp_path)
    assert data.images.dtype == torch.uint8
    assert data.images.shape == (3, 3, 4, 6)
    assert data.targets.tolist() == [0, 1, 2]
    assert data.images[:, :, 0, 0].tolist() == [[0] * 3, [51] * 3, [102] * 3]
    assert names == ["class-0", "class-1", "class-2"]


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK"])
def test_grey_palette_and_other_images_become_colour(tmp_path, mode):
    write_images(tmp_path, [(6, 4)] * 2)
    suffix = "tif" if mode == "CMYK" else "png"
    white = Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode)
    white.save(tmp_path / "class-0" / f"zero.{suffix}")
    data, _ = read_folder(tmp_path)
    assert data.images.shape == (3, 3, 4, 6)
    assert (data.images[1] == 255).all()


def test_a_palette_with_transparency_raises_no_warning(tmp_path, recwarn):
    write_images(tmp_path, [(6, 4)] * 2)
    clear = Image.new("P", (6, 4), 0)
    clear.save(tmp_path / "class-0" / "clear.png", transparency=b"\x00\x80")
    read_folder(tmp_path)
    assert not recwarn


def test_mixed_sizes_are_brought_to_one_where_asked(tmp_path):
    write_images(tmp_path, [(6, 4), (5, 9)])
    with pytest.raises(ValueError, match=r"one size, got 2 sizes .*: pass size="):
        read_folder(tmp_path)
    assert read_folder(tmp_path, size=3)[0].images.shape == (2, 3, 3, 3)


def spoil(folder):
    """A truncated file, one that is no image, and one of 16 bits."""
    noise = np.random.RandomState(0).randint(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "class-0" / "cut.jpg")
    whole = (folder / "class-0" / "cut.jpg").read_bytes()
    (folder / "class-0" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "class-1" / "text.png").write_text("no image")
    deep = Image.fromarray(np.full((4, 6), 40_000, np.uint16))
    deep.save(folder / "class-1" / "deep.png")


def test_files_that_cannot_be_decoded_are_listed_or_skipped(tmp_path):
    write_images(tmp_path, [(6, 4)] * 2)
    spoil(tmp_path)
    with pytest.raises(CorruptImagesError, match="3 of 5 cannot be used") as caught:
        read_folder(tmp_path)
    for name, reason in [
        ("cut.jpg", "truncated"),
        ("text.png", "cannot identify"),
        ("deep.png", "more than 8 bits"),
    ]:
        assert f"{name} (" in str(caught.value)
        assert reason in str(caught.value)
    assert "skip_corrupt=True" in str(caught.value)
    with pytest.warns(SkippedImagesWarning, match="3 files .* left out: .*cut.jpg"):
        data, _ = read_folder(tmp_path, skip_corrupt=True)
    assert data.targets.tolist() == [0, 1]


def test_a_class_of_which_nothing_is_left(tmp_path):
    write_images(tmp_path, [(6, 4)] * 2)
    (tmp_path / "class-1" / "one.png").write_text("no image")
    with pytest.raises(ValueError, match=r"none to train on for \['class-1'\]; .*one\.png"):
        read_folder(tmp_path, skip_corrupt=True)


def test_a_class_of_which_nothing_is_left_to_test_on(tmp_path):
    write_images(tmp_path / "train", [(6, 4)] * 2)
    write_images(tmp_path / "test", [(6, 4)] * 2)
    (tmp_path / "test" / "class-1" / "one.png").write_text("no image")
    with (
        pytest.warns(SkippedImagesWarning, match="1 files"),
        pytest.raises(ValueError, match=r"\['class-1'\] of .*test have none left"),
    ):
        read_parts(tmp_path, skip_corrupt=True)


def test_a_folder_of_a_single_class(tmp_path):
    write_images(tmp_path, [(6, 4)])
    with pytest.raises(ValueError, match=r"at least two subfolders, .*, got 1,"):
        read_folder(tmp_path)


# --- fault 12: what lies beside the images -------------------------------------------

RED, BLUE = (255, 0, 0), (0, 0, 255)


def colours(folder: Path, **images: tuple[int, int, int]) -> None:
    """One image of 4 x 4 pixels for each ``part__class=colour``."""
    for name, colour in images.items():
        place = folder / name.replace("__", "/")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), colour).save(place / "0.png")


def quietly(read, *arguments):
    """The outcome, of which there must be no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(*arguments)


@pytest.mark.parametrize("inside", ["", "cat"])
@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git", "__pycache__", "$RECYCLE.BIN"],
)
def test_hidden_folders_are_no_classes_and_are_named(tmp_path, name, inside):
    """Fault 12: `.ipynb_checkpoints`, `__MACOSX`, `@eaDir` became classes. Also inside of
    a class, where their thumbnails became images."""
    colours(tmp_path, cat=RED, dog=BLUE)
    hidden = tmp_path / inside / name
    hidden.mkdir()
    Image.new("RGB", (4, 4)).save(hidden / "0.png")
    with pytest.warns(SkippedImagesWarning, match=f"1 files or folders .*{name[1:6]}"):
        data, names = read_folder(tmp_path)
    assert names == ["cat", "dog"]
    assert len(data.targets) == 2


def test_files_that_systems_leave_are_no_images(tmp_path):
    """Fault 12, a sibling: `.DS_Store`, `Thumbs.db`, the `._0.png` of macOS."""
    colours(tmp_path, cat=RED, dog=BLUE)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (tmp_path / "cat" / name).write_bytes(b"\0\5\26\7")
    assert len(quietly(read_folder, tmp_path)[0].targets) == 2


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("training", "validation"),
        ("TRAIN", "val"),
        ("train_set", "test_set"),
        ("train2017", "val2017"),
        ("Training Images", "Testing Images"),
        ("cifar_train", "cifar_test"),
        ("trn", "dev"),
    ],
)
def test_parts_are_known_by_names_of_many_spellings(tmp_path, train, test):
    """Fault 12: `Train/` and `Test/`, `training/` and `validation/` became two classes."""
    for part in (train, test):
        colours(tmp_path / part, cat=RED, dog=BLUE)
    shutil.copy(tmp_path / train / "cat/0.png", tmp_path / train / "cat/1.png")
    first, second, names = quietly(read_parts, tmp_path)
    assert names == ["cat", "dog"]
    assert [len(first.targets), len(second.targets)] == [3, 2]


@pytest.mark.parametrize(
    "parts",
    [
        ["train"],
        ["Test"],
        ["test", "val"],
        ["train", "train_set", "test"],
        ["train", "test", "testing"],
        ["train", "cat"],
    ],
)
def test_parts_without_a_partner_or_twice_are_refused(tmp_path, parts):
    """Fault 12, siblings: one part alone or beside classes, two of one kind."""
    for part in parts:
        colours(tmp_path / part, cat=RED, dog=BLUE)
    with pytest.raises(ValueError, match="must hold train and test, each once") as caught:
        read_parts(tmp_path)
    assert repr(parts[0]) in str(caught.value)


def test_parts_within_the_classes_are_refused(tmp_path):
    """Fault 12, a sibling: `cat/train` and `cat/test` were trained on alike."""
    for kind in ("cat", "dog"):
        colours(tmp_path / kind, train=RED, test=BLUE)
    with pytest.raises(ValueError, match="must hold train and test"):
        read_parts(tmp_path)


def test_a_class_may_be_called_nearly_like_a_part(tmp_path):
    colours(tmp_path, **{"bullet train": RED, "bus": BLUE, "contest": RED, "trainer": RED})
    assert len(quietly(read_folder, tmp_path)[1]) == 4
    assert {part for part, _, _ in look_through(tmp_path)[0]} == {""}


def test_a_part_that_is_not_used_is_named(tmp_path):
    """Fault 12, a sibling: a `val/` beside train and test was ignored without a word."""
    for part in ("train", "val", "test"):
        colours(tmp_path / part, cat=RED, dog=BLUE)
    (tmp_path / "README.md").write_text("about")
    with pytest.warns(SkippedImagesWarning, match=r"2 files or folders .*val.*README\.md"):
        train, test, _ = read_parts(tmp_path)
    assert len(train.targets) == len(test.targets) == 2


@pytest.mark.parametrize("suffix", ["jfif", "gif", "avif", "jp2", "JPEG", "webp", "img"])
def test_an_image_is_read_whatever_its_suffix(tmp_path, suffix):
    """Fault 12: .jfif, .gif, .avif were skipped without a word (200 of 202 images)."""
    colours(tmp_path, cat=RED, dog=BLUE)
    kinds = {"jfif": "JPEG", "jp2": "JPEG2000", "img": "PNG"}
    picture = Image.new("RGB", (4, 4), (0, 255, 0))
    picture.save(tmp_path / "dog" / f"1.{suffix}", kinds.get(suffix, suffix.upper()))
    data, _ = quietly(read_folder, tmp_path)
    assert data.targets.tolist() == [0, 1, 1]
    assert data.images[2, 1].min() > 200


def test_files_that_are_no_images_are_counted_and_listed(tmp_path):
    """Fault 12: what is not read is refused unless told otherwise: an image of a kind that
    cannot be read, a table, an image that lies in no class."""
    colours(tmp_path, cat=RED, dog=BLUE)
    (tmp_path / "cat" / "1.heic").write_bytes(b"\0\0\0 ftypheic")
    (tmp_path / "dog" / "labels.csv").write_text("a,b")
    Image.new("RGB", (4, 4)).save(tmp_path / "loose.png")
    with pytest.raises(CorruptImagesError, match="3 of 5 cannot be used") as caught:
        read_folder(tmp_path)
    for name in ("1.heic", "labels.csv", "loose.png (in no class)"):
        assert name in str(caught.value)
    with pytest.warns(SkippedImagesWarning, match="3 files"):
        assert len(read_folder(tmp_path, skip_corrupt=True)[0].targets) == 2


@pytest.mark.parametrize("where", ["cat/loop", "loop", "cat/deep/loop"])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_loop_of_links_is_refused(tmp_path, where, steps):
    """Fault 12: with `a/loop -> ..` 30 images became 1,182."""
    colours(tmp_path, cat=RED, cat__deep=RED, dog=BLUE)
    link = tmp_path / where
    target = link.parents[min(steps, where.count("/"))]
    link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    with pytest.raises(ValueError, match="once more, by a link: remove one"):
        read_folder(tmp_path)


def test_links_that_show_a_folder_twice_are_refused_and_others_followed(tmp_path):
    """Fault 12, siblings: a class under two names; a test set that is the training set."""
    colours(tmp_path / "store", cat=RED, dog=BLUE)
    linked, both = tmp_path / "linked", tmp_path / "both"
    linked.mkdir()
    for name in ("cat", "dog"):
        (linked / name).symlink_to(tmp_path / "store" / name)
    assert len(quietly(read_folder, linked)[0].targets) == 2
    (linked / "puma").symlink_to(tmp_path / "store" / "cat")
    with pytest.raises(ValueError, match=r"puma is .*cat once more, by a link"):
        read_folder(linked)
    both.mkdir()
    for part in ("train", "test"):
        (both / part).symlink_to(tmp_path / "store")
    with pytest.raises(ValueError, match="once more, by a link"):
        read_parts(both)


@pytest.mark.parametrize("kind", ["pipe", "link", "device"])
def test_what_is_no_file_is_listed_and_not_waited_for(tmp_path, kind):
    """Fault 12: a FIFO named .png hung the reader; also broken links, links to devices."""
    colours(tmp_path, cat=RED, dog=BLUE)
    odd = tmp_path / "cat" / "odd.png"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero" if kind == "device" else "nowhere.png")
    with pytest.raises(CorruptImagesError, match=r"1 of 3 .*odd\.png \(no such file"):
        read_folder(tmp_path)
    assert folder_digest(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_photographs_stand_upright(tmp_path, orientation, suffix):
    """Fault 12: a camera's rotation in EXIF was not applied: pictures sideways."""
    upright = np.zeros((16, 32), np.uint8)
    upright[:, 16:], upright[8:, :16] = 255, 128  # left: black above grey; right: white
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes the camera's turn
    stored = Image.fromarray(upright).convert("RGB")
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(turned[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stored.save(tmp_path / name / f"0.{suffix}", exif=exif, quality=100)
    data, _ = read_folder(tmp_path)
    assert data.images.shape == (2, 3, 16, 32)
    assert (data.images[0, 0].int() - torch.from_numpy(upright).int()).abs().max() < 9


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparent_pixels_are_white(tmp_path, mode):
    """Fault 12: what is transparent came out in whatever colour lay below, mostly black."""
    colours(tmp_path, cat=RED, dog=BLUE)
    alpha = {"RGBA": ((0, 0, 0, 255), (7, 7, 7, 0)), "LA": ((0, 255), (7, 0))}
    marked = {"P": (0, 1), "RGB": ((0, 0, 0), (7, 7, 7)), "L": (0, 7)}
    black, clear = {**alpha, **marked}[mode]
    picture = Image.new(mode, (4, 4), clear)
    if mode == "P":
        picture.putpalette([0, 0, 0, 7, 7, 7])
    picture.paste(black, (0, 0, 2, 4))
    options = {"transparency": clear} if mode in marked else {}
    picture.save(tmp_path / "cat" / "1.png", **options)
    image = read_folder(tmp_path)[0].images[1]
    assert (image[:, :, :2] == 0).all()
    assert (image[:, :, 2:] == 255).all()


@pytest.mark.parametrize("output", ["results/a.jsonl", "runs/ab.lock", "runs/tiny/ab.lock"])
def test_results_of_experiments_are_never_read(tmp_path, output):
    """Fault 12: the runner's own `runs/`, inside the folder of images, became a class."""
    colours(tmp_path, cat=RED, dog=BLUE)
    before = folder_digest(tmp_path)
    (tmp_path / output).parent.mkdir(parents=True)
    (tmp_path / output).write_text("{}")
    (tmp_path / output).with_name("figure.png").write_bytes(b"a figure")
    with pytest.warns(SkippedImagesWarning, match="1 files or folders"):
        assert read_folder(tmp_path)[1] == ["cat", "dog"]
    assert folder_digest(tmp_path) == before


def test_names_of_folders_are_compared_as_readers_see_them(tmp_path):
    """`café` with one letter or with a letter and an accent, as macOS writes it, is one
    class: in both parts, and in one folder."""
    one, two = (normalize(form, "café") for form in ("NFC", "NFD"))
    colours(tmp_path, **{f"train__{one}": RED, f"train__{two}": RED, f"test__{two}": RED})
    colours(tmp_path, train__z=BLUE, test__z=BLUE)
    train, test, names = quietly(read_parts, tmp_path)
    assert names == [one, "z"]
    assert train.targets.tolist() == [0, 0, 1]
    assert test.targets.tolist() == [0, 1]


def test_all_classes_that_differ_are_named_with_their_part(tmp_path):
    """A class of the tail that is absent from the test set was named one at a time."""
    colours(tmp_path, train__a=RED, train__b=RED, train__c=RED, test__a=RED)
    with pytest.raises(ValueError, match=r"\['b', 'c'\] of .*test have none"):
        read_parts(tmp_path)
    colours(tmp_path, test__d=RED)
    with pytest.raises(ValueError, match=r"train only are \['b', 'c'\], in test only \['d"):
        read_parts(tmp_path)


# --- fault 20: what a folder is --------------------------------------------------------


def swap(a: Path, b: Path) -> None:
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def test_a_folder_is_known_by_its_content(tmp_path):
    """Fault 20: identity was name and size, so that inverted pictures, or pairs swapped
    between classes, gave the old numbers. Also: a class renamed, an image taken away."""
    place = tmp_path / "photos"
    for kind, shade in (("cat", 9), ("dog", 99)):
        (place / kind).mkdir(parents=True)
        for number in range(2):
            grey = Image.new("L", (4, 4), shade + number)
            grey.save(place / kind / f"{number}.bmp")
    found = [folder_digest(place)]
    swap(place / "cat" / "0.bmp", place / "dog" / "0.bmp")  # equal sizes
    found.append(folder_digest(place))
    picture = Image.open(place / "cat" / "1.bmp").point(lambda value: 255 - value)
    picture.save(place / "cat" / "1.bmp")
    found.append(folder_digest(place))
    (place / "dog").rename(place / "wolf")
    found.append(folder_digest(place))
    (place / "wolf" / "1.bmp").unlink()
    found.append(folder_digest(place))
    assert len(set(found)) == 5


def test_a_copy_is_the_same_folder_and_passed_over_files_do_not_count(tmp_path):
    """Fault 20, siblings: moved, touched, or with a system's files beside the images."""
    place = tmp_path / "photos"
    for part in ("train", "test"):
        colours(place / part, cat=RED, dog=BLUE)
    known = folder_digest(place)
    shutil.copytree(place, tmp_path / "copy")
    os.utime(place / "train/cat/0.png", (0, 0))
    (place / "train/cat/.DS_Store").touch()
    (place / "notes.txt").touch()
    assert folder_digest(place) == folder_digest(tmp_path / "copy") == known


def test_a_change_is_seen_although_the_file_s_time_was_set_back(tmp_path):
    """Fault 20, a sibling: bytes are not read again while a file is unchanged, but a tool
    that sets its time back does not hide a change."""
    colours(tmp_path, cat=RED, dog=BLUE)
    file = tmp_path / "cat/0.png"
    known = [folder_digest(tmp_path) for _ in range(2)]
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known[0] == known[1] != folder_digest(tmp_path)


def test_images_are_read_anew_if_the_folder_changed(tmp_path):
    """Fault 20, a sibling: one process that goes on after its folder was changed."""
    for part in ("train", "test"):
        colours(tmp_path / part, cat=RED, dog=BLUE)
    data = Data(name="folder", label="p", path=str(tmp_path))
    red = load_source(data)[0].images
    assert load_source(data)[0].images is red
    colours(tmp_path / "train", cat=BLUE)
    assert not load_source(data)[0].images.equal(red)


MINE = """title = "t"
seeds = 1
data = { name = "folder", label = "p", path = "PLACE" }
model = { name = "small-conv", width = 2 }
recipe = { epochs = 1 }
[methods]
LA = {}
"""


def test_a_table_is_of_the_folder_that_is_there(tmp_path, capsys):
    """Fault 20: `--table` with another folder, or a changed one, printed the numbers of
    the first, with exit status 0. With the folder as it was, wherever it lies, it shows
    them again, and nothing is run anew."""
    place = tmp_path / "photos"
    for part in ("train", "test"):
        colours(place / part, cat=RED, dog=BLUE)
    places = ["--results", str(tmp_path / "r"), "--checkpoints", str(tmp_path / "c")]

    def line(folder: Path, *more: str) -> int:
        (tmp_path / "mine.toml").write_text(MINE.replace("PLACE", str(folder)))
        return main([str(tmp_path / "mine.toml"), "--cpu", "--quiet", *places, *more])

    assert line(place) == line(place, "--table") == 0
    shutil.copytree(place, tmp_path / "before")
    swap(place / "train/cat/0.png", place / "train/dog/0.png")
    assert line(place, "--table") == 2
    assert "no test run of mine is recorded yet" in capsys.readouterr().err
    assert line(tmp_path / "before", "--table") == line(tmp_path / "before") == 0
    assert len(read(tmp_path / "r/mine.jsonl")) == 1
    assert line(tmp_path / "nowhere", "--table") == 2
    assert "nowhere" in capsys.readouterr().err
