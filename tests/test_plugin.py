"""Mixed targets and the Trainer's loss, also with the real Trainer and Lightning."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch
import torch.nn.functional as F
from cases import linear, random_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lpl_lib import (
    ISDA,
    LDAM,
    LPL,
    VS,
    FixedBound,
    FocalLoss,
    LogitAdjustment,
    MultilabelLogitAdjustment,
    PerturbedLoss,
    TrainerLoss,
)
from lpl_lib.targets import unmix
from lpl_lib.trainer import logits_of

COUNTS = [50, 20, 7, 3, 2]
C = len(COUNTS)
FIRST, SECOND = torch.tensor([0, 1, 1, 2, 3, 4]), torch.tensor([4, 0, 2, 0, 0, 3])
LOGITS, _, FEATURES, WEIGHT = random_batch(FIRST.tolist(), C)
PERTURBATIONS = {
    "none": lambda head: None,
    "LA": lambda head: LogitAdjustment(COUNTS),
    "LDAM": lambda head: LDAM(COUNTS),
    "VS": lambda head: VS(COUNTS),
    "ISDA": lambda head: ISDA(head).eval(),
    "linf": lambda head: LPL(COUNTS, FixedBound(0.7), solver="linf"),
    "l2": lambda head: LPL(C, bound=0.7),
    "LA + l2": lambda head: LogitAdjustment(COUNTS) + LPL(COUNTS, 0.5),
}


def smooth(labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    one_hot = F.one_hot(labels, C).double()
    return (1 - smoothing) * one_hot + smoothing / C


def mixed(share: float, smoothing: float = 0.0) -> torch.Tensor:
    return share * smooth(FIRST, smoothing) + (1 - share) * smooth(SECOND, smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("share", [1.0, 0.8, 0.45])
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_mixed_target_is_the_mix_of_the_two_losses(name, share, smoothing):
    head = linear(WEIGHT)
    perturbation = PERTURBATIONS[name](head)
    soft = PerturbedLoss(perturbation)
    head(FEATURES)
    loss = soft(LOGITS, mixed(share, smoothing))
    smoothed = nn.CrossEntropyLoss(label_smoothing=smoothing)

    def hard(labels: torch.Tensor) -> torch.Tensor:
        """The perturbation is that of cross-entropy; only the target is smooth."""
        delta = 0.0 if perturbation is None else perturbation(LOGITS, labels)
        return smoothed(LOGITS + delta, labels)

    expected = share * hard(FIRST) + (1 - share) * hard(SECOND)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-8)


@given(st.floats(0.51, 1), st.floats(0, 0.6), st.integers(3, 9), st.integers(0, 999))
def test_unmix_finds_what_was_mixed(share, smoothing, classes, seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.randint(classes, (2, 7), generator=draw)
    parts = [
        (1 - smoothing) * F.one_hot(labels, classes).float() + smoothing / classes
        for labels in (a, b)
    ]
    major, minor, part = unmix(share * parts[0] + (1 - share) * parts[1])
    assert torch.equal(major, a)
    if share < 1 - 1e-4:
        assert torch.equal(minor, b)
    expected = torch.where((a == b)[:, None], 0.0, (1 - share) * parts[1])
    torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)


def test_two_classes_are_taken_for_a_mix():
    a, b, part = unmix(torch.tensor([[0.7, 0.3], [0.0, 1.0]]))
    assert a.tolist() == [0, 1]
    assert b.tolist() == [1, 1]
    torch.testing.assert_close(part, torch.tensor([[0.0, 0.3], [0.0, 0.0]]))


def test_a_single_class():
    assert PerturbedLoss(LPL(1))(torch.zeros(2, 1), torch.ones(2, 1)).item() == 0


def test_timms_own_mixer_and_loss():
    timm_loss = pytest.importorskip("timm.loss").SoftTargetCrossEntropy()
    mixer = pytest.importorskip("timm.data").Mixup(
        mixup_alpha=0.4, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=C, mode="elem"
    )
    _, targets = mixer(torch.zeros(6, 1, 8, 8), FIRST)
    plain = PerturbedLoss()(LOGITS, targets)
    torch.testing.assert_close(plain, timm_loss(LOGITS, targets.double()))
    logits = LOGITS.clone().requires_grad_()
    PerturbedLoss(LPL(COUNTS, 0.5))(logits, targets).backward()
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(logits.grad.sum(1), torch.zeros(6).double())


def test_gradient_against_finite_differences():
    criterion = PerturbedLoss(LogitAdjustment(COUNTS) + LPL(COUNTS, 0.7, solver="linf"))
    inputs = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda u: criterion(u, mixed(0.7, 0.1)), inputs)


def test_hard_labels_are_those_of_the_perturbed_loss():
    criterion = LPL(C, bound=0.7)
    loss = PerturbedLoss(criterion)(LOGITS, FIRST)
    assert torch.equal(loss, PerturbedLoss(criterion)(LOGITS, FIRST))


def test_class_weights_weight_both_parts():
    weight = torch.tensor([0.2, 0.5, 1.0, 2.0, 3.0]).double()
    loss = PerturbedLoss(None, nn.CrossEntropyLoss(weight))(LOGITS, mixed(0.7))
    assert torch.equal(loss, F.cross_entropy(LOGITS, mixed(0.7), weight))
    split = PerturbedLoss(LDAM(COUNTS, 0.0), nn.CrossEntropyLoss(weight))
    torch.testing.assert_close(split(LOGITS, mixed(0.7)), loss)


def test_running_statistics_learn_from_the_first_class_only():
    """Fault 17: ISDA counted each mixed sample twice."""
    head = linear(WEIGHT)
    isda = ISDA(head)
    criterion = PerturbedLoss(isda + LPL(C, decay=0.9))
    head(FEATURES)
    criterion(LOGITS, mixed(0.8))
    assert isda.count.tolist() == torch.bincount(FIRST, minlength=C).tolist()
    assert criterion.training
    assert isda.training


def test_evaluation_mode_gives_the_base_loss():
    criterion = PerturbedLoss(LogitAdjustment(COUNTS) + LPL(C)).eval()
    assert torch.equal(criterion(LOGITS, FIRST), F.cross_entropy(LOGITS, FIRST))
    assert not torch.equal(criterion.train()(LOGITS, FIRST), F.cross_entropy(LOGITS, FIRST))
    target = mixed(0.8)
    assert torch.equal(criterion.eval()(LOGITS, target), F.cross_entropy(LOGITS, target))


def test_two_calls_before_one_backward():
    """The recipe for mix-up by hand; ISDA's statistics move between the calls."""
    head = linear(WEIGHT.float())
    criterion = PerturbedLoss(ISDA(head))
    losses = [criterion(head(FEATURES.float()), y) for y in (FIRST, SECOND)]
    (0.7 * losses[0] + 0.3 * losses[1]).backward()
    assert head.weight.grad.isfinite().all()


