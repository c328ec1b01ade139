#include "oracle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "bounds.h"
#include "node/node_internal.h"
#include "raft/member_internal.h"

/* Terms by index, from 1. */
struct terms {
    uint64_t *terms;
    uint64_t begin; /* up to there all is in the state */
    uint64_t last;
    size_t capacity;
};

/* The voters by whose answers a leader counts. */
struct voters {
    uint64_t ids[MEMBERS_MAX];
    size_t count;
};

/* What was seen of a node last. */
struct seen {
    struct terms log;     /* as the member has it */
    struct terms durable; /* as the disk has it */
    uint64_t id;          /* of its member */
    struct voters voters; /* at the last look */
    uint64_t term;
    uint64_t leads; /* the term in which it was seen leading in this life */
    uint64_t committed;
    uint64_t first_index;
};

/* An entry that some node had: index and term say what it holds. */
struct fact {
    uint64_t index, term; /* index 0: free */
    uint64_t hash, previous_term;
    uint64_t configuration; /* digest, of a CHANGE; 0: it is none */
};

struct office {
    unsigned machine;
    uint64_t life;
};

static struct {
    struct seen seen[MACHINES_MAX + 1];
    struct fact *facts;
    size_t fact_count, fact_capacity; /* a power of two */
    struct office *offices;           /* by term */
    size_t office_capacity;
    struct terms committed;
    struct configuration *configurations; /* applied, in their order */
    size_t configuration_count;
    uint64_t *state_hashes; /* by applied index; 0: not seen */
    size_t state_hash_capacity;
    struct oracle_figures figures;
} oracle;

/* ---- terms ---- */

static uint64_t term_at(const struct terms *terms, uint64_t index) {
    return index >= 1 && index <= terms->last ? terms->terms[index] : 0;
}

static void make_room(struct terms *terms, uint64_t index) {
    if (index >= terms->capacity) {
        size_t capacity = terms->capacity ? terms->capacity : 1024;

        while (capacity <= index)
            capacity *= 2;
        terms->terms = xrealloc(terms->terms, capacity * sizeof *terms->terms);
        memset(terms->terms + terms->capacity, 0,
               (capacity - terms->capacity) * sizeof *terms->terms);
        terms->capacity = capacity;
    }
}

static void set_term(struct terms *terms, uint64_t index, uint64_t term) {
    make_room(terms, index);
    terms->terms[index] = term;
    terms->last = index;
}

/* What comes before and at the index is known as a state only. */
static void begin_behind(struct terms *terms, uint64_t index) {
    make_room(terms, index);
    memset(terms->terms, 0, (index + 1) * sizeof *terms->terms);
    terms->begin = terms->last = index;
}

/* Who is in a configuration, and as what. */
static uint64_t configuration_digest(const struct raft_configuration *configuration) {
    uint64_t digest = 1;

    for (unsigned i = 0; i < configuration->n; i++) {
        const uint64_t server[] = {configuration->servers[i].id,
                                   (uint64_t)configuration->servers[i].role};

        digest += model_hash(server, sizeof server);
    }
    return digest;
}

static uint64_t entry_digest(const struct log_entry *entry) {
    struct raft_configuration raft;
    struct configuration configuration;
    const char *reason = "";
    uint64_t digest;

    must(configuration_decode(entry->data, entry->size, &configuration, &reason) == 0,
         "a configuration in a log does not decode: %s", reason);
    configuration_to_raft(&configuration, &raft);
    digest = configuration_digest(&raft);
    raft_configuration_close(&raft);
    return digest;
}

/* ---- log matching (dissertation, section 3.5) ---- */

static struct fact *find_fact(uint64_t index, uint64_t term) {
    size_t mask = oracle.fact_capacity - 1;
    size_t i = (index * 0x9e3779b97f4a7c15u + term * 0xff51afd7ed558ccdu) >> 20 & mask;

    while (oracle.facts[i].index != 0 &&
           (oracle.facts[i].index != index || oracle.facts[i].term != term))
        i = (i + 1) & mask;
    return &oracle.facts[i];
}

