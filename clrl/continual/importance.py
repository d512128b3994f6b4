"""How much each parameter matters to a task."""

import abc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from clrl.continual.layer_rules import Transform
from clrl.continual.network import ContinualNetwork, eval_mode
from clrl.continual.per_example import record_forward
from clrl.errors import ConfigError
from clrl.types import B, B_contra, Parameters


@runtime_checkable
class Importance(Protocol[B_contra]):
    """Estimates how much each shared parameter matters for the task of some batches."""

    def __call__(
        self, network: ContinualNetwork, batches: Iterable[B_contra]
    ) -> Parameters:
        """A mean over examples of a statistic of the per-example gradient, by name."""
        ...


class Outcomes(NamedTuple):
    """K labels per example with their weights: a discrete distribution of labels."""

    weights: Float[Tensor, "K B"]
    labels: Shaped[Tensor, "K B *event"]


@runtime_checkable
class Statistic(Protocol[B_contra]):
    """A scalar ``s`` of an example, and the labels over which it is averaged.

    A domain offers some by name: the log-likelihood of a classifier, the Q-value of an
    action. The importance of a parameter is how ``s`` varies with it.
    """

    @property
    def averages_over_labels(self) -> bool:
        """Whether an example has more than one label, K above 1."""
        ...

    def inputs(self, batch: B_contra) -> Tensor:
        """What the network is shown of ``batch``, [B, ...]."""
        ...

    def outcomes(
        self,
        network: ContinualNetwork,
        outputs: Float[Tensor, "B A"],
        batch: B_contra,
        generator: torch.Generator,
    ) -> Outcomes:
        """The labels and weights for ``batch``; no gradient flows through them.

        Args:
            network: In eval mode, should a label need another forward pass.
            outputs: The network's outputs for ``batch``, detached.
            batch: The examples.
            generator: Of all randomness in the labels.
        """
        ...

    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Shaped[Tensor, "B *event"]
    ) -> Float[Tensor, "B"]:
        """``s`` of each example, differentiable in ``outputs``."""
        ...


class OneLabel(abc.ABC, Generic[B]):
    """A statistic with a single label for each example, whose weight is 1."""

    @property
    def averages_over_labels(self) -> bool:
        """No."""
        return False

    @abc.abstractmethod
    def inputs(self, batch: B) -> Tensor:
        """What the network is shown of ``batch``, [B, ...]."""

    @abc.abstractmethod
    def labels(
        self, network: ContinualNetwork, outputs: Float[Tensor, "B A"], batch: B
    ) -> Shaped[Tensor, "B *event"]:
        """The label of each example; see ``Statistic.outcomes`` for the arguments."""

    @abc.abstractmethod
    def __call__(
        self, outputs: Float[Tensor, "B A"], labels: Shaped[Tensor, "B *event"]
    ) -> Float[Tensor, "B"]:
        """``s`` of each example, differentiable in ``outputs``."""

    def outcomes(
        self,
        network: ContinualNetwork,
        outputs: Float[Tensor, "B A"],
        batch: B,
        generator: torch.Generator,
    ) -> Outcomes:
        """One outcome: the label."""
        del generator
        labels = self.labels(network, outputs, batch)
        return Outcomes(torch.ones_like(outputs[:, 0])[None], labels[None])


NO_EXAMPLES = (
    "the importance of a task needs at least one example, got none; give batches from "
    "the task's memory, or leave it without consolidation."
)


def mean_over_examples(
    network: ContinualNetwork,
    batches: Iterable[B],
    statistic: Statistic[B],
    phi: Transform,
    generator: torch.Generator,
) -> Parameters:
    """``1/N sum_n sum_k w_kn phi(d s_kn / d theta)`` of every shared parameter.

    A mean over all N examples, however they are cut into batches. The network is in
    eval mode meanwhile; its modes and its ``.grad`` are as before afterwards.

    Raises:
        ValueError: If there is no example.
    """
    sums = {n: torch.zeros_like(p) for n, p in network.shared_parameters().items()}
    examples = 0
    with eval_mode(network):
        for batch in batches:
            forward = record_forward(network, statistic.inputs(batch), batch.task)
            with torch.no_grad():
                weights, labels = statistic.outcomes(
                    network, forward.outputs.detach(), batch, generator
                )
            added = forward.sum_over_examples(statistic, weights, labels, phi)
            torch._foreach_add_(list(sums.values()), list(added.values()))
            examples += len(batch.task)
    if examples == 0:
        raise ValueError(NO_EXAMPLES)
    return {name: total / examples for name, total in sums.items()}


