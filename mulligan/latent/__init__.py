"""The latent space of a trained generator: where pictures lie, and what moving there does to them."""
