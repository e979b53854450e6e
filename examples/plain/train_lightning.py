# examples/plain/train_lightning.py
import lightning as L
import torch
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from lpl_lib.lab.data import digits, long_tail_indices
from lpl_lib.lab.models import SmallConvNet
from lpl_lib.lab.training import predict
from lpl_lib.metrics import class_accuracy

pool, test = digits()
train = pool.subset(long_tail_indices(pool.targets, 50))
n = train.class_counts(10)  # training images per class: 116, 75, ..., 3, 2

class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = SmallConvNet(10)
        self.loss = torch.nn.CrossEntropyLoss()

    def training_step(self, batch, batch_idx):
        return self.loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(
            self.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
        schedule = OneCycleLR(optimizer, 0.1, cycle_momentum=False,
            total_steps=self.trainer.estimated_stepping_batches)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

L.seed_everything(0)
model = Classifier()
loader = DataLoader(TensorDataset(*train), 32, shuffle=True, drop_last=True)
trainer = L.Trainer(max_epochs=60, logger=False, enable_checkpointing=False,
    enable_model_summary=False, enable_progress_bar=False)
trainer.fit(model, loader)

accuracy = class_accuracy(predict(model.net, test.images), test.targets)
print(f"balanced {accuracy.mean():.1%}, tail {accuracy[n < 10].mean():.1%}")
