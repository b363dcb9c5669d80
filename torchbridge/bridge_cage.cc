/*
 * bridge_cage.cc: see bridge_cage.h.
 */
#include "bridge_cage.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *bridge_cage_enter(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = {};
	const struct rlimit zero = { 0, 0 };

	signal(SIGPIPE, SIG_IGN);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return "no_new_privs";
	if (syscall(SYS_capset, &head, none) != 0)
		return "capset";
	if (setrlimit(RLIMIT_CORE, &zero) != 0)
		return "a limit of core dumps";
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return "not being traced";
	return nullptr;
}

/* No limit is set above the hard one that is there. */
static bool limit(int what, rlim_t most)
{
	struct rlimit r;

	if (getrlimit(static_cast<__rlimit_resource>(what), &r) != 0)
		return false;
	if (r.rlim_max == RLIM_INFINITY || r.rlim_max > most)
		r.rlim_max = most;
	r.rlim_cur = r.rlim_max;
	return setrlimit(static_cast<__rlimit_resource>(what), &r) == 0;
}

/* Bytes of address space in use; 0: unknown. */
static rlim_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (f == nullptr)
		return 0;
	if (fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

/* System calls that need no look at their arguments. */
static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(lseek),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(getcpu),
	SCMP_SYS(membarrier),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getrandom),
	SCMP_SYS(getrusage),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(times),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* Those that do; 0 or -errno. */
static int allow_some(scmp_filter_ctx s)
{
	const scmp_datum_t self = static_cast<scmp_datum_t>(getpid()), thread = CLONE_THREAD | CLONE_VM;
	int rc;

	/* Code comes from the files that are loaded already, and from nowhere else. */
	rc = seccomp_rule_add(
			s, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (rc == 0)
		rc = seccomp_rule_add(s, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (rc == 0)
		rc = seccomp_rule_add(s, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
	/* Its flags are in memory, where no filter can look: glibc then takes clone. */
	if (rc == 0)
		rc = seccomp_rule_add(s, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* For abort() and raise(). */
	if (rc == 0)
		rc = seccomp_rule_add(s, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, self));
	/* Its own limits: hard ones can only sink. */
	if (rc == 0)
		rc = seccomp_rule_add(s, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_EQ, 0));
	return rc;
}

const char *bridge_cage_close(bool device)
{
	const rlim_t now = address_space();
	scmp_filter_ctx s;
	int rc = 0;

	if (!limit(RLIMIT_FSIZE, 0))
		return "a limit of files";
	if (!device && (now == 0 || !limit(RLIMIT_AS, now + (static_cast<rlim_t>(BRIDGE_CAGE_MEMORY_MB)
									    << 20))))
		return "a limit of memory";
	s = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (s == nullptr)
		return "seccomp";
	/* For the threads that libraries have started, too. */
	if (seccomp_attr_set(s, SCMP_FLTATR_CTL_TSYNC, 1) != 0)
		rc = -1;
	for (unsigned i = 0; i < sizeof allowed / sizeof allowed[0] && rc == 0; i++)
		rc = seccomp_rule_add(s, SCMP_ACT_ALLOW, allowed[i], 0);
	if (rc == 0)
		rc = allow_some(s);
	if (rc == 0 && device)
		rc = seccomp_rule_add(s, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 0);
	if (rc == 0 && device)
		rc = seccomp_rule_add(s, SCMP_ACT_ALLOW, SCMP_SYS(eventfd2), 0);
	if (rc == 0)
		rc = seccomp_load(s);
	seccomp_release(s);
	return rc == 0 ? nullptr : "seccomp";
}

void bridge_cage_request(void)
{
	struct rusage used;
	struct rlimit r;

	if (getrusage(RUSAGE_SELF, &used) != 0 || getrlimit(RLIMIT_CPU, &r) != 0)
		return;
	r.rlim_cur = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + BRIDGE_CAGE_CPU_S;
	if (r.rlim_cur > r.rlim_max)
		r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_CPU, &r);
}
