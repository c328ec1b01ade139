/*
 * The methods of Berkeley DB's handles that raftkv calls, exchanged when a handle is made. Each
 * handle of a type has the same ones, so the library's own are kept once.
 */
#include "failing_calls.h"

#include <db.h>
#include <stddef.h>
#include <sys/types.h>

/* A method that does nothing when it fails. */
#define METHOD(type, method, parameters, arguments)                      \
    static __typeof__(((type *)NULL)->method) type##_##method##_library; \
    static int type##_##method parameters {                              \
        int r = failing_call(FAILING_LIBRARY, #type "->" #method);       \
                                                                         \
        return r ? r : type##_##method##_library arguments;              \
    }

/* The same, of a method that makes a handle, whose methods are exchanged. */
#define MAKING_METHOD(type, method, parameters, arguments, exchange)     \
    static __typeof__(((type *)NULL)->method) type##_##method##_library; \
    static int type##_##method parameters {                              \
        int r = failing_call(FAILING_LIBRARY, #type "->" #method);       \
                                                                         \
        if (r == 0)                                                      \
            r = type##_##method##_library arguments;                     \
        if (r == 0)                                                      \
            exchange(*ret);                                              \
        return r;                                                        \
    }

/* A method behind which the handle is gone, also when it fails. */
#define LAST_METHOD(type, method, parameters, arguments)                  \
    static __typeof__(((type *)NULL)->method) type##_##method##_library;  \
    static int type##_##method parameters {                               \
        int r = type##_##method##_library arguments;                      \
                                                                          \
        return r ? r : failing_call(FAILING_LIBRARY, #type "->" #method); \
    }

