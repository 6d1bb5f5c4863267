/* The team of team.h. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "team.h"

#include <stdint.h>
#include <stdlib.h>

#include "threads.h"

/* Between two steps that others may see: tests/team_stress.c takes its time there. */
#ifndef FBP_DELAY
#define FBP_DELAY() ((void)0)
#endif

/* How many helpers it has, the next piece and how many there are, behind the number of the offer. */
#define HELPERS_BITS 8
#define PIECES_BITS 14
#define MOST_PIECES ((1 << PIECES_BITS) - 1)
#define PLACES 64
#define SPIN_NANOSECONDS 20000
#define EXPECTING_NANOSECONDS 100000    /* the same while an offer is expected */
#define PAUSES_BEFORE_YIELDING 2000
#define YIELDING_NANOSECONDS 1000000
#define WAITING_NANOSECONDS 10000000
#define NAP_NANOSECONDS 100000
#define NANOSECONDS_BEFORE_NEXT_START 1000000000

typedef struct {
    SHARED ALIGN_LINE uint64_t word;
    fbp_piece SHARED function;
    void *SHARED task;
    SHARED ptrdiff_t pieces, at_once;   /* at_once: of all pieces, those that are claimed together */
    SHARED int workers, stop;
    SHARED ALIGN_LINE int done;         /* claims of helpers that are finished */
    /* The caller's own: */
    SHARED ALIGN_LINE uint64_t owner;   /* 0 for nobody, or for somebody who has only just come */
    int begun;                          /* its claims */
    ptrdiff_t next, last;               /* pieces it has claimed and not begun */
} offer;

static offer offers[PLACES];
static SHARED uint64_t used, open;      /* bits of places */
static SHARED int alarm_count;          /* changes when somebody is to wake up */
static SHARED int asleep, spinning;     /* helpers that have nothing to do */
static SHARED int expecting;            /* threads whose calls will make more offers soon */
static SHARED int busy_processor = -1;  /* where the last offer was made */
static SHARED int retiring, n_helpers;
static SHARED int n_forking;            /* threads that fork, or end the interpreter: nobody is started */
static thread_handle helpers[FBP_MOST_WORKERS];
static int64_t next_start;              /* not before, the last one having failed */
static mutex starting = MUTEX_INITIAL;  /* for the two before */

static THREAD_LOCAL fbp_worker me = {0, 0, NULL, 1, 0, 0};

fbp_worker *fbp_me(void) { return &me; }

static uint64_t word_of(uint64_t id, uint64_t joined, uint64_t next, uint64_t total)
{
    return ((id << HELPERS_BITS | joined) << PIECES_BITS | next) << PIECES_BITS | total;
}

static uint64_t id_of(uint64_t word) { return word >> (2 * PIECES_BITS + HELPERS_BITS); }
static int joined_of(uint64_t word) { return (int)(word >> 2 * PIECES_BITS & (FBP_MOST_WORKERS - 1)); }
static uint64_t next_of(uint64_t word) { return word >> PIECES_BITS & MOST_PIECES; }
static uint64_t total_of(uint64_t word) { return word & MOST_PIECES; }

/* The word after one more claim, by that many helpers */
static uint64_t claimed(uint64_t word, int joined)
{
    return word_of(id_of(word), (uint64_t)joined, next_of(word) + 1, total_of(word));
}

/* Nobody need look there any more. No offer takes the place before the claims of this one are done. */
static void shut(int place) { AND(open, ~((uint64_t)1 << place)); }

/* Do claims of that place for as long as there are any that this helper may have. */
static int help(int place)
{
    offer *o = &offers[place];
    int claims = 0;
    uint64_t word = LOAD(o->word);
    while (next_of(word) < total_of(word) && !(claims && LOAD(retiring))) {
        FBP_DELAY();
        /* Of another offer, perhaps: then the word has changed. */
        const fbp_piece function = LOAD_RELAXED(o->function);
        void *task = LOAD_RELAXED(o->task);
        const ptrdiff_t pieces = LOAD_RELAXED(o->pieces), at_once = LOAD_RELAXED(o->at_once);
        const ptrdiff_t first = (ptrdiff_t)next_of(word) * at_once;
        const ptrdiff_t last = pieces - first < at_once ? pieces : first + at_once;
        const int joined = joined_of(word) + (claims == 0);
        if (joined >= LOAD_RELAXED(o->workers)) break;
        FBP_DELAY();
        if (!COMPARE_SWAP(o->word, word, claimed(word, joined))) continue;
        FBP_DELAY();
        if (next_of(word) + 1 == total_of(word)) shut(place);
        if (claims++ == 0) {
            ADD(spinning, -1);
            me.number = joined;
            me.stop = &o->stop;
        }
        for (ptrdiff_t piece = first; piece < last && !LOAD_RELAXED(o->stop); piece++)
            function(task, piece, me.number);
        FBP_DELAY();
        word = LOAD(o->word);
    }
    if (claims == 0) return 0;
    me.number = 0;
    me.stop = NULL;
    ADD(spinning, 1);
    FBP_DELAY();
    ADD(o->done, claims);       /* the last that it has to do with this offer */
    return 1;
}

