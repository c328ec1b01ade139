/*
 * histogram: how often each latency was seen, in buckets whose width is 1/128 of their value, so
 * that a quantile is off by less than 1 % however far the values are spread (the idea is that of
 * HdrHistogram).
 */
#pragma once

#include <stdint.h>

enum {
    HISTOGRAM_STEPS_BITS = 7, /* 128 buckets for each power of two */
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEPS_BITS + 1) << HISTOGRAM_STEPS_BITS,
};

/* Zero-initialised is empty. */
struct histogram {
    uint64_t count;
    uint64_t max;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);
/* The value that this part (0 to 1) of all are not above; 0 when there are none. Never more than
 * the greatest one. */
uint64_t histogram_quantile(const struct histogram *histogram, double part);
double histogram_mean(const struct histogram *histogram);
