# examples/plain/train_pytorch.py
import torch
from torch.utils.data import DataLoader, TensorDataset

from lpl_lib.lab.data import digits, long_tail_indices
from lpl_lib.lab.models import SmallConvNet
from lpl_lib.lab.training import predict
from lpl_lib.metrics import class_accuracy

pool, test = digits()
train = pool.subset(long_tail_indices(pool.targets, 50))
n = train.class_counts(10)  # training images per class: 116, 75, ..., 3, 2

torch.manual_seed(0)
model = SmallConvNet(10)
criterion = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(
    model.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
loader = DataLoader(TensorDataset(*train), 32, shuffle=True, drop_last=True)
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, 0.1, 60 * len(loader), cycle_momentum=False)
for epoch in range(60):
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
        schedule.step()

accuracy = class_accuracy(predict(model, test.images), test.targets)
print(f"balanced {accuracy.mean():.1%}, tail {accuracy[n < 10].mean():.1%}")
