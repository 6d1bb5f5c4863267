/* The team of team.h. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "team.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"

/* The next piece and how many there are, 16 bits each, behind the number of the offer. */
#define PIECES_BITS 16
#define MOST_PIECES ((1 << PIECES_BITS) - 1)
#define PLACES 64
#define SPIN_NANOSECONDS 20000
#define PAUSES_BEFORE_YIELDING 2000

typedef struct {
    SHARED ALIGN_LINE uint64_t word;
    fbp_piece SHARED function;
    void *SHARED task;
    SHARED ptrdiff_t pieces, at_once;   /* at_once: of all pieces, those that are claimed together */
    SHARED int workers, stop;
    SHARED ALIGN_LINE int done;         /* claims of helpers that are finished */
    /* The caller's own: */
    ALIGN_LINE uint64_t owner;
    int begun;                          /* its claims */
    ptrdiff_t next, last;               /* pieces it has claimed and not begun */
} offer;

static offer offers[PLACES];
static SHARED uint64_t used, open;      /* bits of places */
static SHARED int alarm_count;          /* changes when somebody is to wake up */
static SHARED int asleep, spinning;     /* helpers that have nothing to do */
static SHARED int retiring, n_helpers;
static thread_handle helpers[FBP_MOST_WORKERS];
static mutex starting = MUTEX_INITIAL;

static THREAD_LOCAL fbp_worker me = {0, 0, NULL, 1, 0};

fbp_worker *fbp_me(void) { return &me; }

static uint64_t word_of(uint64_t id, uint64_t next, uint64_t total)
{
    return id << (2 * PIECES_BITS) | next << PIECES_BITS | total;
}

static uint64_t id_of(uint64_t word) { return word >> (2 * PIECES_BITS); }
static uint64_t next_of(uint64_t word) { return word >> PIECES_BITS & MOST_PIECES; }
static uint64_t total_of(uint64_t word) { return word & MOST_PIECES; }

/* Nobody need look there any more. No offer takes the place before the claims of this one are done. */
static void shut(int place) { AND(open, ~((uint64_t)1 << place)); }

/* Do a claim of that place, if there is one left that this helper may have. */
static int help(int place)
{
    offer *o = &offers[place];
    uint64_t word = LOAD(o->word);
    while (next_of(word) < total_of(word)) {
        const fbp_piece function = LOAD_RELAXED(o->function);
        void *task = LOAD_RELAXED(o->task);
        const ptrdiff_t pieces = LOAD_RELAXED(o->pieces), at_once = LOAD_RELAXED(o->at_once);
        const ptrdiff_t first = (ptrdiff_t)next_of(word) * at_once;
        const ptrdiff_t last = pieces - first < at_once ? pieces : first + at_once;
        if (me.number >= LOAD_RELAXED(o->workers)) return 0;
        if (!COMPARE_SWAP(o->word, word, word_of(id_of(word), next_of(word) + 1, total_of(word)))) continue;
        if (next_of(word) + 1 == total_of(word)) shut(place);
        ADD(spinning, -1);
        me.stop = &o->stop;
        for (ptrdiff_t piece = first; piece < last && !LOAD_RELAXED(o->stop); piece++)
            function(task, piece, me.number);
        me.stop = NULL;
        ADD(spinning, 1);
        ADD(o->done, 1);
        return 1;
    }
    return 0;
}

/* Look everywhere once. */
static int look_for_work(void)
{
    int found = 0;
    for (uint64_t left = LOAD(open); left; left &= left - 1) found |= help(LOWEST_BIT(left));
    return found;
}

