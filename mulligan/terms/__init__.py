"""What is added to the adversarial loss: one number per sample, for data of any rank."""
