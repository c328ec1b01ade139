/* Measures a raftkv cluster. */
#include <stdio.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/limits.h"
#include "bench/options.h"
#include "bench/raftkv_protocol.h"
#include "bench/report.h"
#include "client/transport.h"

#define DEFAULT_ENDPOINT "127.0.0.1:4711"

/* The leader's client address; NULL: there is none, or it gives no address. */
static const char *leader_of(const Raftkv__V1__StatusResponse *status) {
    for (size_t i = 0; i < status->n_members; i++)
        if (status->members[i]->answers &&
            status->members[i]->state == RAFTKV__V1__STATE__STATE_LEADER &&
            address_valid(status->members[i]->client_address))
            return status->members[i]->client_address;
    return NULL;
}

/* Replaces the endpoints by the leader's. */
static int find_leader(struct bench_options *options) {
    uint64_t deadline = transport_now() + REQUEST_TIMEOUT_DEFAULT_MS;
    struct transport *transport =
        transport_tcp_new(options->endpoints, options->endpoints_count, deadline);
    Raftkv__V1__StatusRequest body = RAFTKV__V1__STATUS_REQUEST__INIT;
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__Response *response = NULL;
    struct failure failure = {0};
    const char *leader = NULL;

    body.cluster = true;
    request.body_case = RAFTKV__V1__REQUEST__BODY_STATUS;
    request.status = &body;
    if (transport_call(transport, &request, &response, &failure) != 0)
        fprintf(stderr, "%s: %s\n", options->program, failure.message);
    else if (response->error)
        fprintf(stderr, "%s: %s\n", options->program, response->error->message);
    else if (!(leader = leader_of(response->status)))
        fprintf(stderr, "%s: the cluster has no leader now\n", options->program);
    if (leader) {
        free(options->endpoints_text);
        options->endpoints[0] = options->endpoints_text = xstrdup(leader);
        options->endpoints_count = 1;
    }
    if (response)
        raftkv__v1__response__free_unpacked(response, NULL);
    transport_free(transport);
    return leader ? 0 : -1;
}

int main(int argc, char **argv) {
    struct bench_options options;
    int status, r;

    r = bench_options_parse(&options, "raftkv-bench", DEFAULT_ENDPOINT, true, argc, argv);
    if (r != 0)
        status = r < 0 ? 2 : 0;
    else if (options.leader && find_leader(&options) < 0)
        status = 1;
    else
        status = bench_main(&options, &raftkv_protocol);
    bench_options_deinit(&options);
    return status;
}
