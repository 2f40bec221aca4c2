"""Credits that a process holds in bulk, and spends without asking the books each time.

`spends` is what is written down, `journal` where, `mapped_file` the file; `lease` is the arithmetic of one
lease, `lessee` an account's leases at the books, `leases` all of a process, `charge` the block that the
caller enters.
"""
