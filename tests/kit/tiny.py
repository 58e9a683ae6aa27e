"""A sweep so small that a test can run it: three trials of 20 updates, in this process."""

TRAINING = (
    "engine=reference",
    "task.length=10",
    "family.hidden=6",
    "training.batch=4",
    "training.report_every=10",
    "training.eval_size=20",
    "budget.updates=20",
)
TINY = ("cluster=inline", "tracker=none", "store.optuna=none", "sampler=random", *TRAINING)
