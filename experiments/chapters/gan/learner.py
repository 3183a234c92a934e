r"""A generator, which draws images from noise, and a discriminator, which tells drawn images from real ones.

With images x, noise z, the generator G, the discriminator's logit D, which is large for real images, and the sigmoid
:math:`\sigma`, the losses are:

.. math::
    L_D &= -\tfrac12 \log \sigma(D(x)) - \tfrac12 \log(1 - \sigma(D(G(z)))) \\
    L_G &= -\log \sigma(D(G(z)))

The generator's loss is not :math:`-L_D`, whose gradient vanishes when the discriminator wins. Its gradient passes
through the discriminator, whose activations are therefore leaky: a dead unit would pass no gradient.

Sources: I. Goodfellow et al., "Generative adversarial nets", 2014; A. Radford, L. Metz, S. Chintala, "Unsupervised
representation learning with deep convolutional generative adversarial networks", 2016; T. Salimans et al.,
"Improved techniques for training GANs", 2016, for the target of 0.9 for real images.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from experiments.backend import Backend
from experiments.settings import Settings
from experiments.training import Evaluation, Learner, Task

__all__ = ["FILMED", "GAN", "NOISE", "GANLearner"]

NOISE = 64
REAL = 0.9  # target for real images
FILMED = 12  # drawings stored at each evaluation, and drawings per row
BATCH = 250  # of an evaluation


class GAN(nn.Module):
    """The generator and the discriminator; its forward pass is the discriminator's.

    Args:
        backend: Backend of the layers.
        channels: Channels of the generator's last hidden layer and of the discriminator's first.
    """

    def __init__(self, backend: Backend, channels: int) -> None:
        super().__init__()
        layers, wide = backend.nn, 2 * channels
        self.generator = layers.Sequential(
            OrderedDict(
                fc=layers.Linear(NOISE, wide * 7 * 7, bias=False),
                norm1=layers.BatchNorm1d(wide * 7 * 7),
                relu1=layers.ReLU(),
                unflatten=layers.Unflatten(1, (wide, 7, 7)),
                up1=layers.ConvTranspose2d(wide, channels, 4, stride=2, padding=1, bias=False),
                norm2=layers.BatchNorm2d(channels),
                relu2=layers.ReLU(),
                up2=layers.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
                tanh=layers.Tanh(),
            )
        )
        self.discriminator = layers.Sequential(
            OrderedDict(
                down1=layers.Conv2d(1, channels, 4, stride=2, padding=1),
                leaky1=layers.LeakyReLU(0.2),
                down2=layers.Conv2d(channels, wide, 4, stride=2, padding=1),
                norm2=layers.BatchNorm2d(wide),
                leaky2=layers.LeakyReLU(0.2),
                flatten=layers.Flatten(),
                fc=layers.Linear(wide * 7 * 7, 1),
            )
        )
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.dim() == 4:
                nn.init.normal_(parameter, std=0.05)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images to logits (B, 1)."""
        return self.discriminator(images)


class GANLearner(Learner):
    """Trains both networks: each step updates both, with gradients computed before either update.

    ``loss`` is the discriminator's, ``generator_loss`` the generator's; ``accuracy`` is the share of images, real and
    drawn, that the discriminator classifies correctly.

    Attributes:
        film: The generator's drawings from the same noise at each evaluation, bytes of shape (evaluations, 12,
            28, 28).
    """

    model: GAN

    def __init__(
        self,
        backend: Backend,
        build: Callable[[Backend], nn.Module],
        task: Task,
        settings: Settings,
        steps: int,
        **options: Any,
    ) -> None:
        super().__init__(backend, build, task, settings, steps, **options)
        self.film = torch.zeros(0, FILMED, 28, 28, dtype=torch.uint8)

    def step(self, inputs: Tensor, targets: Tensor, weight: float = 1.0) -> dict[str, float]:
        """Takes a step of both networks on a batch of real images."""
        generator, discriminator = self.model.generator, self.model.discriminator
        with self.clocked():
            self.optimizer.zero_grad()
            with self._precision():
                drawn = generator(self.noise(len(inputs)))
                real_score, drawn_score = discriminator(inputs), discriminator(drawn)
                generator_loss = self.criterion(drawn_score, torch.ones_like(drawn_score))
                loss = self.discriminator_loss(real_score, drawn_score)
            weights = list(generator.parameters())
            gradients = torch.autograd.grad(generator_loss, weights, retain_graph=True)
            loss.backward(inputs=list(discriminator.parameters()))
            for parameter, gradient in zip(weights, gradients, strict=True):
                parameter.grad = gradient
            if self.settings.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            self.optimizer.step()
            metrics = {"loss": loss.item(), "generator_loss": generator_loss.item()}
        right = torch.cat((real_score > 0, drawn_score <= 0))
        return {"loss": metrics["loss"], "accuracy": right.double().mean().item(), **metrics}

    def discriminator_loss(self, real_score: Tensor, drawn_score: Tensor) -> Tensor:
        real = self.criterion(real_score, torch.full_like(real_score, REAL))
        return (real + self.criterion(drawn_score, torch.zeros_like(drawn_score))) / 2

    def noise(self, count: int, seed: int | None = None) -> Tensor:
        """Returns noise, the same each time for the same seed."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        drawn = torch.randn(count, NOISE, generator=generator, dtype=self.settings.torch_dtype)
        return drawn.to(self.settings.device)

    @torch.no_grad()
    def draw(self, count: int, seed: int) -> Tensor:
        """Returns images (count, 1, 28, 28) with values from -1, black, to 1, drawn in evaluation mode."""
        training = self.model.training
        self.model.eval()
        try:
            return torch.cat([self.model.generator(part) for part in self.noise(count, seed).split(BATCH)])
        finally:
            self.model.train(training)

    @torch.no_grad()
    def evaluate(
        self, inputs: Tensor, targets: Tensor, before_batch: Callable[[], None] = lambda: None
    ) -> Evaluation:
        """Evaluates the discriminator on the given real images and as many drawn ones."""
        found = Evaluation()
        drawn = self.draw(len(inputs), self.settings.seed)
        for batch, fakes in zip(inputs.split(BATCH), drawn.split(BATCH), strict=True):
            before_batch()
            real_score, drawn_score = self.score(self.task.prepare(batch)), self.score(fakes)
            loss = self.discriminator_loss(real_score, drawn_score)
            found.add(loss.item(), torch.cat((real_score > 0, drawn_score <= 0)), real_score, real_score)
        return found

    def score(self, images: Tensor) -> Tensor:
        """Returns the discriminator's logits as in training mode, without changing its buffers.

        The discriminator trains on batches of real and of drawn images in turn, each normalized by its own
        statistics. Batch norm's running statistics average over both, and would fit neither.
        """
        discriminator = self.model.discriminator
        copies = {name: buffer.clone() for name, buffer in discriminator.named_buffers()}
        scores: Tensor = torch.func.functional_call(discriminator, copies, (images,))
        return scores

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "film": self.film}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.film = state["film"]
