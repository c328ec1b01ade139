"""Three nodes on three hosts, and what happens to them."""

import json
import re
import subprocess
import threading

from cluster import HangingDisk
from documents import journal_fields
from hosts import LIMIT, NETWORK, wait_until
from packages import REPOSITORY

MESSAGE_IDS = (REPOSITORY / "src/base/message_ids.h").read_text()
[DISK_HANGS] = re.findall(r'MESSAGE_DISK_HANGS "MESSAGE_ID=(\w+)"', MESSAGE_IDS)


def test_the_members_are_those_that_were_added(cluster):
    for node in cluster.nodes:
        members = json.loads(node.ctl("--output=json", "members"))["members"]
        assert {(m["name"], m["role"], m["peer_address"]) for m in members} == {
            (n.name, "voter", n.peer_address) for n in cluster.nodes
        }


def test_every_door_of_every_node_writes_and_reads(cluster):
    cluster.assert_serves()
    for writer in cluster.nodes:
        writer.call("KV.Put", "ss", f"by-bus-{writer.name}", writer.name)
        writer.host.run("raftkvctl", "--bus=system", f"--node={writer.name}", "put", f"by-ctl-{writer.name}", "x")
    for reader in cluster.nodes:
        for writer in cluster.nodes:
            assert reader.call("KV.Get", "s", f"by-bus-{writer.name}").startswith(f'st "{writer.name}" ')
            assert reader.ctl("get", f"by-ctl-{writer.name}").strip() == "x"


def test_a_killed_leader_is_replaced_at_once_and_restarted(cluster):
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    before = leader.restarts()
    leader.systemctl("kill", "--signal=KILL", "--kill-whom=main")
    cluster.leader(among=others)
    others[0].ctl("put", "after-the-kill", "written")
    wait_until("systemd has restarted it", lambda: leader.restarts() == before + 1 and leader.answers())
    cluster.wait_until_equal()
    assert leader.ctl("get", "--stale", "after-the-kill").strip() == "written"


def test_a_frozen_leader_is_replaced_and_ended_by_the_watchdog(cluster):
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    before = leader.restarts()
    leader.systemctl("kill", "--signal=STOP", "--kill-whom=main")
    cluster.leader(among=others)
    others[0].ctl("put", "after-the-freeze", "written")
    wait_until("systemd has restarted it", lambda: leader.restarts() == before + 1)
    wait_until("it answers", leader.answers)
    wait_until("the journal says why", lambda: "Watchdog timeout" in leader.journal())
    cluster.wait_until_equal()
    assert leader.ctl("get", "--stale", "after-the-freeze").strip() == "written"


def test_a_leader_whose_disk_hangs_is_replaced_and_ended_by_the_watchdog(cluster):
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    before = leader.restarts()
    with HangingDisk(leader):

        def says_so():
            others[0].ctl("put", "while-it-hangs", "value", timeout=1, ok=range(256))
            return leader.host.journal(f"RAFTKV_NODE={leader.name}", f"MESSAGE_ID={DISK_HANGS}")

        said = wait_until("the journal says so", says_so)
        assert "A disk operation has been running for" in said
        cluster.leader(among=others)
        others[0].ctl("put", "after-it-hung", "written")
        wait_until("systemd ends it", lambda: leader.show("Result") == "watchdog")
    wait_until("systemd has restarted it", lambda: leader.restarts() == before + 1)
    wait_until("it answers", leader.answers)
    cluster.wait_until_equal()
    assert leader.ctl("get", "--stale", "after-it-hung").strip() == "written"


def test_the_cluster_goes_on_without_a_host_and_takes_it_back_but_for_who_was_removed(cluster, make_node):
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    removed = make_node("nodeD", leader.host, clients=5711, peers=5712)
    removed.configure()
    for node in (leader, removed):
        node.systemctl("enable")
    removed.systemctl("start")
    leader.ctl("add-nonvoter", removed.name, removed.peer_address)
    wait_until("it has heard that it was added", lambda: removed.status()["applied_index"] > 0)
    leader.host.power_off()
    cluster.leader(among=others)
    others[0].ctl("put", "without-a-host", "written")
    others[0].ctl("remove-server", removed.name)
    leader.host.boot()
    wait_until("its unit starts with the host", leader.answers)
    cluster.wait_until_equal()
    assert leader.ctl("get", "--stale", "without-a-host").strip() == "written"
    wait_until(
        "who was removed has ended",
        lambda: (removed.show("ActiveState"), removed.show("ExecMainStatus")) == ("inactive", "3"),
    )
    assert removed.restarts() == 0
    assert "is no member of the cluster any more and stops" in removed.journal()
    removed.systemctl("start")
    leader.ctl("add-nonvoter", removed.name, removed.peer_address)
    wait_until("it has heard of it", lambda: removed.ctl("get", "--stale", "without-a-host").strip() == "written")
    leader.ctl("remove-server", removed.name)
    wait_until("it has ended again", lambda: removed.show("ActiveState") == "inactive")
    for node in (leader, removed):
        node.systemctl("disable")


