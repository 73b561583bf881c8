"""The validator, validated: a check that was never seen to fail proves nothing.

A **sabotage** is one way in which a cell can lie, done on purpose to a real cell on a real testbed; it names
the check that has to find it, and why. `sabotages/` holds one file each. `harm` is what a sabotage can do,
`bench` measures a cell while it is done, `trial` does all of them and says which were caught.
"""
