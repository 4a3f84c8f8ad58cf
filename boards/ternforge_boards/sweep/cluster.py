"""Dask's workers: on this machine, behind a scheduler that runs, or as jobs of Slurm."""

import contextlib
import logging
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import dask.config
import psutil
from amaranth.hdl import UnusedElaboratable
from dask.distributed import Client, LocalCluster, WorkerPlugin

from ternforge.errors import UserError

from .grid import Slurm

__all__ = ["ToolWorker", "Where", "connect", "slurm_cluster"]

#: Seconds in which a scheduler must answer, and then have a worker.
CONNECT, FIRST_WORKER = 5, 30

#: A point whose worker dies is tried once more, and none waits at a worker that is busy.
SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
}


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where points are worked on."""

    workers: int | None = None  #: processes, or jobs of Slurm; None: one per CPU, or one job
    scheduler: str | None = None  #: address of a scheduler that runs already
    executor: Literal["local", "slurm"] = "local"
    slurm: Slurm = field(default_factory=Slurm)


class ToolWorker(WorkerPlugin):
    """Ends the tools that a worker runs when it closes.

    Parameters
    ----------
    interrupts : bool
        Whether Ctrl-C is for the worker: one that we started is closed by us instead.
    """

    name = "ternforge-tools"

    def __init__(self, interrupts: bool):
        self.interrupts = interrupts

    def setup(self, worker: Any) -> None:
        """Set what is warned of: units of a core are asked for their latencies, and not used."""
        warnings.filterwarnings("ignore", category=UnusedElaboratable)
        if not self.interrupts and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def teardown(self, worker: Any) -> None:
        """Kill all children of this process; each tool leads a process group of its own."""
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


@contextlib.contextmanager
def connect(where: Where, points: int) -> Iterator[Client]:
    """A client with workers for so many points; all that was started here ends with the block.

    Raises
    ------
    UserError
        If a scheduler cannot be reached or has no worker, or Slurm is not here.
    """
    with dask.config.set(SETTINGS), contextlib.ExitStack() as stack:
        if where.scheduler is not None:
            client = stack.enter_context(_reach(where.scheduler))
        else:
            if where.executor == "slurm":
                if shutil.which("sbatch") is None:
                    raise UserError("--executor slurm needs the command sbatch, which is not "
                                    "here: run it where jobs are submitted to Slurm")
                cluster = stack.enter_context(slurm_cluster(where.slurm))
                cluster.scale(jobs=min(where.workers or 1, -(-points // where.slurm.cores)))
            else:
                count = where.workers or os.cpu_count() or 1
                cluster = stack.enter_context(_local(min(count, points)))
            client = stack.enter_context(Client(cluster))
        client.register_plugin(ToolWorker(interrupts=where.scheduler is not None))
        yield client


def _local(workers: int) -> LocalCluster:
    # The tools, which take the memory, are processes that Dask's own limit does not see.
    return LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0,
                        host="127.0.0.1", dashboard_address="127.0.0.1:0",
                        silence_logs=logging.CRITICAL)


@contextlib.contextmanager
def _reach(address: str) -> Iterator[Client]:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=f"{CONNECT}s")
    except (OSError, ValueError, TypeError):
        raise UserError(f"the scheduler {address!r} cannot be reached: start one with `dask "
                        "scheduler`, and give its address as in tcp://host:8786") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER)
        except TimeoutError:
            raise UserError(f"the scheduler {address!r} has no workers: start some with `dask "
                            f"worker {address} --nthreads 1`") from None
        yield client


def slurm_cluster(slurm: Slurm) -> Any:
    """A cluster whose workers are jobs of Slurm, none of them submitted yet."""
    pressed = signal.getsignal(signal.SIGINT)
    from dask_jobqueue.slurm import SLURMCluster
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, pressed)  # dask-jobqueue 0.9 takes Ctrl-C for itself

    return SLURMCluster(
        queue=slurm.queue, account=slurm.account, cores=slurm.cores, processes=slurm.cores,
        memory=slurm.memory, walltime=slurm.walltime, interface=slurm.interface,
        job_extra_directives=list(slurm.directives), job_script_prologue=list(slurm.prologue),
        job_name="ternforge-sweep", silence_logs="critical")