static void grow_facts(void) {
    struct fact *old = oracle.facts;
    size_t capacity = oracle.fact_capacity;

    oracle.fact_capacity = capacity ? capacity * 2 : 4096;
    oracle.facts = xcalloc(oracle.fact_capacity, sizeof *oracle.facts);
    for (size_t i = 0; i < capacity; i++)
        if (old[i].index != 0)
            *find_fact(old[i].index, old[i].term) = old[i];
    free(old);
}

static void see_entry(const struct machine *machine, const struct member *member, uint64_t index,
                      uint64_t term) {
    const struct cached_entry *cached = entries_find(&member->entries, index);
    uint64_t previous_term = entries_term(&member->entries, index - 1);
    struct fact *fact;
    uint64_t hash;

    if (!cached)
        return;
    hash = model_hash(cached->entry.data, cached->entry.size) ^ cached->entry.type;
    if (oracle.fact_count * 2 >= oracle.fact_capacity)
        grow_facts();
    fact = find_fact(index, term);
    if (fact->index == 0) {
        *fact = (struct fact){index, term, hash, previous_term, 0};
        oracle.fact_count++;
        if (cached->entry.type != ENTRY_CHANGE)
            return;
        fact->configuration = entry_digest(&cached->entry);
        /* The known flaw of single-server changes (hazard L3). */
        must(member->raft.state != RAFT_LEADER || term != member->raft.current_term || index == 1 ||
                 entries_term(&member->entries, member->commit_index) == term,
             "%s changes the configuration in entry %" PRIu64
             " before an entry of its term %" PRIu64 " is committed",
             machine->name, index, term);
        return;
    }
    must(fact->hash == hash,
         "log matching: entry %" PRIu64 " of term %" PRIu64 " is another one on %s", index, term,
         machine->name);
    /* Before the first entry of a log that was cut it may be unknown. */
    if (fact->previous_term == 0)
        fact->previous_term = previous_term;
    must(fact->previous_term == previous_term || previous_term == 0,
         "log matching: before entry %" PRIu64 " of term %" PRIu64
         " %s has an entry of term %" PRIu64 ", another node one of term %" PRIu64,
         index, term, machine->name, previous_term, fact->previous_term);
}

/* Whether it has changed. */
static bool look_at_log(struct machine *machine, const struct member *member) {
    struct terms *log = &oracle.seen[machine->number].log;
    const struct entries *entries = &member->entries;
    uint64_t first = entries->last_index + 1, before = log->last;

    /* What was seen with the same term is the same up to there. */
    while (first > entries->first_index &&
           entries_term(entries, first - 1) != term_at(log, first - 1))
        first--;
    if (first == entries->first_index && log->last + 1 < first)
        begin_behind(log, first - 1);
    log->last = first - 1;
    for (uint64_t index = first; index <= entries->last_index; index++) {
        uint64_t term = entries_term(entries, index);

        see_entry(machine, member, index, term);
        set_term(log, index, term);
    }
    return first <= entries->last_index || log->last != before;
}

/* ---- elections and commits ---- */

/* Every committed entry is in the log of every later leader. */
static void check_completeness(const struct machine *machine, const struct member *member) {
    for (uint64_t i = member->entries.first_index; i <= oracle.committed.last; i++)
        must(entries_term(&member->entries, i) == term_at(&oracle.committed, i),
             "leader completeness: %s leads term %" PRIu64 " without entry %" PRIu64
             " of term %" PRIu64 " (it has term %" PRIu64 " there)",
             machine->name, (uint64_t)member->raft.current_term, i, term_at(&oracle.committed, i),
             entries_term(&member->entries, i));
}

static void look_at_leader(struct machine *machine, const struct member *member) {
    struct seen *seen = &oracle.seen[machine->number];
    uint64_t term = member->raft.current_term;
    struct office *office;

    if (seen->leads == term)
        return;
    if (term >= oracle.office_capacity) {
        size_t capacity = (size_t)(term + 1) * 2;

        oracle.offices = xrealloc(oracle.offices, capacity * sizeof *oracle.offices);
        memset(oracle.offices + oracle.office_capacity, 0,
               (capacity - oracle.office_capacity) * sizeof *oracle.offices);
        oracle.office_capacity = capacity;
    }
    office = &oracle.offices[term];
    must(office->machine == 0, "election safety: n%u led term %" PRIu64 ", and now %s does",
         office->machine, term, machine->name);
    *office = (struct office){machine->number, machine->life};
    seen->leads = term;
    record("%s leads term %" PRIu64, machine->name, term);
    check_completeness(machine, member);
}

