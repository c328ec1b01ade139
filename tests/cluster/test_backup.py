"""raftkvctl backup and check: the whole state of one moment in a file, while writes go on."""

import json
import os
import stat
import subprocess

import pytest
from backup_file import read_backup
from client import Refused
from cluster import RAFTKVCTL, RAFTKVD, environment, run
from waiting import LIMIT, wait_until
from writers import Writers

MIB = 1 << 20
BACKUPS_MAX = 2  # src/base/limits.h
LOCAL, USAGE, INVALID_ARGUMENT, NOT_FOUND, BUSY = 1, 2, 11, 12, 19


def raftkvctl(node, *arguments, **options):
    return run(RAFTKVCTL, f"--endpoints={node.client_address}", *arguments, **options)


def write(node, count, size, prefix=b"old/"):
    with node.client() as client:
        for at in range(0, count, 20):
            part = range(at, min(at + 20, count))
            for number in part:
                client.send("put", key=prefix + b"%06d" % number, value=os.urandom(size))
            for _ in part:
                answer = client.receive()
                assert not answer.HasField("error"), answer.error


@pytest.fixture
def saved(cluster):
    """A directory for backups; whatever was left there beside them is a mistake."""
    directory = cluster.directory / "saved"
    directory.mkdir()
    yield directory
    left = [path for path in directory.iterdir() if not path.name.startswith("backup")]
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert left == []


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_backup_of_any_node_is_exactly_a_prefix_of_the_writes(cluster, saved):
    write(cluster.leader(), 1500, 10000)
    cluster.wait_until_all_are_equal()
    for node in cluster.nodes:
        file = saved / f"backup-{node.name}"
        writers = Writers(cluster.nodes, count=4, writes=10**6, prefix=node.name.encode()).start()
        try:
            wait_until("writes go on", lambda: len(writers.acknowledged) > 50)
            some = set(list(writers.acknowledged)[:50])
            wait_until("the node has some of them", lambda: some & node.contents(writers.prefix + b"/").keys())
            result = raftkvctl(node, "--output=json", "backup", file)
            assert raftkvctl(node, "snapshot").returncode == 0
            many = len(writers.acknowledged)
            wait_until("writes go on", lambda: len(writers.acknowledged) > many)
        finally:
            writers.stop()
        assert result.returncode == 0, result.stderr
        said = json.loads(result.stdout)
        header, items = read_backup(file.read_bytes())
        assert said["index"] == header.snapshot.index and said["records"] == len(items)
        assert int(said["cluster_id"], 16) == header.cluster_id == node.status().cluster_id
        assert all(revision <= said["index"] for _, revision in items.values())
        cluster.wait_until_all_are_equal()
        expected = {
            key: value for key, value in node.contents().items() if value[1] <= said["index"]
        }
        assert items == expected, "no key is written twice here, so nothing but these is in it"
        assert any(key in items for key in writers.acknowledged)
        assert any(key not in items for key in writers.acknowledged)

        checked = run(RAFTKVCTL, "--output=json", "check", file)
        assert checked.returncode == 0 and json.loads(checked.stdout) == said
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_backup_goes_to_standard_output_and_is_checked_from_standard_input(cluster):
    node = cluster.nodes[1]
    result = raftkvctl(node, "backup", "-", text=False)
    assert result.returncode == 0
    header, _ = read_backup(result.stdout)
    assert result.stderr.startswith(b"index %d, " % header.snapshot.index)
    checked = run(RAFTKVCTL, "check", "-", input=result.stdout, text=False)
    assert checked.returncode == 0 and checked.stdout == result.stderr


def test_a_backup_of_a_follower_makes_a_new_cluster(cluster, saved, make_cluster):
    file = saved / "backup"
    write(cluster.leader(), 200, 1000)
    cluster.wait_until_all_are_equal()
    follower = cluster.followers()[0]
    assert raftkvctl(follower, "backup", file).returncode == 0
    restored = make_cluster(0).make_node()
    result = run(
        RAFTKVD, f"--config={restored.configuration}", f"--restore={file}", restored.name
    )
    assert result.returncode == 0, result.stderr
    restored.start()
    assert restored.contents() == follower.contents()


