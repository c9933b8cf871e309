/* What the formulas of MarketState need of a window of returns, one candle at a time.
 *
 * The returns are kept sorted: a candle takes one out and puts one in. Quantiles and the median are then read off; the
 * median absolute deviation is a selection from two sorted halves. Everything else is evaluated anew, so there is no
 * drift. Every sum is made in the order in which numpy makes it (its pairwise summation), so that the numbers are those
 * of measures.py, bit for bit.
 *
 * Plain C99 and libc alone, called through ctypes; compile without value-changing optimisations.
 */
#include <stdint.h>
#include <string.h>

/* As compiled.py lays it out. */
typedef struct {
    int64_t vol_window, regime_window, vr_k;
    int64_t low_at, high_at;   /* order statistic below each quantile */
    double low_share, high_share; /* how far the quantile lies from there to the next */
    double decay;
    const double *powers; /* decay^vol_window ... decay^0 */
} Params;

typedef struct {
    int64_t filled; /* 0: nothing sorted yet */
    double oldest;  /* the return that leaves next */
} Lane;

enum { MEASURES = 5, SEED_RETURNS = 10 };

static double *sorted_of(Lane *lane) { return (double *)(lane + 1); }

/* Bytes of one lane; a multiple of 8. */
int64_t ms_lane_bytes(int64_t vol_window) { return (int64_t)sizeof(Lane) + vol_window * 8; }

/* numpy's sum of a contiguous array: eight running sums up to 128 values, halves beyond. */
static double pairwise_sum(const double *v, int64_t count) {
    if (count < 8) {
        double sum = 0.0;
        for (int64_t i = 0; i < count; i++) sum += v[i];
        return sum;
    }
    if (count <= 128) {
        double r[8];
        int64_t i;
        memcpy(r, v, sizeof r);
        for (i = 8; i < count - count % 8; i += 8)
            for (int64_t j = 0; j < 8; j++) r[j] += v[i + j];
        double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
        for (; i < count; i++) sum += v[i];
        return sum;
    }
    int64_t half = count / 2;
    half -= half % 8;
    return pairwise_sum(v, half) + pairwise_sum(v + half, count - half);
}

static double variance(const double *v, int64_t count, double *scratch) {
    double mean = pairwise_sum(v, count) / (double)count;
    for (int64_t i = 0; i < count; i++) {
        double away = v[i] - mean;
        scratch[i] = away * away;
    }
    return pairwise_sum(scratch, count) / (double)count;
}

static int64_t first_not_below(const double *v, int64_t count, double value) {
    int64_t from = 0;
    while (count > 0) {
        int64_t half = (count + 1) / 2;
        from += v[from + half - 1] < value ? half : 0;
        count -= half;
    }
    return from;
}

static void insert(double *sorted, int64_t count, double value) {
    int64_t at = first_not_below(sorted, count, value);
    memmove(sorted + at + 1, sorted + at, (size_t)(count - at) * sizeof *sorted);
    sorted[at] = value;
}

static void replace(double *sorted, int64_t count, double leaving, double coming) {
    int64_t at = first_not_below(sorted, count, leaving);
    memmove(sorted + at, sorted + at + 1, (size_t)(count - at - 1) * sizeof *sorted);
    insert(sorted, count - 1, coming);
}

static double quantile(const double *sorted, int64_t count, int64_t at, double share) {
    double lower = sorted[at], upper = sorted[at + 1 < count ? at + 1 : at], step = upper - lower;
    return share < 0.5 ? lower + step * share : upper - step * (1.0 - share);
}