static struct voters voters_of(const struct member *member) {
    const struct raft_configuration *configuration = &member->raft.configuration;
    struct voters voters = {.count = 0};

    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].role == RAFT_VOTER)
            voters.ids[voters.count++] = configuration->servers[i].id;
    return voters;
}

static const struct seen *seen_of_member(uint64_t id) {
    for (unsigned i = 1; i <= machine_count; i++)
        if (oracle.seen[i].id == id)
            return &oracle.seen[i];
    return NULL;
}

static bool majority_has(const struct voters *voters, uint64_t index, uint64_t term) {
    size_t count = 0;

    for (size_t i = 0; i < voters->count; i++) {
        const struct seen *seen = seen_of_member(voters->ids[i]);

        /* What a disk had before it was wiped may have been answered. */
        count += !seen || index <= seen->durable.begin || term_at(&seen->durable, index) == term;
    }
    return count > voters->count / 2;
}

/* What a leader commits by counting is on the disks of a majority (dissertation, section 3.6). */
static void check_majority(struct machine *machine, const struct member *member) {
    struct seen *seen = &oracle.seen[machine->number];
    uint64_t commit = member->commit_index, term = entries_term(&member->entries, commit);
    struct voters voters = voters_of(member);

    if (member->raft.state == RAFT_LEADER && commit > seen->committed &&
        term == member->raft.current_term)
        must(majority_has(&voters, commit, term) || majority_has(&seen->voters, commit, term),
             "%s commits entry %" PRIu64 " of term %" PRIu64
             ", which is not on the disks of a majority",
             machine->name, commit, term);
    seen->voters = voters;
}

/* A leader knows what is committed; followers are checked when they apply (hazard L5). */
static void look_at_commit(struct machine *machine, const struct member *member) {
    struct seen *seen = &oracle.seen[machine->number];
    uint64_t commit = member->commit_index;

    must(commit >= seen->committed, "%s's commit index falls from %" PRIu64 " to %" PRIu64,
         machine->name, seen->committed, commit);
    if (member->raft.state != RAFT_LEADER)
        return;
    must(commit <= member->entries.last_index, "%s commits what it does not have", machine->name);
    for (uint64_t i = seen->committed + 1; i <= commit; i++) {
        uint64_t term = entries_term(&member->entries, i);

        if (i < member->entries.first_index)
            continue;
        if (i <= oracle.committed.last)
            must(term == term_at(&oracle.committed, i),
                 "%s commits entry %" PRIu64 " of term %" PRIu64 ", but that of term %" PRIu64
                 " was committed",
                 machine->name, i, term, term_at(&oracle.committed, i));
        else
            set_term(&oracle.committed, i, term);
    }
    seen->committed = commit;
}

/* ---- configurations ---- */

const struct configuration *oracle_configuration(uint64_t index) {
    for (size_t i = oracle.configuration_count; i > 0; i--)
        if (oracle.configurations[i - 1].index == index)
            return &oracle.configurations[i - 1];
    return NULL;
}

/* Single-server changes (dissertation, section 4.1): one voter more or less at a time. */
static void check_step(const struct configuration *before, const struct configuration *after) {
    unsigned changes = 0;

    for (size_t i = 0; i < before->count; i++) {
        const struct server *old = &before->servers[i];
        const struct server *new = configuration_find(after, old->id);

        changes += (old->role == MEMBER_VOTER) != (new &&new->role == MEMBER_VOTER);
    }
    for (size_t i = 0; i < after->count; i++)
        changes += after->servers[i].role == MEMBER_VOTER &&
                   !configuration_find(before, after->servers[i].id);
    must(changes <= 1, "the configuration at %" PRIu64 " changes %u voters at once", after->index,
         changes);
}

