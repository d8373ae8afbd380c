"""Training: data, optimiser, schedule, precision, the loop, checkpoints, metrics. One recipe file describes a run.

The arrows inside: `batch` (the interface of data and loop) and `recipes` (what a run is) import nothing heavy of the
others; `data` makes batches; `loop` consumes them. What training needs of other rooms (generators of training
instances, the suites' decontamination index) is handed in by the command line.
"""