@dataclass(frozen=True, kw_only=True)
class BatchLimit:
    """What the estimators that draw batches of a task have in common.

    Attributes:
        max_batches: Batches drawn, at least 1.
    """

    max_batches: int

    def __post_init__(self) -> None:
        """Checks the number of batches.

        Raises:
            ConfigError: If ``max_batches`` is below 1.
        """
        if self.max_batches < 1:
            raise ConfigError(
                f"the importance needs at least 1 batch, got {self.max_batches}; "
                "raise importance_batches."
            )

    def drawn(self, batches: Iterable[B]) -> Iterator[B]:
        """The first ``max_batches`` of ``batches``."""
        return islice(batches, self.max_batches)


@dataclass(frozen=True, kw_only=True)
class FisherDiagonal(BatchLimit, Generic[B]):
    """Diagonal of the Fisher information, ``F = E_x E_y [(d s(x, y) / d theta)^2]``.

    Kirkpatrick et al. (2017) print no estimator; this is the definition. The outer
    expectation is the mean over all examples of at most ``max_batches`` batches; the
    inner one, over labels, is the statistic's choice. Squares of per-example gradients
    (not of batch gradients), no factor 1/2. With log p as ``s`` and labels of the model
    it is the Fisher; with labels of the data it is the empirical Fisher.

    Attributes:
        statistic: ``s`` and the labels it is averaged over.
        generator: Of the labels that are sampled.
    """

    statistic: Statistic[B]
    generator: torch.Generator

    def __call__(self, network: ContinualNetwork, batches: Iterable[B]) -> Parameters:
        """The diagonal of the Fisher by parameter name; of shared parameters only.

        Raises:
            ValueError: If ``batches`` holds no example.
        """
        return mean_over_examples(
            network,
            self.drawn(batches),
            self.statistic,
            torch.square,
            self.generator,
        )


@dataclass(frozen=True, kw_only=True)
class SquaredBatchGradient(BatchLimit, Generic[B]):
    """``(d mean_n s(x_n, y_n) / d theta)^2``, averaged over batches: not the Fisher.

    So EWC in the code of Lopez-Paz & Ranzato (2017) and in many ports of it. Gradients
    of a batch cancel where those of its examples do not, so near a minimum this is
    smaller than the Fisher, by about the size of a batch. For reproducing what was
    published with it.

    Attributes:
        statistic: ``s``.
        generator: Of the labels that are sampled.

    Raises:
        ConfigError: If the statistic averages over labels: over those that the model
            expects, the mean gradient is 0.
    """

    statistic: Statistic[B]
    generator: torch.Generator

    def __post_init__(self) -> None:
        """Refuses what would fail when the first task is left."""
        super().__post_init__()
        if self.statistic.averages_over_labels:
            raise ConfigError(
                "the gradient of a batch needs one label for each example, got an "
                "importance that averages over labels; choose one with sampled or "
                "empirical labels, or importance_of examples."
            )

    def __call__(self, network: ContinualNetwork, batches: Iterable[B]) -> Parameters:
        """The mean square by parameter name; of shared parameters only.

        Raises:
            ValueError: If ``batches`` holds no example.
        """
        shared = network.shared_parameters()
        total = {name: torch.zeros_like(p) for name, p in shared.items()}
        count = 0
        with eval_mode(network), torch.enable_grad():
            for batch in self.drawn(batches):
                for name, g in self._gradient(network, batch).items():
                    total[name] += g.square()
                count += 1
        if count == 0:
            raise ValueError(NO_EXAMPLES)
        return {name: t / count for name, t in total.items()}

    def _gradient(self, network: ContinualNetwork, batch: B) -> Parameters:
        outputs = network(self.statistic.inputs(batch), batch.task)
        with torch.no_grad():
            weights, labels = self.statistic.outcomes(
                network, outputs.detach(), batch, self.generator
            )
        trained = {
            name: p
            for name, p in network.shared_parameters().items()
            if p.requires_grad
        }
        mean = (weights[0] * self.statistic(outputs, labels[0])).mean()
        gradient = torch.autograd.grad(
            mean, list(trained.values()), allow_unused=True, materialize_grads=True
        )
        return dict(zip(trained, gradient, strict=True))


