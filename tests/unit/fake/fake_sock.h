/* SPDX-License-Identifier: MIT */
/*
 * Stands in for os/sock.h, os/loop.h and os/pipe.h: a table of made-up descriptors, each of one kind, whose other end is the test.
 *
 * Nothing here makes a system call. The rules of the kernel that translators depend on are kept: a pending error is reported once by the
 * next call and by SO_ERROR, it makes EPOLLERR readable whatever the mask, an error queue is a queue, two sockets claim one address only
 * if both have SO_REUSEADDR, a datagram goes to the connected socket before the unconnected one. Calls are counted and can be made to fail.
 *
 * Files: fake_sock.c has the table and what all kinds share, fake_dgram.c datagram sockets (UDP and ping), fake_stream.c stream sockets,
 * fake_pipe.c pipes between those, fake_loop.c the event loop.
 */
#pragma once

#include "os/loop.h"
#include "os/sock.h"

#define FAKE_FD_BASE 1000 /* far from any real descriptor */
#define FAKE_FDS 512
#define FAKE_OPTS 24

enum fake_kind { FAKE_FREE, FAKE_DGRAM, FAKE_STREAM, FAKE_PIPE };

enum fake_call {
	FAKE_OPEN,
	FAKE_CLOSE,
	FAKE_SETOPT,
	FAKE_GETOPT,
	FAKE_BIND_DEV,
	FAKE_LINGER,
	FAKE_BIND,
	FAKE_CONNECT,
	FAKE_LISTEN,
	FAKE_ACCEPT,
	FAKE_LOCAL,
	FAKE_SHUTDOWN,
	FAKE_SEND,
	FAKE_RECV,
	FAKE_DISCARD,
	FAKE_SENDMMSG, /* failures of it are for each message */
	FAKE_RECVMMSG,
	FAKE_ERROR,
	FAKE_OUTQ,
	FAKE_SNDMEM,
	FAKE_ERRQUEUE,
	FAKE_TXACK,
	FAKE_INFO,
	FAKE_EPOLL_ADD,
	FAKE_EPOLL_MOD,
	FAKE_EPOLL_DEL,
	FAKE_PIPE_OPEN,
	FAKE_PIPE_SIZE,
	FAKE_PIPE_FILL,
	FAKE_PIPE_DRAIN,
	FAKE_CALLS
};

/* A datagram on its way to us, from us, or the payload of an error. */
struct fake_dgram {
	struct list node;
	struct ep from, to; /* to: of what we sent, where it went; of what we get, the local address that it was sent to */
	int fd; /* sent: by this socket */
	uint8_t ttl, tos; /* sent: options of the socket at that time; of what we get: fake_dgram_hops() */
	struct addr pktinfo; /* sent: source asked for by IP_PKTINFO, or all-zero */
	struct sock_err err; /* of an entry in the error queue */
	uint16_t seg; /* received in one piece: size of the datagrams that it consists of; 0: it is one */
	size_t len;
	uint8_t data[];
};

struct fake_fd {
	enum fake_kind kind;
	int fd;
	int family, type, proto;
	struct ep local, peer;
	bool bound, connected;
	unsigned scope;
	char dev[16];
	struct {
		int level, opt, val;
	} opt[FAKE_OPTS];
	unsigned opts;
	int so_error; /* positive errno, pending */

	bool in_epoll;
	struct ref ref;
	uint32_t mask;
	unsigned events; /* delivered so far */
	bool pending; /* edge-triggered: something happened since the last look */

	/* FAKE_DGRAM */
	struct list rx, errq; /* struct fake_dgram */
	size_t pmtu; /* longest payload that send() takes; 0: any */
	size_t seg_max; /* the same, of datagrams that share a message; 0: any */
	int seg_err; /* positive errno of messages with several datagrams; 0: none */
	unsigned room; /* messages that send() takes until EAGAIN; UINT_MAX: any number */

	/* FAKE_STREAM */
	struct fake_stream *stream;

	/* FAKE_PIPE: of both ends */
	struct fake_pipe *pipe;
};

struct fake_fail {
	int err; /* positive errno; 0: none */
	unsigned skip, times; /* after skip calls that succeed, fail so often */
	int fd; /* only for this one; -1: any */
};

