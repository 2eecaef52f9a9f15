"""What stored reports say in the order of their dates.

records: what is known; gather: reading the reports and telling what moved; figure, section: how it
is shown.
"""