# --- bad input ------------------------------------------------------------------------


BAD_TARGETS = {
    "shape": (
        torch.ones(6, 4) / 4,
        r"integer labels \(6,\), or class prob.*the shape of logits, \(6, 5\)",
    ),
    "float labels": (FIRST.double(), r"integer labels \(6,\), or .* got torch.float64"),
    "sum": (2 * mixed(0.7), "class probabilities.*sums from 2 to 2"),
    "negative": (
        smooth(FIRST) - 0.5 * smooth(SECOND) + 0.5 * smooth(FIRST),
        "values from -0.5",
    ),
    "uniform": (torch.full((6, 5), 0.2), "single out a class, got the same .* sample 0"),
    "teacher": (torch.softmax(LOGITS, 1), "mix at most two classes.*teacher"),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_bad_mixed_targets(name):
    targets, message = BAD_TARGETS[name]
    with pytest.raises(ValueError, match=message):
        PerturbedLoss(LPL(C))(LOGITS, targets)


NONLINEAR = {
    "smoothing": nn.CrossEntropyLoss(label_smoothing=0.1),
    "MSE": nn.MSELoss(),
    "BCE": nn.BCEWithLogitsLoss(),
}


@pytest.mark.parametrize("name", NONLINEAR)
def test_a_base_loss_that_is_not_linear_in_mixed_targets(name):
    """Fault 2: the training loss was doubled. Without a perturbation it is what torch
    makes of it; with one it is refused."""
    base, target = NONLINEAR[name], mixed(0.7)
    assert torch.equal(PerturbedLoss(None, base)(LOGITS, target), base(LOGITS, target))
    criterion = PerturbedLoss(LogitAdjustment(COUNTS, tau=0.0), base)
    with pytest.raises(ValueError, match="base_loss must be linear in mixed targets"):
        criterion(LOGITS, target)


def test_label_smoothing_with_hard_labels():
    """Fault 9, the other half: it was refused, with advice on mix-up."""
    base = nn.CrossEntropyLoss(label_smoothing=0.1)
    la = LogitAdjustment(COUNTS)
    loss = TrainerLoss(la, base)({"logits": LOGITS}, FIRST)
    assert torch.equal(loss, base(LOGITS + la(LOGITS, FIRST), FIRST))


class Output:
    """Like a framework's output: it has logits and is not a tensor."""

    logits = LOGITS


def test_logits_wrapped_in_an_output_object():
    with pytest.raises(ValueError, match=r"tensor, got Output; pass its \.logits"):
        PerturbedLoss(LPL(C))(Output(), FIRST)
    assert logits_of({"logits": LOGITS}) is LOGITS
    with pytest.raises(ValueError, match=r"'logits', got dict with \['loss'\].*head"):
        TrainerLoss()({"loss": LOGITS}, FIRST)


def test_a_trainers_batch_without_labels():
    with pytest.raises(ValueError, match="call the data set's column of classes 'labels'"):
        TrainerLoss()({"logits": LOGITS}, None)


# --- the Trainer's call ----------------------------------------------------------------


def test_accumulated_batches_add_up_to_the_mean_over_all_samples():
    loss = TrainerLoss(LPL(COUNTS, 0.5, solver="linf"))
    whole = loss({"logits": LOGITS}, FIRST)
    parts = [
        loss({"logits": LOGITS[rows]}, FIRST[rows], num_items_in_batch=torch.tensor(6))
        for rows in (slice(0, 4), slice(4, 6))  # of different sizes
    ]
    torch.testing.assert_close(sum(parts), whole)


PARTS = (slice(0, 4), slice(4, 6))  # of different sizes


def test_a_sum_adds_up_over_accumulated_batches():
    """Fault 8: two parts were weighted as if the sum were a mean."""
    loss = TrainerLoss(LogitAdjustment(COUNTS), nn.CrossEntropyLoss(reduction="sum"))
    whole = loss(LOGITS, FIRST, num_items_in_batch=6)
    parts = [loss(LOGITS[rows], FIRST[rows], num_items_in_batch=6) for rows in PARTS]
    torch.testing.assert_close(sum(parts), whole)


@pytest.mark.parametrize("base", [nn.CrossEntropyLoss, lambda w: FocalLoss(1.0, w)])
def test_weighted_means_of_parts_are_refused(base):
    """Fault 8: they do not add up to the weighted mean of the whole."""
    base = base(torch.arange(1.0, 6))
    loss = TrainerLoss(LogitAdjustment(COUNTS), base)
    assert torch.equal(loss(LOGITS.float(), FIRST, 6), loss(LOGITS.float(), FIRST))
    with pytest.raises(
        ValueError, match=r"base_loss must weigh all samples alike.* got (Cross|Focal)"
    ):
        loss(LOGITS[:4].float(), FIRST[:4], num_items_in_batch=6)


def test_ignored_labels_are_not_counted_in_accumulated_batches():
    """The Trainer's own count leaves out -100 too."""
    labels = torch.tensor([0, -100, 1, 2, -100, 4])
    loss = TrainerLoss(LogitAdjustment(COUNTS))
    parts = [loss(LOGITS[rows], labels[rows], num_items_in_batch=4) for rows in PARTS]
    torch.testing.assert_close(sum(parts), loss(LOGITS, labels))


def test_a_many_label_loss_counts_entries():
    labels = F.one_hot(FIRST, C)
    loss = TrainerLoss(MultilabelLogitAdjustment(COUNTS, 99))
    parts = [loss(LOGITS[rows], labels[rows], num_items_in_batch=6 * C) for rows in PARTS]
    torch.testing.assert_close(sum(parts), loss(LOGITS, labels))


def test_mixed_labels_are_counted_as_the_trainer_counts_them():
    loss = TrainerLoss()
    counted = mixed(0.7).ne(-100).sum()
    torch.testing.assert_close(
        loss(LOGITS, mixed(0.7), counted), F.cross_entropy(LOGITS, mixed(0.7))
    )


def test_nothing_is_perturbed_where_no_gradient_is_asked_for():
    """Fault 4, the same rule for the Trainer."""
    loss = TrainerLoss(LogitAdjustment(COUNTS) + LPL(C))
    with torch.no_grad():
        assert torch.equal(loss((LOGITS,), FIRST), F.cross_entropy(LOGITS, FIRST))
    assert not torch.equal(loss((LOGITS,), FIRST), F.cross_entropy(LOGITS, FIRST))


@pytest.fixture
def quiet(tmp_path, monkeypatch):
    """Frameworks that neither warn nor write into the repository."""
    monkeypatch.chdir(tmp_path)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


class Linear(nn.Module):
    """A model as the Trainer wants it."""

    config = None

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, C, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, x, labels=None):
        return {"logits": self.head(x)}


