/* A team of helper threads, to which a call offers numbered pieces of its work.
 *
 * Design:
 * a) The caller drives, helpers claim. An offer is a function and a number of pieces. Whoever is free claims the next
 *    one, the caller too, and goes on when all are done. A helper that comes late finds nothing left: nobody waits for
 *    it. So a call without helpers, as in the child of a fork, does all of its pieces itself, and in the same way.
 * b) A claim is one compare-and-swap of one word: the number of the offer, how many helpers it has, the next piece, how
 *    many there are. It succeeds only if none of them has changed since the helper read what is offered, so that a place
 *    for offers may be used again at once, and nobody need know who still looks at it.
 * c) An idle helper spins for some microseconds, since inside one call an offer follows another, then sleeps. A caller
 *    that finds nobody asleep makes no system call.
 * d) In an offer every helper has a number, the caller is 0: that is the workspace it uses. They come as they are free.
 *    Helpers know nothing of Python, leave signals to other threads, and are started when an offer wants them.
 * e) Before a fork they end, each after its piece; a later offer starts them again. They end before the interpreter
 *    does, too: it may end a thread in the middle of a call, and with it the stack where its task is.
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
    int number;             /* of a helper in the offer at which it is; 0 for all other threads */
    int inside;             /* a piece of an offer is being done */
    const int *stop;        /* of a helper: whether the caller whose piece it does has been stopped */
    int workers;            /* how many the call of this thread may use, itself included */
    int expects;            /* whether its call has said that one offer will follow another */
    double ahead;           /* multiply-adds that are known to follow in offers too small to wake anybody for */
} fbp_worker;

fbp_worker *fbp_me(void);

/* Offer `pieces` (> 0) pieces to helpers, who get numbers below `workers`; `wanted` of them are enough. Asleep, they are
 * woken if `wake`. Returns the offer's place, or -1 if there is nobody to offer them to. */
int fbp_open(ptrdiff_t pieces, fbp_piece function, void *task, int workers, int wanted, int wake);

/* A piece for the caller, or -1 when none is left */
ptrdiff_t fbp_claim(int place);

/* Nobody is to begin a piece any more, and what is begun is to end as soon as it can */
void fbp_drop(int place);

/* Wait for the pieces that helpers have begun, and give the place back; 0 if they take longer than a hundredth of a
 * second: the caller may do something else, and has to call again. */
int fbp_finish(int place);

/* From here on, or no longer, one offer follows another: meanwhile helpers sleep later. */
void fbp_expect(int more);

/* How many threads a call may use, itself included.
 *
 * All threads share one number. Beside it each may have a limit of its own, which holds for its calls, and bounds those
 * of all threads that have none. It ends when it is set to the number that all share, when that is set anew, and with
 * its thread: so limits that are set and set back, in several threads and in whatever order, leave nothing behind. */
void fbp_set_workers(int n, int most);          /* for all threads; 0: all processors, up to `most` */
int fbp_usual_workers(void);                    /* the number that all share */
int fbp_workers(void);                          /* what holds for this thread's calls */
FBP_EXPORT int fastbp_get_num_threads(void);    /* this thread's own limit, else what all share: for `threadpoolctl` */
FBP_EXPORT void fastbp_set_num_threads(int n);

int fbp_helpers(void);      /* how many there are */
int fbp_idle(void);         /* how many are spinning */

/* No helpers from here on, until `fbp_after_fork`; a child starts anew without a call. */
int fbp_begin(void);            /* once; 0 if there is no memory */
void fbp_before_fork(void);
void fbp_after_fork(void);

#endif