def test_a_leader_that_is_cut_off_is_replaced_and_follows_when_it_is_back(cluster):
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    for other in others:
        leader.host.cut_to(other.host)
        other.host.cut_to(leader.host)
    cluster.leader(among=others)
    others[0].ctl("put", "while-cut-off", "written")
    refused = leader.host.fails("raftkvctl", f"--endpoints={leader.client_address}", "--timeout=10", "put", "x", "y")
    assert refused.status in (15, 17), refused  # NoLeader, or Timeout with an unknown outcome
    term = others[0].status()["term"]
    cluster.heal()
    assert leader.ctl("get", "--stale", "while-cut-off").strip() == "written"
    assert cluster.leader().status()["term"] == term, "the one that came back disturbed the others"


def test_a_link_cut_in_one_direction_leaves_a_cluster_that_serves(cluster):
    for from_the_leader in (True, False):
        leader = cluster.leader()
        follower, third = cluster.followers()
        sender, receiver = (leader, follower) if from_the_leader else (follower, leader)
        sender.host.cut_to(receiver.host)
        wait_until("the third node writes", lambda: third.ctl("put", "one-way", sender.name, timeout=5))
        cluster.heal()
        cluster.assert_serves()


def test_leadership_goes_where_it_is_sent(cluster):
    target = cluster.followers()[0]
    assert target.ctl("transfer-leadership", target.name).strip() == f"leader {target.name}"
    assert cluster.leader() is target

    def terms():
        lines = target.host.journal(f"RAFTKV_NODE={target.name}", "RAFTKV_STATE=leader", "--output=json").splitlines()
        return [int(json.loads(line)["RAFTKV_TERM"]) for line in lines]

    wait_until("the journal says so", lambda: target.status()["term"] in terms()[-1:])


class Monitor:
    """What a node says on the bus of its host, as busctl shows it; as a context."""

    def __init__(self, node):
        self.node = node
        self.lines = []
        command = ["stdbuf", "--output=L", "busctl", "--system", "--json=short", "monitor", f"org.raftkv1.{node.name}"]
        self.process = subprocess.Popen(node.host.enter(*command), stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))

    def __enter__(self):
        self.reader.start()
        wait_until("the monitor hears the node", lambda: self.node.call("Node.GetStatus") and self.lines)
        return self

    def __exit__(self, *_):
        self.node.host.run("pkill", "busctl")
        self.process.wait(LIMIT)
        self.reader.join()

    def changed(self, interface, name):
        """The values that a property has come to."""
        messages = [json.loads(line) for line in list(self.lines)]
        bodies = [m["payload"]["data"] for m in messages if m.get("member") == "PropertiesChanged"]
        return [body[1][name]["data"] for body in bodies if body[0] == interface and name in body[1]]


    def last(self, name):
        """The value that a property of the node has come to in the end; None: it has not changed."""
        return (self.changed("org.raftkv1.Node", name) or [None])[-1]


def test_properties_change_as_leadership_moves(cluster):
    leader = cluster.leader()
    target, bystander = cluster.followers()
    with Monitor(leader) as old, Monitor(target) as new, Monitor(bystander) as third:
        target.ctl("transfer-leadership", target.name)
        expected = (target.name, target.status()["term"])
        for monitor in (old, new, third):
            wait_until(
                f"{monitor.node.name} has announced its leader and term",
                lambda: (monitor.last("Leader"), monitor.last("Term")) == expected,
            )
        wait_until("the new leader says that it leads", lambda: new.last("State") == "leader")
        wait_until("the old one says that it follows", lambda: old.last("State") == "follower")
        assert "leader" not in third.changed("org.raftkv1.Node", "State")


