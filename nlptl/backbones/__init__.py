"""Pretrained checkpoints: opened, told apart by family, fed and pooled; nothing here knows a task."""

from nlptl.backbones.base import Family
from nlptl.backbones.heads import Opened
from nlptl.backbones.loading import Backbone, open_backbone
from nlptl.backbones.pooling import POOLINGS, pool

__all__ = ["POOLINGS", "Backbone", "Family", "Opened", "open_backbone", "pool"]
