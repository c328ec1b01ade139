/* Where a call is carried out: here, at the leader, or not yet. */
#include "base/memory.h"
#include "service/internal.h"

enum where {
    NOWHERE,   /* no leader is known, or it is out of reach */
    HERE_SOON, /* this member is leader, but may not serve yet */
    HERE,
    THERE, /* at the leader that view->leader names */
};

static enum where where_now(struct service *service, struct member_view *ret_view) {
    member_get_view(service->member, ret_view);
    if (ret_view->state == MEMBER_LEADER)
        return ret_view->serving ? HERE : HERE_SOON;
    if (ret_view->leader == 0 || ret_view->leader == ret_view->id ||
        !service->host->linked(service->host, ret_view->leader) ||
        forward_is_leaving(service, ret_view->leader))
        return NOWHERE;
    return THERE;
}

void route_arm_retry(struct service *service) {
    if (service->retry_at == UINT64_MAX)
        service->retry_at = service->host->now(service->host) + RETRY_MS;
}

void route_wait(struct call *call) {
    struct service *service = call->service;

    call->stage = CALL_WAITING;
    list_append(call->from ? &service->waiting_forwarded : &service->waiting, &call->link);
    route_arm_retry(service);
}

static void refuse_forwarded(struct call *call) {
    call_fail_with(call, ERROR_NOT_LEADER, "Member %s is not the leader; nothing happened.",
                   call->service->identity->name);
}

/* What is refused for want of room is so at once: without room this leader may never serve. */
static bool is_refused(const struct call *call, const struct member_view *view) {
    return call->kind->grows && view->growth_refused;
}

static void go(struct call *call, enum where where, const struct member_view *view) {
    if (where == HERE || (where == HERE_SOON && is_refused(call, view)))
        call->kind->execute(call);
    else if (call->from && where != HERE_SOON)
        refuse_forwarded(call); /* at most one hop */
    else if (where == THERE)
        forward_call(call, view->leader);
    else
        route_wait(call);
}

void route_call(struct call *call) {
    struct member_view view;
    enum where where = where_now(call->service, &view);

    go(call, where, &view);
}

void route_call_again(struct call *call, uint64_t refused_by) {
    struct member_view view;
    enum where where = where_now(call->service, &view);

    call->stage = CALL_ROUTING;
    if (call->from) {
        refuse_forwarded(call);
        return;
    }
    /* Whoever refused takes longer to notice than we do, or the other way round: not at once, then.
     */
    if ((where == HERE && refused_by == view.id) || (where == THERE && refused_by == view.leader))
        where = NOWHERE;
    go(call, where, &view);
}

static void go_all(struct list *waiting, enum where where, const struct member_view *view) {
    struct list calls, *element;

    list_init(&calls);
    list_move(&calls, waiting);
    while ((element = list_pop(&calls))) {
        struct call *call = container_of(element, struct call, link);

        call->stage = CALL_ROUTING;
        go(call, where, view);
    }
}

void route_waiting(struct service *service) {
    struct member_view view;
    enum where where = where_now(service, &view);

    forward_recall_reads(service, where == THERE ? view.leader : 0);
    forward_give_up_writes(service);
    if (where != HERE_SOON || view.growth_refused)
        go_all(&service->waiting_forwarded, where, &view);
    if (where == HERE || where == THERE || view.growth_refused)
        go_all(&service->waiting, where, &view);
    if (!list_empty(&service->waiting) || !list_empty(&service->waiting_forwarded) ||
        !list_empty(&service->forwards.reads) || !list_empty(&service->forwards.writes))
        route_arm_retry(service);
}
