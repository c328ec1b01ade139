#include "bus/words.h"

const char *role_word(Raftkv__V1__Role role) {
    switch (role) {
    case RAFTKV__V1__ROLE__ROLE_VOTER:
        return "voter";
    case RAFTKV__V1__ROLE__ROLE_NONVOTER:
        return "non-voter";
    default:
        return "none";
    }
}

const char *state_word(Raftkv__V1__State state) {
    switch (state) {
    case RAFTKV__V1__STATE__STATE_FOLLOWER:
        return "follower";
    case RAFTKV__V1__STATE__STATE_CANDIDATE:
        return "candidate";
    case RAFTKV__V1__STATE__STATE_LEADER:
        return "leader";
    default:
        return "unknown";
    }
}
