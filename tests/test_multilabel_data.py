"""Canvases, split lists, readers of images, class-aware sampling, and the recipe."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from lpl_lib import digits, frequency_groups
from lpl_lib.multilabel import (
    LONG_TAIL,
    METHODS,
    ClassAwareSampler,
    SplitList,
    canvas_sets,
    digit_canvases,
    fetch_split_list,
    parse_split_list,
)
from lpl_lib.multilabel.folder import data_folder
from lpl_lib.multilabel.images import (
    VOC_LABELS,
    COCOImages,
    ListedImages,
    VOCImages,
    mlt_images,
)
from lpl_lib.multilabel.recipe import Recipe, run, transforms
from lpl_lib.multilabel.split_lists import NUM_LABELS, SPLIT_LISTS

LISTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "mlt"
needs_lists = pytest.mark.skipif(
    not LISTS.is_dir(), reason="the published split lists are not beside the repository"
)

# ----- canvases


def test_canvases_have_the_counts_that_were_asked_for():
    sets = canvas_sets(3, num_test=200)
    assert sets.train.targets.sum(0).int().tolist() == list(LONG_TAIL)
    assert sets.test.targets.sum(0).int().tolist() == [40] * 10
    groups = frequency_groups(LONG_TAIL, head_above=99)
    assert [len(members) for members in groups.values()] == [4, 4, 2]
    for part in sets:
        assert part.images.shape[1:] == (1, 27, 36)
        assert part.images.dtype == part.targets.dtype == torch.float32
        assert set(part.targets.unique().tolist()) == {0.0, 1.0}


def test_canvases_are_seeded_and_sets_differ():
    one, again, other = (canvas_sets(s, num_test=50) for s in (0, 0, 1))
    assert all(torch.equal(a.images, b.images) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.train.targets, other.train.targets)
    assert not torch.equal(one.validation.images, one.test.images)


def test_a_canvas_shows_its_digits_and_nothing_else():
    scans, _ = digits()
    canvases = digit_canvases(scans, 60, [12] * 10, noise=0.0)
    known = {
        scan.numpy().tobytes(): label
        for scan, label in zip(scans.images[:, 0], scans.targets.tolist(), strict=True)
    }
    for image, target in zip(canvases.images[:, 0], canvases.targets, strict=True):
        found = []
        for top in range(20):
            for left in range(29):
                patch = image[top : top + 8, left : left + 8].contiguous()
                label = known.get(patch.numpy().tobytes())
                if label is not None:
                    found.append(label)
        assert sorted(found) == target.nonzero()[:, 0].tolist()


def test_cooccurrence_is_controlled():
    scans, _ = digits()
    together = []
    for rho in (0.0, 0.4, 0.8):
        t = digit_canvases(scans, 3000, [600] * 10, rho).targets
        both = (t.T @ t) / len(t)
        together.append(both[~torch.eye(10, dtype=torch.bool)].mean().item())
    assert together[0] == pytest.approx(0.04, abs=0.004)  # 0.2 squared: independent
    assert together[0] < together[1] < together[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_counts": [1] * 9}, "label_counts must be ten numbers"),
        ({"label_counts": [99] * 10}, "label_counts must be ten numbers up to"),
        ({"label_counts": [0] * 10}, "label_counts must be positive"),
        ({"cooccurrence": 1.0}, "cooccurrence must lie in"),
        ({"num_images": 0}, "num_images must be"),
    ],
)
def test_bad_canvases_are_refused(change, message):
    arguments = {"num_images": 20, "label_counts": [2] * 10} | change
    with pytest.raises(ValueError, match=message):
        digit_canvases(digits()[0], **arguments)


# ----- split lists


@needs_lists
@pytest.mark.parametrize(
    ("name", "size", "groups", "largest", "empty"),
    [
        ("voc_lt_train", 1142, [6, 6, 8], 775, 0),
        ("coco_lt_train", 1909, [22, 33, 25], 1128, 0),
        ("voc_lt_test", 4952, None, 2097, 0),
        ("coco_lt_test", 5000, None, 2693, 48),
    ],
)
def test_statistics_of_the_published_lists(name, size, groups, largest, empty):
    path = fetch_split_list(name, LISTS)  # there already: its checksum is compared
    split = parse_split_list(path.read_text(), NUM_LABELS[name.split("_")[0]])
    counts = split.label_counts()
    assert len(split.paths) == len(split.targets) == size
    assert max(counts) == largest
    assert int((split.targets.sum(1) == 0).sum()) == empty
    if groups:
        found = frequency_groups(counts, head_above=99).values()
        assert [len(members) for members in found] == groups


@needs_lists
def test_counts_of_voc_mlt():
    text = (LISTS / "voc_lt_train.txt").read_text()
    counts = dict(zip(VOC_LABELS, parse_split_list(text, 20).label_counts(), strict=True))
    assert list(counts.values()) == [
        6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64,
    ]  # fmt: skip
    names = (LISTS / "voc_labels.txt").read_text().split("\n")
    assert [line.split()[0] for line in names if line] == list(VOC_LABELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one line, got none"),
        ("\n \n", "at least one line, got none"),
        ("a.jpg 3", "numbers from 0 to 2, got '3' in line 1 of the split list, for a.jpg"),
        ("a.jpg 0\nb.jpg cat", "got 'cat' in line 2"),
        ("a.jpg -1", "got '-1'"),
        ("a.jpg 0\na.jpg 1", "every image once, got a.jpg twice"),
    ],
)
def test_bad_lists_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_split_list(text, 3)


def test_a_list_is_fetched_once_and_verified(tmp_path, monkeypatch):
    content = b"a.jpg 1\n"
    source = tmp_path / "published.txt"
    source.write_bytes(content)
    remote = SPLIT_LISTS["voc_lt_test"]._replace(
        address=source.as_uri(), checksum=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(SPLIT_LISTS, "voc_lt_test", remote)
    path = fetch_split_list("voc_lt_test", tmp_path / "kept")
    source.unlink()
    assert fetch_split_list("voc_lt_test", tmp_path / "kept") == path
    path.write_text("something else")
    with pytest.raises(ValueError, match="must have the sha256"):
        fetch_split_list("voc_lt_test", tmp_path / "kept")
    with pytest.raises(ValueError, match=r"name must be one of .*, got 'voc'"):
        fetch_split_list("voc", tmp_path)


# ----- images: a small tree in VOC layout


def annotation(names: list[tuple[str, bool]]) -> str:
    """An annotation as VOC writes it: names of objects, and whether they are difficult."""
    objects = "".join(
        f"<object><name>{escape(name)}</name><difficult>{int(hard)}</difficult>"
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox></object>"
        for name, hard in names
    )
    return f"<annotation><folder>VOC2012</folder>{objects}</annotation>"


SCENES = {
    "2008_000001": [("person", False), ("dog", False), ("person", False)],
    "2008_000002": [("cow", True)],  # difficult, and a positive all the same
    "2008_000003": [("person", False), ("cow", False), ("tvmonitor", True)],
    "2008_000004": [("dog", False)],
}


@pytest.fixture
def tree(tmp_path):
    """Four images of several sizes with their annotations."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for shade, (name, objects) in enumerate(SCENES.items()):
        picture = Image.new("RGB", (40 + shade, 30), (60 * shade, 10, 200))
        picture.save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(annotation(objects))
    (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(SCENES) + "\n")
    return tmp_path


