"""The textbook GAN, written out: Goodfellow 2014's game with Radford 2015's networks, in one screen.

    python examples/first_gan.py            # 10 epochs of digits, about half an hour on two CPU cores
    python examples/first_gan.py --epochs 1 --images 640 --out first.png

Everything here is a part of Mulligan's; `mulligan train digits --recipe dcgan` is the same game with a seat belt.
"""

import argparse

import torch

import mulligan as mg
from mulligan.core.batch import to_float, to_uint8
from mulligan.kinds.pictures import grid
from mulligan.losses import nonsaturating
from mulligan.models.dcgan import DCGANDiscriminator, DCGANGenerator

BATCH_SIZE = 32
LEARNING_RATE = 1e-4

arguments = argparse.ArgumentParser()
arguments.add_argument("--epochs", type=int, default=10)
arguments.add_argument("--images", type=int, default=None, help="use only the first so many images")
arguments.add_argument("--out", default="first_gan.png")
options = arguments.parse_args()

torch.manual_seed(0)
digits = mg.inspect("digits")  # 28x28 grey images, uint8
train_images = to_float(digits.images(digits.train[: options.images]))  # (N, 1, 28, 28) in [-1, 1]

generator = DCGANGenerator(digits.shape, classes=0)
discriminator = DCGANDiscriminator(digits.shape, classes=0)
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=LEARNING_RATE)
discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), lr=LEARNING_RATE)
game = nonsaturating()  # cross-entropy, with labels 1 for real and 0 for generated


def discriminator_loss(real_logits, fake_logits):
    """-log D(x) - log(1 - D(G(z))): real images are called real, generated ones are not."""
    return game.d(real_logits, fake_logits).mean()


def generator_loss(fake_logits):
    """-log D(G(z)): generated images are called real."""
    return game.g(fake_logits).mean()


def train_step(real_images):
    """One move of each player; returns both losses."""
    fake_images = generator(torch.randn(len(real_images), *generator.z_shape), None)

    real_logits = discriminator(real_images, None).logits[0]
    fake_logits = discriminator(fake_images.detach(), None).logits[0]
    d_loss = discriminator_loss(real_logits, fake_logits)
    discriminator_optimizer.zero_grad()
    d_loss.backward()
    discriminator_optimizer.step()

    g_loss = generator_loss(discriminator(fake_images, None).logits[0])
    generator_optimizer.zero_grad()
    g_loss.backward()
    generator_optimizer.step()
    return d_loss.item(), g_loss.item()


fixed_noise = torch.randn(16, *generator.z_shape)
for epoch in range(options.epochs):
    for batch in train_images[torch.randperm(len(train_images))].split(BATCH_SIZE):
        d_loss, g_loss = train_step(batch)
    with torch.no_grad():
        grid(to_uint8(generator(fixed_noise, None))).save(options.out)
    print(f"epoch {epoch + 1}: discriminator {d_loss:.3f}, generator {g_loss:.3f}, samples in {options.out}")