static void note_configuration(uint64_t index, const struct log_entry *entry) {
    struct configuration *configuration;
    const char *reason = "";

    oracle.configurations = xrealloc(oracle.configurations, (oracle.configuration_count + 1) *
                                                                sizeof *oracle.configurations);
    configuration = &oracle.configurations[oracle.configuration_count];
    must(configuration_decode(entry->data, entry->size, configuration, &reason) == 0,
         "the configuration at %" PRIu64 " does not decode: %s", index, reason);
    configuration->index = index;
    if (oracle.configuration_count++ > 0)
        check_step(configuration - 1, configuration);
}

/* Digest of the newest configuration that was applied below an index. */
static uint64_t configuration_before(uint64_t index) {
    struct raft_configuration raft;
    uint64_t digest;
    size_t i = oracle.configuration_count;

    while (i > 0 && oracle.configurations[i - 1].index >= index)
        i--;
    if (i == 0)
        return 1;
    configuration_to_raft(&oracle.configurations[i - 1], &raft);
    digest = configuration_digest(&raft);
    raft_configuration_close(&raft);
    return digest;
}

/* libraft goes by the newest configuration in the log, committed or not (hazard L1). */
static void look_at_configuration(struct machine *machine, const struct member *member) {
    const struct raft_configuration *used = &member->raft.configuration;
    const struct fact *fact = NULL;
    uint64_t hash = configuration_digest(used);

    for (uint64_t i = member->entries.last_index; i >= member->entries.first_index; i--) {
        const struct fact *found = find_fact(i, entries_term(&member->entries, i));

        if (found->index == 0)
            return; /* only its term is known */
        if (!found->configuration)
            continue;
        fact = found;
        break;
    }
    if (!fact) {
        must(member->installing || configuration_before(member->entries.first_index) == hash,
             "%s's libraft does not go by the configuration that was current when its log was cut",
             machine->name);
        return;
    }
    must(member->raft.configuration_uncommitted_index == 0 ||
             member->raft.configuration_uncommitted_index == fact->index,
         "%s's libraft takes entry %" PRIu64 " for a configuration, but that is entry %" PRIu64,
         machine->name, (uint64_t)member->raft.configuration_uncommitted_index, fact->index);
    must(fact->configuration == hash,
         "%s's libraft does not go by the configuration in entry %" PRIu64 " of its log",
         machine->name, fact->index);
}

static void check_expelled(const struct machine *machine, const struct member *member) {
    const struct configuration *configuration = oracle_configuration(member->expelled_index);

    if (!member->expelled)
        return;
    must(configuration && !configuration_find(configuration, member->id),
         "%s was told that it is no member at %" PRIu64 ", which is not so", machine->name,
         member->expelled_index);
}

void oracle_look(struct machine *machine) {
    const struct member *member = node_member(machine->node);
    struct seen *seen = &oracle.seen[machine->number];
    bool changed;

    if (member->entries.first_index > seen->first_index && !member->installing) {
        record("%s has entries from %" PRIu64 " on", machine->name, member->entries.first_index);
        oracle.figures.cuts++;
        seen->first_index = member->entries.first_index;
    }
    must(member->installing || member->entries.first_index <= member->applied_index + 1,
         "%s has cut its log up to %" PRIu64 ", but has applied only %" PRIu64, machine->name,
         member->entries.first_index - 1, member->applied_index);
    must(member->raft.current_term >= seen->term, "%s's term falls from %" PRIu64 " to %" PRIu64,
         machine->name, seen->term, (uint64_t)member->raft.current_term);
    seen->term = member->raft.current_term;
    changed = look_at_log(machine, member);
    if (member->raft.state == RAFT_LEADER)
        look_at_leader(machine, member);
    check_majority(machine, member);
    look_at_commit(machine, member);
    check_expelled(machine, member);
    if (changed)
        look_at_configuration(machine, member);
    bounds_look(machine);
}

/* ---- the disk and the state ---- */

static void look_at_write(struct machine *machine) {
    const struct node *node = machine->node;
    const struct member_write *write = &node->write;

    if (node->write_result != 0)
        return;
    for (size_t i = 0; i < write->count; i++)
        set_term(&oracle.seen[machine->number].durable, write->first_index + i,
                 write->entries[i].term);
}

