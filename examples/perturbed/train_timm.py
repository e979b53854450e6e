# examples/perturbed/train_timm.py
import timm
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from timm.utils import random_seed
from torch.utils.data import DataLoader, TensorDataset

from lpl_lib import LPL, LogitAdjustment, PerturbedLoss
from lpl_lib.lab.data import digits, long_tail_indices
from lpl_lib.lab.training import predict
from lpl_lib.metrics import class_accuracy

pool, test = digits()
train = pool.subset(long_tail_indices(pool.targets, 50))
n = train.class_counts(10)  # training images per class: 116, 75, ..., 3, 2

random_seed(0)
model = timm.create_model("test_resnet", in_chans=1, num_classes=10)
mixup = Mixup(mixup_alpha=0.2, label_smoothing=0.1, num_classes=10)
criterion = PerturbedLoss(LogitAdjustment(n) + LPL(n))
optimizer = create_optimizer_v2(model, opt="adamw", lr=0.003)
loader = DataLoader(TensorDataset(*train), 64, shuffle=True, drop_last=True)
for epoch in range(30):
    for images, labels in loader:
        images, targets = mixup(images, labels)
        optimizer.zero_grad()
        criterion(model(images), targets).backward()
        optimizer.step()

accuracy = class_accuracy(predict(model, test.images), test.targets)
print(f"balanced {accuracy.mean():.1%}, tail {accuracy[n < 10].mean():.1%}")
