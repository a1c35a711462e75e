"""A real SLURM on this machine alone: Debian's munged, slurmctld and slurmd, in its own folder.

One node with more processors than the machine has, so that jobs run beside each other.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue")
CONF = """\
ClusterName=aligngap
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
MinJobAge=3600
KillWait=2
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be none here, or ""."""
    lacking = [name for name in PROGRAMS if not _found(name)]
    if lacking:
        return f"no {lacking[0]} here (Debian: apt-get install slurmctld slurmd slurm-client munge)"
    return ""


class Server:
    """Started, and its node idle; `environment` is for SLURM's commands, `end` stops it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slurm"))  # A socket's path has 107 bytes.
        self._running: list[subprocess.Popen] = []
        (self._folder / "state").mkdir()
        (self._folder / "spool").mkdir()
        conf = self._folder / "slurm.conf"
        self._user = pwd.getpwuid(os.geteuid()).pw_name
        filled = {"folder": self._folder, "user": self._user, "ports": _free_ports(2)}
        conf.write_text(CONF.format(host=socket.gethostname().partition(".")[0], **filled))
        self.environment = {**os.environ, "SLURM_CONF": str(conf)}
        try:
            self._start_munge()
            self._start("slurmctld", "-D", "-i")
            self._start("slurmd", "-D", "-N", "localhost")
            self._await(lambda: "idle" in self.say("sinfo", "--noheader", "--format=%T"))
        except BaseException:
            self.end()
            raise

    def say(self, *command: str) -> str:
        """What one of SLURM's commands prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    @property
    def log(self) -> str:
        return "\n".join(path.read_text()[-1500:] for path in sorted(self._folder.glob("*.log")))

    def end(self) -> None:
        """Also jobs that a test has left; they are killed KillWait seconds after SIGTERM."""
        deadline = time.monotonic() + 20
        up = len(self._running) == 3
        while up and self.say("squeue", "--noheader") and time.monotonic() < deadline:
            self.say("scancel", "--user", self._user)
            time.sleep(0.5)
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_munge(self) -> None:
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        own = {"key-file": key, "socket": self._folder / "munge.socket"}
        own |= {f"{name}-file": self._folder / f"munged.{name}" for name in ("pid", "log", "seed")}
        # --force: as root, and in a folder whose parents anybody may write to.
        self._start(
            "munged", "--foreground", "--force", *(f"--{k}={value}" for k, value in own.items())
        )
        self._await((self._folder / "munge.socket").exists)

    def _start(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.out.log").open("w") as said:
            self._running.append(
                subprocess.Popen(
                    [_found(name), *arguments], env=self.environment, stdout=said, stderr=said
                )
            )

    def _await(self, reached) -> None:
        deadline = time.monotonic() + 60
        while not reached():
            ended = [process for process in self._running if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"SLURM does not start: {self.log}")
            time.sleep(0.1)


def _found(name: str) -> str:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or ""


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