static double clipped(double value, double low, double high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

/* The k-th smallest (from 0) distance from m among sorted values clipped to low ... high; those at `split` and behind
 * are not below m. */
static double kth_distance(const double *sorted, int64_t count, int64_t split, double m, double low, double high,
                           int64_t k) {
#define LEFT(i) (m - clipped(sorted[split - 1 - (i)], low, high))
#define RIGHT(i) (clipped(sorted[split + (i)], low, high) - m)
    int64_t right = count - split, least = k + 1 > right ? k + 1 - right : 0, most = k + 1 < split ? k + 1 : split;
    while (least < most) { /* how many of the k + 1 smallest lie on the left */
        int64_t taken = (least + most) / 2;
        if (LEFT(taken) < RIGHT(k - taken)) least = taken + 1;
        else most = taken;
    }
    double from_left = least > 0 ? LEFT(least - 1) : 0.0, from_right = k - least >= 0 ? RIGHT(k - least) : 0.0;
    return from_left > from_right ? from_left : from_right;
#undef LEFT
#undef RIGHT
}

static double median_deviation(const double *sorted, int64_t count, double low, double high) {
    double m = 0.5 * (clipped(sorted[(count - 1) / 2], low, high) + clipped(sorted[count / 2], low, high));
    int64_t split = m <= low ? 0 : m > high ? count : first_not_below(sorted, count, m);
    double lower = kth_distance(sorted, count, split, m, low, high, (count - 1) / 2);
    double upper = count % 2 ? lower : kth_distance(sorted, count, split, m, low, high, count / 2);
    return 0.5 * (lower + upper);
}

static double ewma_variance(const double *returns, const Params *p, double low, double high, double *scratch) {
    int64_t count = p->vol_window, seed = count < SEED_RETURNS ? count : SEED_RETURNS;
    double first[SEED_RETURNS], away[SEED_RETURNS];
    for (int64_t i = 0; i < count; i++) {
        double value = clipped(returns[i], low, high);
        if (i < seed) first[i] = value;
        scratch[i] = value * value * p->powers[i + 1];
    }
    return p->powers[0] * variance(first, seed, away) + (1.0 - p->decay) * pairwise_sum(scratch, count);
}

static double equal_signs(const double *returns, int64_t count) {
    int64_t equal = 0;
    for (int64_t i = 1; i < count; i++)
        equal += ((returns[i] > 0) == (returns[i - 1] > 0)) & ((returns[i] < 0) == (returns[i - 1] < 0));
    return (double)equal / (double)(count - 1);
}

static void keep_sorted(Lane *lane, const double *returns, int64_t count) {
    double *sorted = sorted_of(lane);
    if (lane->filled) {
        replace(sorted, count, lane->oldest, returns[count - 1]);
    } else {
        for (int64_t i = 0; i < count; i++) insert(sorted, i, returns[i]);
        lane->filled = 1;
    }
    lane->oldest = returns[0];
}

/* Doubles of scratch that ms_push needs for rows of `row` log prices. */
int64_t ms_scratch_doubles(int64_t row) { return 2 * row; }

/* Measure the windows that end at the newest log price of each row; out[5 i ...] = EWMA variance of the winsorised
 * returns, their median absolute deviation, share of equal signs, variance of k-sums, variance of returns.
 *
 * lanes[i]: whose returns they are, each continuing where its last row ended, or after ms_forget anew. Row i begins at
 * rows + i stride and has `row` log prices. */
void ms_push(char *lanes_memory, const Params *p, const int64_t *lanes, const double *rows, int64_t stride, int64_t row,
             int64_t count, double *out, double *scratch) {
    double *returns = scratch, *squares = scratch + row;
    for (int64_t i = 0; i < count; i++, out += MEASURES) {
        const double *logs = rows + i * stride;
        Lane *lane = (Lane *)(lanes_memory + lanes[i] * ms_lane_bytes(p->vol_window));
        const double *sorted = sorted_of(lane);
        for (int64_t j = 0; j + 1 < row; j++) returns[j] = logs[j + 1] - logs[j];
        const double *vol = returns + (row - 1 - p->vol_window), *regime = returns + (row - 1 - p->regime_window);
        keep_sorted(lane, vol, p->vol_window);
        double low = quantile(sorted, p->vol_window, p->low_at, p->low_share);
        double high = quantile(sorted, p->vol_window, p->high_at, p->high_share);
        out[0] = ewma_variance(vol, p, low, high, squares);
        out[1] = median_deviation(sorted, p->vol_window, low, high);
        out[2] = equal_signs(regime, p->regime_window);
        out[4] = variance(regime, p->regime_window, squares);
        /* The returns are done with: their place takes the k-sums, which are differences of log prices. */
        const double *first = logs + (row - 1 - p->regime_window);
        int64_t sums = p->regime_window + 1 - p->vr_k;
        for (int64_t j = 0; j < sums; j++) returns[j] = first[j + p->vr_k] - first[j];
        out[3] = variance(returns, sums, squares);
    }
}

/* Begin a lane anew. */
void ms_forget(char *lanes_memory, int64_t vol_window, int64_t lane) {
    memset(lanes_memory + lane * ms_lane_bytes(vol_window), 0, sizeof(Lane));
}
