"""Carries out a Dockerfile without a container engine, in a fresh Debian root.

    python -m tools.clean_root FOLDER [--pip-conf FILE] [--bind FROM:TO] [--start]

Needs Linux, root and debootstrap. Every ``RUN`` line runs with its stage's shell and environment,
chrooted and in its own mount and process namespaces, ``COPY`` takes what .dockerignore leaves, and
stages build on each other as they say. It stops at the first line that fails.

``--start`` then starts the entry point as the image's user, as process 1 and on a read-only root,
waits for the health check, and stops it with the image's stop signal.

It is no container engine. The base image is stood in for by debootstrap's minimal bookworm with
Debian's Python 3.11; there are no layers, no network namespace, no seccomp and no limits.
"""

import argparse
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.dockerfile import Context, Instruction, Stage, expand, lineage, read

SUITE = "bookworm"
STAND_IN = (
    "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes "
    "--no-install-recommends ca-certificates python3.11 python3.11-dev python3.11-venv "
    "&& ln -s /usr/bin/python3.11 /usr/local/bin/python && rm -rf /var/lib/apt/lists/*"
)
"""Makes of a minimal Debian what the official image of Python offers."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NETWORK = ("/etc/resolv.conf", "/etc/hosts")
"""A container engine lends these to every container."""

_UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]


@dataclass(slots=True)
class Surroundings:
    """What the instructions so far have set for those to come."""

    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    folder: str = "/"
    user: str = "0:0"
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})

    def follow(self, one: Instruction, arguments: Mapping[str, str]) -> None:
        """Take up one instruction."""
        if one.word == "SHELL":
            self.shell = one.items()
        elif one.word == "WORKDIR":
            self.folder = one.text
        elif one.word == "USER":
            self.user = one.text
        elif one.word == "ENV":
            told = one.pairs().items()
            self.variables |= {key: expand(value, self.variables) for key, value in told}
        elif one.word == "ARG":
            ((name, value),) = one.pairs().items()
            self.variables[name] = arguments.get(name, value)

    def entering(self, root: Path) -> list[str]:
        """What a command is put behind. Variables of the host stay outside: none may be needed."""
        told = [f"{key}={value}" for key, value in self.variables.items()]
        into = ["chroot", f"--userspec={self.user}", str(root)]
        return [*into, "env", "-i", f"--chdir={self.folder}", *told]


class Build:
    """One build: folders for the stages, and what is lent from outside."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder: Path = options.folder.resolve()
        self.context = Context(Path.cwd())
        self.stages = read(options.dockerfile)
        self.arguments = dict(item.split("=", 1) for item in options.build_arg)
        self.binds = [tuple(item.split(":", 1)) for item in options.bind]
        self.secrets = {"pip": options.pip_conf.resolve()} if options.pip_conf else {}
        self.mirror: list[str] = [options.mirror] if options.mirror else []

    def root(self, stage: str) -> Path:
        """Where a stage's root lies."""
        return self.folder / stage

    def run(self) -> None:
        """Carry out every stage."""
        self.folder.mkdir(parents=True)
        for stage in self.stages:
            known = {one.name for one in self.stages}
            parent = self.root(stage.base) if stage.base in known else self._base(stage.base)
            copied = ["cp", "--archive", "--reflink=auto", str(parent), str(self.root(stage.name))]
            subprocess.run(copied, check=True)
            self._carry_out(stage)

    def _base(self, image: str) -> Path:
        """The stand-in for a base image, made once."""
        root = self.folder / image.replace(":", "_").replace("/", "_")
        if root.exists():
            return root
        print(f"{image} is stood in for by debootstrap's {SUITE}", flush=True)
        command = ["debootstrap", "--variant=minbase", SUITE, str(root), *self.mirror]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self._run(root, Instruction(0, "RUN", (), STAND_IN), Surroundings())
        return root

    def _carry_out(self, stage: Stage) -> None:
        surroundings = Surroundings()
        for above in lineage(self.stages, stage)[:-1]:
            for one in above.instructions:
                surroundings.follow(one, self.arguments)
        root = self.root(stage.name)
        for one in stage.instructions:
            surroundings.follow(one, self.arguments)
            # As an engine does, for a folder that no instruction has made.
            (root / surroundings.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            if one.word == "RUN":
                self._run(root, one, surroundings)
            elif one.word == "COPY":
                self._copy(root, one, surroundings.folder)

    def _run(self, root: Path, one: Instruction, surroundings: "Surroundings") -> None:
        mounts = [*((path, path) for path in _NETWORK), *self.binds]
        for name, value in one.flags:
            wanted = dict(part.split("=", 1) for part in value.split(","))
            if name != "mount" or wanted.get("type") != "secret":
                raise SystemExit(f"line {one.line}: --{name}={value} is not carried out here")
            if wanted["id"] in self.secrets:
                mounts.append((str(self.secrets[wanted["id"]]), wanted["target"]))
        print(f"\n--- line {one.line}: RUN {' '.join(one.text.split())}", flush=True)
        began = time.monotonic()
        command = [*surroundings.entering(root), *surroundings.shell, one.text]
        made = [target for _, target in mounts if not (root / target.lstrip("/")).exists()]
        try:
            subprocess.run([*_UNSHARE, "sh", "-ec", _mounting(root, mounts, command)], check=True)
        finally:
            for target in made:
                _remove_mount_point(root / target.lstrip("/"))
        print(f"--- line {one.line}: done in {time.monotonic() - began:.0f} s", flush=True)

    def _copy(self, root: Path, one: Instruction, folder: str) -> None:
        flags = dict(one.flags)
        *sources, target = one.items()
        into = root / (target if target.startswith("/") else f"{folder}/{target}").lstrip("/")
        for source in sources:
            if "from" in flags:
                _copy_tree(self.root(flags["from"]) / source.lstrip("/"), into)
                continue
            files = self.context.files(source)
            if not files:
                raise SystemExit(f"line {one.line}: .dockerignore leaves nothing of {source}")
            for name in files:
                inner = name.removeprefix(source).lstrip("/") or Path(name).name
                (into / inner).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.context.root / name, into / inner)
        if "chown" in flags:
            subprocess.run(["chown", "--recursive", flags["chown"], str(into)], check=True)


