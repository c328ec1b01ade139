#include "base/histogram.h"

enum { STEPS = 1 << HISTOGRAM_STEPS_BITS };

/* Values below 2 * STEPS have a bucket each; above, the highest bits choose it. */
static unsigned bucket_of(uint64_t value) {
    unsigned shift;

    if (value < 2 * STEPS)
        return (unsigned)value;
    shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEPS_BITS;
    return (shift << HISTOGRAM_STEPS_BITS) + (unsigned)(value >> shift);
}

/* The middle of what the bucket holds. */
static uint64_t middle_of(unsigned bucket) {
    unsigned shift;

    if (bucket < 2 * STEPS)
        return bucket;
    shift = (bucket >> HISTOGRAM_STEPS_BITS) - 1;
    return ((uint64_t)(bucket - (shift << HISTOGRAM_STEPS_BITS)) << shift) +
           ((uint64_t)1 << shift) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    histogram->sum += (double)value;
    if (histogram->max < value)
        histogram->max = value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double part) {
    double wanted = part * (double)histogram->count;
    uint64_t seen = 0;

    if (histogram->count == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= wanted)
            return middle_of(i) < histogram->max ? middle_of(i) : histogram->max;
    }
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram) {
    return histogram->count ? histogram->sum / (double)histogram->count : 0;
}
