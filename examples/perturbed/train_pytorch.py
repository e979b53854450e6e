# examples/perturbed/train_pytorch.py
import torch
from torch.utils.data import DataLoader, TensorDataset

import lpl_lib
from lpl_lib import LPL, LogitAdjustment, PerturbedLoss, RankSplit

pool, test = lpl_lib.digits()
train = pool.subset(lpl_lib.long_tail_indices(pool.targets, 50))
n = train.class_counts(10)  # training images per class: 116, 75, ..., 3, 2

torch.manual_seed(0)
model = lpl_lib.SmallConvNet(10)
criterion = PerturbedLoss(LogitAdjustment(n) + LPL(10, RankSplit(n)))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
loader = DataLoader(TensorDataset(*train), 64, shuffle=True, drop_last=True)
for epoch in range(30):
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()

logits = lpl_lib.predict(model, test.images)
accuracy = lpl_lib.class_accuracy(logits, test.targets)
print(f"balanced {accuracy.mean():.1%}, tail {accuracy[n < 10].mean():.1%}")
