/* A team of helper threads, to which a call offers numbered pieces of its work.
 *
 * Design:
 * a) The caller drives, helpers claim. An offer is a function and a number of pieces. Whoever is free claims the next
 *    one, the caller too, and goes on when all are done. A helper that comes late finds nothing left: nobody waits for
 *    it. So a call without helpers, as in the child of a fork, does all of its pieces itself, and in the same way.
 * b) A claim is one compare-and-swap of one word: the number of the offer, the next piece, how many there are. It
 *    succeeds only if none of them has changed since the helper read what is offered, so that a place for offers may be
 *    used again at once, and nobody need know who still looks at it.
 * c) An idle helper spins for some microseconds, since inside one call an offer follows another, then sleeps. A caller
 *    that finds nobody asleep makes no system call.
 * d) Helpers have numbers, the caller is 0: that is the workspace they use. They know nothing of Python, block all
 *    signals, and are started when an offer wants them for the first time.
 * e) Before a fork they end, each after its piece; a later offer starts them again.
 *
 * Which piece is cut where is the caller's business; it must not depend on how many helpers there are.
 */
#ifndef FASTBP_TEAM_H
#define FASTBP_TEAM_H

#include <stddef.h>

#ifdef _WIN32
#define FBP_EXPORT __declspec(dllexport)
#else
#define FBP_EXPORT __attribute__((visibility("default")))
#endif

enum { FBP_MOST_WORKERS = 256 };

typedef void (*fbp_piece)(void *task, ptrdiff_t piece, int worker);

/* What a thread is doing for a team. */
typedef struct {
    int number;             /* of a helper; 0 for all other threads */
    int inside;             /* a piece of an offer is being done */
    const int *stop;        /* of a helper: whether the caller whose piece it does has been stopped */
    int workers;            /* how many the call of this thread may use, itself included */
    double ahead;           /* multiply-adds that are known to follow in offers too small to wake anybody for */
} fbp_worker;

fbp_worker *fbp_me(void);

/* Offer `pieces` pieces to helpers with numbers below `workers`, of whom `wanted` are enough; asleep, they are woken
 * if `wake`. Returns the offer's place, or -1 if there is nobody to offer them to. */
int fbp_open(ptrdiff_t pieces, fbp_piece function, void *task, int workers, int wanted, int wake);

/* A piece for the caller, or -1 when none is left */
ptrdiff_t fbp_claim(int place);

/* Nobody is to begin a piece any more, and what is begun is to end as soon as it can */
void fbp_drop(int place);

/* Wait for the pieces that helpers have begun, and give the place back */
void fbp_finish(int place);

/* How many threads the calls of this thread may use, itself included; the same as `threadpoolctl` sees it. */
int fbp_workers(void);
void fbp_set_workers(int n, int most);              /* for all threads; 0: all processors, up to `most` */
FBP_EXPORT int fastbp_get_num_threads(void);
FBP_EXPORT void fastbp_set_num_threads(int n);      /* for this thread, and as a bound for all that have set none */

int fbp_helpers(void);      /* how many there are */
int fbp_idle(void);         /* how many are spinning */
void fbp_before_fork(void);
void fbp_after_fork(int in_child);

#endif
