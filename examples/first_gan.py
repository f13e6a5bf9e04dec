"""The textbook GAN on one page: the loss of Goodfellow 2014 with the networks of Radford 2015.

    python examples/first_gan.py            # 10 epochs of digits, about half an hour on two CPU cores
    python examples/first_gan.py --epochs 1 --images 640 --out first.png

All parts come from Mulligan. `mulligan train digits --recipe dcgan` trains the same GAN, and also watches it, saves it,
resumes it and measures it.
"""

import argparse

import torch

import mulligan as mg
from mulligan.kit import NOTHING, Condition, discriminators, generators, losses

BATCH_SIZE = 32
LEARNING_RATE = 1e-4

arguments = argparse.ArgumentParser()
arguments.add_argument("--epochs", type=int, default=10)
arguments.add_argument("--images", type=int, default=None, help="use only the first so many images")
arguments.add_argument("--out", default="first_gan.png")
options = arguments.parse_args()

torch.manual_seed(0)
digits = mg.inspect("digits")  # 28x28 grey images, uint8
sample = digits.sample  # what one of them is: its shape, and how it is stored and drawn
train_images = sample.to_net(digits.records(digits.train[: options.images]))  # (N, 1, 28, 28) in [-1, 1]

generator = generators["dcgan"](sample, NOTHING)  # its only input is noise
discriminator = discriminators["dcgan"](sample, NOTHING)
unconditional = Condition()  # an empty one
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=LEARNING_RATE)
discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), lr=LEARNING_RATE)
loss = losses["nonsaturating"]()  # cross-entropy, with labels 1 for real and 0 for generated


def discriminator_loss(real_logits, fake_logits):
    """-log D(x) - log(1 - D(G(z))): low where real images are judged real and generated ones are not."""
    return loss.d(real_logits, fake_logits).mean()


def generator_loss(fake_logits):
    """-log D(G(z)): low where generated images are judged real."""
    return loss.g(fake_logits).mean()


def train_step(real_images):
    """One step of each network; returns both losses."""
    fake_images = generator(torch.randn(len(real_images), *generator.z_shape), unconditional)

    real_logits = discriminator(real_images, unconditional).logits[0]
    fake_logits = discriminator(fake_images.detach(), unconditional).logits[0]
    d_loss = discriminator_loss(real_logits, fake_logits)
    discriminator_optimizer.zero_grad()
    d_loss.backward()
    discriminator_optimizer.step()

    g_loss = generator_loss(discriminator(fake_images, unconditional).logits[0])
    generator_optimizer.zero_grad()
    g_loss.backward()
    generator_optimizer.step()
    return d_loss.item(), g_loss.item()


fixed_noise = torch.randn(16, *generator.z_shape)
for epoch in range(options.epochs):
    for batch in train_images[torch.randperm(len(train_images))].split(BATCH_SIZE):
        d_loss, g_loss = train_step(batch)
    with torch.no_grad():
        fake_images = generator(fixed_noise, unconditional)
    sample.sheet(sample.to_records(fake_images)).save(options.out)
    print(f"epoch {epoch + 1}: discriminator {d_loss:.3f}, generator {g_loss:.3f}, samples in {options.out}")
