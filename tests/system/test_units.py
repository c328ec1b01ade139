"""One node as a unit."""

import json

from hosts import wait_until

EXPOSURE_MAX = 15  # tenths
WITHOUT_BUS = "ExecStart=/usr/sbin/raftkvd --bus=none %i"


def test_the_unit_is_closed_in_and_nothing_of_it_is_ignored(hosts, make_node):
    node = make_node("alone", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    node.configure()
    node.systemctl("start")
    node.host.run("systemd-analyze", "security", f"--threshold={EXPOSURE_MAX}", node.unit)
    assert "raftkv@" not in node.host.journal("_PID=1", "--grep=ignor")
    assert node.host.run("stat", "-c", "%U %a", "/var/lib/raftkv/alone").split() == ["raftkv", "700"]


def test_a_wrong_configuration_is_said_and_not_tried_again(hosts, make_node):
    node = make_node("wrong", hosts[0])
    node.configure("MaxConnections=many")
    node.host.fails("systemctl", "start", node.unit)
    wait_until("it says so", lambda: "wrong.conf:4: MaxConnections=many is wrong" in node.journal())
    assert node.show("ExecMainStatus") == "78"
    assert node.restarts() == 0 and node.show("ActiveState") == "failed"


def test_the_status_says_what_the_node_is(hosts, make_node):
    node = make_node("alone", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    node.configure()
    node.systemctl("start")
    wait_until("it leads", node.leads)
    wait_until("its status says so", lambda: node.show("StatusText").startswith("leader, term"))


def test_a_reload_takes_over_what_it_can_and_refuses_what_is_wrong(hosts, make_node):
    node = make_node("alone", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    node.configure()
    node.systemctl("start")
    process = node.show("MainPID")

    node.configure("MaxConnections=100", "StateCacheBytes=32M")
    node.systemctl("reload")
    wait_until("it has read it again", lambda: "was read again" in node.journal())
    assert "MaxConnections=100 is taken over" in node.journal()
    assert "StateCacheBytes=32M takes effect when the node is restarted" in node.journal()

    node.configure("MaxConnections=many")
    node.host.fails("systemctl", "reload", node.unit)
    wait_until("it says so", lambda: "MaxConnections=many is wrong" in node.journal())
    wait_until("it is active", node.is_active)
    assert node.show("MainPID") == process


def test_the_log_level_is_changed_while_the_node_runs(hosts, make_node):
    node = make_node("alone", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    node.configure()
    node.systemctl("start")
    assert node.host.run("systemctl", "service-log-level", node.unit).strip() == "info"
    node.host.run("systemctl", "service-log-level", node.unit, "debug")
    assert node.host.run("systemctl", "service-log-level", node.unit).strip() == "debug"


def test_a_node_starts_and_serves_without_a_bus(hosts, make_node):
    node = make_node("alone", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    node.configure()
    node.host.write(f"/run/systemd/system/{node.unit}.d/bus.conf", f"[Service]\nExecStart=\n{WITHOUT_BUS}\n")
    node.host.run("systemctl", "daemon-reload")
    try:
        node.systemctl("start")
        wait_until("it leads", node.leads)
        node.ctl("put", "key", "value")
    finally:
        node.host.run("rm", "-r", f"/run/systemd/system/{node.unit}.d")
        node.host.run("systemctl", "daemon-reload")


def test_a_node_is_handed_a_secret_that_its_user_can_not_read(hosts, make_node):
    node = make_node("alone", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    node.configure()
    node.host.write("/etc/raftkv/alone.key", "a secret\n")
    node.host.run("chmod", "600", "/etc/raftkv/alone.key")
    drop_in = f"/run/systemd/system/{node.unit}.d/credentials.conf"
    node.host.run("install", "-D", "-m", "644", "/usr/share/doc/raftkv/credentials.conf", drop_in)
    node.host.run("systemctl", "daemon-reload")
    try:
        node.systemctl("start")
        wait_until("it leads", node.leads)
        process = f"/proc/{node.show('MainPID')}"
        variables = dict(v.split("=", 1) for v in node.host.run("cat", f"{process}/environ").split("\0") if v)
        directory = variables["CREDENTIALS_DIRECTORY"]
        assert node.host.run("cat", f"{process}/root{directory}/tls.key") == "a secret\n"
    finally:
        node.host.run("rm", "-r", "/etc/raftkv/alone.key", f"/run/systemd/system/{node.unit}.d")
        node.host.run("systemctl", "daemon-reload")


def test_two_nodes_run_on_one_host(hosts, make_node):
    first = make_node("first", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    second = make_node("second", hosts[0], clients=6711, peers=6712)
    for node in (first, second):
        node.configure()
        node.systemctl("start")
    wait_until("the first leads", first.leads)
    first.ctl("add-voter", "second", second.peer_address)
    second.ctl("put", "key", "value")
    assert first.call("KV.Get", "s", "key").startswith('st "value" ')
    assert second.call("KV.Get", "s", "key").startswith('st "value" ')
    first.host.run("systemctl", "start", "raftkv.target")
    first.host.run("systemctl", "stop", "raftkv.target")
    wait_until("both have stopped", lambda: not first.is_active() and not second.is_active())


def test_the_target_starts_the_nodes_that_are_enabled(hosts, make_node):
    enabled = make_node("enabled", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    other = make_node("other", hosts[0], clients=6711, peers=6712)
    enabled.configure()
    other.configure()
    enabled.systemctl("enable")
    enabled.host.run("systemctl", "start", "raftkv.target")
    wait_until("the enabled one is active", enabled.is_active)
    assert not other.is_active()
    enabled.systemctl("disable")
    enabled.host.run("systemctl", "stop", "raftkv.target")


def test_the_journal_has_fields_and_a_catalog(hosts, make_node):
    node = make_node("alone", hosts[0], settings=["Bootstrap=yes"], clients=5711, peers=5712)
    node.configure()
    node.systemctl("start")
    wait_until("it leads", node.leads)
    of_the_event = ["RAFTKV_NODE=alone", "RAFTKV_STATE=leader", "--output=json"]
    lines = wait_until("the journal has it", lambda: node.host.journal(*of_the_event).splitlines())
    event = json.loads(lines[-1])
    assert event["MESSAGE"] == f"This node is now the leader, in term {event['RAFTKV_TERM']}."
    explained = node.host.run("journalctl", "--list-catalog", event["MESSAGE_ID"])
    assert "is now" in explained
    assert "Each term has at most one leader" in node.journal("--catalog", "--output=short")