def test_voc_reader_end_to_end(tree):
    data = VOCImages(tree, "2012", "train", transform=pil_to_tensor)
    assert len(data) == 4
    for index, objects in enumerate(SCENES.values()):
        image, target = data[index]
        assert image.shape == (3, 30, 40 + index)
        assert abs(int(image[0].float().mean()) - 60 * index) <= 3
        found = {VOC_LABELS[k] for k in target.nonzero()[:, 0]}
        assert found == {name for name, _ in objects}
    counts = dict(zip(VOC_LABELS, data.targets.sum(0).int().tolist(), strict=True))
    assert {n: c for n, c in counts.items() if c} == {
        "person": 2, "dog": 2, "cow": 2, "tvmonitor": 1,
    }  # fmt: skip


def test_images_of_a_list_agree_with_the_voc_reader(tree):
    by_xml = VOCImages(tree, "2012", "train", transform=pil_to_tensor)
    lines = [
        f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg "
        + " ".join(str(VOC_LABELS.index(label)) for label, _ in objects)
        for name, objects in SCENES.items()
    ]
    by_list = ListedImages(tree, parse_split_list("\n".join(lines), 20), pil_to_tensor)
    for (image, target), (other, labels) in zip(by_xml, islice(by_list, 4), strict=True):
        assert torch.equal(image, other)
        assert torch.equal(target, labels)


