"""One file a task. ``TASKS`` is the whole list, by the names that users type."""

from redraft.tasks.category import CategoryToPicture
from redraft.tasks.colour import Colour
from redraft.tasks.edges import EdgesToPhoto
from redraft.tasks.labels import LabelsToPhoto
from redraft.tasks.none import Nothing
from redraft.tasks.pairs import PictureToPicture
from redraft.tasks.recover import Recover
from redraft.tasks.task import Task
from redraft.tasks.text import TextToPicture
from redraft.tasks.unpaired import Unpaired
from redraft.tasks.upscale import Upscale

TASKS: dict[str, type[Task]] = {
    "none": Nothing,
    "category": CategoryToPicture,
    "text": TextToPicture,
    "labels": LabelsToPhoto,
    "edges": EdgesToPhoto,
    "pairs": PictureToPicture,
    "unpaired": Unpaired,
    "recover": Recover,
    "upscale": Upscale,
    "colour": Colour,
}

__all__ = ["TASKS", "Task"]
