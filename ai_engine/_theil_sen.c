/* Exact Theil-Sen slopes of sliding windows, in O(n + moved ranks) a step.
 *
 * The slope of points i < j lies below t exactly where y_j - t j < y_i - t i: the number of slopes below t is the
 * number of inversions of the points sorted by z = y - t x (Cole, Salowe, Steiger, Szemeredi 1989, "An optimal-time
 * algorithm for slope selection"). A window keeps its points sorted by z at one t near the median, and that number. A
 * new candle removes one point and adds one; their places in the order correct the number. Then t is swept to the
 * median's other side: every pair that changes places while the points are sorted anew is a slope between the two
 * values of t, so the pairs met on the way are the candidates, and the median is selected among them by its exact
 * value.
 *
 * Rounding: every candidate is compared by (y_j - y_i) / (j - i) in double, as an evaluation of all pairs would. z is
 * rounded, so a pair may change places up to `slack` too early or too late; the result is taken only if it lies
 * further than that inside the swept range, which proves it the median of all pairs, bit for bit. Else the range is
 * widened, and at last all pairs are evaluated. Nothing is accumulated in floating point, so there is no drift.
 *
 * Points with equal z are ordered by x, which makes the inversions of the order exactly the pairs with z_j < z_i.
 * At t = 0 z is y itself, without rounding: a window whose median slope is exactly 0 (a market that stands still) is
 * recognised by counting and never swept.
 *
 * Plain C99 and libc alone, called through ctypes; compile without value-changing optimisations.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { MAX_SWEEPS = 64, MARGIN_RANKS = 8 };

typedef struct {
    int64_t size;     /* points a full window has */
    int64_t filled;   /* points there are */
    int64_t inverted; /* pairs whose slope lies below t */
    int64_t equal;    /* pairs with equal z; kept at t = 0 alone */
    double t;
    double density;   /* slopes per unit of t, as met in the last sweep; 0 = unknown */
    double largest;   /* |y| there has ever been */
    int64_t x_next;
} Window;

/* Behind the header, by position in the order of z: the points' y, `size` doubles, and x, `size` int32. z itself is not
 * kept: a lane's memory comes from far away, and y - t x costs less than fetching it. */
static double *ys(Window *w) { return (double *)(w + 1); }
static int32_t *xs(Window *w) { return (int32_t *)(ys(w) + w->size); }
static double z_of(double y, double t, int32_t x) { return y - t * (double)x; }

/* Bytes of one window of `size` points; a multiple of 8. */
int64_t ts_window_bytes(int64_t size) { return (int64_t)sizeof(Window) + size * 8 + (size * 4 + 7) / 8 * 8; }

/* Doubles of scratch that any call on windows of `size` points needs: z behind a sentinel, all slopes and one more. */
int64_t ts_scratch_doubles(int64_t size) { return 1 + size + size * (size - 1) / 2 + 1; }

static void empty(Window *w, int64_t size) {
    memset(w, 0, sizeof *w);
    w->size = size;
}

/* How many points have a z below the value, or not above it. */
static int64_t count_below(Window *w, double value, int or_equal) {
    const double *y = ys(w), t = w->t;
    const int32_t *x = xs(w);
    int64_t from = 0, count = w->filled;
    while (count > 0) {
        int64_t half = (count + 1) / 2, probe = from + half - 1;
        double z = z_of(y[probe], t, x[probe]);
        from += (or_equal ? z <= value : z < value) ? half : 0;
        count -= half;
    }
    return from;
}

static void drop_oldest(Window *w) {
    double *y = ys(w);
    int32_t *x = xs(w), oldest = (int32_t)(w->x_next - w->size);
    int64_t at = 0;
    while (x[at] != oldest) at++;
    /* At t = 0 z is y; the oldest has the smallest x, so it is the first of its equals. */
    for (int64_t p = at + 1; w->t == 0 && p < w->filled && y[p] == y[at]; p++) w->equal--;
    w->inverted -= at;
    w->filled--;
    memmove(y + at, y + at + 1, (size_t)(w->filled - at) * sizeof *y);
    memmove(x + at, x + at + 1, (size_t)(w->filled - at) * sizeof *x);
}

