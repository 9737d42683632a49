"""The supervision ledger of a job: which labels and priors it uses."""

from __future__ import annotations

from uadbench.core.record import IMPORTED, Ledger
from uadbench.core.roles import Role, Supervision
from uadbench.data.storage.store import Item
from uadbench.runner.planning.label_subset import labelled_subset
from uadbench.runner.planning.plan import Plan


def labelled_items(plan: Plan) -> list[Item]:
    """Returns the items whose masks are passed to ``fit``: none unless the method is supervised."""
    job = plan.job
    return labelled_subset(plan.train.role(Role.LABELLED), job.method.supervision, plan.config, job.seed) or []


def make_ledger(plan: Plan, polarity: int, threshold_labels: dict[str, str]) -> Ledger:
    """Returns the supervision ledger: the labels and priors that the job uses.

    Args:
        plan: The job.
        polarity: The prior of the built method, 0 if none.
        threshold_labels: Labels that each applied threshold rule consumed.
    """
    learns = plan.job.method.supervision != Supervision.NONE
    published, imported = plan.published, bool(plan.config.imported)
    preset = f"preset {plan.job.method.preset} of {plan.job.method.name}"
    return Ledger(
        # The training data of imported weights are only reported, so no label of these data is counted.
        # Masks that chose which slices of patients with lesions are healthy count as labels.
        train_pixel_labels=len(labelled_items(plan)) + plan.train.manifest.health_masks,
        train_image_labels=len(plan.train.role(Role.TRAIN)) if learns and not imported else 0,
        threshold_labels=threshold_labels,
        polarity_prior=polarity,
        checkpoint_rule=IMPORTED if imported else "last",
        organ_masks_at_test=plan.test.manifest.organ_masks,
        tuning_labels=plan.tuned.labels if plan.tuned else "none",
        defaults_from=plan.tuned.origin if plan.tuned else preset,
        published=published.origin,
        published_seen=bool(published.cohorts & {item.cohort for item in plan.test.role(Role.TEST)}),
    )
