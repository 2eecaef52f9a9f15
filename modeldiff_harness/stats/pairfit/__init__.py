"""Bradley–Terry for one pair with style control: raw = substance + style + dispersion."""
