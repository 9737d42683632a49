"""Metrics and rows in words, for display; records, CSV and JSON contain keys such as ``dice@healthy-fpr@0.01``."""

from __future__ import annotations

import re

NAMES = {
    "case_ap": "Case AP",
    "dice": "Dice",
    "dice_pooled": "Dice, all pixels pooled",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "pixel_auroc": "Pixel AUROC, per case",
    "pixel_auroc_pooled": "Pixel AUROC, pooled",
    "pixel_ap_pooled": "Pixel AP, pooled",
    "aupro": "AUPRO",
    "image_auroc": "Image AUROC",
    "image_ap": "Image AP",
    "image_auroc_own": "Image AUROC, the method's own score",
    "image_false_alarm_error": "Calibration error of image false alarms",
    "image_ece": "Calibration error of image scores",
    "healthy_cohort_auroc": "AUROC, healthy test images against healthy calibration images",
    "healthy_fp_fraction": "False positives on healthy test images",
    "healthy_fp_volume_mm3": "False-positive volume on healthy test cases",
    "lesion_f1": "Lesion-wise F1",
    "lesion_sensitivity": "Lesion-wise sensitivity",
    "hd95_mm": "95 % Hausdorff distance",
    "assd_mm": "Average surface distance",
    "nsd": "Normalised surface Dice",
    "ssim_outside": "SSIM outside the lesion",
    "l1_outside": "L1 outside the lesion",
    "ssim_healthy": "SSIM on healthy images",
    "l1_healthy": "L1 on healthy images",
}
RULES = {
    "synthetic": "threshold from synthetic lesions",
    "val": "threshold from lesion masks of val",
    "oracle": "threshold from the test masks, never ranked",
}


def metric_words(key: str, *, short: bool = False) -> str:
    """Returns a metric's key in words; unknown keys are returned unchanged.

    Args:
        key: For example "dice@healthy-fpr@0.01".
        short: Whether to abbreviate the rule, for one line.
    """
    name, _, rule = key.partition("@")
    words = NAMES.get(name, name)
    return f"{words}, {rule_words(rule, short=short)}" if rule else words


def rule_words(rule: str, *, short: bool = False) -> str:
    """Returns a threshold rule in words.

    Args:
        rule: For example "healthy-fpr@0.01".
        short: Whether to omit the kind of pixels.
    """
    kind, _, rate = rule.partition("@")
    if kind != "healthy-fpr" or not rate.replace(".", "", 1).isdecimal():
        return RULES.get(rule, rule)
    share = f"{100 * float(rate):g} % false positives"
    return share if short else f"{share} on healthy calibration pixels"


def row_words(label: str) -> str:
    """Returns the label of a row with "(from scratch)" for networks without pretrained weights.

    Args:
        label: For example "unet[pretrained=false]".
    """
    return re.sub(r"\[pretrained=false\]$", " (from scratch)", label, flags=re.IGNORECASE)
