"""Picture to picture without pairs: two sides, and no picture of the one belongs to one of the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from redraft.core.types import Spec
from redraft.data import Folder
from redraft.tasks.pairs import PictureToPicture


@dataclass(frozen=True, kw_only=True)
class Unpaired(PictureToPicture):
    """The condition is a picture of the given side, the target an unrelated one of the wanted side.

    A folder of pairs suits too: that they are pairs is not used.
    """

    @property
    def spec(self) -> Spec:
        return replace(super().spec, paired=False)

    @staticmethod
    def misfit(folder: Folder) -> str | None:
        if folder.condition_kind != "none":
            return None
        if len(folder.categories) == 2:
            a, b = folder.categories
            return (
                "it was read as two categories; say which folder is given and which is wanted, with "
                f"--direction {a}:{b} or --direction {b}:{a}"
            )
        return "it has one side alone (put given pictures in a folder trainA and wanted ones in trainB)"