def test_mlt_images_read_the_users_folder(tree, monkeypatch):
    lines = "\n".join(f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg 14" for name in SCENES)
    (tree / "mlt").mkdir()
    (tree / "mlt" / "voc_lt_train.txt").write_text(lines)
    remote = SPLIT_LISTS["voc_lt_train"]._replace(
        checksum=hashlib.sha256(lines.encode()).hexdigest()
    )
    monkeypatch.setitem(SPLIT_LISTS, "voc_lt_train", remote)
    monkeypatch.setenv("LPL_DATA", str(tree))
    data = mlt_images("voc", "train", pil_to_tensor)
    assert len(data) == 4
    assert data[2][0].shape == (3, 30, 42)
    assert data.targets.sum().item() == 4
    with pytest.raises(ValueError, match="name must be 'voc' or 'coco'"):
        mlt_images("voc", "validation", pil_to_tensor)


def test_missing_images_are_counted_and_five_are_named(tree):
    names = [f"{letter}.jpg" for letter in "abcdefg"]
    split = SplitList(names, torch.zeros(7, 20))
    with pytest.raises(ValueError, match="all 7 listed images, but 7 are missing") as error:
        ListedImages(tree, split, pil_to_tensor)
    assert "a.jpg, b.jpg, c.jpg, d.jpg, e.jpg, ..." in str(error.value)
    assert "f.jpg" not in str(error.value)
    (tree / "VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 are missing: JPEGImages/2008_000002\.jpg$"):
        VOCImages(tree, "2012", "train", pil_to_tensor)


def test_bad_voc_trees_are_refused(tree):
    root = tree / "VOCdevkit" / "VOC2012"
    xml = root / "Annotations" / "2008_000001.xml"
    xml.write_text(annotation([("unicorn", False)]))
    with pytest.raises(ValueError, match=r"2008_000001\.xml must name known .*'unicorn'"):
        VOCImages(tree, "2012", "train", pil_to_tensor)
    xml.write_text(annotation([]))
    with pytest.raises(ValueError, match=r"2008_000001\.xml must name at least one object"):
        VOCImages(tree, "2012", "train", pil_to_tensor)
    xml.unlink()
    with pytest.raises(ValueError, match=r"are missing: Annotations/2008_000001\.xml"):
        VOCImages(tree, "2012", "train", pil_to_tensor)
    (root / "ImageSets" / "Main" / "train.txt").write_text("\n")
    with pytest.raises(ValueError, match="at least one image, got an empty list"):
        VOCImages(tree, "2012", "train", pil_to_tensor)


# ----- images: a small set in COCO layout


CATEGORIES = {1: "person", 3: "car", 90: "toothbrush"}  # COCO's ids have gaps
OBJECTS = {  # image: (category, crowd)
    9: [(90, 0), (90, 0)],
    25: [],
    30: [(1, 1), (3, 0)],
}


def write_coco(folder: Path, objects: dict[int, list[tuple[int, int]]]) -> Path:
    """Write images and their annotations as COCO does; return the annotations' path."""
    (folder / "train2017").mkdir(exist_ok=True)
    for image in objects:
        picture = Image.new("L", (20 + image, 10), 5 * image)  # COCO has grey images too
        picture.save(folder / "train2017" / f"{image:012d}.jpg")
    numbered = enumerate((i, c, crowd) for i, all_ in objects.items() for c, crowd in all_)
    content = {
        # not in the order of the ids, as in the real files
        "images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in reversed(objects)],
        "categories": [{"id": i, "name": n} for i, n in reversed(CATEGORIES.items())],
        "annotations": [
            {
                "id": k,
                "image_id": i,
                "category_id": c,
                "iscrowd": crowd,
                "bbox": [0, 0, 5, 5],
            }
            for k, (i, c, crowd) in numbered
        ],
    }
    path = folder / "instances_train2017.json"
    path.write_text(json.dumps(content))
    return path


def test_coco_reader_end_to_end(tmp_path, capsys):
    annotations = write_coco(tmp_path, OBJECTS)
    data = COCOImages(tmp_path / "train2017", annotations, pil_to_tensor)
    assert len(data) == 3
    assert data.labels == ("person", "car", "toothbrush")
    assert data.targets.tolist() == [[0, 0, 1], [0, 0, 0], [1, 1, 0]]
    for index, number in enumerate(OBJECTS):
        image, target = data[index]
        assert image.shape == (3, 10, 20 + number)
        assert abs(int(image.float().mean()) - 5 * number) <= 3
        assert torch.equal(target, data.targets[index])
    assert capsys.readouterr().out == ""


def test_images_of_a_list_agree_with_the_coco_reader(tmp_path):
    data = COCOImages(tmp_path / "train2017", write_coco(tmp_path, OBJECTS), pil_to_tensor)
    lines = "000000000009.jpg 2\n000000000025.jpg\n000000000030.jpg 0 1\n"
    by_list = ListedImages(
        tmp_path / "train2017", parse_split_list(lines, 3), pil_to_tensor
    )
    for index in range(3):
        for one, other in zip(data[index], by_list[index], strict=True):
            assert torch.equal(one, other)


def test_bad_coco_sets_are_refused(tmp_path):
    folder = tmp_path / "train2017"
    with pytest.raises(
        ValueError, match=r"instances_train2017\.json must list at least one"
    ):
        COCOImages(folder, write_coco(tmp_path, {}), pil_to_tensor)
    with pytest.raises(ValueError, match="known categories, got 7 on image 9"):
        COCOImages(folder, write_coco(tmp_path, {9: [(7, 0)]}), pil_to_tensor)
    annotations = write_coco(tmp_path, OBJECTS)
    (folder / "000000000025.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 are missing: 000000000025\.jpg$"):
        COCOImages(folder, annotations, pil_to_tensor)


def test_data_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LPL_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("LPL_DATA", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError, match="LPL_DATA must name the folder"):
        data_folder()
    monkeypatch.delenv("LPL_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no data$"):
        data_folder()
    (tmp_path / "data").mkdir()
    assert data_folder() == Path("data")


# ----- class-aware sampling


def long_tailed_targets() -> torch.Tensor:
    """Label 0 on 80 of 100 images, label 1 on 20, label 2 on 3, label 3 on none."""
    targets = torch.zeros(100, 4)
    targets[:80, 0] = targets[70:90, 1] = targets[97:, 2] = 1
    return targets


def test_labels_are_drawn_equally_often():
    targets = long_tailed_targets()
    drawn = list(ClassAwareSampler(targets, length=900))
    assert len(drawn) == 900
    assert sum(index >= 97 for index in drawn) == 300
    alone = sum(index < 70 for index in drawn)
    assert 240 <= alone <= 300  # drawn for label 0, and not among the shared images
    used = Counter(index for index in drawn if index >= 97)
    assert set(used.values()) == {100}  # every image once before any comes again


def test_three_images_a_label_in_turn():
    targets = long_tailed_targets()
    drawn = list(ClassAwareSampler(targets, length=9))
    shared = [
        {k for k in range(3) if all(targets[i, k] for i in drawn[j : j + 3])}
        for j in (0, 3, 6)
    ]
    assert set.union(*shared) == {0, 1, 2}


@needs_lists
@pytest.mark.parametrize(("name", "length"), [("voc", 3875), ("coco", 22560)])
def test_length_of_the_protocol(name, length):
    text = (LISTS / f"{name}_lt_train.txt").read_text()
    targets = parse_split_list(text, NUM_LABELS[name]).targets
    assert len(ClassAwareSampler(targets)) == length


def test_sampling_is_seeded_and_goes_on():
    targets = long_tailed_targets()
    one, again = (ClassAwareSampler(targets, seed=1) for _ in range(2))
    first = list(one)
    assert first == list(again)
    assert first != list(one)
    assert first != list(ClassAwareSampler(targets, seed=2))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.zeros(3), r"targets must have shape \(N, K\)"),
        (torch.zeros(3, 2), "targets must have a positive"),
        (torch.full((3, 2), 0.5), "targets must be 0 or 1"),
    ],
)
def test_bad_targets_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        ClassAwareSampler(targets)