static void add_newest(Window *w, double newest) {
    double *y = ys(w), value = z_of(newest, w->t, (int32_t)w->x_next);
    int32_t *x = xs(w);
    int64_t at = count_below(w, value, 1);
    if (fabs(newest) > w->largest) w->largest = fabs(newest);
    if (w->t == 0) w->equal += at - count_below(w, value, 0);
    w->inverted += w->filled - at;
    memmove(y + at + 1, y + at, (size_t)(w->filled - at) * sizeof *y);
    memmove(x + at + 1, x + at, (size_t)(w->filled - at) * sizeof *x);
    y[at] = newest;
    x[at] = (int32_t)w->x_next++;
    w->filled++;
}

/* Move to another t; write the slope of every pair that changes places to met[], return how many did. z is scratch,
 * with a place before it. Returns -1 where they were more than `room`, of which met[] holds one more; the order is
 * whole all the same. */
static int64_t sweep(Window *w, double t, double *restrict z, double *restrict met, int64_t room) {
    double *restrict y = ys(w);
    int32_t *restrict x = xs(w);
    int64_t count = w->filled, moved = 0, change = 0, equal = 0, run = 0;
    for (int64_t p = 0; p < count; p++) z[p] = z_of(y[p], t, x[p]);
    z[-1] = -INFINITY;
    for (int64_t p = 1; p < count; p++) {
        double z_here = z[p];
        int64_t q = p - 1;
        if (z[q] < z_here) continue;
        double y_here = y[p];
        int32_t x_here = x[p];
        while (z[q] > z_here || (z[q] == z_here && x[q] > x_here)) {
            int32_t distance = x[q] - x_here;
            met[moved < room ? moved : room] = (y[q] - y_here) / (double)distance;
            moved++;
            change += distance < 0;
            z[q + 1] = z[q];
            y[q + 1] = y[q];
            x[q + 1] = x[q];
            q--;
        }
        z[q + 1] = z_here;
        y[q + 1] = y_here;
        x[q + 1] = x_here;
    }
    for (int64_t p = 1; p < count && t == 0; p++) {
        run = z[p] == z[p - 1] ? run + 1 : 0;
        equal += run;
    }
    w->t = t;
    w->inverted += 2 * change - moved;
    w->equal = equal;
    return moved <= room ? moved : -1;
}

/* Count x from the oldest point again, so that z keeps its precision however long the stream. */
static void rebase(Window *w, double *z, double *met, int64_t room) {
    int32_t oldest = (int32_t)(w->x_next - w->size);
    for (int64_t p = 0; p < w->size; p++) xs(w)[p] -= oldest;
    w->x_next -= oldest;
    sweep(w, w->t, z, met, room);
}

/* Move what is below the pivot (or, with equal, what is not above it) to the front; return how many that are. */
static int64_t partition(double *v, int64_t count, double pivot, int equal) {
    int64_t front = 0;
    for (int64_t i = 0; i < count; i++) {
        double value = v[i];
        v[i] = v[front];
        v[front] = value;
        front += equal ? value <= pivot : value < pivot;
    }
    return front;
}

static double middle_of(double a, double b, double c) {
    return a < b ? (b < c ? b : (a < c ? c : a)) : (a < c ? a : (b < c ? c : b));
}

/* Put the k-th smallest (from 0) in its place, smaller ones before it, larger ones behind it. Equal values in any
 * number cost two passes. */
static double select_kth(double *v, int64_t count, int64_t k) {
    for (;;) {
        if (count == 1) return v[0];
        double pivot = middle_of(v[0], v[count / 2], v[count - 1]);
        int64_t below = partition(v, count, pivot, 0);
        if (k < below) {
            count = below;
            continue;
        }
        v += below;
        k -= below;
        count -= below;
        int64_t same = partition(v, count, pivot, 1);
        if (k < same) return pivot;
        v += same;
        k -= same;
        count -= same;
    }
}