def test_damaged_backups_are_refused(cluster, saved):
    file = saved / "backup"
    assert raftkvctl(cluster.nodes[0], "backup", file).returncode == 0
    good = file.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    for bad in (flipped, good[:-1], good[:middle], good + b"x", b"", b"something else"):
        file.write_bytes(bad)
        result = run(RAFTKVCTL, "check", file)
        assert result.returncode == INVALID_ARGUMENT, result.stdout
        assert result.stderr.startswith("raftkvctl: InvalidArgument: ") and "byte" in result.stderr
    file.write_bytes(good)
    assert run(RAFTKVCTL, "check", file).returncode == 0


def test_what_can_not_be_written_or_read_is_said(cluster, saved):
    node = cluster.nodes[0]
    for path, reason in (
        (saved, "Is a directory"),
        (saved / "none" / "backup", "No such file or directory"),
        ("/dev/null", "not a regular file"),
    ):
        result = raftkvctl(node, "backup", path)
        assert result.returncode == LOCAL and reason in result.stderr
    result = run(RAFTKVCTL, "check", saved / "none")
    assert result.returncode == LOCAL and "No such file" in result.stderr
    assert raftkvctl(node, "backup").returncode == USAGE
    assert run(RAFTKVCTL, "check").returncode == USAGE
    result = run(RAFTKVCTL, "--endpoints=127.0.0.1:1", "backup", saved / "backup")
    assert result.returncode == LOCAL and "no node could be reached" in result.stderr
    assert files(saved) == []


def test_a_full_disk_leaves_the_old_backup_and_nothing_else(cluster, saved):
    node = cluster.leader()
    write(node, 100, 50000, prefix=b"full/")
    file = saved / "backup"
    file.write_bytes(b"the one before")
    limit = ["prlimit", f"--fsize={MIB}", RAFTKVCTL, f"--endpoints={node.client_address}"]
    # SIGXFSZ is ignored, so that a write beyond the limit fails as on a full disk.
    result = run("env", "--ignore-signal=XFSZ", *limit, "backup", file)
    assert result.returncode == LOCAL and "File too large" in result.stderr
    assert files(saved) == ["backup"] and file.read_bytes() == b"the one before"
    with open("/dev/full", "wb") as full:
        command = [RAFTKVCTL, f"--endpoints={node.client_address}", "backup", "-"]
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT, env=environment()
        )
    assert result.returncode == LOCAL and b"No space left on device" in result.stderr
    assert_all_are_free(node)