# ----- the recipe, at a size that a test can afford


@pytest.mark.parametrize("method", ["DB-Focal", "NTR+LPL"])
def test_recipe_runs_on_a_voc_tree(tree, method):
    labels = ("person", "dog", "cow", "tvmonitor")
    recipe = Recipe("resnet18", None, size=32, epochs=2, batch_size=2, warm_up=2, workers=0)
    parts = [
        VOCImages(tree, "2012", "train", transforms(32, training=training), labels)
        for training in (True, False)
    ]
    settings = METHODS["DB-Focal"].grid[0] | METHODS["LPL"].grid[0]
    record = run(*parts, parts[0].targets, method, settings, recipe, seed=0)
    assert record["data"]["counts"] == [2, 2, 2, 1]
    assert 0 < record["metrics"]["mAP"]["total"] <= 1
    assert record["metrics"]["mAP"]["absent"] == 0
    assert len(record["per_label_ap"]) == 4


def test_first_stage_is_frozen(tree):
    from lpl_lib.multilabel.recipe import LabelNet, train

    torch.manual_seed(0)
    recipe = Recipe("resnet18", None, size=32, epochs=1, batch_size=2, workers=0)
    data = VOCImages(tree, "2012", "train", transforms(32, training=True))
    net = LabelNet(20, recipe)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    loss = METHODS["BCE"].make([1] * 20, 4, {})
    train(net, loss, data, data.targets, recipe, seed=0)
    moved = {n for n, v in net.state_dict().items() if not torch.equal(v, before[n])}
    assert not any(name.startswith("frozen") for name in moved)
    assert {"head.weight", "stages.0.0.conv1.weight"} <= moved
