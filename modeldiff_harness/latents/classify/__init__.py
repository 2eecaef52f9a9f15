"""The verb `classify`: which model owns a latent, by written rules."""
