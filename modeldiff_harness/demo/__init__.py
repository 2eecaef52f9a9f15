"""The embedded pair: adapters, model cards, prompts, answers, and the scripts that made them."""
