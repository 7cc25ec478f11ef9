/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/busguard.h"
#include "os/sock.h"

#define LEN 8192u

struct area {
	struct busguard guard;
	uint8_t *p;
	unsigned asked, fixed;
};

static bool area_holds(void *ctx, void *addr)
{
	struct area *a = ctx;

	a->asked++;
	return (uintptr_t)addr - (uintptr_t)a->p < LEN;
}

static bool area_fix(void *ctx, void *addr)
{
	struct area *a = ctx;

	a->fixed++;
	return mmap(a->p, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/* Memory whose file was cut off behind it. */
static void area_init(struct area *a)
{
	int fd = memfd_create("area", MFD_CLOEXEC);

	*a = (struct area){ .guard = { .holds = area_holds, .fix = area_fix, .ctx = a } };
	assert_int_equal(ftruncate(fd, LEN), 0);
	a->p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(a->p, MAP_FAILED);
	a->p[0] = 1;
	a->p[LEN - 1] = 2;
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
}

static void area_fini(struct area *a)
{
	busguard_del(&a->guard);
	munmap(a->p, LEN);
}

static void test_guard_puts_memory_in_place(void **state)
{
	struct area a, b;

	area_init(&a);
	area_init(&b);
	assert_int_equal(busguard_add(&a.guard), 0);
	assert_int_equal(busguard_add(&b.guard), 0);

	/* Each guard fixes its own, and the others are left alone. */
	*(volatile uint8_t *)&a.p[LEN - 1] = 7;
	assert_int_equal(a.p[LEN - 1], 7);
	assert_int_equal(a.p[0], 0);
	assert_int_equal(a.fixed, 1);
	assert_int_equal(b.fixed, 0);
	assert_int_equal(*(volatile uint8_t *)b.p, 0);
	assert_int_equal(b.fixed, 1);
	assert_int_equal(a.fixed, 1);
	area_fini(&b);
	area_fini(&a);
}

static void test_removed_guard_is_not_asked(void **state)
{
	struct area a, b, c;

	area_init(&a);
	area_init(&b);
	area_init(&c);
	assert_int_equal(busguard_add(&a.guard), 0);
	assert_int_equal(busguard_add(&b.guard), 0);
	assert_int_equal(busguard_add(&c.guard), 0);
	busguard_del(&b.guard);
	busguard_del(&b.guard);
	*(volatile uint8_t *)a.p = 1;
	assert_int_equal(a.fixed, 1);
	assert_int_equal(b.asked, 0);
	assert_int_equal(c.asked, 1);
	area_fini(&c);
	area_fini(&b);
	area_fini(&a);
}

/* The kernel's own accesses raise no signal. */
static void test_system_calls(void **state)
{
	struct iovec whole, odd[3];
	struct area a;
	char byte = 7;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	for (unsigned receive = 0; receive < 2; receive++) {
		area_init(&a);
		assert_int_equal(busguard_add(&a.guard), 0);
		whole = (struct iovec){ a.p + 100, LEN - 100 };
		odd[0] = (struct iovec){ NULL, 0 };
		odd[1] = (struct iovec){ &byte, 1 };
		odd[2] = whole;
		assert_int_equal(send(pair[1], &byte, 1, 0), 1);
		if (receive)
			assert_int_equal(sock_recv(pair[0], &whole, 1, 0), -EAGAIN);
		else
			assert_int_equal(sock_send(pair[0], &whole, 1, 0), -EFAULT);
		assert_int_equal(a.fixed, 1);
		/* From now on it is memory as any other. */
		assert_true(busguard_look(odd, 3));
		assert_false(busguard_look(odd, 2));
		assert_int_equal(a.fixed, 1);
		assert_int_equal(sock_send(pair[0], &whole, 1, 0), LEN - 100);
		area_fini(&a);
	}
	close(pair[0]);
	close(pair[1]);
}

/* What ended a child that does something to its memory. */
static int signal_of(void (*fn)(struct area *a))
{
	struct area a, other;
	int status;
	pid_t pid;

	area_init(&a);
	area_init(&other);
	pid = fork();
	if (!pid) {
		struct rlimit none = { 0 };

		setrlimit(RLIMIT_CORE, &none);
		/* Only the other one is guarded. */
		if (!busguard_add(&other.guard))
			fn(&a);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	area_fini(&other);
	area_fini(&a);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void touch(struct area *a)
{
	*(volatile uint8_t *)a->p = 1;
}

static void send_signal(struct area *a)
{
	kill(getpid(), SIGBUS);
}

static void nothing(struct area *a)
{
}

static void test_others_end_the_process(void **state)
{
	assert_int_equal(signal_of(touch), SIGBUS);
	assert_int_equal(signal_of(send_signal), SIGBUS);
	assert_int_equal(signal_of(nothing), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guard_puts_memory_in_place),
		cmocka_unit_test(test_removed_guard_is_not_asked),
		cmocka_unit_test(test_system_calls),
		cmocka_unit_test(test_others_end_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
