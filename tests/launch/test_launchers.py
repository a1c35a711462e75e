"""The launch scripts, by the linter of their kind; what the manifests say against Kubernetes' own
schema."""

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

LAUNCH = Path(__file__).parents[2] / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, "--external-sources", "--source-path=SCRIPTDIR/..", "--shell=bash", script],
        capture_output=True,
        text=True,
        cwd=LAUNCH.parent,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def jobset():
    return yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())


def test_the_jobs_of_the_set_fit_kubernetes_schema(jobset):
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    for replicated in jobset["spec"]["replicatedJobs"]:
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": replicated["name"]},
            **replicated["template"],
        }
        kubernetes_validate.validate(job, "1.34", strict=True)


def test_a_preempted_set_starts_again_and_a_failed_one_counts(jobset):
    (replicated,) = jobset["spec"]["replicatedJobs"]
    (rule,) = replicated["template"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [75] and rule["action"] == "FailJob"
    (again,) = jobset["spec"]["failurePolicy"]["rules"]
    assert again["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert again["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert again["targetReplicatedJobs"] == [replicated["name"]]
    pod = replicated["template"]["spec"]["template"]["spec"]
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