@pytest.mark.usefixtures("quiet")
def test_the_trainer_takes_the_same_step_in_one_batch_and_in_parts():
    """Eight samples at once, or 3 + 3 + 2 with gradient accumulation."""
    transformers = pytest.importorskip("transformers")
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    rows = [{"x": row, "labels": c % C} for c, row in enumerate(x)]
    weights, losses = [], []
    for size, parts in ((8, 1), (3, 3)):
        settings = transformers.TrainingArguments(
            optim="sgd",
            learning_rate=0.5,
            max_steps=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=parts,
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        loss = TrainerLoss(LogitAdjustment(COUNTS) + LPL(COUNTS, 0.5, solver="linf"))
        trainer = transformers.Trainer(
            Linear(),
            settings,
            train_dataset=rows,
            eval_dataset=rows,
            compute_loss_func=loss,
        )
        trainer.train()
        weights.append(trainer.model.head.weight.detach().clone())
        losses.append(trainer.evaluate()["eval_loss"])
    torch.testing.assert_close(*weights)
    targets = torch.tensor([row["labels"] for row in rows])
    expected = F.cross_entropy(x @ weights[0].T, targets).item()
    assert losses == pytest.approx([expected] * 2, rel=1e-4)


@pytest.mark.usefixtures("quiet")
def test_a_resumed_trainer_has_the_statistics(tmp_path):
    """What a criterion learns was lost on resuming. Six steps, or three and three more."""
    transformers = pytest.importorskip("transformers")
    x = torch.randn(24, 2, generator=torch.Generator().manual_seed(0))
    rows = [{"x": row, "labels": c % C} for c, row in enumerate(x)]
    found = []
    for steps, resume in ((6, False), (3, False), (6, True)):
        settings = transformers.TrainingArguments(
            output_dir=str(tmp_path / ("whole" if not found else "parts")),
            optim="sgd",
            lr_scheduler_type="constant",
            max_steps=steps,
            save_steps=3,
            per_device_train_batch_size=4,
            disable_tqdm=True,
            use_cpu=True,
        )
        model = Linear()
        isda = ISDA(model.head)
        loss = TrainerLoss(isda + LPL(C, decay=0.9), model=model)
        trainer = transformers.Trainer(
            model, settings, train_dataset=rows, compute_loss_func=loss
        )
        trainer.train(resume_from_checkpoint=resume)
        found.append({k: v.clone() for k, v in model.state_dict().items()})
    assert int(isda.count.sum()) == 24
    assert any("LPL.confidence" in name for name in found[0])
    torch.testing.assert_close(found[2], found[0])


def test_statistics_that_the_trainer_would_lose():
    for perturbation in (LPL(C, decay=0.9), ISDA(nn.Linear(2, C))):
        with pytest.warns(UserWarning, match=r"TrainerLoss\(\.\.\., model=model\)"):
            TrainerLoss(perturbation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrainerLoss(LogitAdjustment(COUNTS) + LPL(C))
        TrainerLoss(LPL(C, decay=0.9), model=nn.Linear(2, C))


UNFIT = {
    "labels": ({}, {}, "labels must come with each batch, got None"),
    "smoothing": (
        {"labels": 1},
        {"label_smoothing_factor": 0.1},
        "label_smoothing_factor must be 0, the Trainer ignores it",
    ),
}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", UNFIT)
def test_the_trainer_says_what_is_missing_or_would_be_ignored(name):
    """Fault 9: the Trainer's own label smoothing was ignored without a word."""
    transformers = pytest.importorskip("transformers")
    row, asked, message = UNFIT[name]
    settings = transformers.TrainingArguments(
        max_steps=1, disable_tqdm=True, use_cpu=True, **asked
    )
    trainer = transformers.Trainer(
        Linear(),
        settings,
        train_dataset=[{"x": torch.zeros(2)} | row] * 4,
        compute_loss_func=TrainerLoss(LPL(C)),
    )
    with pytest.raises(ValueError, match=message):
        trainer.train()


@pytest.mark.usefixtures("quiet")
def test_lightnings_validation_sees_the_base_loss():
    lightning = pytest.importorskip("lightning")
    seen = {}

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, C)
            self.loss = PerturbedLoss(LogitAdjustment(COUNTS))

        def step(self, batch, name):
            logits = self.net(batch[0])
            loss = self.loss(logits, batch[1])
            seen[name] = (loss.item(), F.cross_entropy(logits, batch[1]).item())
            return loss

        def training_step(self, batch, _):
            return self.step(batch, "train")

        def validation_step(self, batch, _):
            self.step(batch, "validation")

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    data = torch.utils.data.TensorDataset(torch.randn(6, 2), FIRST)
    loader = torch.utils.data.DataLoader(data, 6)
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        accelerator="cpu",
    )
    trainer.fit(Module(), loader, loader)
    assert seen["validation"][0] == pytest.approx(seen["validation"][1])
    assert seen["train"][0] != pytest.approx(seen["train"][1])


