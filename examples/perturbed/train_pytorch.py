# examples/perturbed/train_pytorch.py
import torch
from torch.utils.data import DataLoader, TensorDataset

from lpl_lib import LPL, LogitAdjustment, PerturbedLoss
from lpl_lib.lab.data import digits, long_tail_indices
from lpl_lib.lab.models import SmallConvNet
from lpl_lib.lab.training import predict
from lpl_lib.metrics import class_accuracy

pool, test = digits()
train = pool.subset(long_tail_indices(pool.targets, 50))
n = train.class_counts(10)  # training images per class: 116, 75, ..., 3, 2

torch.manual_seed(0)
model = SmallConvNet(10)
criterion = PerturbedLoss(LogitAdjustment(n) + LPL(n))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
loader = DataLoader(TensorDataset(*train), 64, shuffle=True, drop_last=True)
for epoch in range(30):
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()

accuracy = class_accuracy(predict(model, test.images), test.targets)
print(f"balanced {accuracy.mean():.1%}, tail {accuracy[n < 10].mean():.1%}")
