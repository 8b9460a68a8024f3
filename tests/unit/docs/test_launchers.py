"""The files that start Ray on many nodes: they parse, and run a command that exists."""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
FILES = ROOT / "docs/how-to/clusters"


def read(name: str) -> dict:
    return yaml.safe_load((FILES / name).read_text("utf-8"))


def test_each_runs_an_environment_that_exists():
    """With M0, the seed data and the referee as parameters."""
    for file in FILES.iterdir():
        text = re.sub(r'["\\]', "", file.read_text("utf-8"))
        ((env, *places),) = re.findall(
            r"kedro run --env=(\S+)\s+--params=model=([^,\s]+),oasst_file=([^,\s]+),referee=(\S+)",
            text,
        )
        assert env.endswith("+cluster")
        assert all((ROOT / "conf" / name).is_dir() for name in env.split("+"))
        assert all(places)


def test_the_script_for_slurm_is_sound():
    """Bash reads it; one task a node starts Ray there."""
    file = FILES / "slurm.sbatch"
    subprocess.run(["bash", "-n", str(file)], check=True)
    text = file.read_text("utf-8")
    assert "#SBATCH --ntasks-per-node=1" in text
    assert "srun --export=ALL ray symmetric-run" in text


def test_all_pods_have_one_image_and_the_shared_volume():
    """Otherwise nodes would be refused for their versions, or for what they do not see."""
    spec = read("rayjob.yaml")["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    for pod in pods:
        assert pod["containers"][0]["volumeMounts"] == [{"name": "srlm", "mountPath": "/srlm"}]
        assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "srlm"}


def test_the_cloud_has_the_shared_volume():
    """Everything that the commands name lies on it."""
    task = read("sky.yaml")
    assert task["volumes"] == {"/srlm": "srlm"}
    places = [task["envs"][name] for name in ("MODEL", "OASST", "REFEREE")]
    assert all(value.startswith("/srlm/") for value in places)
    assert "cd /srlm/project" in task["run"]