/* Look everywhere once. */
static int look_for_work(void)
{
    int found = 0;
    for (uint64_t left = LOAD(open); left; left &= left - 1) found |= help(LOWEST_BIT(left));
    return found;
}

/* Whether a caller waits for the processor that this helper has: spinning takes it from him. */
static int in_the_way(void)
{
    const int here = this_processor();
    return here >= 0 && here == LOAD_RELAXED(busy_processor);
}

static int patience(void) { return LOAD_RELAXED(expecting) > 0 ? EXPECTING_NANOSECONDS : SPIN_NANOSECONDS; }

static thread_result THREAD_CALL helper_main(void *unused)
{
    int64_t since = nanoseconds();
    (void)unused;
    name_this_thread();
    me.inside = 1;
    ADD(spinning, 1);
    while (!LOAD(retiring)) {
        if (look_for_work()) {
            since = nanoseconds();
            continue;
        }
        if (!in_the_way() && nanoseconds() - since < patience()) {
            for (int i = 0; i < 32 && !LOAD_RELAXED(open); i++) PAUSE();
            continue;
        }
        /* An offer that is made from here on sees that somebody sleeps, or is seen by the last look. */
        ADD(spinning, -1);
        FBP_DELAY();
        ADD(asleep, 1);
        const int seen = LOAD(alarm_count);
        FBP_DELAY();
        if (!LOAD(retiring) && !look_for_work()) sleep_while(&alarm_count, seen);
        ADD(asleep, -1);
        ADD(spinning, 1);
        since = nanoseconds();
    }
    ADD(spinning, -1);
    return THREAD_RETURN;
}

static void wake(int n)
{
    ADD(alarm_count, 1);
    FBP_DELAY();
    wake_up(&alarm_count, n);
}

/* Have that many helpers, or as many as can be had without waiting for anybody. */
static void start(int n)
{
    if (n > FBP_MOST_WORKERS - 1) n = FBP_MOST_WORKERS - 1;
    if (LOAD(n_helpers) >= n || LOAD(n_forking) > 0 || !mutex_try(&starting)) return;
    while (n_helpers < n && LOAD(n_forking) <= 0) {
        if (next_start && nanoseconds() < next_start) break;
        const int started = start_thread(&helpers[n_helpers], helper_main, NULL);
        next_start = started ? 0 : nanoseconds() + NANOSECONDS_BEFORE_NEXT_START;
        if (started) STORE(n_helpers, n_helpers + 1);
    }
    keep_away(helpers, n_helpers);
    mutex_leave(&starting);
}

/* Before they are woken up; another caller may be doing the same. */
static void make_way(void)
{
    if (!mutex_try(&starting)) return;
    keep_away(helpers, n_helpers);
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
    STORE_RELAXED(busy_processor, this_processor());
    STORE(o->owner, this_thread());
    o->begun = 0;
    o->next = o->last = 0;
    STORE_RELAXED(o->function, function);
    STORE_RELAXED(o->task, task);
    STORE_RELAXED(o->pieces, pieces);
    STORE_RELAXED(o->at_once, at_once);
    STORE_RELAXED(o->workers, workers < FBP_MOST_WORKERS ? workers : FBP_MOST_WORKERS);
    STORE_RELAXED(o->stop, 0);
    STORE_RELAXED(o->done, 0);
    FBP_DELAY();
    OR(open, bit);      /* first: whoever looks here already may do everything, and shut it */
    FBP_DELAY();
    STORE(o->word, word_of(id_of(LOAD_RELAXED(o->word)) + 1, 0, 0, (uint64_t)claims));
    FBP_DELAY();
    if (wake_them) {
        const int missing = wanted - LOAD(spinning), sleeping = LOAD(asleep);
        if (missing > 0 && sleeping > 0) {
            make_way();
            wake(missing < sleeping ? missing : sleeping);
        }
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
            FBP_DELAY();
        } while (!COMPARE_SWAP(o->word, word, claimed(word, joined_of(word))));
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
    FBP_DELAY();
    while (next_of(word) < total_of(word)) {
        const uint64_t none = word_of(id_of(word), (uint64_t)joined_of(word), total_of(word), total_of(word));
        if (COMPARE_SWAP(o->word, word, none)) {
            o->begun += (int)(total_of(word) - next_of(word));
            break;
        }
    }
    o->next = o->last;
    shut(place);
}

int fbp_finish(int place)
{
    offer *o = &offers[place];
    const int of_helpers = (int)total_of(LOAD(o->word)) - o->begun;
    int64_t since = 0, waited = 0;
    for (int i = 0; LOAD(o->done) < of_helpers; i++) {
        if (i < PAUSES_BEFORE_YIELDING) {
            PAUSE();
            continue;
        }
        if (!since) since = nanoseconds();
        waited = nanoseconds() - since;
        if (waited > WAITING_NANOSECONDS) return 0;
        if (waited < YIELDING_NANOSECONDS) give_way();
        else take_a_nap(NAP_NANOSECONDS);       /* a thread that has to run at once gives way to none of lower rank */
    }
    STORE(o->owner, 0);
    FBP_DELAY();
    AND(used, ~((uint64_t)1 << place));
    return 1;
}

