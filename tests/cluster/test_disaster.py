"""What is left after a disaster is verified, recovered and restored, by the commands of README.md."""

import json
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from backup_file import make_backup
from client import Refused
from cluster import RAFTKVCTL, RAFTKVD, environment, run
from documented import Operator, raftkvd
from waiting import LIMIT, PATIENT, wait_until
from writers import Writers

NOBODY = 65534


def write(cluster, count, prefix=b"kept"):
    with cluster.leader().client() as client:
        for number in range(count):
            client.put(prefix + b"/%d" % number, os.urandom(200))


def members(node):
    with node.client() as client:
        return sorted(member.name for member in client.members().members)


def cluster_of(node):
    identity = (node.data / "identity").read_text()
    return re.search(r"^cluster=(\d+)$", identity, re.MULTILINE).group(1)


# A member whose disk died


def test_a_member_whose_disk_died_is_replaced_as_documented(make_cluster):
    cluster = make_cluster(settings=["[Raft]", "SnapshotEntries=200", "TrailingEntries=50"])
    write(cluster, 500)
    dead = cluster.node("nodeC")
    old_id = dead.status().id
    dead.kill()
    dead.wipe()
    write(cluster, 20, b"meanwhile")
    Operator(cluster).carry_out("The disk of one member died")
    cluster.wait_until_all_are_equal()
    assert dead.status().id != old_id
    assert cluster.member_roles() == {"nodeA": "voter", "nodeB": "voter", "nodeC": "voter"}
    assert len(dead.contents(b"kept/")) == 500 and len(dead.contents(b"meanwhile/")) == 20
    cluster.assert_serves()


# Progress


