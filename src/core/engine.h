/* SPDX-License-Identifier: MIT */
/*
 * The aggregate: all that translates for one guest hangs off struct engine, and each part gets no more than what it works with.
 *
 * Life: engine_open() takes what needs the privileges and the file system that we start with, engine_start() makes the parts know each
 * other, engine_run() translates until the end, engine_close() gives everything back. Configuration must outlive the engine.
 */
#pragma once

#include <signal.h>

#include "conf/conf.h"
#include "flow/flow.h"
#include "fwd/guest.h"
#include "fwd/listen.h"
#include "icmp/icmp.h"
#include "link/link.h"
#include "os/unixpath.h"
#include "core/budget.h"
#include "core/control.h"
#include "core/hostwatch.h"
#include "core/neigh.h"
#include "core/pasta.h"
#include "core/pasta_fwd.h"
#include "core/stats.h"
#include "core/unix_in.h"
#include "os/leftover.h"
#include "os/loop.h"
#include "os/pcap.h"
#include "service/service.h"
#include "tcp/tcp.h"
#include "udp/udp.h"
#include "wire/frag.h"
#include "wire/pkt.h"

struct engine {
	const struct conf *conf;
	struct pasta *pasta; /* NULL in passt mode */
	struct pasta_fwd *fwd; /* likewise */
	struct control *control; /* NULL: no control socket */

	pid_t pid; /* by which others know us */
	struct loop loop;
	sigset_t signals;
	int signal_fd;
	unsigned signal_owner;

	struct link *link;
	int listen_fd; /* until the link owns it; then -1 */
	char socket_path[UNIXPATH_MAX]; /* where it was bound; empty with --fd */
	char socket_dir[UNIXPATH_MAX]; /* the folder of a datagram socket, as in link/unixname.h, */
	int socket_dir_fd; /* until the link owns it; then -1 */
	struct leftover socket_left; /* while the start may fail */
	struct control_fds control_fds; /* until the control socket's server owns them; then -1 */
	struct leftover control_left;

	struct guestconf told; /* what the guest is told, and how addresses are mapped, as the host is now */
	struct nat nat;

	struct budget budget;
	struct flow_table *flows;
	struct frags *frags;
	struct timer frag_timer; /* for the oldest datagram in it */
	struct guest guest;
	struct fwd_table in, out; /* the rules in effect */
	struct listeners listeners;
	struct listeners ns_listeners; /* of the namespace; none in passt mode */
	struct conf_passed passed; /* of conf: what nobody owns yet */
	struct unix_in *unix_in; /* NULL: pasta, or there is no such rule and can be none */
	uint32_t unix_in_max; /* connections by it */
	struct tcp *tcp; /* NULL: --no-tcp, and so on */
	struct udp *udp;
	struct icmp *icmp;

	struct neigh neigh;
	struct timer ra_timer;
	unsigned ra_sent; /* unsolicited advertisements to this guest */

	struct stats stats;
	struct pcap *pcap; /* NULL: off */
	struct pcap *captures; /* memory for it; NULL: nobody can ask for one */
	const struct link_ops *link_ops; /* of the back end, */
	struct link_ops capture_ops; /* and with the capture in between */

	struct pkt pkt[LINK_BATCH]; /* heads of the frames of one batch */
	struct pkt whole; /* of a reassembled datagram */
	uint8_t request[SERVICE_FRAME_MAX]; /* private copy of a frame for the services */
	uint8_t reply[SERVICE_FRAME_MAX];
};

/* Errors are logged; -errno means that we can't start. pasta: open already, or NULL in passt mode. */
MUST_USE int engine_open(struct engine *e, const struct conf *c, struct pasta *pasta);

/* pid: by which others know us. host: watches the host, or NULL; it outlives the engine. */
MUST_USE int engine_start(struct engine *e, pid_t pid, struct hostwatch *host);

/* After a start that failed, however far it came: removes the socket, if engine_open() has bound it. */
void engine_undo(struct engine *e);

/* Capture of the guest's frames, from now on; fd as for pcap_open_fd(). -EBUSY: there is one; -ENOENT: there is none. */
MUST_USE int engine_capture_start(struct engine *e, int fd);
MUST_USE int engine_capture_stop(struct engine *e);

/* Until a signal or the last guest's end. The exit status, 1 after an error of the loop itself. */
int engine_run(struct engine *e);

/* Works on what engine_open() left behind, however far it came. */
void engine_close(struct engine *e);
