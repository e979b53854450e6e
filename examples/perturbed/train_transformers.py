# examples/perturbed/train_transformers.py
import torch
from transformers import Trainer, TrainingArguments, set_seed
from transformers import ViTConfig, ViTForImageClassification

from lpl_lib import LPL, LogitAdjustment, TrainerLoss
from lpl_lib.lab.data import digits, long_tail_indices
from lpl_lib.metrics import class_accuracy

pool, test = digits()
train = pool.subset(long_tail_indices(pool.targets, 50))
n = train.class_counts(10)  # training images per class: 116, 75, ..., 3, 2

def rows(data):
    return [{"pixel_values": x, "labels": y} for x, y in zip(*data)]

set_seed(0)
config = ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=10,
                   hidden_size=64, intermediate_size=128,
                   num_hidden_layers=2, num_attention_heads=4)
trainer = Trainer(
    ViTForImageClassification(config),
    TrainingArguments(learning_rate=2e-3, num_train_epochs=40,
                      per_device_train_batch_size=64, save_strategy="no"),
    train_dataset=rows(train),
    compute_loss_func=TrainerLoss(LogitAdjustment(n) + LPL(n))
)
trainer.train()

logits = torch.tensor(trainer.predict(rows(test)).predictions)
accuracy = class_accuracy(logits, test.targets)
print(f"balanced {accuracy.mean():.1%}, tail {accuracy[n < 10].mean():.1%}")