def test_a_client_that_is_stopped_leaves_nothing(cluster, saved):
    write(cluster.leader(), 100, 50000, prefix=b"full/")
    node = cluster.followers()[0]
    cluster.wait_until_all_are_equal()
    process = subprocess.Popen(
        [RAFTKVCTL, f"--endpoints={node.client_address}", "backup", saved / "backup"],
        env=environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_until("it has begun", lambda: files(saved))
    process.terminate()
    assert process.wait(LIMIT) in (-15, 0)
    assert files(saved) in ([], ["backup"])
    cancel_backups(node)
    wait_until("its place is free", lambda: places(node) == BACKUPS_MAX)


def cancel_backups(node):
    """Which a client has left open without a word; the node would give them up after a while."""
    operations = json.loads(raftkvctl(node, "--output=json", "operations").stdout)["operations"]
    for operation in operations:
        if operation["request"] == "backup" and operation["state"] == "running":
            assert raftkvctl(node, "cancel", operation["token"]).returncode == 0


def assert_all_are_free(node):
    """As many backups as may be can be begun, and one more is refused."""
    with node.client() as client:
        tokens = [client.call("backup").token for _ in range(BACKUPS_MAX)]
        with pytest.raises(Refused) as refused:
            client.call("backup")
        assert refused.value.code == "BUSY"
        for token in tokens:
            end(client, token)
        end(client, client.call("backup").token)


def end(client, token):
    client.call("backup", token=token, end=True)
    return True


def test_chunks_come_in_order_and_the_last_one_again(cluster):
    node = cluster.leader()
    write(node, 100, 50000, prefix=b"full/")
    with node.client() as client:
        first = client.call("backup")
        assert first.header and not first.last
        second = client.call("backup", token=first.token, sequence=1)
        assert second.chunk != first.chunk and not second.header
    with node.client() as client:  # its connection broke
        again = client.call("backup", token=first.token, sequence=1)
        assert again.chunk == second.chunk
        for wrong in (0, 3, 2**64 - 1):
            with pytest.raises(Refused) as refused:
                client.call("backup", token=first.token, sequence=wrong)
            assert refused.value.code == "INVALID_ARGUMENT"
        end(client, first.token)
        for fields in ({"token": first.token, "sequence": 2}, {"token": 1, "end": True}):
            with pytest.raises(Refused) as refused:
                client.call("backup", **fields)
            assert refused.value.code == "NOT_FOUND"
        for fields in ({"sequence": 1}, {"end": True}):
            with pytest.raises(Refused) as refused:
                client.call("backup", **fields)
            assert refused.value.code == "INVALID_ARGUMENT"


def over_bus(bus, node, *arguments, **options):
    return run(RAFTKVCTL, f"--bus={bus.address}", f"--node={node.name}", *arguments, **options)


def test_a_backup_comes_over_the_bus_too(cluster, saved, bus):
    write(cluster.leader(), 100, 50000, prefix=b"full/")
    write(cluster.leader(), 1, 4 * MIB, prefix=b"largest/")
    cluster.wait_until_all_are_equal()
    for node in cluster.nodes:
        file = saved / f"backup-{node.name}"
        result = over_bus(bus, node, "--output=json", "backup", file)
        assert result.returncode == 0, result.stderr
        said = json.loads(result.stdout)
        header, items = read_backup(file.read_bytes())
        assert said["index"] == header.snapshot.index and items == node.contents()
        assert run(RAFTKVCTL, "check", file).returncode == 0
    result = over_bus(bus, cluster.nodes[0], "backup", "-", text=False)
    assert read_backup(result.stdout)[1] == items
    assert bus.error("nodeA", "Node.EndBackup", "uint64:1").name == "NotFound"
    assert_all_are_free(cluster.nodes[0])


def test_a_reader_that_leaves_the_bus_frees_its_place(cluster, bus):
    write(cluster.leader(), 100, 50000, prefix=b"full/")
    node = cluster.leader()
    before = len(node.said())
    readers = []
    for _ in range(BACKUPS_MAX):
        nobody_reads, pipe = os.pipe()  # it fills, and then they wait
        command = [RAFTKVCTL, f"--bus={bus.address}", f"--node={node.name}", "backup", "-"]
        readers.append(subprocess.Popen(command, stdout=pipe, env=environment()))
        os.close(pipe)
        wait_until("it has begun", lambda: os.read(nobody_reads, 1))
        readers[-1].nobody_reads = nobody_reads
    result = over_bus(bus, node, "backup", "-")
    assert result.returncode == BUSY, result.stderr
    for reader in readers:
        reader.kill()
        reader.wait(LIMIT)
        os.close(reader.nobody_reads)
    wait_until("the place of each of them is free", lambda: places(node) == BACKUPS_MAX)
    assert_all_are_free(node)
    assert "A backup is given up" not in node.said()[before:], "that frees a place too, after half a minute"


def places(node):
    """How many backups can be begun; none is left open."""
    tokens = []
    with node.client() as client:
        try:
            while len(tokens) < BACKUPS_MAX:
                tokens.append(client.call("backup").token)
        except Refused as refused:
            assert refused.code == "BUSY"
        return sum(end(client, token) for token in tokens)


@pytest.mark.long  # 30 s; tests/unit/test_node_backups.c has it in a time of its own
def test_clients_that_ask_no_more_are_given_up(cluster):
    node = cluster.leader()  # from another one raftkvctl would go there
    before = len(node.said())
    with node.client() as client:
        tokens = [client.call("backup").token for _ in range(BACKUPS_MAX)]
        result = raftkvctl(node, "--timeout=1", "backup", "-")
        assert result.returncode == BUSY, result.stderr
    wait_until(
        "they are given up",
        lambda: node.said()[before:].count("A backup is given up") == BACKUPS_MAX,
        interval=0.2,
    )
    with node.client() as client:
        for token in tokens:
            with pytest.raises(Refused) as refused:
                client.call("backup", token=token, sequence=1)
            assert refused.value.code == "TIMEOUT" and "given up" in refused.value.message
    assert_all_are_free(node)


def test_a_node_without_a_state_has_nothing_to_back_up(make_cluster):
    cluster = make_cluster(0)
    node = cluster.make_node()
    node.start()
    file = cluster.directory / "backup"
    result = raftkvctl(node, "backup", file)
    assert result.returncode == 22 and "raftkvctl: Unavailable: " in result.stderr
    assert not file.exists()