@pytest.mark.usefixtures("quiet")
def test_lightnings_bf16_true_keeps_statistics_in_float32():
    """Fault 3: confidence stood still and ISDA's count stopped at 256."""
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, C)
            self.isda = ISDA(self.net)
            self.loss = PerturbedLoss(
                LogitAdjustment(COUNTS) + self.isda + LPL(C, decay=0.9),
                FocalLoss(1.0, torch.ones(C)),
            )

        def training_step(self, batch, _):
            return self.loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    data = torch.utils.data.TensorDataset(torch.randn(300, 2), torch.arange(300) % C)
    trainer = lightning.Trainer(
        max_epochs=6,
        precision="bf16-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        accelerator="cpu",
    )
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(data, 100))
    assert module.net.weight.dtype == torch.bfloat16
    assert module.isda.count.tolist() == [6 * 300 / C] * C
    for name, value in module.loss.state_dict().items():
        if "base_loss" not in name:
            assert value.dtype in (torch.float32, torch.bool), name


@pytest.mark.usefixtures("quiet")
def test_from_pretrained_brings_back_what_a_criterion_knows(tmp_path):
    """Fault 1: priors and bounds came back as uninitialised memory."""
    transformers = pytest.importorskip("transformers")

    class Config(transformers.PretrainedConfig):
        model_type = "tiny"

    class Tiny(transformers.PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.head = nn.Linear(2, C)
            self.criterion = PerturbedLoss(
                LogitAdjustment(COUNTS) + VS(COUNTS) + LDAM(COUNTS) + LPL(COUNTS, decay=0.9)
            )
            self.post_init()

        def forward(self, x, labels):
            return self.criterion(self.head(x), labels)

    x = torch.randn(6, 2)
    first = Tiny(Config()).train()
    first(x, FIRST)
    first.save_pretrained(tmp_path)
    second = Tiny.from_pretrained(tmp_path).train()
    assert torch.equal(second(x, FIRST), first(x, FIRST))


def test_mixed_targets_do_not_hide_logits_that_are_not_finite():
    logits = torch.tensor([[0.0, torch.nan, 0.0]])
    with pytest.raises(ValueError, match="logits must be finite"):
        PerturbedLoss()(logits, torch.tensor([[0.5, 0.5, 0.0]]))


def test_parts_that_are_frozen_stay_so():
    lpl = LPL(3, decay=0.9)
    lpl.confidence.eval()
    PerturbedLoss(lpl)(torch.zeros(1, 3), torch.tensor([[0.7, 0.3, 0.0]]))
    lpl.class_variation(torch.zeros(1, 3), torch.tensor([0]))
    assert lpl.training
    assert not lpl.confidence.training
