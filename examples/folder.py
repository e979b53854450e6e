# examples/folder.py
"""From a folder of images to a classifier that you keep, on one device or several.

    python examples/folder.py photos                        # a last layer, in minutes
    accelerate launch examples/folder.py photos --epochs 20  # then the whole network

Ended in the middle, the same command goes on after the last whole epoch. Chapter 9b of
the book does the same step by step.
"""

import argparse
import shutil
from pathlib import Path

import timm
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed, tqdm
from timm.data import create_transform, resolve_model_data_config
from timm.optim import create_optimizer_v2
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from lpl_lib.counts import class_counts
from lpl_lib.folder.features import extract, open_network
from lpl_lib.folder.heads import LOSSES, PLAIN, POSTHOC, compare_heads
from lpl_lib.folder.keep import load_classifier, save_classifier
from lpl_lib.folder.look import look_at, split
from lpl_lib.folder.report import report
from lpl_lib.metrics import balanced_accuracy
from lpl_lib.perturbations import log_prior

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("folder", help="<class>/<image>, or train and test with that in each")
parser.add_argument("--labels", help="CSV with path, label, maybe part and group")
parser.add_argument("--by", choices=["random", "order"], help="how to split; see split")
parser.add_argument("--skip-unusable", action="store_true")
parser.add_argument("--keep", default="kept", help="folder for the classifier (%(default)s)")
parser.add_argument("--network", default="resnet18.a1_in1k", help="of timm (%(default)s)")
parser.add_argument("--weights", help="a local file of them")
parser.add_argument("--scratch", action="store_true", help="begin without weights")
parser.add_argument("--size", type=int, help="of the images in pixels, if not the network's")
parser.add_argument("--loss", choices=[*LOSSES, POSTHOC], help="if not the verdict's")
parser.add_argument("--epochs", type=int, default=0, help="to fine-tune the whole network")
parser.add_argument("--batch-size", type=int, default=64, help="per process (%(default)s)")
parser.add_argument("--lr", type=float, default=1e-3, help="of AdamW (%(default)s)")
parser.add_argument("--hflip", type=float, default=0.5, help="share mirrored (%(default)s)")
parser.add_argument("--workers", type=int, default=0)
args = parser.parse_args()
if args.scratch and not args.epochs:
    parser.error("--scratch needs --epochs: there is nothing to take features from")

accelerator, keep = Accelerator(), Path(args.keep)
found = look_at(args.folder, args.labels)
accelerator.print(found)
train, test = split(found, args.by, skip_unusable=args.skip_unusable)
counts = class_counts(found.targets[train], len(found.classes))

set_seed(0)
if args.scratch:
    net = timm.create_model(args.network, num_classes=0)
else:
    net = open_network(args.network, args.weights)
config = resolve_model_data_config(net)
if args.size:
    config["input_size"] = (3, args.size, args.size)
seen = create_transform(**config)
loss, head = args.loss or "LA", nn.Linear(net.num_features, len(counts))
if not args.scratch:
    with accelerator.main_process_first():  # the others find the features
        parts = [extract(net, found.at(i, seen), keep, workers=args.workers) for i in (train, test)]
    heads = compare_heads(
        parts[0], found.targets[train], parts[1], found.targets[test], counts
    )
    said = report(heads, found.classes)
    accelerator.print(said.classes.round(0), said.methods, said.verdict, heads.fitness(), sep="\n\n")
    loss = args.loss or said.method
    head = heads.heads[loss][0]

if args.epochs:
    shown = create_transform(**config, is_training=True, hflip=args.hflip)
    loader = DataLoader(
        found.at(train, shown), args.batch_size, shuffle=True, num_workers=args.workers
    )
    model = nn.Sequential(net, head)
    criterion = LOSSES[PLAIN if loss == POSTHOC else loss](counts).to(accelerator.device)
    optimizer = create_optimizer_v2(model, "adamw", lr=args.lr, weight_decay=0.05)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    schedule = OneCycleLR(optimizer.optimizer, args.lr, args.epochs * len(loader))
    accelerator.register_for_checkpointing(schedule)
    done = sorted(keep.glob("epoch-[0-9]*[0-9]"), key=lambda p: int(p.name[6:]))
    if done:
        accelerator.load_state(done[-1])
    for epoch in range(int(done[-1].name[6:]) if done else 0, args.epochs):
        model.train()
        for images, targets in tqdm(loader, desc=f"epoch {epoch + 1}", leave=False):
            optimizer.zero_grad()
            accelerator.backward(criterion(model(images), targets))
            optimizer.step()
            schedule.step()
        part = keep / f"epoch-{epoch + 1}.part"
        accelerator.save_state(part)
        if accelerator.is_main_process:
            part.rename(part.with_suffix(""))
            for older in done:
                shutil.rmtree(older)
        accelerator.wait_for_everyone()
        done = [part.with_suffix("")]
    net, head = accelerator.unwrap_model(model)
    if loss == POSTHOC:
        head.bias.data -= log_prior(counts).float().to(head.bias.device)

if accelerator.is_main_process:
    save_classifier(
        keep, net, head, classes=found.classes, preprocessing=config, loss=loss, counts=counts
    )
    kept = load_classifier(keep)
    logits = kept.head(extract(kept.net, found.at(test, seen)).to(kept.head.weight.device))
    print(f"mean of classes {balanced_accuracy(logits.cpu(), found.targets[test]):.1%}")
    print(f"kept in {keep}: load_classifier({str(keep)!r}).predict([file, ...])")
