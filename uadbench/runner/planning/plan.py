"""From names and values to a plan: a job with its config and open stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.errors import DataError, UserError
from uadbench.core.job import Job, Precision, check_seed, method_label
from uadbench.core.published import Applied
from uadbench.core.record import DatasetPart, MethodPart, ProtocolPart, stable_hash
from uadbench.core.roles import Role, Supervision
from uadbench.core.types import ImageSpec
from uadbench.data.storage.store import Store
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.runner.planning.tuned_config import Tuned


@dataclass(frozen=True)
class Plan:
    """A job with its data.

    Attributes:
        job: The frozen definition.
        config: The method's resolved config.
        train: Store to train and calibrate on.
        test: Store to test on (the same unless another cohort was requested).
        tuned: Origin of the tuned values, if any.
    """

    job: Job
    config: MethodConfig
    train: Store
    test: Store
    tuned: Tuned | None = None

    @property
    def spec(self) -> ImageSpec:
        """Shape of the images that the method is built for."""
        size = self.config.image_size
        return ImageSpec(self.train.channels, size, size, self.train.manifest.polarity)

    @property
    def published(self) -> Applied:
        """The published values, which tuned values and overrides take precedence over."""
        return published_values(type(self.config), self.job.method.preset, self.job.dataset)

    @property
    def fit_key(self) -> str:
        """Hash of what defines the fit: equal for all test cohorts, protocols and inference settings."""
        method, job = self.job.method, self.job
        return fit_key(method.name, method.version, self.config, job.dataset.fingerprint, job.seed, job.precision)


def fit_key(name: str, version: str, config: MethodConfig, fingerprint: str, seed: int, precision: str) -> str:
    """Returns the hash of what defines a fit: method, config without inference keys, data and seed."""
    inference = {"predict_batch", *config.INFERENCE}
    values = {key: value for key, value in config.model_dump(mode="json").items() if key not in inference}
    return stable_hash([name, version, values, fingerprint, seed, precision])


def plan_run(
    *,
    method: str,
    train: Store,
    test: Store | None = None,
    preset: str = "quick",
    protocol: str = "strict-v1",
    tuned: Tuned | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    precision: Precision = "auto",
) -> Plan:
    """Resolves names and values to a plan.

    Raises:
        UserError: If a name, a key or a value is not allowed, or the data lack a role.
    """
    check_seed(seed)
    data = dataset_part(train)
    config, part = method_part(method, preset, data, tuned, overrides)
    rules = load_protocol(protocol)
    job = Job(
        method=part,
        dataset=data,
        test_on=None if test is None else dataset_part(test),
        protocol=ProtocolPart(name=rules.name, version=rules.version, hash=rules.hash),
        seed=seed,
        precision=precision,
    )
    if part.supervision != Supervision.NONE:
        _need(train, Role.TRAIN)
        _need(train, Role.CALIB)
    if part.supervision == Supervision.MASKS:
        _need(train, Role.LABELLED)
    _need(test or train, Role.TEST)
    return Plan(job, config, train, test or train, tuned)


def method_part(
    method: str,
    preset: str,
    train: DatasetPart,
    tuned: Tuned | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[MethodConfig, MethodPart]:
    """Returns the resolved config of a method and its entry in a record.

    Raises:
        UserError: If a name, a key or a value is not allowed.
    """
    kind = METHODS.load(method)
    base = tuned.config if tuned else None
    published = published_values(kind.config_type, preset, train).values
    config = kind.config_type.resolve(preset, base, overrides, published)
    values = config.model_dump(mode="json")
    # Published values belong to the base row, like those of the preset.
    preset_values = kind.config_type.resolve(preset, base, published=published).model_dump(mode="json")
    part = MethodPart(
        name=method,
        label=method_label(method, preset_values, values, tuned=tuned is not None),
        version=kind.version,
        supervision=kind.supervision.value,
        preset=preset,
        config=values,
    )
    return config, part


def published_values(config_type: type[MethodConfig], preset: str, train: DatasetPart) -> Applied:
    """Returns the published values that apply to a method's preset on its training data."""
    return config_type.published(preset, train.modality, train.polarity)


def dataset_part(store: Store) -> DatasetPart:
    """Returns a store's entry in a record."""
    head = store.manifest
    return DatasetPart(
        name=head.dataset,
        version=head.version,
        recipe=head.recipe,
        fingerprint=head.fingerprint,
        source=head.source,
        ranked=head.ranked,
        notes=head.notes,
        modality=head.modality,
        polarity=head.polarity,
    )


def _need(store: Store, role: Role) -> None:
    if store.role(role):
        return
    if role == Role.LABELLED:
        raise UserError(f"{store.manifest.dataset} has no 'labelled' patients.", "A supervised method needs them.")
    raise DataError(
        f"{store.manifest.dataset} ({store.manifest.recipe}) has no '{role}' patients.",
        "Train on another set (--dataset TRAINING_SET --test-on this one) or use a baseline without training.",
    )
