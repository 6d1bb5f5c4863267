/* Threads, atomic operations and sleep, as three systems have them. */
#ifndef FASTBP_THREADS_H
#define FASTBP_THREADS_H

#include <stdint.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <process.h>
#include <windows.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define THREAD_LOCAL __declspec(thread)
#define ALIGN_LINE __declspec(align(64))
/* Volatile reads and writes are whole; they are ordered on some processors, and by barriers on all. */
#define SHARED volatile
static __inline long long load(const volatile void *x, size_t size)
{
    MemoryBarrier();
    const long long y = size == 4 ? *(const volatile int *)x : *(const volatile long long *)x;
    MemoryBarrier();
    return y;
}
#define LOAD(x) load(&(x), sizeof(x))
#define LOAD_RELAXED(x) (x)
#define STORE(x, y) (MemoryBarrier(), (x) = (y), MemoryBarrier())
#define STORE_RELAXED(x, y) ((x) = (y))
#define ADD(x, y) InterlockedExchangeAdd((volatile long *)&(x), (y))
#define OR(x, y) InterlockedOr64((volatile long long *)&(x), (long long)(y))
#define AND(x, y) InterlockedAnd64((volatile long long *)&(x), (long long)(y))
static __inline int compare_swap(volatile long long *x, uint64_t *old, uint64_t new_one)
{
    const long long found = InterlockedCompareExchange64(x, (long long)new_one, (long long)*old);
    const int equal = found == (long long)*old;
    *old = (uint64_t)found;
    return equal;
}
#define COMPARE_SWAP(x, old, new_one) compare_swap((volatile long long *)&(x), &(old), (new_one))
static __inline int LOWEST_BIT(uint64_t x)
{
    unsigned long i;
    _BitScanForward64(&i, x);
    return (int)i;
}
#else
#define THREAD_LOCAL __thread
#define SHARED
#define ALIGN_LINE __attribute__((aligned(64)))
#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define LOAD_RELAXED(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define STORE(x, y) __atomic_store_n(&(x), (y), __ATOMIC_SEQ_CST)
#define STORE_RELAXED(x, y) __atomic_store_n(&(x), (y), __ATOMIC_RELAXED)
#define ADD(x, y) __atomic_fetch_add(&(x), (y), __ATOMIC_SEQ_CST)
#define OR(x, y) __atomic_fetch_or(&(x), (y), __ATOMIC_SEQ_CST)
#define AND(x, y) __atomic_fetch_and(&(x), (y), __ATOMIC_SEQ_CST)
#define COMPARE_SWAP(x, old, new_one)                                                                          \
    __atomic_compare_exchange_n(&(x), &(old), (new_one), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define LOWEST_BIT(x) __builtin_ctzll(x)
#endif

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define PAUSE() __asm__ __volatile__("isb" ::: "memory")     /* some ten nanoseconds; `yield` is none */
#else
#define PAUSE() ((void)0)
#endif

enum { STACK_BYTES = 1 << 20 };

#ifdef _WIN32
typedef HANDLE thread_handle;
typedef unsigned thread_result;
#define THREAD_RETURN 0
#define THREAD_CALL __stdcall
typedef SRWLOCK mutex;
#define MUTEX_INITIAL SRWLOCK_INIT
static void mutex_enter(mutex *m) { AcquireSRWLockExclusive(m); }
static int mutex_try(mutex *m) { return TryAcquireSRWLockExclusive(m); }
static void mutex_leave(mutex *m) { ReleaseSRWLockExclusive(m); }
static void mutex_renew(mutex *m) { InitializeSRWLock(m); }
static void give_way(void) { SwitchToThread(); }
static int this_processor(void) { return (int)GetCurrentProcessorNumber(); }
static void name_this_thread(void) {}
static void take_a_nap(int64_t nanoseconds) { Sleep((DWORD)(nanoseconds / 1000000 + 1)); }
static uint64_t this_thread(void) { return GetCurrentThreadId(); }

static int start_thread(thread_handle *handle, thread_result(__stdcall *main)(void *), void *argument)
{
    *handle = (HANDLE)_beginthreadex(NULL, STACK_BYTES, main, argument, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    return *handle != NULL;
}

static void join_thread(thread_handle handle)
{
    WaitForSingleObject(handle, INFINITE);
    CloseHandle(handle);
}

typedef DWORD thread_local_key;

/* A place for a pointer of each thread; `at_end` gets it when the thread ends, if it has set one. */
static int new_thread_local(thread_local_key *key, void(__stdcall *at_end)(void *))
{
    *key = FlsAlloc(at_end);
    return *key != FLS_OUT_OF_INDEXES;
}

static void set_thread_local(thread_local_key key, void *x) { FlsSetValue(key, x); }

/* There are no forks. */
static int call_in_child(void (*function)(void))
{
    (void)function;
    return 1;
}

static void renew_sleep(void) {}

static int64_t nanoseconds(void)
{
    LARGE_INTEGER now, second;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&second);
    return (int64_t)(1e9 * (double)now.QuadPart / (double)second.QuadPart);
}

static int processors(void)
{
    DWORD_PTR ours = 0, all = 0;
    int n = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &ours, &all))
        for (; ours; ours &= ours - 1) n++;
    return n > 0 ? n : 1;
}

