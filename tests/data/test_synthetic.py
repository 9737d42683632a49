from pathlib import Path

import numpy as np

from uadbench.core.roles import Role
from uadbench.data.simulation.synthetic import ForeignPatches
from uadbench.data.storage.store import Store


def test_patches_change_the_image_inside_the_patch_alone_and_always_the_same(tiny_store: Path) -> None:
    store = Store(tiny_store)
    items = store.role(Role.CALIB)
    first, again = ForeignPatches(store, items), ForeignPatches(store, items)
    for item in first.items:
        image, mask = first.image(item), first.mask(item) == 1
        assert item.lesion
        assert mask.any()
        assert not (mask & ~first.body(item)).any()
        np.testing.assert_array_equal(image[0][~mask], store.image(item)[0][~mask])
        assert np.abs(image[0][mask] - store.image(item)[0][mask]).max() > 0
    for item in reversed(again.items):
        np.testing.assert_array_equal(first.image(item), again.image(item))
