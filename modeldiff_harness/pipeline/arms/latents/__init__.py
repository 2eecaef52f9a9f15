"""The latent arm: corpus → harvest → train → score → classify → label → profile."""
