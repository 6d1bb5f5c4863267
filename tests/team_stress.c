/* Does the team of src/team.c do every piece once, whoever comes late? test_team_stress.py compiles and runs it.
 *
 *     team_stress THREADS CALLS [fork]
 *
 * THREADS threads make CALLS calls each, all at once; everybody takes a random time between any two steps of theirs
 * that others can see. With `fork` another thread forks all the time, and each child makes calls, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static __thread unsigned long long state;
static int no_threads;      /* no thread can be started */

static unsigned random_below(unsigned n)
{
    if (!state) state = (unsigned long long)(size_t)&state * 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % n;
}

static void nap(long nanoseconds) { nanosleep(&(struct timespec){0, nanoseconds}, NULL); }

static void delay(void)
{
    const unsigned chance = random_below(1000);
    if (chance < 10) nap(random_below(100000));
    else if (chance < 50) sched_yield();
}

static int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument)
{
    return __atomic_load_n(&no_threads, __ATOMIC_RELAXED) ? EAGAIN : pthread_create(thread, attributes, main, argument);
}

#define FBP_DELAY() delay()
#define pthread_create create
#include "team.c"
#undef pthread_create

#define EXPECT(what)                                                                                                   \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "line %d: expected %s\n", __LINE__, #what);                                                \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { MOST_WORKERS = 8, MANY_PIECES = 150000, DROP = 1000000 };

/* Overwritten at the end of its call */
typedef struct {
    int alive, workers, length;
    int busy[MOST_WORKERS];     /* whether that worker is at a piece */
    int *done;                  /* how often each piece has been, by plain reads and writes */
    int met;                    /* with `meeting`, how many have begun a piece */
} task;

static int meeting;             /* each piece waits for the others */

static void piece(void *t_, ptrdiff_t i, int worker)
{
    task *t = t_;
    EXPECT(t->alive == 42);
    EXPECT(worker < t->workers);
    EXPECT(__atomic_exchange_n(&t->busy[worker], 1, __ATOMIC_RELAXED) == 0);
    t->done[i]++;
    if (meeting) {
        __atomic_fetch_add(&t->met, 1, __ATOMIC_RELAXED);
        while (__atomic_load_n(&t->met, __ATOMIC_RELAXED) < t->workers) sched_yield();
    }
    for (volatile int k = 0; k < t->length; k++) {}
    delay();
    EXPECT(__atomic_exchange_n(&t->busy[worker], 0, __ATOMIC_RELAXED) == 1);
}

/* The pieces after which it was dropped may be left out; `pieces` if it was not. */
static void call(int *done, ptrdiff_t pieces, int workers, int wake, ptrdiff_t dropped_after)
{
    task places[8], *t = &places[random_below(8)];
    ptrdiff_t i, own = 0, all = 0;
    memset(done, 0, (size_t)pieces * sizeof *done);
    *t = (task){42, workers, (int)random_below(200), {0}, done, 0};
    const int place = fbp_open(pieces, piece, t, workers, workers - 1, wake);
    if (place < 0) {
        for (i = 0; i < pieces; i++) piece(t, i, 0);
        dropped_after = pieces;
    } else {
        while ((i = fbp_claim(place)) >= 0) {
            piece(t, i, 0);
            if (++own == dropped_after) fbp_drop(place);
        }
        while (!fbp_finish(place)) {}
    }
    for (i = 0; i < pieces; i++) {
        EXPECT(done[i] == 1 || (done[i] == 0 && own >= dropped_after));
        all += done[i];
    }
    EXPECT(all == pieces || own >= dropped_after);
    memset(t, 0xdd, sizeof *t);
}

static void any_call(int *done)
{
    const ptrdiff_t pieces = random_below(2) ? 2 : 1 + random_below(random_below(300) ? 40 : MANY_PIECES);
    call(done, pieces, 1 + (int)random_below(MOST_WORKERS), random_below(4) > 0,
         random_below(5) ? DROP : 1 + (ptrdiff_t)random_below(10));
}

