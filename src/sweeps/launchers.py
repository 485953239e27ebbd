"""Launchers of a sweep's runs: here, on several cores or GPUs, on Ray, on SLURM.

A launcher starts one run and gives a future of its outcome; how many it takes at a time it says by
`slots`. Hydra's own launcher plugins take a batch, compose it themselves and give back all results
or one exception, so that one worker's end is the end of the batch; that is why there are others
here. They keep Hydra's names: `hydra/launcher=basic|joblib|ray|submitit_local|submitit_slurm`.
"""

import importlib.util
import os
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from src.config.ranges import NotNegativeFloat, NotNegativeInt, PositiveFloat, PositiveInt
from src.errors import SettingError
from src.sweeps.worker import Order, Outcome, work


class Launcher(ABC):
    """Starts runs.

    Attributes:
        slots: number of runs at a time.
    """

    slots: int

    @abstractmethod
    def submit(self, order: Order) -> "Future[Outcome]":
        """Start a run; its end, or that of the place where it was, ends the future."""

    def cancel(self, future: Future) -> None:
        """Give up a run that has not begun; one that has is asked to stop by its folder."""
        future.cancel()

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Let go of what was taken for the sweep."""


class Basic(Launcher):
    """One run after the other, each with all cores."""

    def __init__(self) -> None:
        self.slots = 1

    def submit(self, order: Order) -> "Future[Outcome]":
        return _in_thread(lambda: work(order))


class Joblib(Launcher):
    """Several processes on this machine: one for each core, or for each GPU.

    Cores are shared out: each run has as many threads as fall to it.

    Args:
        n_jobs: runs at a time, counted as joblib does (-1 is one per core that this process may
            use); None is one per GPU if there are any, else one per core. More runs than GPUs
            share them in turn.
        threads: threads of each run; None is cores / n_jobs.
    """

    def __init__(
        self, n_jobs: PositiveInt | None = None, threads: PositiveInt | None = None
    ) -> None:
        _require("joblib", "joblib", "joblib")
        import joblib

        cores, gpus = joblib.cpu_count(), visible_gpus()
        if n_jobs == 0:
            raise SettingError("hydra.launcher.n_jobs=0 must be positive, or -1 for all cores.")
        self.slots = (len(gpus) or cores) if n_jobs is None else joblib.effective_n_jobs(n_jobs)
        self.threads = threads or max(1, cores // self.slots)
        self._free = [gpus[i % len(gpus)] if gpus else None for i in range(self.slots)]

    def submit(self, order: Order) -> "Future[Outcome]":
        gpu = self._free.pop(0)
        environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        order = replace(order, threads=self.threads, environment=environment)
        future = _in_thread(lambda: work(order))
        future.add_done_callback(lambda _: self._free.append(gpu))
        return future


class Ray(Launcher):
    """A Ray cluster, on this machine or on many that share the output folder.

    Args:
        address: of a running cluster, such as `auto` or `ray://host:10001`; None starts one here.
        num_cpus: CPUs of each run, which are its threads too.
        num_gpus: GPUs of each run, also a share such as 0.25; None is 1 if the cluster has GPUs.
        n_jobs: runs at a time; None is as many as the cluster has room for.
        init: further arguments of `ray.init`.
    """

    def __init__(
        self,
        address: str | None = None,
        num_cpus: PositiveInt = 1,
        num_gpus: NotNegativeFloat | None = None,
        n_jobs: PositiveInt | None = None,
        init: dict | None = None,
    ) -> None:
        _check_jobs(n_jobs)
        _require("ray", "ray", "ray")
        # Ray would warn of each variable that it may once treat otherwise.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        here = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        options: dict[str, Any] = {
            "address": address,
            "include_dashboard": None if address else False,
            "log_to_driver": False,
            "logging_level": "ERROR",
            "runtime_env": {"env_vars": {"PYTHONPATH": path}},
        }
        try:
            ray.init(**(options | (init or {})))
        except (ConnectionError, ValueError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise SettingError(f"hydra.launcher.address={address}: {reason}") from error
        self._ray, self.num_cpus, self.n_jobs = ray, num_cpus, n_jobs
        self.num_gpus = (
            num_gpus if num_gpus is not None else float(ray.cluster_resources().get("GPU", 0) > 0)
        )
        self._work = ray.remote(work).options(num_cpus=num_cpus, num_gpus=self.num_gpus)
        self._references: dict[Future, Any] = {}

    @property
    def slots(self) -> int:
        """Counted anew each time: hosts come and go."""
        if self.n_jobs is not None:
            return self.n_jobs
        room = self._ray.cluster_resources()
        fits = [room.get("CPU", 0) // self.num_cpus] if self.num_cpus else []
        fits += [room.get("GPU", 0) // self.num_gpus] if self.num_gpus else []
        return max(1, int(min(fits, default=1)))

    def submit(self, order: Order) -> "Future[Outcome]":
        reference = self._work.remote(replace(order, threads=max(1, self.num_cpus)))
        future = reference.future()
        self._references[future] = reference
        return future

    def cancel(self, future: Future) -> None:
        self._ray.cancel(self._references[future])

    def close(self) -> None:
        self._ray.shutdown()


class Submitit(Launcher):
    """Jobs of SLURM, or processes of this machine that are treated like them.

    A job that reaches its time limit saves, is queued again and goes on.

    Args:
        cluster: `slurm` or `local`.
        folder: for submitit's own files; all hosts must see it, and the output folder.
        n_jobs: runs that are queued or running at a time.
        timeout_min: time limit of a job, in minutes.
        cpus_per_task: cores of a run, which are its threads too.
        gpus_per_node: GPUs of a run.
        mem_gb: memory of a run.
        name: name of the jobs.
        max_num_timeout: how often a job that ran out of time is queued again.
        parameters: further ones as submitit spells them, such as `slurm_partition`.
    """

    def __init__(
        self,
        cluster: str,
        folder: str,
        n_jobs: PositiveInt,
        timeout_min: PositiveInt,
        cpus_per_task: PositiveInt = 1,
        gpus_per_node: NotNegativeInt | None = None,
        mem_gb: PositiveFloat | None = None,
        name: str = "sparring",
        max_num_timeout: NotNegativeInt = 100,
        parameters: dict | None = None,
    ) -> None:
        _check_jobs(n_jobs)
        _require("submitit", f"submitit_{cluster}", "submitit")
        import submitit

        if cluster == "slurm" and shutil.which("srun") is None:
            raise SettingError(
                "hydra/launcher=submitit_slurm: this machine has no SLURM (no srun is found).\n"
                "Call it where jobs are submitted, or try hydra/launcher=submitit_local."
            )
        self.slots, self.cpus_per_task = n_jobs, cpus_per_task
        options = {f"{cluster}_max_num_timeout": max_num_timeout} if cluster == "slurm" else {}
        self._executor = submitit.AutoExecutor(folder, cluster=cluster, **options)
        given = {
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "mem_gb": mem_gb,
            "name": name,
        }
        try:
            self._executor.update_parameters(
                **{key: value for key, value in given.items() if value is not None},
                **(parameters or {}),
            )
        except (NameError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SettingError(f"hydra.launcher.parameters={parameters}: {reason}") from error
        self._jobs: dict[Future, Any] = {}

    def submit(self, order: Order) -> "Future[Outcome]":
        job = self._executor.submit(Requeued(), replace(order, threads=self.cpus_per_task))
        future = _in_thread(job.result)
        self._jobs[future] = job
        return future

    def cancel(self, future: Future) -> None:
        self._jobs[future].cancel(check=False)


class Requeued:
    """`work`, and how submitit queues it again: with the same order, which resumes the run."""

    def __call__(self, order: Order) -> Outcome:
        return work(order)

    def checkpoint(self, order: Order) -> Any:
        """Called by submitit in a job that runs out of time or is preempted."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, order)


def visible_gpus() -> list[str]:
    """The GPUs that a run here may use, as CUDA_VISIBLE_DEVICES names them; torch is not asked."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))] if answer.returncode == 0 else []


def _require(module: str, choice: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise SettingError(
            f"hydra/launcher={choice} needs {module}: pip install 'sparring[{extra}]'"
        )


def _check_jobs(n_jobs: int | None) -> None:
    if n_jobs is not None and n_jobs < 1:
        raise SettingError(f"hydra.launcher.n_jobs={n_jobs} must be positive: runs at a time.")


def _in_thread(function: Callable[[], Outcome]) -> "Future[Outcome]":
    """A future of a function that waits; its thread keeps no process from ending."""
    future: Future[Outcome] = Future()

    def run() -> None:
        try:
            outcome = function()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(outcome)

    future.set_running_or_notify_cancel()
    threading.Thread(target=run, daemon=True).start()
    return future
