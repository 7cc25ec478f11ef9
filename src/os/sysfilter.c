/* SPDX-License-Identifier: MIT */
#include "os/sysfilter.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

#define NAME_OF_MAPPING 0x53564d41 /* PR_SET_VMA, which older headers have not */
#define NO_EXEC \
	{ \
		SYSCALL_WITHOUT(2, PROT_EXEC) \
	}

/* There the call has one argument, which is the address of the others. */
#ifdef __s390__
#define MMAP_NO_EXEC \
	{ \
		{ \
			.mask = 0 \
		} \
	}
#else
#define MMAP_NO_EXEC NO_EXEC
#endif

/* What no table has to repeat: calls that the C library makes for us, and the end of a process. */
static const struct syscall_rule common[] = {
	{ "exit", "end of the process" },
	{ "exit_group", "end of the process" },
	{ "rt_sigreturn", "return from a handler" },
	{ "sigreturn", "return from a handler, on older architectures" },
	{ "restart_syscall", "a call that a stop interrupted goes on" },
	{ "rt_sigaction", "abort(), and a signal that is to have its effect" },
	{ "rt_sigprocmask", "abort(), raise()" },
	{ "getpid", "abort(), raise(); log" },
	{ "gettid", "abort(), raise()" },
	{ "tgkill", "abort(), raise()", { SYSCALL_SELF(0) } },
	{ "tkill", "abort(), raise() of other C libraries", { SYSCALL_SELF(0) } },
	{ "brk", "malloc()" },
	{ "mmap", "malloc(), memory of the guest; nothing to execute", MMAP_NO_EXEC },
	{ "mmap2", "mmap() of 32-bit architectures", NO_EXEC },
	{ "munmap", "free(), memory of the guest" },
	{ "mremap", "realloc()" },
	{ "madvise", "free(); memory that is not used now goes back" },
	{ "mprotect", "malloc(); nothing to execute", NO_EXEC },
	{ "prctl", "malloc() of newer C libraries can give its mappings names", { SYSCALL_IS(0, NAME_OF_MAPPING) } },
	{ "futex", "locks of the C library" },
	{ "futex_time64", "futex() with long times" },
	{ "clock_gettime", "the time, where the kernel gives no faster way" },
	{ "clock_gettime64", "clock_gettime() with long times" },
	{ "gettimeofday", "the time, on machines whose clock has no faster way" },
	{ "getrandom", "keys; malloc() of some C libraries" },
	{ "close", "every descriptor" },
	{ "write", "log, wake-ups, captures" },
	{ "writev", "log" },
	{ "pwritev", "log file" },
	{ "pread64", "log file, state of the command" },
	{ "pwrite64", "log file" },
	{ "ftruncate", "log file" },
	{ "ftruncate64", "log file" },
	{ "fstat", "log file" },
	{ "fstat64", "log file" },
	{ "lseek", "end of the process: standard streams" },
	{ "_llseek", "lseek() of 32-bit architectures" },
};

#ifdef SANITIZED
/* To look for the cause and tell of it, a sanitizer opens files and changes mappings. */
static const struct syscall_rule sanitizer[] = {
	{ "mmap", "shadow memory" },
	{ "mprotect", "shadow memory" },
	{ "open", "report" },
	{ "openat", "report" },
	{ "read", "report" },
	{ "readlink", "report" },
	{ "readlinkat", "report" },
	{ "stat", "report" },
	{ "newfstatat", "report" },
	{ "statx", "report" },
	{ "access", "report" },
	{ "ioctl", "report: is it a terminal" },
	{ "sched_yield", "locks" },
	{ "sched_getaffinity", "threads" },
	{ "sigaltstack", "handlers" },
	{ "getrlimit", "stack" },
	{ "prlimit64", "stack" },
	{ "getuid", "report" },
	{ "getgid", "report" },
	{ "geteuid", "report" },
	{ "getegid", "report" },
	{ "getppid", "report" },
	{ "sysinfo", "memory" },
	{ "uname", "report" },
	{ "prctl", "names" },
	{ "tgkill", "end" },
	{ "kill", "end" },
	{ "set_robust_list", "threads" },
	{ "rseq", "threads" },
	{ "process_vm_readv", "report" },
	{ "pipe2", "report: may it be read" },
	{ "pipe", "report: may it be read" },
	{ "getcwd", "report" },
	{ "msync", "report: is it mapped" },
	{ "mincore", "report: is it mapped" },
	{ "fcntl", "report" },
};
#endif