static void keep_away(const thread_handle *threads, int n)
{
    (void)threads;
    (void)n;
}

static SRWLOCK sleeping = SRWLOCK_INIT;
static CONDITION_VARIABLE alarm = CONDITION_VARIABLE_INIT;

static void sleep_while(int *x, int seen)
{
    AcquireSRWLockExclusive(&sleeping);
    while (LOAD_RELAXED(*x) == seen) SleepConditionVariableSRW(&alarm, &sleeping, INFINITE, 0);
    ReleaseSRWLockExclusive(&sleeping);
}

static void wake_up(int *x, int n)
{
    (void)x;
    AcquireSRWLockExclusive(&sleeping); /* who has seen the old number sleeps by now */
    ReleaseSRWLockExclusive(&sleeping);
    (void)n;
    WakeAllConditionVariable(&alarm);
}

#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

typedef pthread_t thread_handle;
typedef void *thread_result;
#define THREAD_RETURN NULL
#define THREAD_CALL
typedef pthread_mutex_t mutex;
#define MUTEX_INITIAL PTHREAD_MUTEX_INITIALIZER
static void mutex_enter(mutex *m) { pthread_mutex_lock(m); }
static int mutex_try(mutex *m) { return pthread_mutex_trylock(m) == 0; }
static void mutex_leave(mutex *m) { pthread_mutex_unlock(m); }
static void mutex_renew(mutex *m) { pthread_mutex_init(m, NULL); }
static void give_way(void) { sched_yield(); }
#ifdef __linux__
static int this_processor(void) { return sched_getcpu(); }
#else
static int this_processor(void) { return -1; }      /* not known */
#endif
static void take_a_nap(int64_t nanoseconds) { nanosleep(&(struct timespec){0, (long)nanoseconds}, NULL); }
static uint64_t this_thread(void) { return (uint64_t)(uintptr_t)pthread_self(); }

/* Handlers of signals are for the threads of the program; but a fault of this thread's own reaches one that reports it. */
static int start_thread(thread_handle *handle, thread_result (*main)(void *), void *argument)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigset_t all, before;
    pthread_attr_t attributes;
    int failed;
    if (pthread_attr_init(&attributes)) return 0;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(handle, &attributes, main, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

static void join_thread(thread_handle handle) { pthread_join(handle, NULL); }

typedef pthread_key_t thread_local_key;

/* A place for a pointer of each thread; `at_end` gets it when the thread ends, if it has set one. */
static int new_thread_local(thread_local_key *key, void (*at_end)(void *)) { return !pthread_key_create(key, at_end); }
static void set_thread_local(thread_local_key key, void *x) { pthread_setspecific(key, x); }

/* In the child of every fork, whoever calls for it */
static int call_in_child(void (*function)(void)) { return !pthread_atfork(NULL, NULL, function); }

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#ifdef __linux__
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void name_this_thread(void) { prctl(PR_SET_NAME, "fastbp"); }

static int processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);   /* more than the set can hold */
    return n > 0 ? (int)n : 1;
}

/* Have the threads run on the processors of this one, but for its own, which is where sleepers are often woken up:
 * a virtual machine takes others that are idle for busy. Only when something has changed since the last time. */
static void keep_away(const thread_handle *threads, int n)
{
    static cpu_set_t known;
    static int avoided = -1, known_n;
    const int here = sched_getcpu();
    cpu_set_t set;
    if (here < 0 || sched_getaffinity(0, sizeof set, &set)) return;
    if (here == avoided && n == known_n && CPU_EQUAL(&set, &known)) return;
    known = set;
    known_n = n;
    avoided = here;
    if (CPU_COUNT(&set) > 1) CPU_CLR(here, &set);
    for (int i = 0; i < n; i++) pthread_setaffinity_np(threads[i], sizeof set, &set);
}

static void sleep_while(int *x, int seen) { syscall(SYS_futex, x, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0); }
static void wake_up(int *x, int n) { syscall(SYS_futex, x, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0); }
static void renew_sleep(void) {}
#else
#ifdef __APPLE__
static void name_this_thread(void) { pthread_setname_np("fastbp"); }
#else
static void name_this_thread(void) {}
#endif

static int processors(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static void keep_away(const thread_handle *threads, int n)
{
    (void)threads;
    (void)n;
}

static pthread_mutex_t sleeping = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t alarm_bell = PTHREAD_COND_INITIALIZER;

static void sleep_while(int *x, int seen)
{
    pthread_mutex_lock(&sleeping);
    while (LOAD_RELAXED(*x) == seen) pthread_cond_wait(&alarm_bell, &sleeping);
    pthread_mutex_unlock(&sleeping);
}

static void wake_up(int *x, int n)
{
    (void)x;
    pthread_mutex_lock(&sleeping);      /* who has seen the old number sleeps by now */
    pthread_mutex_unlock(&sleeping);
    if (n == 1) pthread_cond_signal(&alarm_bell);
    else pthread_cond_broadcast(&alarm_bell);
}

/* In a child: a thread that is not here may have had it. */
static void renew_sleep(void)
{
    pthread_mutex_init(&sleeping, NULL);
    pthread_cond_init(&alarm_bell, NULL);
}
#endif
#endif

#endif
