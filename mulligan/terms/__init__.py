"""What is added to the adversarial loss: one number per sample. Most terms take samples of any kind."""
