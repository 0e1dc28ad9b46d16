"""Grades submissions on a Dask cluster: their bytes travel there, bytes of results come back.

The same code runs on the processes of one machine and on a cluster of many. A worker of the cluster
grades one submission at a time, in the same sandbox as `python -m grading grade` and beside no
other; the reference's numbers are measured once for each worker. See
https://distributed.dask.org/en/stable/resilience.html for what becomes of a worker's task when the
worker dies.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.comm.core import CommClosedError

from grading import UsageError
from grading.classroom.task import ClusterLostError, Outcome, Settings, Task, grade_one
from grading.report import clean

# How many workers a submission may take with it before it is to blame.
DEATHS = 2
ATTEMPTS = 2  # at a submission over which the grader fails
WAIT_SECONDS = 60  # for the first worker


@contextlib.contextmanager
def connected(scheduler: str, n_workers: int | None) -> Iterator[Client]:
    """Connects to a Dask scheduler, or starts workers on this machine.

    Args:
        scheduler: its address, `tcp://HOST:PORT`, or "" for this machine.
        n_workers: how many to start here; by default one for each core.

    Raises:
        UsageError: there is no scheduler at this address, or it has no workers.
    """
    # One death of a worker may have any reason, and its submission is graded again.
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.comm.timeouts.connect": "10s",
        # A grading is one long call of Python, and says nothing meanwhile.
        "distributed.admin.tick.limit": "10m",
        # Looking after itself fifty times a second took Dask 4% of a core all the time.
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "5s",
        "distributed.worker.memory.monitor-interval": "5s",
        "distributed.worker.profile.enabled": False,
    }
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(dask.config.set(settings))
        try:
            cluster = scheduler or cleanup.enter_context(
                LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            )
            client = cleanup.enter_context(Client(cluster))
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            place = scheduler or "this machine"
            raise UsageError(f"there are no Dask workers at {place}: {clean(str(error))}") from None
        yield client


def grade_all(client: Client, settings: Settings, tasks: Iterable[Task]) -> Iterator[Outcome]:
    """Grades submissions, and yields what became of each as soon as it is known.

    A worker holds one submission at a time, so its death leaves no doubt about which one it was.
    Tasks are taken when a worker is free, so that no more of them are in memory than needed.

    Raises:
        ClusterLostError: the scheduler is gone.
    """
    fresh = ((task, 1) for task in tasks)
    failed: deque[tuple[Task, int]] = deque()
    running: dict[Future, tuple[Task, int]] = {}
    finished = as_completed()
    try:
        while True:
            n_workers = max(len(client.nthreads()), 1)
            while len(running) < n_workers:
                task, attempt = next(fresh, None) or (failed.popleft() if failed else (None, 0))
                if task is None:
                    break
                future = client.submit(
                    grade_one, settings, task, key=f"grade-{task.key}-{attempt}", pure=False
                )
                running[future] = task, attempt
                finished.add(future)
            if not running:
                return
            future = next(finished)
            task, attempt = running.pop(future)
            outcome = _outcome_of(task, future)
            if outcome.failure and not outcome.is_deadly and attempt < ATTEMPTS:
                failed.append((task, attempt + 1))
            else:
                yield outcome
    except (CommClosedError, OSError) as error:
        raise ClusterLostError(str(error)) from error
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.cancel(list(running))


def _outcome_of(task: Task, future: Future) -> Outcome:
    if future.status == "finished":
        try:
            return Outcome(key=task.key, result=future.result())
        finally:
            future.release()
    if future.status in ("cancelled", "lost"):
        raise ClusterLostError("the scheduler has forgotten what it was asked")
    error = future.exception()
    if isinstance(error, KilledWorker):
        reason = f"the process that graded it died each time, {DEATHS} times"
        return Outcome(key=task.key, failure=reason, is_deadly=True)
    return Outcome(key=task.key, failure=clean(f"{type(error).__name__}: {error}"))
