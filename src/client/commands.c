#include "client/commands.h"

const struct command commands[] = {
    {"put", "KEY VALUE", "Set a key",
     "Sets the key. Answered once a majority of the voters has it on disk. With VALUE \"-\" the "
     "value is read from standard input. An argument that begins with \"-\" goes behind \"--\".",
     OPTION_BIT(OPTION_FILE), 1, 2, run_put},
    {"get", "KEY", "Print the value of a key",
     "Prints the value alone and a newline. On a terminal a value that is not text is shown with "
     "escapes.",
     OPTION_BIT(OPTION_RAW) | OPTION_BIT(OPTION_STALE), 1, 1, run_exchange},
    {"delete", "KEY", "Delete a key", "Deletes the key. It is no error when there is none.", 0, 1,
     1, run_exchange},
    {"list", "[PREFIX]", "List keys with their values",
     "Lists the keys that begin with PREFIX, or all, in byte order. Later pages of a long list may "
     "show later writes than earlier ones.",
     OPTION_BIT(OPTION_FROM) | OPTION_BIT(OPTION_LIMIT) | OPTION_BIT(OPTION_KEYS_ONLY) |
         OPTION_BIT(OPTION_STALE),
     0, 1, run_list},
    {"status", "", "Show the state of every member",
     "Shows every member: role, state, term, revision, how far it lags behind the highest commit "
     "index, and whether it answers. While states are sent from one member to another, a second "
     "table shows how far each has come.",
     0, 0, 0, run_exchange},
    {"members", "", "Show the membership",
     "Shows the committed membership with the configuration index, which --expected-index= of the "
     "commands that change it takes. With --pending the nodes that ask to join, and wait to be "
     "accepted.",
     OPTION_BIT(OPTION_STALE) | OPTION_BIT(OPTION_PENDING), 0, 0, run_members},
    {"add-voter", "NAME PEER-ADDRESS", "Add a node to the cluster as a voter",
     "Contacts the node that listens for peers at PEER-ADDRESS (HOST:PORT), checks that it is "
     "NAME, "
     "adds it as a non-voter, lets it catch up and promotes it. Answered when it is promoted.",
     OPTION_BIT(OPTION_EXPECTED_INDEX), 2, 2, run_exchange},
    {"add-nonvoter", "NAME PEER-ADDRESS", "Add a node to the cluster as a non-voter",
     "Contacts the node that listens for peers at PEER-ADDRESS (HOST:PORT), checks that it is "
     "NAME, "
     "and adds it as a non-voter: it replicates, and does not count in majorities. Answered when "
     "it "
     "is a member; it catches up after that. add-voter makes it a voter.",
     OPTION_BIT(OPTION_EXPECTED_INDEX), 2, 2, run_exchange},
    {"accept", "NAME", "Add a node that asks to join",
     "Adds the node of this name that asks to join (see members --pending) as add-voter does, or "
     "with --nonvoter as add-nonvoter does.",
     OPTION_BIT(OPTION_NONVOTER) | OPTION_BIT(OPTION_EXPECTED_INDEX), 1, 1, run_exchange},
    {"reject", "NAME", "Do not add a node that asks to join",
     "Tells the node of this name that asks to join that it is not added. It is no longer listed "
     "while it goes on asking this leader; accept still adds it.",
     0, 1, 1, run_exchange},
    {"remove-server", "NAME", "Remove a member",
     "Removes the member from the cluster. Refused as WouldLoseQuorum when fewer than a majority "
     "of "
     "the voters that would remain answer. With --force it is begun even so: it is done, and "
     "writes "
     "go on, only when enough of them answer again; if they never do, the cluster is lost.",
     OPTION_BIT(OPTION_EXPECTED_INDEX) | OPTION_BIT(OPTION_FORCE), 1, 1, run_exchange},
    {"demote-voter", "NAME", "Make a voter a non-voter",
     "Makes the voter a non-voter: it goes on replicating, and does not count in majorities. "
     "WouldLoseQuorum and --force are as for remove-server.",
     OPTION_BIT(OPTION_EXPECTED_INDEX) | OPTION_BIT(OPTION_FORCE), 1, 1, run_exchange},
    {"transfer-leadership", "[NAME]", "Hand leadership to another voter",
     "Hands leadership to the named voter, or to the most up-to-date one. Answered when the new "
     "leader is known; Timeout when the voter does not catch up in time: then the old leader "
     "serves "
     "on.",
     0, 0, 1, run_exchange},
    {"stats", "", "Show what a node has counted and measured",
     "Shows the statistics of the asked node since it started: raft, log, state, snapshots, "
     "requests and connections. Over D-Bus their units and meanings are left out; org.raftkv1(5) "
     "lists them.",
     0, 0, 0, run_exchange},
    {"operations", "", "List what takes long on a node",
     "Lists the operations of the asked node: changes of the membership, transfers of leadership, "
     "snapshots and backups that are under way, or ended in the last 5 minutes. Each has a token, "
     "which await and cancel take.",
     0, 0, 0, run_exchange},
    {"await", "TOKEN", "Wait for the end of an operation",
     "Waits until the operation of this token, on the asked node, has ended, and ends as the "
     "command "
     "that began it: it prints the same, or fails with the same error. Of a backup it says that "
     "all "
     "of it was read.",
     0, 1, 1, run_exchange},
    {"cancel", "TOKEN", "Wait for an operation no longer",
     "Whoever waits for the operation is told that it was cancelled. What waited for a leader does "
     "not happen; what was begun goes on: remove-server takes back an addition that is under way. "
     "A backup ends.",
     0, 1, 1, run_exchange},
    {"barrier", "", "Wait until everything proposed before is applied",
     "Writes an entry that does nothing, and waits until the leader has applied it. Prints its "
     "index.",
     0, 0, 0, run_exchange},
    {"verify-leader", "", "Confirm who leads",
     "Has the leader confirm with a majority of the voters that it leads, and prints its name and "
     "the term.",
     0, 0, 0, run_exchange},
    {"snapshot", "", "Compact the log of a node",
     "Flushes the state of the asked node, and drops what of its log the state holds, but for the "
     "trailing entries. A node does so by itself when enough has gathered. Prints the index up to "
     "which the state holds the log, and how long it took.",
     0, 0, 0, run_exchange},
    {"backup", "FILE", "Save the state of a node in a file",
     "Reads the whole state of the asked node at one index, while writes go on, into FILE, or for "
     "\"-\" to standard output. The state of a follower may lag behind: the index is shown, and "
     "everything up to it is in the backup. FILE is replaced when the backup is complete and on "
     "the "
     "disk; only its owner may read it. --timeout= holds for each answer of the node. \"raftkvd "
     "--restore\" makes a new cluster of a backup.",
     0, 1, 1, run_backup},
    {"check", "FILE", "Check a backup",
     "Reads the backup in FILE, or for \"-\" from standard input, to its end, checks every byte of "
     "it, and shows what it holds. Asks no node. A damaged one is InvalidArgument.",
     0, 1, 1, run_check},
    {"help", "[COMMAND]", "Show help", "Shows the help of raftkvctl, or that of one command.", 0, 0,
     1, NULL},
    {0},
};
