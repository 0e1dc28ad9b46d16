"""A training run's two files, which survive crashes, full disks and drives that come and go."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Checkpoints:
    """The folder in which one training run keeps its latest state and its best agent.

    A file is replaced only when the new one is complete. Files of an earlier run that was not
    resumed are never overwritten, but moved aside.

    Args:
        folder: Made when the first file is written.

    Attributes:
        folder: The argument of that name.
        latest: The file of the latest state.
        best: The file of the best agent.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.latest = self.folder / "kungfu.npz"
        self.best = self.folder / "kungfu-best.npz"
        self._owns_files = False
        self._device: int | None = None  # of the folder, once it has been there

    @property
    def is_left_over(self) -> bool:
        """Whether there is a checkpoint of an earlier run that this one has not resumed."""
        return not self._owns_files and self.latest.exists()

    def read_latest(self) -> dict[str, np.ndarray]:
        """Read the latest state, of this run or of an earlier one.

        Raises:
            FileNotFoundError: If there is none.
        """
        return _read(self.latest)

    def read_best(self) -> dict[str, np.ndarray]:
        """Read the best agent.

        Raises:
            FileNotFoundError: If there is none.
        """
        return _read(self.best)

    def resume(self) -> None:
        """Make the files that are there this run's own, to be replaced by newer ones."""
        self._owns_files = True
        self._device = self.folder.stat().st_dev

    def write(self, path: Path, arrays: Mapping[str, Any]) -> None:
        """Write one of the two files.

        Raises:
            OSError: If that fails; the file that was there before is whole.
        """
        if not self._owns_files:
            self._move_old_files_aside()
        self._find_folder()
        unfinished = path.with_suffix(".part")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, **arrays)
            unfinished.replace(path)  # the old file stays until the new one is complete
        except OSError:
            unfinished.unlink(missing_ok=True)  # it takes room on a full disk
            raise

    def _find_folder(self) -> None:
        if self._device is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._device = self.folder.stat().st_dev
        # A new folder in the place of a drive's would be lost together with this machine. A drive
        # that comes back may have another number, but it holds what was written.
        elif not (self.latest.exists() or self.best.exists() or self._is_on_same_device()):
            raise FileNotFoundError(
                f"{self.folder} is no longer where it was: if it is on a drive, connect that again"
            )

    def _is_on_same_device(self) -> bool:
        return self.folder.is_dir() and self.folder.stat().st_dev == self._device

    def _move_old_files_aside(self) -> None:
        stamp = time.strftime("%Y-%m-%d-%H%M%S")
        for path in filter(Path.exists, (self.latest, self.best)):
            aside = path.with_stem(f"{path.stem}-until-{stamp}")
            path.replace(aside)
            print(f"There was a checkpoint of an earlier run. It is now {aside}.")
        self._owns_files = True


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)
