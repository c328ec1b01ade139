/* Measures an etcd cluster in the same way as raftkv-bench measures ours, to compare the two. */
#include <errno.h>
#include <stdlib.h>

#include "bench/etcd.pb-c.h"
#include "bench/grpc.h"
#include "bench/options.h"
#include "bench/report.h"

#define DEFAULT_ENDPOINT "127.0.0.1:2379"
static const char path_put[] = "/etcdserverpb.KV/Put";
static const char path_range[] = "/etcdserverpb.KV/Range";

struct session {
    struct connection *connection;
    struct grpc_session *grpc;
};

/* A read that finds nothing succeeds in etcd; it counts as an error, as in raftkv. */
static unsigned check_range(const uint8_t *message, size_t size) {
    Etcdserverpb__RangeResponse *response;
    unsigned code;

    response = etcdserverpb__range_response__unpack(NULL, size, message);
    if (!response)
        return GRPC_NO_STATUS;
    code = response->n_kvs > 0 ? GRPC_OK : GRPC_NOT_FOUND;
    etcdserverpb__range_response__free_unpacked(response, NULL);
    return code;
}

static void complete(void *data, const char *path, unsigned client, unsigned code,
                     const uint8_t *message, size_t size) {
    struct session *session = data;

    if (code == GRPC_OK && path == path_range)
        code = check_range(message, size);
    connection_complete(session->connection, client, code);
}

static void *session_new(struct connection *connection) {
    struct session *session = xcalloc(1, sizeof *session);

    session->connection = connection;
    session->grpc = grpc_session_new("etcd", complete, session);
    return session;
}

static void session_free(void *data) {
    struct session *session = data;

    grpc_session_free(session->grpc);
    free(session);
}

static ProtobufCBinaryData bytes(const uint8_t *data, size_t size) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = size};
}

static int submit(void *data, unsigned client, const struct operation *operation) {
    struct session *session = data;

    if (operation->get) {
        Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;

        range.key = bytes(operation->key, operation->key_size);
        range.serializable = operation->stale;
        etcdserverpb__range_request__pack(
            &range, grpc_begin(session->grpc, path_range, client,
                               etcdserverpb__range_request__get_packed_size(&range)));
    } else {
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

        put.key = bytes(operation->key, operation->key_size);
        put.value = bytes(operation->value, operation->value_size);
        etcdserverpb__put_request__pack(
            &put, grpc_begin(session->grpc, path_put, client,
                             etcdserverpb__put_request__get_packed_size(&put)));
    }
    return grpc_submit(session->grpc);
}

static int receive(void *data, const uint8_t *input, size_t size) {
    return grpc_receive(((struct session *)data)->grpc, input, size);
}

static int flush(void *data) {
    struct session *session = data;

    return grpc_flush(session->grpc, connection_output(session->connection));
}

static const struct protocol etcd_protocol = {
    .error_name = grpc_code_name,
    .session_new = session_new,
    .session_free = session_free,
    .submit = submit,
    .receive = receive,
    .flush = flush,
};

int main(int argc, char **argv) {
    struct bench_options options;
    int status, r;

    r = bench_options_parse(&options, "etcd-bench", DEFAULT_ENDPOINT, false, argc, argv);
    if (r != 0)
        status = r < 0 ? 2 : 0;
    else
        status = bench_main(&options, &etcd_protocol);
    bench_options_deinit(&options);
    return status;
}