void fbp_expect(int more)
{
    if (more != me.expects) ADD(expecting, more ? 1 : -1);
    me.expects = more;
}

/* ---- How many threads ---- */

typedef struct limit {
    struct limit *SHARED next;
    SHARED int n;               /* 0: none */
} limit;

static SHARED int everybody;    /* what all share; 0: the processors a thread may run on */
static SHARED int bound = FBP_MOST_WORKERS;     /* on that */
static SHARED int least = FBP_MOST_WORKERS;     /* of all limits of threads */
static int inherited = FBP_MOST_WORKERS;        /* of those of a parent's threads that are not in this process */
static limit *SHARED limits;    /* one of each thread that ever set one; whole at any time, for a fork */
static mutex limiting = MUTEX_INITIAL;
static thread_local_key own_key;
static THREAD_LOCAL limit *own;

static int between(int n, int most) { return n < 1 ? 1 : n > most ? most : n; }

int fbp_usual_workers(void)
{
    const int n = LOAD(everybody);
    return n > 0 ? n : between(processors(), LOAD(bound));
}

int fastbp_get_num_threads(void)
{
    const int n = own ? LOAD(own->n) : 0;
    return n > 0 ? n : fbp_usual_workers();
}

int fbp_workers(void)
{
    const int n = own ? LOAD(own->n) : 0;
    return n > 0 ? n : between(fbp_usual_workers(), LOAD(least));
}

static void find_least(void)
{
    int n = inherited;
    for (const limit *l = LOAD_RELAXED(limits); l; l = LOAD_RELAXED(l->next))
        if (l->n > 0 && l->n < n) n = l->n;
    STORE(least, n);
}

void fbp_set_workers(int n, int most)
{
    mutex_enter(&limiting);
    STORE(everybody, n > 0 ? between(n, FBP_MOST_WORKERS) : 0);
    STORE(bound, between(most, FBP_MOST_WORKERS));
    inherited = FBP_MOST_WORKERS;
    for (limit *l = LOAD_RELAXED(limits); l; l = LOAD_RELAXED(l->next)) STORE(l->n, 0);
    find_least();
    mutex_leave(&limiting);
}

void fastbp_set_num_threads(int n)
{
    n = between(n, FBP_MOST_WORKERS);
    mutex_enter(&limiting);
    if (n == fbp_usual_workers()) n = 0;
    if (!own && n > 0 && (own = malloc(sizeof *own))) {
        set_thread_local(own_key, own);
        STORE_RELAXED(own->n, 0);
        STORE_RELAXED(own->next, LOAD_RELAXED(limits));
        STORE(limits, own);
    }
    if (own) STORE(own->n, n);
    find_least();
    mutex_leave(&limiting);
}

/* Its thread ends. */
static void THREAD_CALL forget_limit(void *gone)
{
    mutex_enter(&limiting);
    limit *SHARED *at = &limits;
    while (LOAD_RELAXED(*at) != gone) at = &LOAD_RELAXED(*at)->next;
    STORE(*at, ((limit *)gone)->next);
    find_least();
    mutex_leave(&limiting);
    free(gone);
    own = NULL;
}

/* ---- Forks ---- */

void fbp_before_fork(void)
{
    ADD(n_forking, 1);
    mutex_enter(&starting);     /* not until the fork is over: a hook of somebody else's may fork, too */
    STORE(retiring, 1);
    wake(FBP_MOST_WORKERS);
    for (int i = 0; i < n_helpers; i++) join_thread(helpers[i]);
    STORE(n_helpers, 0);
    STORE(retiring, 0);
    mutex_leave(&starting);
}

void fbp_after_fork(void)
{
    if (LOAD(n_forking) > 0) ADD(n_forking, -1);    /* it is 0 if this has become a child in between */
}

/* Of the threads only this one is left, and of the helpers none, even if the fork was not Python's. */
static void in_child(void)
{
    mutex_renew(&starting);
    mutex_renew(&limiting);
    renew_sleep();
    STORE(n_forking, 0);
    STORE(retiring, 0);
    STORE(n_helpers, 0);
    STORE(spinning, 0);
    STORE(asleep, 0);
    STORE(expecting, me.expects);
    for (int place = 0; place < PLACES; place++)
        if (LOAD(used) >> place & 1 && LOAD(offers[place].owner) != this_thread()) {
            shut(place);
            STORE(offers[place].word, word_of(id_of(LOAD(offers[place].word)) + 1, 0, 0, 0));
            AND(used, ~((uint64_t)1 << place));
        }
    for (const limit *l = LOAD_RELAXED(limits); l; l = LOAD_RELAXED(l->next))
        if (l != own && l->n > 0 && l->n < inherited) inherited = l->n;
    STORE(limits, own);
    if (own) STORE(own->next, NULL);
    find_least();
}

int fbp_begin(void) { return new_thread_local(&own_key, forget_limit) && call_in_child(in_child); }

int fbp_helpers(void) { return LOAD(n_helpers); }
int fbp_idle(void) { return LOAD(spinning); }