static void look_at_entry(struct machine *machine, uint64_t index, const struct log_entry *entry) {
    const struct terms *durable = &oracle.seen[machine->number].durable;
    uint64_t hash = model_hash(entry->data, entry->size) ^ entry->type;
    const struct fact *fact = find_fact(index, entry->term);

    must(term_at(durable, index) == entry->term,
         "%s applies entry %" PRIu64 " of term %" PRIu64 ", but its disk has term %" PRIu64
         " there",
         machine->name, index, entry->term, term_at(durable, index));
    must(index <= oracle.committed.last && entry->term == term_at(&oracle.committed, index),
         "%s applies entry %" PRIu64 " of term %" PRIu64 ", which no leader committed",
         machine->name, index, entry->term);
    must(fact->index == 0 || fact->hash == hash,
         "%s applies entry %" PRIu64 " of term %" PRIu64 " with another content", machine->name,
         index, entry->term);
    if (index == model_last() + 1) {
        model_apply(index, entry);
        if (entry->type == ENTRY_CHANGE)
            note_configuration(index, entry);
    }
    must(index <= model_last() && model_entry_hash(index) == hash &&
             model_term(index) == entry->term,
         "state machine safety: %s applies another entry %" PRIu64 " than others", machine->name,
         index);
}

static uint64_t configuration_index_at(uint64_t index) {
    for (size_t i = oracle.configuration_count; i > 0; i--)
        if (oracle.configurations[i - 1].index <= index)
            return oracle.configurations[i - 1].index;
    return 0;
}

static void look_at_state(struct machine *machine) {
    uint64_t index, term, hash, configuration_index;
    uint64_t reads = disk_faults(machine->disk)->read_fails;
    const uint8_t *data;
    size_t size;
    int r;

    state_applied(machine->node->state, &index, &term);
    must(term == model_term(index),
         "the state of %s at index %" PRIu64 " says term %" PRIu64 ", not %" PRIu64, machine->name,
         index, term, model_term(index));
    state_configuration(machine->node->state, &configuration_index, &data, &size);
    must(configuration_index == configuration_index_at(index),
         "the state of %s at index %" PRIu64 " says configuration %" PRIu64 ", not %" PRIu64,
         machine->name, index, configuration_index, configuration_index_at(index));
    disk_faults(machine->disk)->read_fails = 0; /* its reads are those of the node */
    r = state_hash(machine->node->state, &hash);
    disk_faults(machine->disk)->read_fails = reads;
    /* To read a page Berkeley DB may have to write another one; when it can't, the node meets that
     * next. */
    if (r < 0 && machine->disk_trouble)
        return;
    must(r == 0, "%s can't read its state", machine->name);
    if (index >= oracle.state_hash_capacity) {
        size_t capacity = (size_t)(index + 1) * 2;

        oracle.state_hashes = xrealloc(oracle.state_hashes, capacity * sizeof(uint64_t));
        memset(oracle.state_hashes + oracle.state_hash_capacity, 0,
               (capacity - oracle.state_hash_capacity) * sizeof(uint64_t));
        oracle.state_hash_capacity = capacity;
    }
    must(oracle.state_hashes[index] == 0 || oracle.state_hashes[index] == hash,
         "the state of %s at index %" PRIu64 " differs from another node's", machine->name, index);
    oracle.state_hashes[index] = hash;
}

/* A state that came from the leader has taken the place of this node's. */
static void look_at_install(struct machine *machine) {
    const struct node *node = machine->node;
    const struct install *install = &node->install;
    uint64_t index, term;

    if (!install->identified || install->result != 0)
        return;
    if (install->switched) {
        if (install->mark)
            begin_behind(&oracle.seen[machine->number].durable, install->mark->index);
        return;
    }
    state_applied(node->state, &index, &term);
    must(index == install->mark->index && term == install->mark->term,
         "%s has installed the state at %" PRIu64 ", not %" PRIu64, machine->name, index,
         install->mark->index);
    must(index <= model_last(), "%s has installed index %" PRIu64 ", which nobody had applied",
         machine->name, index);
    record("%s installs %" PRIu64, machine->name, index);
    oracle.figures.installs++;
    look_at_state(machine);
}