def on_a_terminal(*command):
    """What a program says on standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment()
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 1 << 16):
            said += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait(LIMIT) == 0, said
    return said.decode()


def test_large_data_shows_progress_on_a_terminal_and_nothing_in_a_pipe(make_cluster):
    cluster = make_cluster(1)
    (node,) = cluster.nodes
    with node.client() as client:
        for number in range(12):
            client.put(b"large/%d" % number, os.urandom(1 << 20))
    file = cluster.directory / "backup"
    result = run(RAFTKVCTL, f"--endpoints={node.client_address}", "backup", file)
    assert result.returncode == 0, result.stderr
    node.stop()
    verify = (RAFTKVD, f"--config={node.configuration}", "--verify", node.name)
    assert re.search(r"\r\d+\.\d MiB", on_a_terminal(*verify))
    result = run(*verify)
    assert result.returncode == 0 and result.stderr == ""
    for show in (on_a_terminal, run):
        restored = make_cluster(0).make_node()
        said = show(
            RAFTKVD, f"--config={restored.configuration}", f"--restore={file}", restored.name
        )
        if show is on_a_terminal:
            assert re.search(r"\r\d+ %", said) and said.endswith("\r\033[K")
        else:
            assert said.returncode == 0 and said.stderr == ""
    file.unlink()


# Recovery


def test_a_node_that_lost_the_others_is_recovered_as_documented(make_cluster):
    cluster = make_cluster()
    write(cluster, 200)
    cluster.wait_until_all_are_equal()
    before = cluster.node("nodeA").contents()
    old_cluster = cluster_of(cluster.node("nodeA"))
    cluster.kill_all_at_once()
    said = Operator(cluster).carry_out("A majority is gone for good")
    assert "is sound" in said[0] and "nodeB" in said[1] and "nodeC" in said[1]
    assert cluster_of(cluster.node("nodeA")) != old_cluster
    cluster.wait_until_all_are_equal()
    assert cluster.member_roles() == {"nodeA": "voter", "nodeB": "voter", "nodeC": "voter"}
    for node in cluster.nodes:
        found = node.contents(b"kept/")
        assert found == {key: value for key, value in before.items() if key in found}
        assert len(found) == 200
    cluster.assert_serves()


def end_of_log(node):
    """By which README.md chooses among the nodes that are left."""
    said = raftkvd(node, "--verify")
    index, term = re.search(r"entries \d+ to (\d+), the last of term (\d+)", said).groups()
    return int(term), int(index)


def test_nothing_acknowledged_is_lost_with_the_node_whose_log_ends_last(make_cluster):
    """Only the leader is gone: each write is on one of the others at least, who may not know yet
    that it is committed."""
    cluster = make_cluster()
    left = cluster.followers()
    writers = Writers(cluster.nodes, count=5, writes=10**6).start()
    wait_until("some hundreds are written", lambda: len(writers.acknowledged) > 300)
    cluster.kill_all_at_once()
    writers.stop()
    survivor = max(left, key=end_of_log)
    raftkvd(survivor, "--recover", "--yes")
    survivor.start()
    found = survivor.contents(writers.prefix + b"/")
    for key, expected in writers.acknowledged.items():
        assert found.get(key) == expected
    assert members(survivor) == [survivor.name]
    survivor.stop()
    assert "is sound" in raftkvd(survivor, "--verify")


def refusal(through, node):
    with through.client() as client, pytest.raises(Refused) as refused:
        client.call("add_voter", timeout_ms=20000, name=node.name, peer_address=node.peer_address)
    return refused.value


def test_lost_members_that_come_back_do_not_rejoin(make_cluster):
    """Two of three are a majority of the old cluster, and lead it on; the recovered node is another
    one. Neither takes the other in, by itself or when asked to."""
    cluster = make_cluster()
    recovered, *lost = cluster.nodes
    write(cluster, 20)
    cluster.wait_until_all_are_equal()
    cluster.kill_all_at_once()
    raftkvd(recovered, "--recover", "--yes")
    recovered.start()
    with recovered.client() as client:
        client.put(b"side", b"recovered")
    for node in lost:
        node.start()
    old_leader = wait_until(
        "the lost ones have a leader",
        lambda: next((n for n in lost if n.status().leader == n.name), None),
    )
    with old_leader.client() as client:
        client.put(b"side", b"lost")
    wait_until(
        "both sides say why they do not talk",
        lambda: "belongs to cluster" in old_leader.said(),
    )
    assert "belongs to another cluster" in refusal(recovered, lost[0]).message
    assert refusal(old_leader, recovered).code in ("ALREADY_EXISTS", "INVALID_ARGUMENT")

    old_leader_members = members(old_leader)
    assert members(recovered) == [recovered.name]
    assert len(old_leader_members) == 3
    with recovered.client() as client:
        assert client.get(b"side") == b"recovered"
    with old_leader.client() as client:
        assert client.get(b"side") == b"lost"

    # Taken out of the old cluster, the name is free there, and the node still another cluster's.
    with old_leader.client() as client:
        client.call("remove_server", timeout_ms=20000, name=recovered.name)
    assert "belongs to another cluster" in refusal(old_leader, recovered).message
    assert members(recovered) == [recovered.name]

    # Without its data a lost one is welcome.
    for node in lost:
        node.kill()
        node.wipe()
        node.start()
        cluster.change("add_voter", recovered, name=node.name, peer_address=node.peer_address)
    cluster.wait_until_all_are_equal()
    assert all(node.contents(b"side")[b"side"][0] == b"recovered" for node in cluster.nodes)


def test_nothing_is_recovered_without_consent(make_node):
    node = make_node(bootstrap=True)
    node.start()
    node.kill()
    before = (node.data / "identity").read_bytes()
    said = raftkvd(node, "--recover", stdin=subprocess.DEVNULL, status=1)
    assert "no terminal to ask on, and no --yes" in said
    assert answer_on_a_terminal(node, "no") == 1
    assert answer_on_a_terminal(node, "") == 1
    assert (node.data / "identity").read_bytes() == before
    assert answer_on_a_terminal(node, "yes") == 0
    assert (node.data / "identity").read_bytes() != before
    node.start()
    assert members(node) == ["nodeA"]


def answer_on_a_terminal(node, answer):
    """Returns the exit status of --recover."""
    ours, theirs = pty.openpty()
    command = [RAFTKVD, f"--config={node.configuration}", "--recover", node.name]
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
    )
    os.close(theirs)
    try:
        said = b""
        while b"Type yes to go on: " not in said:
            said += os.read(ours, 4096)
        os.write(ours, answer.encode() + b"\n")
        return process.wait(LIMIT)
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_directory_of_a_running_node_is_left_alone(make_node, directory):
    node = make_node(bootstrap=True)
    node.start()
    before = (node.data / "identity").read_bytes()
    (directory / "backup").write_bytes(make_backup([], 5, 1))
    for options in (["--verify"], ["--recover", "--yes"]):
        assert "in use by another process" in raftkvd(node, *options, status=1)
    said = raftkvd(node, f"--restore={directory / 'backup'}", status=1)
    assert "into an empty directory only" in said
    assert (node.data / "identity").read_bytes() == before
    assert members(node) == ["nodeA"]


# Restoring


def items_of(node):
    with node.client() as client:
        return client.list_all()


def take_backup(node, path):
    """Returns the index of its moment."""
    where = f"--endpoints={node.client_address}"
    result = run(RAFTKVCTL, where, "--output=json", "backup", path)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["index"]


def test_a_backup_of_a_cluster_at_work_is_restored_as_documented(make_cluster):
    # The backup is of the leader, which acknowledged what was written before.
    cluster = make_cluster(settings=[*PATIENT, "SnapshotEntries=500", "TrailingEntries=100"])
    write(cluster, 250)
    old = {cluster_of(cluster.nodes[0]), *[str(node.status().id) for node in cluster.nodes]}
    backup = cluster.directory / "backup"
    writers = Writers(cluster.nodes, count=5, writes=10**6).start()
    wait_until("some hundreds are written", lambda: len(writers.acknowledged) > 300)
    early = dict(writers.acknowledged)
    index = take_backup(cluster.leader(), backup)
    cluster.kill_all_at_once()
    writers.stop()
    for node in cluster.nodes:
        node.wipe()
    Operator(cluster, backup).carry_out("All is gone but a backup")
    cluster.wait_until_all_are_equal()
    assert cluster.member_roles() == {"nodeA": "voter", "nodeB": "voter", "nodeC": "voter"}
    new = {cluster_of(cluster.nodes[0]), *[str(node.status().id) for node in cluster.nodes]}
    assert len(new) == 4 and not old & new
    for node in cluster.nodes:
        found = node.contents(writers.prefix + b"/")
        assert early.items() <= found.items()
        for key, (value, revision) in writers.acknowledged.items():
            assert found.get(key) == ((value, revision) if revision <= index else None)
        assert len(node.contents(b"kept/")) == 250
    with cluster.nodes[1].client() as client:
        assert client.put(b"new", b"v").revision > index
    cluster.assert_serves()


def test_restoring_gives_back_what_was_saved_to_the_byte(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[0]
    with node.client() as client:
        for number in range(20):
            client.put(bytes([number, 0, 255]) + os.urandom(100), os.urandom(number * 20000))
            client.put(b"again", b"%d" % number)
        client.put(b"empty", b"")
        client.delete(b"again")
        client.put(b"again", b"created anew")
    before = items_of(node)
    backup = cluster.directory / "backup"
    take_backup(node, backup)
    node.stop()
    node.wipe()
    raftkvd(node, f"--restore={backup}")
    assert "is sound" in raftkvd(node, "--verify")
    node.start()
    assert items_of(node) == before


def test_a_damaged_backup_is_refused_and_leaves_nothing(make_node, directory):
    node = make_node(bootstrap=True)
    node.start()
    with node.client() as client:
        for number in range(30):
            client.put(b"%d" % number, b"value")
    path = directory / "backup"
    take_backup(node, path)
    good = path.read_bytes()
    node.stop()
    node.wipe()
    damaged = [good[:size] for size in (0, 7, 20, len(good) // 2, len(good) - 1)]
    damaged += [good + b"more"]
    for at in range(0, len(good), len(good) // 25):
        damaged.append(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    for number, data in enumerate(damaged):
        path.write_bytes(data)
        if number % 2:
            node.data.mkdir()
        said = raftkvd(node, f"--restore={path}", status=1)
        assert "can't be restored" in said and " byte " in said
        if number % 2:
            node.data.rmdir()  # it is still empty
        assert not node.data.exists()
    path.write_bytes(good)
    raftkvd(node, f"--restore={path}")
    node.start()
    assert len(node.contents()) == 30


def test_what_can_t_be_restored_says_why(make_node, directory):
    node = make_node()
    missing = raftkvd(node, f"--restore={directory / 'missing'}", status=1)
    assert "No such file" in missing
    for options in (["--restore="], ["--yes"], ["--verify", "--recover"]):
        raftkvd(node, *options, status=2)
    assert not node.data.exists()


def owners(directory):
    return {path.lstat().st_uid for path in [directory, *directory.rglob("*")]}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_restored_and_recovered_files_belong_to_the_user_of_the_service(make_node, directory):
    place = directory / "state"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    node = make_node(data=place / "nodeA")
    backup = directory / "backup"
    backup.write_bytes(make_backup([], 5, 1))
    backup.chmod(0o600)  # root may read it, the user of the service may not
    raftkvd(node, f"--restore={backup}")
    assert owners(node.data) == {NOBODY}
    raftkvd(node, "--recover", "--yes")
    assert owners(node.data) == {NOBODY}
    raftkvd(node, "--verify")
    assert owners(node.data) == {NOBODY}
    shutil.rmtree(node.data)
    node.data.mkdir()
    os.chown(node.data, NOBODY, NOBODY)
    os.chown(place, 0, 0)
    raftkvd(node, f"--restore={backup}")
    assert owners(node.data) == {NOBODY}


# Verification


# Berkeley DB never frees the memory of an environment that has panicked.
WITHOUT_LEAKS = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"}


def flip(path, at):
    with Path(path).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


def test_a_node_ends_when_it_reads_a_damaged_page(make_cluster):
    """And says how to look at the rest; the others serve on."""
    cluster = make_cluster()
    write(cluster, 2000)
    cluster.wait_until_all_are_equal()
    damaged = cluster.followers()[0]
    damaged.stop()
    keys = damaged.data / "state/state-1/keys"
    for at in range(4 * 8192 + 100, keys.stat().st_size, 8192):
        flip(keys, at)
    damaged.start()
    with pytest.raises((EOFError, ConnectionError)):
        damaged.contents(b"kept/")
    assert damaged.wait_for_exit() == 1
    assert "The state can't be read: " in damaged.said()
    assert f"raftkvd --verify {damaged.name}" in damaged.said()
    cluster.assert_serves()


def test_verification_finds_a_flipped_byte_wherever_it_is(make_node):
    node = make_node(bootstrap=True)
    node.start()
    with node.client() as client:
        for number in range(300):
            client.put(b"%d" % number, b"value" * 20)
    node.stop()
    said = raftkvd(node, "--verify")
    assert "300 keys" in said and "is sound" in said and "this node is a voter" in said
    log = next((node.data / "log").glob("log.*"))
    written = len(log.read_bytes().rstrip(b"\0"))
    keys = node.data / "state/state-1/keys"
    meta = node.data / "state/state-1/meta"
    places = [(log, at) for at in (60, 500, written // 2, written - 20)]
    places += [(keys, at) for at in range(100, keys.stat().st_size, 8192)]
    places += [(meta, 100), (meta, 8192 + 4000), (node.data / "log/floor", 9), (node.data / "state/current", 4)]
    places += [(node.data / "identity", at) for at in (3, 40)]
    for path, at in places:
        flip(path, at)
        said = raftkvd(node, "--verify", status=1, variables=WITHOUT_LEAKS)
        assert "raftkvd: " in said and str(path.parent) in said, (path, at, said)
        assert "ejoin" in said, (path, at, said)
        flip(path, at)
    assert "is sound" in raftkvd(node, "--verify")
    node.start()
    assert len(node.contents()) == 300
