# examples/folder.py
"""From a folder of images to a classifier that you keep, on one device or several.

    python examples/folder.py photos                         # a last layer, in minutes
    accelerate launch examples/folder.py photos --epochs 20  # then the whole network

Ended in the middle, the same command goes on after the last whole epoch. Chapter 8 of
the book takes the same steps one by one.
"""

import argparse
import shutil
from pathlib import Path

import timm
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
from lpl_lib.folder.report import report
from lpl_lib.folder.split import split
from lpl_lib.lab.data.look import look_at
from lpl_lib.lab.scores import digest
from lpl_lib.metrics import balanced_accuracy
from lpl_lib.perturbations import log_prior

ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
ask.add_argument("folder", help="<class>/<image>, or train and test with that in each")
ask.add_argument("--labels", help="a CSV file: path, label, maybe part and group")
ask.add_argument("--by", choices=["random", "order"], help="how to split a folder")
ask.add_argument("--skip-unusable", action="store_true")
ask.add_argument("--keep", default="kept", help="folder of the classifier (%(default)s)")
ask.add_argument("--network", default="resnet18.a1_in1k", help="of timm (%(default)s)")
ask.add_argument("--weights", help="a local file of them")
ask.add_argument("--scratch", action="store_true", help="begin without weights")
ask.add_argument("--size", type=int, help="of images, in pixels, if not the network's")
ask.add_argument("--loss", choices=[*LOSSES, POSTHOC], help="if not the verdict's")
ask.add_argument("--epochs", type=int, default=0, help="of the whole network (none)")
ask.add_argument("--batch-size", type=int, default=64, help="per process (%(default)s)")
ask.add_argument("--lr", type=float, default=1e-3, help="of AdamW (%(default)s)")
ask.add_argument("--hflip", type=float, default=0.5, help="share mirrored (%(default)s)")
ask.add_argument("--workers", type=int, default=0, help="that read images, per process")
args = ask.parse_args()
if args.scratch and not args.epochs:
    ask.error("--scratch needs --epochs: there are no weights to take features from")
accelerator, keep = Accelerator(), Path(args.keep)
found = look_at(args.folder, args.labels)
accelerator.print(found)
train, test = split(found, args.by, skip_unusable=args.skip_unusable)
labels, test_labels = found.targets[train], found.targets[test]
counts = class_counts(labels, len(found.classes))
set_seed(0)
net = timm.create_model(args.network, num_classes=0) if args.scratch else None
net = net or open_network(args.network, args.weights)
config = resolve_model_data_config(net)
if args.size:
    config["input_size"] = (3, args.size, args.size)
images, test_images = (found.at(part, create_transform(**config)) for part in (train, test))
loss, head = args.loss or "LA", nn.Linear(net.num_features, len(counts))
if not args.scratch:
    with accelerator.main_process_first():  # the others find its features
        u, v = (extract(net, part, keep) for part in (images, test_images))
    heads = compare_heads(u, labels, v, test_labels, counts)
    said = report(heads, found.classes)
    accelerator.print(said.classes.round(0), said.methods, sep="\n\n")
    accelerator.print(said.verdict, heads.fitness(), sep="\n\n")
    loss = args.loss or said.method
    head = heads.heads[loss][0]
run = vars(args) | {"images": [row.pixels for row in found.rows]}
states = keep / f"states-{digest(run)}"  # of this very run
if args.epochs:
    shown = create_transform(**config, is_training=True, hflip=args.hflip)
    loader = DataLoader(
        found.at(train, shown),
        args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        drop_last=len(train) > args.batch_size,  # a last one alone has no variance
    )
    model = nn.Sequential(net, head)
    criterion = LOSSES[PLAIN if loss == POSTHOC else loss](counts).to(accelerator.device)
    optimizer = create_optimizer_v2(model, "adamw", lr=args.lr, weight_decay=0.05)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    schedule = OneCycleLR(optimizer.optimizer, args.lr, args.epochs * len(loader))
    accelerator.register_for_checkpointing(schedule)
    done = sorted(int(state.name) for state in states.glob("*") if state.name.isdigit())
    if done:
        accelerator.load_state(states / str(done[-1]))
    for epoch in range(done[-1] if done else 0, args.epochs):
        model.train()
        for batch, targets in tqdm(loader, desc=f"epoch {epoch + 1} of {args.epochs}"):
            optimizer.zero_grad()
            accelerator.backward(criterion(model(batch), targets))
            optimizer.step()
            schedule.step()
        accelerator.save_state(states / "part")
        if accelerator.is_main_process:  # in one step, so that a state is whole
            (states / "part").rename(states / str(epoch + 1))
            shutil.rmtree(states / str(epoch), ignore_errors=True)
        accelerator.wait_for_everyone()
    net, head = accelerator.unwrap_model(model)
    if loss == POSTHOC:
        head.bias.data -= log_prior(counts).float().to(head.bias.device)

if accelerator.is_main_process:
    facts = {"classes": found.classes, "preprocessing": config, "counts": counts}
    save_classifier(keep, net, head, loss=loss, **facts)
    shutil.rmtree(states, ignore_errors=True)
    logits = load_classifier(keep).head(extract(net, test_images))
    print(f"{loss}: mean of classes {balanced_accuracy(logits, test_labels):.1%}")
    print(f"kept in {keep}: load_classifier({args.keep!r}).predict([file, ...])")