/* The k-th and, where two are wanted, the (k + 1)-th smallest. */
static void select_middle(double *v, int64_t count, int64_t k, int two, double *lower, double *upper) {
    *lower = *upper = select_kth(v, count, k);
    if (two) {
        double least = v[k + 1];
        for (int64_t i = k + 2; i < count; i++) least = v[i] < least ? v[i] : least;
        *upper = least;
    }
}

/* How far a slope may be from t and its pair still stand on the wrong side: z is rounded twice for each point, the
 * slope itself three times; bounded generously. */
static double slack(const Window *w, double t) {
    return 0x1p-49 * (w->largest + (fabs(t) + fabs(w->t)) * (double)(w->x_next + 1)) + 0x1p-1000;
}

static double all_pairs(Window *w, double *scratch) {
    const double *y = ys(w);
    const int32_t *x = xs(w);
    int64_t pairs = 0;
    for (int64_t i = 0; i < w->filled; i++)
        for (int64_t j = i + 1; j < w->filled; j++) scratch[pairs++] = (y[j] - y[i]) / (double)(x[j] - x[i]);
    double lower, upper;
    select_middle(scratch, pairs, (pairs - 1) / 2, pairs % 2 == 0, &lower, &upper);
    return 0.5 * (lower + upper);
}

/* How far to go on the way to a count of slopes below t that is `missing` ranks away: as the density says, eight times
 * further with every vain attempt. */
static double stride(const Window *w, int64_t missing, double least, int vain) {
    double step = w->density > 0 ? (1.2 * (double)missing + MARGIN_RANKS) / w->density : 0.0;
    double shortest = 0x1p-44 * fabs(w->t);
    if (step < shortest) step = shortest;
    return ldexp(step > least ? step : least, 3 * vain);
}

/* Sweep up until more than `rank` slopes lie below t, or down until at most `rank` do; return the slopes met. */
static int64_t sweep_past(Window *w, int up, int64_t rank, double *z, double *met, int64_t room) {
    int64_t total = 0;
    for (int vain = 0; vain < MAX_SWEEPS && (up ? w->inverted <= rank : w->inverted > rank);) {
        double from = w->t, least = 2 * slack(w, from), side = up ? -1.0 : 1.0;
        double to = from - side * stride(w, up ? rank + 1 - w->inverted : w->inverted - rank, least, vain);
        /* In a market that stands still most slopes are exactly 0: stop before them. */
        int stops = side * from > 2 * least && side * to < least;
        if (stops) to = side * least; else vain++;
        int64_t moved = sweep(w, to, z, met + total, room - total);
        if (moved < 0) return -1;
        if (moved >= MARGIN_RANKS) {
            double found = (double)moved / fabs(to - from);
            /* A crowd of equal slopes says little about its surroundings. */
            int crowded = moved > 4 * w->size && w->density > 0 && found > 4 * w->density;
            w->density = crowded ? 4 * w->density : found;
        }
        total += moved;
    }
    return total;
}

