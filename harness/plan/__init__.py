"""What will be done: cells in shuffled rounds, and how long that will take.

model: factors, configurations, loads, cells, the plan itself. order: from a suite to a plan.
predict: seconds per cell, from the load and from costs that were measured.
document: a plan as JSON and back.
"""
