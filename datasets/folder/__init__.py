"""``folder``: a user's own images, in folders or listed in a metadata.csv."""

from uadbench.datasets.folder.dataset import Folder

__all__ = ["Folder"]