static thread_result THREAD_CALL helper_main(void *number)
{
    int64_t since;
    me.number = (int)(intptr_t)number;
    me.inside = 1;
    ADD(spinning, 1);
    while (!LOAD(retiring)) {
        if (look_for_work()) continue;
        since = nanoseconds();
        do {
            for (int i = 0; i < 32 && !LOAD_RELAXED(open); i++) PAUSE();
        } while (!LOAD(open) && !LOAD(retiring) && nanoseconds() - since < SPIN_NANOSECONDS);
        if (look_for_work() || LOAD(retiring)) continue;
        /* An offer that is made from here on sees that somebody sleeps, or is seen by the last look. */
        ADD(spinning, -1);
        ADD(asleep, 1);
        const int seen = LOAD(alarm_count);
        if (!LOAD(retiring) && !look_for_work()) sleep_while(&alarm_count, seen);
        ADD(asleep, -1);
        ADD(spinning, 1);
    }
    ADD(spinning, -1);
    return THREAD_RETURN;
}

static void wake(int n)
{
    ADD(alarm_count, 1);
    wake_up(&alarm_count, n);
}

/* Have that many helpers, or as many as can be had without waiting for anybody. */
static void start(int n)
{
    if (n > FBP_MOST_WORKERS - 1) n = FBP_MOST_WORKERS - 1;
    if (LOAD(n_helpers) >= n || !mutex_try(&starting)) return;
    while (n_helpers < n && start_thread(&helpers[n_helpers], helper_main, (void *)(intptr_t)(n_helpers + 1)))
        STORE(n_helpers, n_helpers + 1);
    mutex_leave(&starting);
}

int fbp_open(ptrdiff_t pieces, fbp_piece function, void *task, int workers, int wanted, int wake_them)
{
    uint64_t taken, bit;
    if (wake_them) start(wanted);
    if (LOAD(n_helpers) == 0 || (!wake_them && LOAD(spinning) == 0)) return -1;
    taken = LOAD(used);
    do {
        if (!~taken) return -1;
        bit = ~taken & (taken + 1);
    } while (!COMPARE_SWAP(used, taken, taken | bit));
    const int place = LOWEST_BIT(bit);
    offer *o = &offers[place];
    const ptrdiff_t at_once = (pieces + MOST_PIECES - 1) / MOST_PIECES, claims = (pieces + at_once - 1) / at_once;
    o->owner = this_thread();
    o->begun = 0;
    o->next = o->last = 0;
    STORE_RELAXED(o->function, function);
    STORE_RELAXED(o->task, task);
    STORE_RELAXED(o->pieces, pieces);
    STORE_RELAXED(o->at_once, at_once);
    STORE_RELAXED(o->workers, workers);
    STORE_RELAXED(o->stop, 0);
    STORE_RELAXED(o->done, 0);
    STORE(o->word, word_of(id_of(LOAD_RELAXED(o->word)) + 1, 0, (uint64_t)claims));
    OR(open, bit);
    if (wake_them) {
        const int missing = wanted - LOAD(spinning), sleeping = LOAD(asleep);
        if (missing > 0 && sleeping > 0) wake(missing < sleeping ? missing : sleeping);
    }
    return place;
}

ptrdiff_t fbp_claim(int place)
{
    offer *o = &offers[place];
    if (o->next == o->last) {
        uint64_t word = LOAD(o->word);
        do {
            if (next_of(word) == total_of(word)) return -1;
        } while (!COMPARE_SWAP(o->word, word, word_of(id_of(word), next_of(word) + 1, total_of(word))));
        if (next_of(word) + 1 == total_of(word)) shut(place);
        o->begun++;
        o->next = (ptrdiff_t)next_of(word) * o->at_once;
        o->last = o->pieces - o->next < o->at_once ? o->pieces : o->next + o->at_once;
    }
    return o->next++;
}

void fbp_drop(int place)
{
    offer *o = &offers[place];
    uint64_t word = LOAD(o->word);
    STORE(o->stop, 1);
    while (next_of(word) < total_of(word)) {
        if (COMPARE_SWAP(o->word, word, word_of(id_of(word), total_of(word), total_of(word)))) {
            o->begun += (int)(total_of(word) - next_of(word));
            break;
        }
    }
    o->next = o->last;
    shut(place);
}

void fbp_finish(int place)
{
    offer *o = &offers[place];
    const int of_helpers = (int)total_of(LOAD(o->word)) - o->begun;
    for (int i = 0; LOAD(o->done) < of_helpers; i++) {
        if (i < PAUSES_BEFORE_YIELDING) PAUSE();
        else give_way();
    }
    AND(used, ~((uint64_t)1 << place));
}