def test_a_node_that_is_removed_ends_and_is_not_started_again(cluster, make_node):
    node = make_node("nodeD", cluster.nodes[0].host, clients=5711, peers=5712)
    node.configure()
    node.systemctl("enable", "--now")  # enabled, so that systemd remembers how it ended
    leader = cluster.leader()
    leader.ctl("add-voter", node.name, node.peer_address)
    leader.ctl("remove-server", node.name)
    wait_until("it has ended", lambda: node.show("ActiveState") == "inactive")
    assert node.show("ExecMainStatus") == "3"
    assert node.restarts() == 0
    node.systemctl("disable")
    cluster.assert_serves()


def test_a_host_that_lost_its_disk_is_removed_and_added_again(cluster):
    node = cluster.followers()[0]
    leader = cluster.leader()
    node.systemctl("stop")
    node.host.run("rm", "-rf", f"/var/lib/raftkv/{node.name}")
    leader.ctl("remove-server", node.name)
    node.configure("Bootstrap=no")  # or its empty directory begins a cluster of its own
    node.systemctl("start")
    wait_until("it answers", lambda: node.show("StatusText") == "waiting to be added to a cluster")
    leader.ctl("add-voter", node.name, node.peer_address)
    cluster.wait_until_equal()
    cluster.assert_serves()


def addresses(node):
    """Where a node says that each member is."""
    members = json.loads(node.ctl("--output=json", "members"))["members"]
    return {m["name"]: (m["peer_address"], m["client_address"]) for m in members}


def test_a_node_on_a_host_with_a_new_address_is_found_there(cluster):
    node = cluster.leader()
    old = node.host.address
    for address in (f"{NETWORK}.{100 + node.host.number}", old):  # when it goes back it is a follower
        node.systemctl("stop")
        node.host.take_address(address)
        node.configure()
        node.systemctl("start")
        wait_until(
            "all know its new address",
            lambda: all(addresses(n)[node.name] == (node.peer_address, node.client_address) for n in cluster.nodes),
        )
        cluster.wait_until_equal()
        cluster.assert_serves()


def roles(node):
    return {m["name"]: m["role"] for m in json.loads(node.ctl("--output=json", "members"))["members"]}


AUTO_PROMOTE = ["[Raft]", "AutoPromote=3", "AutoPromoteAfterSec=12s"]


def test_a_node_that_asks_to_join_is_accepted_and_takes_the_place_of_a_silent_voter(cluster, make_node):
    leader, (third, silent) = cluster.leader(), cluster.followers()
    everyone = dict.fromkeys((leader.name, third.name, silent.name), "voter")
    joiner = make_node("nodeD", third.host, settings=[f"Join={silent.peer_address}"], clients=5711, peers=5712)
    joiner.configure()
    joiner.systemctl("start")
    wait_until("it is pending", lambda: f'"{joiner.name}"' in silent.call("Cluster.GetPending"))
    on_the_bus = ["raftkvctl", "--bus=system", f"--node={third.name}"]
    assert joiner.peer_address in third.host.run(*on_the_bus, "members", "--pending")
    third.host.run(*on_the_bus, "accept", "--nonvoter", joiner.name)
    assert roles(silent) == {**everyone, joiner.name: "non-voter"}
    wait_until("it is pending no more", lambda: silent.call("Cluster.GetPending").endswith(" 0"))

    def reload(*settings):
        for node in (leader, third, joiner):
            node.configure(*settings)
            node.systemctl("reload")

    reload(*AUTO_PROMOTE)
    silent.systemctl("stop")
    wait_until(
        "it has taken the place of the silent voter",
        lambda: roles(third) == {**everyone, silent.name: "non-voter", joiner.name: "voter"},
    )
    joiner.ctl("put", "without-the-silent-one", "written")
    reload()
    silent.systemctl("start")
    third.ctl("add-voter", silent.name, silent.peer_address)
    third.ctl("remove-server", joiner.name)
    assert roles(silent) == everyone
    cluster.assert_serves()


def test_what_the_nodes_said_has_the_fields_that_are_documented(cluster):
    """The last test here: after all that the others did to the nodes."""
    documented, kinds = journal_fields(), set()
    for node in cluster.nodes:
        lines = node.host.run("journalctl", "--output=json", "_COMM=raftkvd").splitlines()
        for message in (json.loads(line) for line in lines):
            if message.get("MESSAGE_ID") not in documented:  # systemd says something of the unit, too
                continue
            fields = {name for name in message if name.startswith("RAFTKV_")}
            assert fields == {"RAFTKV_NODE", *documented[message["MESSAGE_ID"]]}, message
            kinds.add(message["MESSAGE_ID"])
    assert len(kinds) >= 6, kinds  # the begin of the cluster alone
