"""The verb `label`: names for latents, proposed by a labeler and tested on other documents."""
