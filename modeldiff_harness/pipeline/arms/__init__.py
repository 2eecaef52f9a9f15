"""The three arms: what each computes, and what it found."""
