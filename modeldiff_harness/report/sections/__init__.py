"""`Report` → sections: the text, tables and figures of the built-in sections, one a file.

In the order in which a release reviewer reads them: summary, models, benchmarks, preferences,
latent_shares, capabilities, latents (with dictionary_tables), cheap_looks, items, limits,
provenance.
"""