void oracle_ran(struct machine *machine, struct job *job) {
    struct node *node = machine->node;
    uint64_t applied, term;

    if (job == &node->persist_job)
        look_at_write(machine);
    if (job == &node->install.job)
        look_at_install(machine);
    oracle.figures.checkpoints += job == &node->checkpoint.job;
    if (job != &node->apply_job || node->apply_result != 0)
        return;
    for (size_t i = 0; i < node->apply_count; i++)
        look_at_entry(machine, node->apply_first + i, &node->apply_entries[i]);
    state_applied(node->state, &applied, &term);
    must(applied == node->apply_first + node->apply_count - 1,
         "%s's state says applied index %" PRIu64, machine->name, applied);
    record("%s applies %" PRIu64, machine->name, applied);
    look_at_state(machine);
}

/* What is applied was committed, so up to there the log of a node can't be another one. */
static void check_log_below_state(const struct machine *machine, const struct member *member,
                                  uint64_t applied) {
    must(member->entries.last_index >= applied,
         "%s starts with entries up to %" PRIu64 ", but has applied %" PRIu64, machine->name,
         member->entries.last_index, applied);
    for (uint64_t i = member->entries.first_index; i <= applied; i++)
        must(entries_term(&member->entries, i) == term_at(&oracle.committed, i),
             "%s starts with entry %" PRIu64 " of term %" PRIu64
             ", which it has applied, but that of term %" PRIu64 " was committed",
             machine->name, i, entries_term(&member->entries, i), term_at(&oracle.committed, i));
}

void oracle_started(struct machine *machine) {
    struct seen *seen = &oracle.seen[machine->number];
    const struct member *member = node_member(machine->node);
    uint64_t applied, term;

    seen->id = node_identity(machine->node)->member_id;
    seen->first_index = member->entries.first_index;
    begin_behind(&seen->durable, seen->first_index - 1);
    for (uint64_t i = member->entries.first_index; i <= member->durable_index; i++)
        set_term(&seen->durable, i, entries_term(&member->entries, i));
    state_applied(machine->node->state, &applied, &term);
    must(applied <= model_last(), "%s has applied %" PRIu64 ", which nobody had", machine->name,
         applied);
    check_log_below_state(machine, member, applied);
    if (applied > 0)
        look_at_state(machine);
    record("%s has entries up to %" PRIu64 ", applied %" PRIu64, machine->name,
           member->entries.last_index, applied);
}

void oracle_died(struct machine *machine) {
    struct seen *seen = &oracle.seen[machine->number];

    seen->log.last = 0;
    seen->leads = 0;
    seen->committed = 0;
    seen->term = 0;
}

void oracle_fatal(struct machine *machine, const char *reason) {
    must(machine->disk_trouble, "%s can't go on: %s", machine->name, reason);
}

void oracle_refused(const struct machine *from, const struct machine *to, const char *reason) {
    /* A joiner has said hello before it belonged to a cluster; the next hello says better. */
    must(strcmp(reason, "the sender belongs to no cluster") == 0,
         "%s calls a message from %s a breach of the protocol: %s", to->name, from->name, reason);
}

void oracle_init(void) {
    grow_facts();
}

/* ---- the whole ---- */

uint64_t oracle_committed(void) {
    return oracle.committed.last;
}

const struct oracle_figures *oracle_figures(void) {
    return &oracle.figures;
}

struct machine *oracle_leader(void) {
    struct machine *leader = NULL;
    uint64_t highest = 0;

    for (unsigned i = 1; i <= machine_count; i++) {
        struct member_view view;

        if (!machine_up(&machines[i]))
            continue;
        member_get_view(node_member(machines[i].node), &view);
        if (view.serving && view.term > highest) {
            leader = &machines[i];
            highest = view.term;
        }
    }
    return leader;
}

bool oracle_agree(void) {
    const struct machine *leader = oracle_leader();
    const struct configuration *configuration;

    if (!leader)
        return false;
    configuration = member_configuration(node_member(leader->node));
    for (size_t i = 0; i < configuration->count; i++) {
        const struct machine *machine = machine_of_address(configuration->servers[i].peer_address);
        uint64_t applied, term;

        if (!machine || !machine_up(machine) ||
            node_identity(machine->node)->member_id != configuration->servers[i].id)
            return false;
        state_applied(machine->node->state, &applied, &term);
        if (applied != oracle.committed.last)
            return false;
    }
    return true;
}
