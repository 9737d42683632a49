"""Brain MRI: FLAIR, T2, T1 or contrast-enhanced T1 from public NIfTI layouts, and a FLAIR-like phantom."""

from uadbench.datasets.brain_mri.dataset import BrainMri

__all__ = ["BrainMri"]
