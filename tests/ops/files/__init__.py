"""The files that deployment reads, as they are: what no compiler, schema or other tool knows of them.

`python dev.py check` runs these tests too, since whoever deploys fills some of the files in.
"""