/* Raised by the call itself, so whatever was going on in the process stands still in a place that we know. */
static void on_blocked(int sig, siginfo_t *info, void *context)
{
	char *name = seccomp_syscall_resolve_num_arch(info->si_arch, info->si_syscall);

	log_err("System call %s (%i) at %p is not allowed, exiting", name ? name : "of an unknown name", info->si_syscall,
		info->si_call_addr);
	_exit(EXIT_FAILURE);
}

static int rule_add(scmp_filter_ctx ctx, const struct syscall_rule *r)
{
	int nr = seccomp_syscall_resolve_name(r->name);
	struct scmp_arg_cmp cmp[SYSCALL_CONDS];
	unsigned n = 0;
	int err;

	if (nr == __NR_SCMP_ERROR)
		return 0;
	for (; n < SYSCALL_CONDS && r->cond[n].mask; n++) {
		const struct syscall_cond *c = &r->cond[n];

		cmp[n] = (struct scmp_arg_cmp){
			.arg = c->arg,
			.op = SCMP_CMP_MASKED_EQ,
			.datum_a = c->mask,
			.datum_b = c->self ? (uint64_t)getpid() : c->value,
		};
	}
	err = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, n, cmp);
	/* A call of another architecture; a row that an earlier one has made needless. */
	return err == -EDOM || err == -EEXIST ? 0 : err;
}

static int table_add(scmp_filter_ctx ctx, const struct syscall_rule *r, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = rule_add(ctx, &r[i]);
	return err;
}

static int filter_fill(scmp_filter_ctx ctx, const struct syscall_table *const *t, size_t n)
{
	int err = table_add(ctx, common, ARRAY_SIZE(common));

#ifdef SANITIZED
	if (!err)
		err = table_add(ctx, sanitizer, ARRAY_SIZE(sanitizer));
#endif
	for (size_t i = 0; !err && i < n; i++)
		err = table_add(ctx, t[i]->rule, t[i]->n);
	/* What is asked of the filter on every packet should not take a walk over all rules; not every version of the library can do that. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* Errors of the kernel as they are. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1);
	/*
	 * We run no code of others, which is what the kernel's mitigation of speculative stores is there for; it slows down all that a
	 * process with a filter does.
	 */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
	/* Calls of another architecture kill, as the library has it: our only thread. To say "process" is refused by older kernels. */
	return err;
}

/* Some versions of the library say EFAULT instead of most errors of the kernel, whose call is the last one that they make. */
static int kernel_load(scmp_filter_ctx ctx)
{
	int err = seccomp_load(ctx);

	return err == -EFAULT && errno ? -errno : err;
}

int sysfilter_load(const struct syscall_table *const *t, size_t n)
{
	struct sigaction sa = { .sa_sigaction = on_blocked, .sa_flags = SA_SIGINFO };
	scmp_filter_ctx ctx;
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	if (sigaction(SIGSYS, &sa, NULL) || sigprocmask(SIG_UNBLOCK, &set, NULL))
		return -errno;
	ctx = seccomp_init(SCMP_ACT_TRAP);
	if (!ctx)
		return -ENOMEM;
	err = filter_fill(ctx, t, n);
	if (!err)
		err = kernel_load(ctx);
	seccomp_release(ctx);
	return err;
}
