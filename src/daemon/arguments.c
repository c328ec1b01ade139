#include "daemon/arguments.h"

#include <db.h>
#include <getopt.h>
#include <protobuf-c/protobuf-c.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/address.h"
#include "base/version.h"
#include "daemon/options.h"

static int help(void) {
    fputs("Usage: raftkvd [OPTION...] NAME\n"
          "\n"
          "Runs the node NAME of a replicated key-value store.\n"
          "\n"
          "  --config=FILE    read FILE and FILE.d/*.conf instead of /etc/raftkv/NAME.conf and\n"
          "                   NAME.conf.d/*.conf; NAME may be left out when [Node] Name= says it\n"
          "  --bus=BUS        offer D-Bus on system (the default), session or a bus ADDRESS,\n"
          "                   or none\n"
          "  --check-config   check the configuration and exit\n"
          "  --verify         read all of the data directory of a stopped node; say what it\n"
          "                   holds, or what is wrong, and exit\n"
          "  --restore=FILE   make the data directory, which has to be empty, from a backup, as\n"
          "                   that of the only member of a new cluster, and exit\n"
          "  --recover        make the stopped node, with its data, the only member of a new\n"
          "                   cluster, when a majority of the old one is gone for good, and exit;\n"
          "                   asks first\n"
          "  --yes            don't ask\n"
          "  --version        show the versions of raftkvd and its libraries\n"
          "  --help           show this\n"
          "\n"
          "Keys of the configuration, and their defaults:\n",
          stdout);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct option_key *key = &option_keys[i];

        if (i == 0 || strcmp(key->section, option_keys[i - 1].section) != 0)
            printf("\n  [%s]\n", key->section);
        printf("  %s=%s\n      %s%s\n", key->name, key->preset, key->sentence,
               key->reloads ? " (reload)" : "");
    }
    fputs("\n"
          "SIGHUP makes a running node read its configuration again: keys with (reload) change at\n"
          "once, others when it is restarted.\n"
          "\n"
          "Exit status:\n"
          "  0   a clean stop, or all is well\n"
          "  1   failure, or what --verify read is damaged; the journal says more\n"
          "  2   wrong usage\n"
          "  3   the cluster has removed this node; raftkv@.service does not start it again by "
          "itself\n"
          "  78  wrong configuration\n",
          stdout);
    return EXIT_SUCCESS;
}

static int version(void) {
    int major, minor, patch;

    db_version(&major, &minor, &patch);
    /* libraft does not export its own raft_version_number(). */
    printf("raftkvd %s\n"
           "libraft %d.%d.%d, libuv %s, protobuf-c %s, Berkeley DB %d.%d.%d\n",
           raftkv_version, RAFT_VERSION_MAJOR, RAFT_VERSION_MINOR, RAFT_VERSION_RELEASE,
           uv_version_string(), protobuf_c_version(), major, minor, patch);
    return EXIT_SUCCESS;
}

static int wrong(const char *message, const char *what) {
    fprintf(stderr, "raftkvd: %s%s%s\nTry raftkvd --help.\n", message, what ? " " : "",
            what ? what : "");
    return EXIT_WRONG_USAGE;
}

static int bus_parse(struct arguments *arguments, const char *bus) {
    bool is_address = strchr(bus, ':') && strchr(bus, '=');

    if (strcmp(bus, "system") != 0 && strcmp(bus, "session") != 0 && strcmp(bus, "none") != 0 &&
        !is_address)
        return wrong("--bus= takes system, session, none or an address such as "
                     "unix:path=/run/dbus/system_bus_socket, not",
                     bus);
    arguments->bus = strcmp(bus, "none") == 0 ? NULL : bus;
    arguments->bus_required = true;
    return -1;
}

static int name_parse(struct arguments *arguments, int argc, char **argv) {
    if (argc > 1)
        return wrong("one NAME is allowed, not also", argv[1]);
    if (argc == 1 && !member_name_valid(argv[0]))
        return wrong("NAME is letters, digits and _, not beginning with a digit, at most 63 "
                     "characters, not",
                     argv[0]);
    if (argc == 0 && !arguments->config)
        return wrong("the NAME of the node is missing", NULL);
    arguments->name = argc == 1 ? argv[0] : NULL;
    return -1;
}

static int work_parse(struct arguments *arguments, enum work work) {
    if (arguments->work != WORK_RUN && arguments->work != work)
        return wrong("--check-config, --verify, --restore= and --recover exclude each other", NULL);
    arguments->work = work;
    return -1;
}

static int backup_parse(struct arguments *arguments, const char *file) {
    arguments->backup = file;
    return *file ? work_parse(arguments, WORK_RESTORE) : wrong("--restore= needs a file", NULL);
}

/* What only all options together tell. */
static int check(const struct arguments *arguments) {
    if (arguments->yes && arguments->work != WORK_RECOVER)
        return wrong("--yes goes with --recover only", NULL);
    return -1;
}

int arguments_parse(struct arguments *ret, int argc, char **argv) {
    enum { CONFIG = 256, BUS, CHECK_CONFIG, VERIFY, RESTORE, RECOVER, YES, VERSION, HELP };
    static const struct option options[] = {
        {"config", required_argument, NULL, CONFIG},
        {"bus", required_argument, NULL, BUS},
        {"check-config", no_argument, NULL, CHECK_CONFIG},
        {"verify", no_argument, NULL, VERIFY},
        {"restore", required_argument, NULL, RESTORE},
        {"recover", no_argument, NULL, RECOVER},
        {"yes", no_argument, NULL, YES},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    int option, status = -1;

    *ret = (struct arguments){.bus = "system"};
    while (status < 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case CONFIG:
            ret->config = optarg;
            status = *optarg ? -1 : wrong("--config= needs a file", NULL);
            break;
        case BUS:
            status = bus_parse(ret, optarg);
            break;
        case CHECK_CONFIG:
            status = work_parse(ret, WORK_CHECK_CONFIG);
            break;
        case VERIFY:
            status = work_parse(ret, WORK_VERIFY);
            break;
        case RESTORE:
            status = backup_parse(ret, optarg);
            break;
        case RECOVER:
            status = work_parse(ret, WORK_RECOVER);
            break;
        case YES:
            ret->yes = true;
            break;
        case VERSION:
            return version();
        case HELP:
            return help();
        default: /* getopt_long() has said what */
            fputs("Try raftkvd --help.\n", stderr);
            return EXIT_WRONG_USAGE;
        }
    }
    if (status < 0)
        status = check(ret);
    return status < 0 ? name_parse(ret, argc - optind, argv + optind) : status;
}
