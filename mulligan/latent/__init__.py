"""The latent space of a trained generator: finding images in it, and editing them there."""
