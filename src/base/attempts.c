#include "base/attempts.h"

#include "base/limits.h"

bool attempts_failed(struct attempts *attempts, uint64_t now, enum error_code code) {
    uint64_t pause = 0;

    attempts->not_before = now;
    if (code == ERROR_BUSY || code == ERROR_NOT_LEADER || code == ERROR_NO_LEADER)
        return false;
    if (code == ERROR_UNAVAILABLE || code == ERROR_TIMEOUT) {
        pause = attempts->pause ? attempts->pause * 2 : UNREACHED_MS;
        if (pause > UNREACHED_MAX_MS)
            pause = UNREACHED_MAX_MS;
    }
    attempts->pause = pause;
    attempts->not_before += pause;
    return true;
}
