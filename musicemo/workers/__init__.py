"""Many small tasks over the processor's cores, in processes that may die without taking the program along."""

from musicemo.workers._run import WorkerDied, cores, run_tasks
from musicemo.workers._serve import Outcome, interruptible, unbroken
from musicemo.workers._threads import one_thread

__all__ = ["Outcome", "WorkerDied", "cores", "interruptible", "one_thread", "run_tasks", "unbroken"]