/* The median slope of a full window that is in order. */
static double median(Window *w, double *scratch) {
    int64_t pairs = w->size * (w->size - 1) / 2, k1 = (pairs - 1) / 2, k2 = pairs / 2;
    double *z = scratch + 1, *met = z + w->size;
    if (w->x_next > 4 * w->size) rebase(w, z, met, pairs);
    if (w->t == 0 && w->inverted <= k1 && k2 < w->inverted + w->equal) return 0.0;
    /* A range that is to hold both middle ranks must begin on one side of both. */
    if (w->inverted > k1 && w->inverted <= k2) sweep_past(w, 1, k2, z, met, pairs);
    int up = w->inverted <= k1;
    double start = w->t;
    int64_t below_start = w->inverted;
    int64_t found = sweep_past(w, up, up ? k2 : k1, z, met, pairs);
    for (int attempt = 0; attempt < MAX_SWEEPS; attempt++) {
        /* A pair that changed places against the direction: what was met is not what lies between. */
        if (found != (up ? w->inverted - below_start : below_start - w->inverted)) break;
        int64_t below = up ? below_start : w->inverted;
        double from = up ? start : w->t, to = up ? w->t : start, lower, upper;
        if (below > k1 || below + found <= k2) break;
        select_middle(met, found, k1 - below, k2 != k1, &lower, &upper);
        double least = slack(w, fmax(fabs(from), fabs(to)));
        if (lower - from > least && to - upper > least) {
            if (lower == 0 && upper == 0) sweep(w, 0.0, z, met, pairs);
            return 0.5 * (lower + upper) + 0.0;
        }
        /* Too near an end to be sure: move this end out, then turn round and go on past the far end. */
        double wider = ldexp(4 * least, attempt);
        double low = fmin(from, lower - wider), high = fmax(to, upper + wider);
        sweep(w, up ? high : low, z, met, pairs);
        start = w->t;
        below_start = w->inverted;
        found = sweep(w, up ? low : high, z, met, pairs);
        up = !up;
    }
    return all_pairs(w, scratch);
}

/* Put a window whose points came in by time into order, at a t from slopes over half the window: they lie about the
 * median, closer than most. */
static void settle(Window *w, double *scratch) {
    int64_t size = w->size, half = size / 2, count = size - half;
    double *y = scratch + count;
    memcpy(y, ys(w), (size_t)size * sizeof *y);
    for (int64_t i = 0; i < count; i++) scratch[i] = (y[i + half] - y[i]) / (double)half;
    double low = select_kth(scratch, count, count / 4), high = select_kth(scratch, count, count - 1 - count / 4);
    empty(w, size);
    w->t = select_kth(scratch, count, count / 2);
    w->density = high > low ? 0.25 * (double)(size * (size - 1)) / (high - low) : 0.0;
    for (int64_t i = 0; i < size; i++) add_newest(w, y[i]);
}

static double push(Window *w, double y, double *scratch) {
    if (w->filled == w->size) {
        drop_oldest(w);
        add_newest(w, y);
    } else {
        ys(w)[w->filled++] = y;
        if (w->filled < w->size) return NAN;
        settle(w, scratch);
    }
    return median(w, scratch);
}

/* What the caller must find here, or not use it: a build of another source. */
int64_t ts_version(void) { return 6; }

/* Make `count` empty windows of `size` points. */
void ts_clear(char *windows, int64_t count, int64_t size) {
    for (int64_t i = 0; i < count; i++) empty((Window *)(windows + i * ts_window_bytes(size)), size);
}

/* Empty window `lane` and add y[length] to it, without asking for medians. */
void ts_fill(char *windows, int64_t size, int64_t lane, const double *y, int64_t length, double *scratch) {
    Window *w = (Window *)(windows + lane * ts_window_bytes(size));
    empty(w, size);
    int64_t first = length > size ? length - size : 0;
    for (int64_t i = first; i < length; i++) ys(w)[w->filled++] = y[i];
    if (w->filled == size) settle(w, scratch);
}

/* Add y[i] to window lanes[i]; out[i] is its median slope, NaN while it is not full. A lane stands there once. */
void ts_push(char *windows, int64_t size, const int64_t *lanes, const double *y, int64_t count, double *out,
             double *scratch) {
    int64_t bytes = ts_window_bytes(size);
    for (int64_t i = 0; i < count; i++) out[i] = push((Window *)(windows + lanes[i] * bytes), y[i], scratch);
}

/* The median slope of every window of `size` neighbours among y[length]; out[length - size + 1]. */
void ts_slide(char *window, int64_t size, const double *y, int64_t length, double *out, double *scratch) {
    Window *w = (Window *)window;
    empty(w, size);
    for (int64_t i = 0; i < length; i++) {
        double slope = push(w, y[i], scratch);
        if (i + 1 >= size) out[i + 1 - size] = slope;
    }
}