/* ---- How many threads ---- */

typedef struct limit {
    struct limit *next;
    uint64_t thread;
    int n;
} limit;

static SHARED int everybody;        /* what a thread may use that has set nothing; 0: all processors it may run on */
static SHARED int bound = FBP_MOST_WORKERS;     /* on that */
static SHARED int n_limits;
static limit *limits;               /* of threads that have set something else */
static mutex limiting = MUTEX_INITIAL;

static int between(int n, int most) { return n < 1 ? 1 : n > most ? most : n; }

static int usual(void) { return LOAD(everybody) > 0 ? LOAD(everybody) : between(processors(), LOAD(bound)); }

static limit **limit_of(uint64_t thread)
{
    limit **at = &limits;
    while (*at && (*at)->thread != thread) at = &(*at)->next;
    return at;
}

int fbp_workers(void)
{
    int n = usual();
    if (LOAD(n_limits) == 0) return n;
    mutex_enter(&limiting);
    const limit *mine = *limit_of(this_thread());
    if (mine) n = mine->n;
    else
        for (const limit *l = limits; l; l = l->next) n = l->n < n ? l->n : n;
    mutex_leave(&limiting);
    return n;
}

void fbp_set_workers(int n, int most)
{
    mutex_enter(&limiting);
    STORE(everybody, n > 0 ? between(n, FBP_MOST_WORKERS) : 0);
    STORE(bound, between(most, FBP_MOST_WORKERS));
    while (limits) {
        limit *l = limits;
        limits = l->next;
        free(l);
    }
    STORE(n_limits, 0);
    mutex_leave(&limiting);
}

int fastbp_get_num_threads(void)
{
    mutex_enter(&limiting);
    const limit *mine = *limit_of(this_thread());
    const int n = mine ? mine->n : usual();
    mutex_leave(&limiting);
    return n;
}

void fastbp_set_num_threads(int n)
{
    mutex_enter(&limiting);
    limit **at = limit_of(this_thread()), *l = *at;
    n = between(n, FBP_MOST_WORKERS);
    if (l && n == usual()) {
        *at = l->next;
        free(l);
        STORE(n_limits, n_limits - 1);
    } else if (l) {
        l->n = n;
    } else if (n != usual() && (l = malloc(sizeof *l))) {
        l->thread = this_thread();
        l->n = n;
        l->next = limits;
        limits = l;
        STORE(n_limits, n_limits + 1);
    }
    mutex_leave(&limiting);
}

/* ---- Forks ---- */

static uint64_t forking;            /* the thread that forks, which has `starting` */
static int forks;                   /* how often: a hook of somebody else's may fork, too */

void fbp_before_fork(void)
{
    if (forks > 0 && forking == this_thread()) {
        forks++;
        return;
    }
    mutex_enter(&starting);     /* until the fork is over; nobody waits for it but for another fork */
    forking = this_thread();
    forks = 1;
    STORE(retiring, 1);
    wake(FBP_MOST_WORKERS);
    for (int i = 0; i < n_helpers; i++) join_thread(helpers[i]);
    STORE(n_helpers, 0);
    STORE(retiring, 0);
}

void fbp_after_fork(int in_child)
{
    int n = 0;
    if (!in_child) {
        if (--forks == 0) mutex_leave(&starting);
        return;
    }
    forks = 0;
    mutex_renew(&starting);
    mutex_renew(&limiting);     /* another thread may have had it: the list is whole all the same */
    for (const limit *l = limits; l; l = l->next) n++;
    STORE(n_limits, n);
    /* What other threads had offered is nobody's now. */
    for (int place = 0; place < PLACES; place++)
        if (LOAD(used) >> place & 1 && offers[place].owner != this_thread()) {
            shut(place);
            AND(used, ~((uint64_t)1 << place));
        }
}

int fbp_helpers(void) { return LOAD(n_helpers); }
int fbp_idle(void) { return LOAD(spinning); }