struct fake_os {
	struct fake_fd fd[FAKE_FDS];
	unsigned calls[FAKE_CALLS];
	struct fake_fail fail[FAKE_CALLS];
	struct list sent; /* datagrams that we sent, oldest first */
	unsigned n_sent, n_messages; /* each of one datagram or several (UDP_SEGMENT) */
	uint16_t next_port; /* for bind(2) to port 0 */
	uint64_t now_ns; /* of the loop */
	unsigned dispatched; /* events of the last loop_turn() */
	struct list streams; /* struct fake_stream, oldest first; they outlive their descriptors */
	int peek_off_err; /* positive errno of SO_PEEK_OFF on streams; 0: the kernel has it */
};

extern struct fake_os fake_os;

/* Before and after each test; fini fails the test if a descriptor is still open or in the loop. */
void fake_os_init(void);
void fake_os_fini(void);

/* The entry of an open descriptor; the test fails if it is not open. */
struct fake_fd *fake_fd(int fd);
unsigned fake_open_count(void);

/* The i-th open descriptor, in order of numbers. */
struct fake_fd *fake_fd_nth(unsigned i);

/* The next times calls (after skip) fail with err. fd -1: for any descriptor. */
void fake_fail(enum fake_call call, int fd, int err, unsigned skip, unsigned times);

/* Value of an option, or def if it was never set. */
int fake_opt(const struct fake_fd *f, int level, int opt, int def);
void fake_opt_set(struct fake_fd *f, int level, int opt, int val);

/* Appends a control message {level, type} to those of h, which have room bytes. */
void fake_put_cmsg(struct msghdr *h, size_t room, const int kind[2], const void *data, size_t len);

/* For the other files of the fake: counts the call and returns the positive errno that it must fail with, or 0. */
int fake_inject(enum fake_call call, int fd);
int fake_inject_again(enum fake_call call, int fd); /* without counting */

/* --- datagrams --- */

/* Puts one into the receive queue of fd; to is the local address that it was sent to. */
void fake_dgram_push(int fd, const struct ep *from, const struct ep *to, const void *data, size_t len);

/* Several datagrams of seg bytes, but for the last: in one piece if the socket has UDP_GRO, else one by one. */
void fake_dgram_push_super(int fd, const struct ep *from, const void *data, size_t len, uint16_t seg);

/* The last one in the queue came with this hop limit and type of service, and not with 64 and 0. */
void fake_dgram_hops(int fd, uint8_t ttl, uint8_t tos);

/* As the network would: to the socket that matches best. Returns its descriptor, or -1 if there is none. */
int fake_dgram_route(int proto, const struct ep *from, const struct ep *to, const void *data, size_t len);

/* An ICMP error: an entry of the error queue (if the socket has IP_RECVERR) and a pending error. */
void fake_dgram_error(int fd, const struct sock_err *e, const void *data, size_t len);

/* The i-th datagram that was sent by any socket; the test fails if there is none. */
const struct fake_dgram *fake_sent(unsigned i);
void fake_sent_clear(void);
unsigned fake_rx_count(int fd);

int fake_dgram_sendmmsg(struct fake_fd *f, struct mmsghdr *m, unsigned n, int flags);
int fake_dgram_recvmmsg(struct fake_fd *f, struct mmsghdr *m, unsigned n, int flags);
uint32_t fake_dgram_ready(const struct fake_fd *f);
void fake_dgram_close(struct fake_fd *f);

/* --- streams: fake_stream.h is what tests see of them --- */

/* A descriptor for a socket that was not made by sock_open(); NULL if the table is full. */
struct fake_fd *fake_fd_alloc(int family, int type, int proto);

ssize_t fake_stream_send(struct fake_fd *f, const struct iovec *iov, unsigned n, int flags);
ssize_t fake_stream_recv(struct fake_fd *f, const struct iovec *iov, unsigned n, int flags);
int fake_stream_connect(struct fake_fd *f, const struct ep *ep);
void fake_stream_open(struct fake_fd *f);
int fake_stream_setopt(struct fake_fd *f, int level, int opt, int val);
uint32_t fake_stream_ready(struct fake_fd *f); /* a look at a socket that is not writable promises EPOLLOUT */
void fake_stream_close(struct fake_fd *f);
void fake_stream_forget(void);

/* --- loop --- */

/* Time passes: timers fire one after the other; no events. */
void fake_loop_advance(struct loop *l, uint64_t ns);

/* Turns until one has no event, at most max; returns how many had. A result of max means that something spins. */
unsigned fake_loop_settle(struct loop *l, unsigned max);