#define EXCHANGE(handle, type, exchanged)                   \
    do {                                                    \
        if ((handle)->exchanged == type##_##exchanged)      \
            break;                                          \
        type##_##exchanged##_library = (handle)->exchanged; \
        (handle)->exchanged = type##_##exchanged;           \
    } while (0)

/* ---- cursors and transactions ---- */

METHOD(DBC, get, (DBC * cursor, DBT *key, DBT *data, u_int32_t flags), (cursor, key, data, flags))
METHOD(DBC, del, (DBC * cursor, u_int32_t flags), (cursor, flags))
LAST_METHOD(DBC, close, (DBC * cursor), (cursor))

static void exchange_cursor(DBC *cursor) {
    EXCHANGE(cursor, DBC, get);
    EXCHANGE(cursor, DBC, del);
    EXCHANGE(cursor, DBC, close);
}

METHOD(DB_LOGC, get, (DB_LOGC * cursor, DB_LSN *lsn, DBT *data, u_int32_t flags),
       (cursor, lsn, data, flags))
LAST_METHOD(DB_LOGC, close, (DB_LOGC * cursor, u_int32_t flags), (cursor, flags))

static void exchange_log_cursor(DB_LOGC *cursor) {
    EXCHANGE(cursor, DB_LOGC, get);
    EXCHANGE(cursor, DB_LOGC, close);
}

LAST_METHOD(DB_TXN, abort, (DB_TXN * transaction), (transaction))

/* A commit that fails has undone the transaction. */
static __typeof__(((DB_TXN *)NULL)->commit) DB_TXN_commit_library;
static int DB_TXN_commit(DB_TXN *transaction, u_int32_t flags) {
    int r = failing_call(FAILING_LIBRARY, "DB_TXN->commit");

    if (r == 0)
        return DB_TXN_commit_library(transaction, flags);
    DB_TXN_abort_library(transaction);
    return r;
}

static void exchange_transaction(DB_TXN *transaction) {
    EXCHANGE(transaction, DB_TXN, commit);
    EXCHANGE(transaction, DB_TXN, abort);
}

/* ---- trees ---- */

METHOD(DB, open,
       (DB * tree, DB_TXN *transaction, const char *file, const char *name, DBTYPE type,
        u_int32_t flags, int mode),
       (tree, transaction, file, name, type, flags, mode))
METHOD(DB, set_pagesize, (DB * tree, u_int32_t size), (tree, size))
METHOD(DB, set_flags, (DB * tree, u_int32_t flags), (tree, flags))
METHOD(DB, get, (DB * tree, DB_TXN *transaction, DBT *key, DBT *data, u_int32_t flags),
       (tree, transaction, key, data, flags))
METHOD(DB, put, (DB * tree, DB_TXN *transaction, DBT *key, DBT *data, u_int32_t flags),
       (tree, transaction, key, data, flags))
METHOD(DB, del, (DB * tree, DB_TXN *transaction, DBT *key, u_int32_t flags),
       (tree, transaction, key, flags))
METHOD(DB, exists, (DB * tree, DB_TXN *transaction, DBT *key, u_int32_t flags),
       (tree, transaction, key, flags))
METHOD(DB, key_range,
       (DB * tree, DB_TXN *transaction, DBT *key, DB_KEY_RANGE *range, u_int32_t flags),
       (tree, transaction, key, range, flags))
METHOD(DB, stat, (DB * tree, DB_TXN *transaction, void *ret, u_int32_t flags),
       (tree, transaction, ret, flags))
MAKING_METHOD(DB, cursor, (DB * tree, DB_TXN *transaction, DBC **ret, u_int32_t flags),
              (tree, transaction, ret, flags), exchange_cursor)
LAST_METHOD(DB, close, (DB * tree, u_int32_t flags), (tree, flags))
LAST_METHOD(DB, verify, (DB * tree, const char *file, const char *name, FILE *out, u_int32_t flags),
            (tree, file, name, out, flags))

int __real_db_create(DB **ret, DB_ENV *environment, u_int32_t flags);
int __wrap_db_create(DB **ret, DB_ENV *environment, u_int32_t flags);

int __wrap_db_create(DB **ret, DB_ENV *environment, u_int32_t flags) {
    int r = failing_call(FAILING_LIBRARY, "db_create");

    if (r == 0)
        r = __real_db_create(ret, environment, flags);
    if (r != 0)
        return r;
    EXCHANGE(*ret, DB, open);
    EXCHANGE(*ret, DB, set_pagesize);
    EXCHANGE(*ret, DB, set_flags);
    EXCHANGE(*ret, DB, get);
    EXCHANGE(*ret, DB, put);
    EXCHANGE(*ret, DB, del);
    EXCHANGE(*ret, DB, exists);
    EXCHANGE(*ret, DB, key_range);
    EXCHANGE(*ret, DB, stat);
    EXCHANGE(*ret, DB, cursor);
    EXCHANGE(*ret, DB, close);
    EXCHANGE(*ret, DB, verify);
    return 0;
}

/* ---- environments ---- */

METHOD(DB_ENV, set_lg_filemode, (DB_ENV * environment, int mode), (environment, mode))
/* A little data is to fill a file of a log, and the caches of stages and of what snapshots keep
 * aside, which have no log. A state's cache must have a page to undo things with. */
enum { CACHE_SIZE = 128 * 1024, CACHE_SIZE_WITHOUT_LOG = 40 * 1024, LOG_FILE_SIZE = 64 * 1024 };

static u_int32_t at_most(u_int32_t size, u_int32_t limit) {
    return size < limit ? size : limit;
}

METHOD(DB_ENV, set_cachesize,
       (DB_ENV * environment, u_int32_t gigabytes, u_int32_t bytes, int parts),
       (environment, gigabytes, at_most(bytes, CACHE_SIZE), parts))
METHOD(DB_ENV, set_lg_max, (DB_ENV * environment, u_int32_t size),
       (environment, at_most(size, LOG_FILE_SIZE)))
METHOD(DB_ENV, set_lg_bsize, (DB_ENV * environment, u_int32_t size),
       (environment, at_most(size, LOG_FILE_SIZE / 4)))
METHOD(DB_ENV, set_flags, (DB_ENV * environment, u_int32_t flags, int on), (environment, flags, on))
METHOD(DB_ENV, log_set_config, (DB_ENV * environment, u_int32_t flags, int on),
       (environment, flags, on))
METHOD(DB_ENV, set_mp_max_write, (DB_ENV * environment, int pages, db_timeout_t pause),
       (environment, pages, pause))
METHOD(DB_ENV, set_tmp_dir, (DB_ENV * environment, const char *path), (environment, path))

static __typeof__(((DB_ENV *)NULL)->open) DB_ENV_open_library;
static int DB_ENV_open(DB_ENV *environment, const char *home, u_int32_t flags, int mode) {
    int r = failing_call(FAILING_LIBRARY, "DB_ENV->open");

    if (r == 0 && !(flags & DB_INIT_LOG))
        r = DB_ENV_set_cachesize_library(environment, 0, CACHE_SIZE_WITHOUT_LOG, 1);
    return r ? r : DB_ENV_open_library(environment, home, flags, mode);
}

METHOD(DB_ENV, log_put, (DB_ENV * environment, DB_LSN *ret, const DBT *data, u_int32_t flags),
       (environment, ret, data, flags))
METHOD(DB_ENV, log_flush, (DB_ENV * environment, const DB_LSN *lsn), (environment, lsn))
METHOD(DB_ENV, log_stat, (DB_ENV * environment, DB_LOG_STAT **ret, u_int32_t flags),
       (environment, ret, flags))
MAKING_METHOD(DB_ENV, log_cursor, (DB_ENV * environment, DB_LOGC **ret, u_int32_t flags),
              (environment, ret, flags), exchange_log_cursor)
MAKING_METHOD(DB_ENV, txn_begin,
              (DB_ENV * environment, DB_TXN *parent, DB_TXN **ret, u_int32_t flags),
              (environment, parent, ret, flags), exchange_transaction)
METHOD(DB_ENV, txn_checkpoint,
       (DB_ENV * environment, u_int32_t kilobytes, u_int32_t minutes, u_int32_t flags),
       (environment, kilobytes, minutes, flags))
LAST_METHOD(DB_ENV, close, (DB_ENV * environment, u_int32_t flags), (environment, flags))

int __real_db_env_create(DB_ENV **ret, u_int32_t flags);
int __wrap_db_env_create(DB_ENV **ret, u_int32_t flags);

int __wrap_db_env_create(DB_ENV **ret, u_int32_t flags) {
    int r = failing_call(FAILING_LIBRARY, "db_env_create");

    if (r == 0)
        r = __real_db_env_create(ret, flags);
    if (r != 0)
        return r;
    EXCHANGE(*ret, DB_ENV, set_lg_bsize);
    EXCHANGE(*ret, DB_ENV, set_lg_max);
    EXCHANGE(*ret, DB_ENV, set_lg_filemode);
    EXCHANGE(*ret, DB_ENV, set_cachesize);
    EXCHANGE(*ret, DB_ENV, set_flags);
    EXCHANGE(*ret, DB_ENV, log_set_config);
    EXCHANGE(*ret, DB_ENV, set_mp_max_write);
    EXCHANGE(*ret, DB_ENV, set_tmp_dir);
    EXCHANGE(*ret, DB_ENV, open);
    EXCHANGE(*ret, DB_ENV, log_put);
    EXCHANGE(*ret, DB_ENV, log_flush);
    EXCHANGE(*ret, DB_ENV, log_stat);
    EXCHANGE(*ret, DB_ENV, log_cursor);
    EXCHANGE(*ret, DB_ENV, txn_begin);
    EXCHANGE(*ret, DB_ENV, txn_checkpoint);
    EXCHANGE(*ret, DB_ENV, close);
    return 0;
}
