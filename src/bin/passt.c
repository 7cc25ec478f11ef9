/* SPDX-License-Identifier: MIT */
/* passt: networking for a virtual machine, and by the name of pasta for a network namespace, without privileges. */
#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "core/engine.h"
#include "core/process.h"

#ifdef SANITIZED
/* It looks for leaks from another process, which is what we keep out. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

/* One frame a message. */
static void print_hint_packet(const char *path, int type)
{
	if (type == SOCK_DGRAM) {
		log_info(
			"You can now start qemu (>= 7.2) with this network interface, the path of whose own socket is up to you in this folder:");
		log_info("    -device virtio-net-pci,netdev=s");
		log_info("    -netdev dgram,id=s,local.type=unix,local.path=%s.guest,remote.type=unix,remote.path=%s", path, path);
	} else {
		log_info("You can now start User-Mode Linux with this network interface:");
		log_info("    vec0:transport=bess,dst=%s", path);
	}
}

static void print_hint(const char *path, int type, bool vhost_user)
{
	if (!path[0])
		return;
	if (type != SOCK_STREAM) {
		print_hint_packet(path, type);
		return;
	}
	if (vhost_user) {
		log_info("You can now start qemu with this network interface, and memory that it shares:");
		log_info("    -chardev socket,id=c,path=%s -netdev vhost-user,id=s,chardev=c -device virtio-net-pci,netdev=s",
			 path);
		log_info("    -object memory-backend-memfd,id=m,size=SIZE,share=on -numa node,memdev=m");
		return;
	}
	log_info("You can now start qemu (>= 7.2) with this network interface:");
	log_info("    -device virtio-net-pci,netdev=s -netdev stream,id=s,server=off,addr.type=unix,addr.path=%s", path);
	log_info("or an older one through qrap:");
	log_info("    ./qrap 5 kvm ... -net socket,fd=5 -net nic,model=virtio");
}

/* Anything that fails here has been logged, and the program has not begun its work. */
static bool start(struct process *p, struct engine *e, struct pasta *ns, struct conf *c, struct conf_source *source)
{
	uid_t uid;
	gid_t gid;

	if (process_begin(p, c))
		return false;
	process_watch(p, source);
	process_user(p, &uid, &gid);
	if ((ns && pasta_open(ns, c, uid, gid)) || engine_open(e, c, ns))
		return false;
	if (process_pid_open(p))
		return false;
	conf_print(c);
	if (process_drop(p, ns) || engine_start(e, p->daemon.pid, &p->host) || process_pid_write(p))
		return false;
	process_confine(p, ns);
	print_hint(e->socket_path, c->socket_type, c->vhost_user);
	return !process_ready(p) && (!ns || !pasta_go(ns));
}

int main(int argc, char **argv)
{
	static struct process process;
	static struct engine engine;
	static struct pasta pasta;
	static struct conf conf;
	static struct conf_source *source;
	struct pasta *ns;
	int status;

	process_stdio();
	conf_load(&conf, argc, argv, &source);
	ns = conf.mode == CONF_PASTA ? &pasta : NULL;
	if (!start(&process, &engine, ns, &conf, source)) {
		engine_undo(&engine);
		process_undo(&process);
		if (ns)
			pasta_close(ns);
		return EXIT_FAILURE;
	}

	process_settle(&process, ns);
	status = engine_run(&engine);
	process_stopping(&process);
	engine_close(&engine);
	if (ns)
		pasta_close(ns);
	process_end(&process);
	return status;
}
