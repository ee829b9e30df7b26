"""The only loop: update, schedule, checkpoint, journal, watchdog."""

from redraft.training.device import pick_device
from redraft.training.progress import Outcome, Progress
from redraft.training.settings import Train
from redraft.training.trainer import train

__all__ = ["Outcome", "Progress", "Train", "pick_device", "train"]