def _copy_tree(source: Path, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", f"{source}/.", str(into)], check=True)


def _remove_mount_point(path: Path) -> None:
    """What was made to mount on goes again, if nothing was put there."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    elif path.is_file() and path.stat().st_size == 0:
        path.unlink()


def _mounting(root: Path, mounts: Sequence[tuple[str, ...]], command: list[str]) -> str:
    """A script that mounts what a container sees, then becomes the command."""
    lines = ["mount --make-rprivate /", f"mount -t proc proc {shlex.quote(f'{root}/proc')}"]
    lines.append(f"mount -t sysfs -o ro sysfs {shlex.quote(f'{root}/sys')}")
    lines.append(f"mount --rbind /dev {shlex.quote(f'{root}/dev')}")
    for source, target in mounts:
        at = shlex.quote(str(root / target.lstrip("/")))
        made = (
            f"mkdir -p {at}" if Path(source).is_dir() else f"mkdir -p $(dirname {at}); touch {at}"
        )
        lines.append(f"[ -e {at} ] || {{ {made}; }}; mount --bind {shlex.quote(source)} {at}")
    lines.append("exec " + shlex.join(command))
    return "\n".join(lines)


def start(build: Build, settings: list[str], timeout_s: float, meanwhile: str) -> None:
    """Start the final stage's entry point; wait until it is healthy; stop it."""
    told: dict[str, Instruction] = {}
    surroundings = Surroundings()
    for stage in lineage(build.stages, build.stages[-1]):
        for one in stage.instructions:
            surroundings.follow(one, build.arguments)
            told[one.word] = one
    surroundings.variables |= dict(item.split("=", 1) for item in settings)
    root = build.root(build.stages[-1].name)
    entering = surroundings.entering(root)
    at = shlex.quote(str(root))
    script = [f"mount --bind {at} {at}", f"mount -t tmpfs tmpfs {at}/tmp"]
    script += [f"mount --bind {at}{volume} {at}{volume}" for volume in told["VOLUME"].items()]
    script.append(f"mount -o remount,bind,ro {at}")
    for path in _NETWORK:
        (root / path.lstrip("/")).touch()
    lent = [(path, path) for path in _NETWORK]
    served = [*entering, *told["ENTRYPOINT"].items(), *told["CMD"].items()]
    process = subprocess.Popen(
        [*_UNSHARE, "sh", "-ec", "\n".join(script) + "\n" + _mounting(root, lent, served)]
    )
    try:
        began = time.monotonic()
        check = [*entering, *Instruction(0, "CMD", (), told["HEALTHCHECK"].text[4:]).items()]
        while subprocess.run(check, check=False, capture_output=True).returncode:
            if process.poll() is not None or time.monotonic() - began > timeout_s:
                raise SystemExit("it was never healthy")
            time.sleep(2)
        print(f"healthy after {time.monotonic() - began:.0f} s", flush=True)
        if meanwhile:
            subprocess.run(meanwhile, shell=True, check=True)
        name = told["STOPSIGNAL"].text
        inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(inner[0]), signal.Signals[name])
        print(f"{name}: ended with {process.wait(timeout=60)}", flush=True)
    finally:
        process.kill()


def main() -> int:
    """Build, and start what was built if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.clean_root", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="a new folder for the roots")
    parser.add_argument("--dockerfile", type=Path, default=Path("docker/Dockerfile"))
    parser.add_argument("--mirror", help="Debian mirror for debootstrap")
    parser.add_argument("--pip-conf", type=Path, help="the secret `pip`")
    parser.add_argument("--bind", action="append", default=[], help="host path:path in the root")
    parser.add_argument("--build-arg", action="append", default=[], help="NAME=value")
    parser.add_argument("--start", action="store_true", help="start the entry point afterwards")
    parser.add_argument("--env", action="append", default=[], help="NAME=value for --start")
    parser.add_argument("--meanwhile", default="", help="shell command to run while it serves")
    parser.add_argument("--timeout", type=float, default=900, help="seconds until healthy")
    options = parser.parse_args()
    build = Build(options)
    print(f"{options.dockerfile} on {platform.platform()}", flush=True)
    if not options.folder.exists():
        build.run()
        runs = sum(len(stage.all("RUN")) for stage in build.stages)
        print(f"\nall {runs} RUN lines of {options.dockerfile} ran", flush=True)
    if options.start:
        start(build, options.env, options.timeout, options.meanwhile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