@dataclass(frozen=True)
class UnitMean(Generic[B]):
    """Another importance, scaled to a mean of 1 over all shared parameters.

    The Fisher grows with the square of the outputs, so a task with large outputs (a
    game with many rewards) would be held far harder than others by the same strength.
    Scaled, each task is held as hard on average as L2 of that strength would, but where
    its Fisher says. Schwarz et al. (2018) normalise their Fishers too.

    Attributes:
        importance: What is scaled.
    """

    importance: Importance[B]

    def __call__(self, network: ContinualNetwork, batches: Iterable[B]) -> Parameters:
        """The importance divided by its mean; as it is where that is 0."""
        importance = self.importance(network, batches)
        count = sum(omega.numel() for omega in importance.values())
        mean = torch.stack([o.sum() for o in importance.values()]).sum() / count
        scale = torch.where(mean > 0, mean, torch.ones_like(mean))
        return {name: omega / scale for name, omega in importance.items()}


class UniformImportance:
    """Every parameter matters equally: ones, which make the quadratic penalty L2."""

    def __call__(self, network: ContinualNetwork, batches: object) -> Parameters:
        """Ones by parameter name; the batches are not even drawn."""
        del batches
        return {n: torch.ones_like(p) for n, p in network.shared_parameters().items()}


@runtime_checkable
class LabelledBatch(Protocol):
    """Inputs with a class each."""

    @property
    def inputs(self) -> Tensor:
        """What the network is shown, [B, ...]."""
        ...

    @property
    def labels(self) -> Int64[Tensor, "B"]:
        """The class of each example."""
        ...

    @property
    def task(self) -> Int64[Tensor, "B"]:
        """The task each example belongs to."""
        ...


UNLABELLED = -1
"""The label of an example whose class is not known."""

LabelChoice: TypeAlias = Callable[[Tensor, Tensor, torch.Generator], Outcomes]
"""The labels a likelihood is averaged over, from logits [B, C] and data labels [B]."""


def exact(
    logits: Float[Tensor, "B C"], labels: Int64[Tensor, "B"], generator: torch.Generator
) -> Outcomes:
    """All C classes, weighted by the model's probabilities: the expectation itself."""
    del generator
    classes = torch.arange(logits.shape[1], device=labels.device)
    return Outcomes(logits.softmax(1).T, classes[:, None].expand(-1, len(labels)))


def sampled(
    logits: Float[Tensor, "B C"], labels: Int64[Tensor, "B"], generator: torch.Generator
) -> Outcomes:
    """One class drawn from the model: an unbiased estimate of ``exact``."""
    # Drawn where the generator lives, so that a CPU generator serves a GPU network.
    probabilities = logits.softmax(1).to(generator.device)
    drawn = torch.multinomial(probabilities, 1, generator=generator)
    return empirical(logits, drawn[:, 0].to(labels.device), generator)


def empirical(
    logits: Float[Tensor, "B C"], labels: Int64[Tensor, "B"], generator: torch.Generator
) -> Outcomes:
    """The labels of the data.

    Raises:
        ConfigError: If the data have none.
    """
    del generator
    if bool((labels == UNLABELLED).any()):
        raise ConfigError(
            "the empirical Fisher needs the labels of the data, got data without; "
            "choose an importance whose labels come from the model."
        )
    return Outcomes(torch.ones_like(logits[:, 0])[None], labels[None])


@dataclass(frozen=True)
class LogLikelihood:
    """``s = log p(label | input)`` of a softmax classifier.

    Attributes:
        labels: ``exact``, ``sampled`` or ``empirical``.
    """

    labels: LabelChoice

    @property
    def averages_over_labels(self) -> bool:
        """Whether every class counts."""
        return self.labels is exact

    @property
    def needs_labels(self) -> bool:
        """Whether the labels are the data's."""
        return self.labels is empirical

    def inputs(self, batch: LabelledBatch) -> Tensor:
        """The batch's inputs."""
        return batch.inputs

    def outcomes(
        self,
        network: ContinualNetwork,
        outputs: Float[Tensor, "B C"],
        batch: LabelledBatch,
        generator: torch.Generator,
    ) -> Outcomes:
        """The labels the likelihood is averaged over."""
        del network
        return self.labels(outputs, batch.labels, generator)

    def __call__(
        self, outputs: Float[Tensor, "B C"], labels: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """The log-probability of each label."""
        return outputs.log_softmax(1).gather(1, labels[:, None])[:, 0]