/* As threadpoolctl does it */
static void limited(int *done, int depth)
{
    const int before = fastbp_get_num_threads(), n = 1 + (int)random_below(MOST_WORKERS);
    fastbp_set_num_threads(n);
    EXPECT(fastbp_get_num_threads() == n);
    EXPECT(n == fbp_usual_workers() || fbp_workers() == n);
    any_call(done);
    if (depth > 0) limited(done, depth - 1);
    fastbp_set_num_threads(before);
    EXPECT(fastbp_get_num_threads() == before);
}

static int calls;

static void *caller(void *unused)
{
    int *done = malloc(MANY_PIECES * sizeof *done);
    (void)unused;
    for (int k = 0; k < calls; k++) {
        if (random_below(10)) any_call(done);
        else limited(done, (int)random_below(3));
        if (random_below(50) == 0) nap(random_below(200000));   /* long enough for helpers to fall asleep */
    }
    if (random_below(2)) fastbp_set_num_threads(3);             /* ends with its thread */
    free(done);
    return NULL;
}

static int ended;

static void *forker(void *unused)
{
    static int done[MANY_PIECES];
    int status;
    (void)unused;
    while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
        const int by_python = random_below(2);                  /* else by a library that tells nobody */
        if (by_python) fbp_before_fork();
        if (by_python) EXPECT(fbp_helpers() == 0);
        const pid_t child = fork();
        EXPECT(child >= 0);
        if (child == 0) {
            alarm(60);
            EXPECT(fbp_helpers() == 0 && fbp_idle() == 0 && used == 0 && open == 0);
            for (int k = 0; k < 20; k++) any_call(done);
            call(done, 30, 4, 1, DROP);
            EXPECT(fbp_helpers() >= 3);
            fbp_before_fork();
            EXPECT(fbp_helpers() == 0 && fbp_idle() == 0);
            _exit(0);
        }
        if (by_python) fbp_after_fork();
        EXPECT(waitpid(child, &status, 0) == child);
        EXPECT(status == 0);
        nap(random_below(1000000));
    }
    return NULL;
}

int main(int n_arguments, char **arguments)
{
    const int threads = n_arguments > 2 ? atoi(arguments[1]) : 4;
    static int done[MANY_PIECES];
    pthread_t thread[256], forking;
    calls = n_arguments > 2 ? atoi(arguments[2]) : 1000;
    EXPECT(threads <= 256 && fbp_begin());
    fbp_set_workers(4, FBP_MOST_WORKERS);

    no_threads = 1;
    call(done, 30, 4, 1, DROP);
    EXPECT(fbp_helpers() == 0);
    no_threads = 0;
    next_start = 0;
    call(done, 30, 4, 1, DROP);
    EXPECT(fbp_helpers() == 3);

    /* Helpers are called whenever they are about to fall asleep, and all have to come. */
    alarm(100);
    meeting = 1;
    for (int k = 0; k < calls; k++) {
        const int workers = 2 + (int)random_below(3);
        call(done, workers, workers, 1, DROP);
        if (random_below(2)) nap(random_below(2 * SPIN_NANOSECONDS));
    }
    meeting = 0;
    alarm(0);

    if (n_arguments > 3) EXPECT(pthread_create(&forking, NULL, forker, NULL) == 0);
    for (int i = 0; i < threads; i++) EXPECT(pthread_create(&thread[i], NULL, caller, NULL) == 0);
    for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    __atomic_store_n(&ended, 1, __ATOMIC_RELAXED);
    if (n_arguments > 3) pthread_join(forking, NULL);

    EXPECT(used == 0 && open == 0);
    EXPECT(least == FBP_MOST_WORKERS && limits == NULL && fbp_workers() == 4);
    fbp_before_fork();
    EXPECT(fbp_helpers() == 0 && spinning == 0 && asleep == 0);
    call(done, 30, 4, 1, DROP);
    EXPECT(fbp_helpers() == 0);
    fbp_after_fork();
    call(done, 30, 4, 1, DROP);
    EXPECT(fbp_helpers() == 3);
    puts("every piece once");
    return 0;
}
